"""General messages: CA certificates, root update, request template, CRLs (RFC 9483 4.3, RFC 9810 5.3.19)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from agent.cmp import algorithms, der, names
from agent.cmp.bodies import Control, General
from agent.cmp.failures import PKIFailureInfo as Failure
from agent.cmp.messages import BodyType, Info, InfoTypeAndValue
from agent.labca import encoding
from agent.labca.certificates import DIGITAL_SIGNATURE, KEY_USAGE
from agent.labca.encoding import Extension
from agent.labca.office import Answer
from agent.labca.records import TransactionState
from agent.labca.refusal import Refusal
from agent.labca.settings import CRL_PATH, ROOT_CRL

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.cmp.bodies import Body
    from agent.labca.crl import RevocationList
    from agent.labca.office import Exchange, Office

_UNSUPPORTED_OIDS: Final = "1.3.6.1.5.5.7.4.7"
_SIGN_KEY_PAIR_TYPES: Final = "1.3.6.1.5.5.7.4.2"
_EC_PUBLIC_KEY: Final = "1.2.840.10045.2.1"
_CURVES: Final = ("1.2.840.10045.3.1.7", "1.3.132.0.34")
_RSA: Final = "1.2.840.113549.1.1.1"
_RSA_BITS: Final = 3072
_DISTRIBUTION_POINT, _ISSUER = 0xA0, 0xA1


def handle(office: Office, exchange: Exchange, body: Body) -> Answer:
    """Answer one question.

    Raises:
        Refusal: badRequest for more than one question, badDataFormat for a value that cannot be read.
    """
    assert isinstance(body, General)  # noqa: S101 - the codec reads nothing else for this type
    if len(body.infos) > 1:
        raise Refusal(Failure.BAD_REQUEST, "one question in a message is answered (RFC 9483 4.3)")
    exchange.transaction.state = TransactionState.ANSWERED
    return Answer(body=General(BodyType.GENP, tuple(_answer(office, one, exchange.now) for one in body.infos)))


def _answer(office: Office, question: InfoTypeAndValue, now: datetime) -> InfoTypeAndValue:
    answer = _ANSWERS.get(question.type)
    if answer is None:
        return InfoTypeAndValue(_UNSUPPORTED_OIDS, der.wrap(der.SEQUENCE, encoding.oid(question.type)))
    return answer(office, question, now)


def _ca_certificates(office: Office, _: InfoTypeAndValue, __: datetime) -> InfoTypeAndValue:
    return InfoTypeAndValue(Info.CA_CERTS, _list(office.pki.chain))


def _root_update(office: Office, question: InfoTypeAndValue, _: datetime) -> InfoTypeAndValue:
    known = question.value in {None, office.pki.root.certificate}
    value = office.root_update.content() if office.root_update is not None and known else None
    return InfoTypeAndValue(Info.ROOT_CA_KEY_UPDATE, value)


def _template(_: Office, __: InfoTypeAndValue, ___: datetime) -> InfoTypeAndValue:
    # An empty name and a keyUsage: "fill in the name, ask for this usage" (RFC 9483 4.3.3; tags of RFC 4211 section 5).
    usage = encoding.extensions((Extension(KEY_USAGE, critical=True, value=encoding.named_bits(DIGITAL_SIGNATURE)),))
    template = der.wrap(der.SEQUENCE, der.wrap(0xA5, names.EMPTY), der.wrap(0xA9, der.unwrap(usage)))
    key_specification = der.wrap(
        der.SEQUENCE,
        *(_control(Control.ALG_ID, algorithms.build_algorithm(_EC_PUBLIC_KEY, encoding.oid(one))) for one in _CURVES),
        _control(Control.RSA_KEY_LEN, encoding.integer(_RSA_BITS)),
    )
    return InfoTypeAndValue(Info.CERT_REQ_TEMPLATE, der.wrap(der.SEQUENCE, template, key_specification))


def _current_crl(office: Office, _: InfoTypeAndValue, now: datetime) -> InfoTypeAndValue:
    return InfoTypeAndValue(Info.CURRENT_CRL, office.crl.current(now))


def _crls(office: Office, question: InfoTypeAndValue, now: datetime) -> InfoTypeAndValue:
    if question.value is None:
        raise Refusal(Failure.BAD_DATA_FORMAT, "crlStatusList has no value")
    der.unwrap(question.value)
    statuses = der.children(question.value)
    if len(statuses) != 1:
        raise Refusal(Failure.BAD_REQUEST, "one CRL at a time is served (RFC 9483 4.3.4)")
    crl, known = _read_status(office, question.value[statuses[0].start : statuses[0].end])
    newer = crl.newer_than(known, now) if crl is not None else None
    return InfoTypeAndValue(Info.CRLS, _list((newer,)) if newer else None)


def _read_status(office: Office, octets: bytes) -> tuple[RevocationList | None, datetime | None]:
    """Return which CRL of ours is meant, and the thisUpdate of the one the asker has."""
    parts = der.children(octets)
    if not parts or parts[0].tag not in {_DISTRIBUTION_POINT, _ISSUER}:
        raise Refusal(Failure.BAD_DATA_FORMAT, "crlStatusList names neither a distribution point nor an issuer")
    source = octets[parts[0].contents : parts[0].end]
    # A distribution point of ours is only ever written by us, so any is taken; an issuer must be one of our two.
    by_point = parts[0].tag == _DISTRIBUTION_POINT
    crl = None
    if by_point or office.pki.issuing.subject in source:
        crl = office.crl
    if source.endswith(f"{CRL_PATH}{ROOT_CRL}".encode()) if by_point else office.pki.root.subject in source:
        crl = office.root_crl
    if len(parts) == 1:
        return crl, None
    return crl, encoding.read_time(octets[parts[1].start : parts[1].end])


def _key_types(_: Office, __: InfoTypeAndValue, ___: datetime) -> InfoTypeAndValue:
    kinds = [algorithms.build_algorithm(_EC_PUBLIC_KEY, encoding.oid(one)) for one in _CURVES]
    return InfoTypeAndValue(
        _SIGN_KEY_PAIR_TYPES, der.wrap(der.SEQUENCE, *kinds, algorithms.build_algorithm(_RSA, algorithms.NULL))
    )


_ANSWERS: Final[dict[str, Callable[[Office, InfoTypeAndValue, datetime], InfoTypeAndValue]]] = {
    Info.CA_CERTS: _ca_certificates,
    Info.ROOT_CA_CERT: _root_update,
    Info.CERT_REQ_TEMPLATE: _template,
    Info.CURRENT_CRL: _current_crl,
    Info.CRL_STATUS_LIST: _crls,
    _SIGN_KEY_PAIR_TYPES: _key_types,
}


def _list(members: tuple[bytes, ...]) -> bytes | None:
    return der.wrap(der.SEQUENCE, *members) if members else None


def _control(oid: str, value: bytes) -> bytes:
    return der.wrap(der.SEQUENCE, encoding.oid(oid), value)
