"""What a CA answers, in words: status, failure, certificates, polling, revocation, errors; and what confirms it."""

from __future__ import annotations

from typing import Final

from agent.cmp import failures
from agent.cmp.reading import keys, tlv, words, x509
from agent.cmp.reading.extensions import extensions
from agent.cmp.reading.infos import CERTIFICATES, CRLS, KEY_UPDATE, ROOT_UPDATE
from agent.cmp.reading.items import Item
from agent.cmp.reading.requests import CERT_ID, TEMPLATE
from agent.cmp.reading.session import NotUnderstood, Session
from agent.cmp.reading.shapes import (
    Reader,
    Words,
    apply,
    explicit,
    list_of,
    match,
    needed,
    optional,
    read_matched,
    said,
    sequence,
    sequence_of,
    tagged,
)
from agent.cmp.reading.tlv import CONTEXT, Value

_ID: Final = needed("certReqId", tlv.INTEGER, said(words.decimal))


def _status(value: Value, session: Session) -> str:
    number = words.number(value, session)
    if number not in failures.PKIStatus.__members__.values():
        return f"unknown status {number}"
    status = failures.PKIStatus(number)
    return f"{status.label} ({number}): {failures.STATUSES[status]}"


_NO_BIT: Final = "(no bit is set)"


def _failure(name: str, value: Value, session: Session) -> Item:
    bits = sorted(words.bits(value, session))
    known = failures.known_failures(bits)
    items = [
        Item(one.label, failures.FAILURES[one].meaning, (Item("what to do", failures.FAILURES[one].remedy),))
        for one in known
    ]
    items += [Item(failures.failure_name(bit), "nobody has defined it yet") for bit in bits if bit not in known]
    return Item(name, ", ".join(failures.failure_name(bit) for bit in bits) or _NO_BIT, tuple(items))


def _status_info(status: Words, failure: Reader) -> Reader:
    fields = (
        needed("status", tlv.INTEGER, said(status)),
        optional("statusString", tlv.SEQUENCE, list_of(words.text)),
        optional("failInfo", tlv.BIT_STRING, failure),
    )

    def reader(name: str, value: Value, session: Session) -> Item:
        items = read_matched(match(value, fields, session), session)
        if items and items[0].name == "status" and not items[0].stopped:
            return Item(name, items[0].value, items[1:])
        return Item(name, "", items)

    return reader


STATUS_INFO: Final = _status_info(_status, _failure)
"""PKIStatusInfo of a CA (RFC 9810 5.2.3): the status in words, the failures with their remedies."""

_ISSUED_KEYS: Final = (CONTEXT | 0, CONTEXT | 1)


def _issued(_: str, value: Value, session: Session) -> Item:
    if value.key == CONTEXT | 0:
        return apply(x509.certificate, "certificate", tlv.within(value, session), session)
    return apply(keys.encrypted, "encryptedCert", tlv.within(value, session), session)


_KEY_PAIR: Final = sequence(
    needed("certOrEncCert", _ISSUED_KEYS, _issued),
    tagged("privateKey", 0, keys.encrypted),
    optional("publicationInfo", CONTEXT | 1, said(lambda value, _: f"{value.size} octets")),
)

_RESPONSE: Final = sequence(
    _ID,
    needed("status", tlv.SEQUENCE, STATUS_INFO),
    optional("certifiedKeyPair", tlv.SEQUENCE, _KEY_PAIR),
    optional("rspInfo", tlv.OCTET_STRING, said(lambda value, _: f"{value.size} octets")),
)

RESPONSES: Final = sequence(
    tagged("caPubs", 1, CERTIFICATES),
    needed("response", tlv.SEQUENCE, sequence_of("response", _RESPONSE)),
)
"""Body of ip, cp, kup and ccp (RFC 9810 5.3.4)."""

KEY_RECOVERY: Final = sequence(
    needed("status", tlv.SEQUENCE, STATUS_INFO),
    tagged("newSigCert", 0, x509.certificate),
    tagged("caCerts", 1, CERTIFICATES),
    tagged("keyPairHist", 2, sequence_of("key pair", _KEY_PAIR)),
)
"""Body of krp (RFC 9810 5.3.8)."""

CHALLENGES: Final = sequence_of(
    "challenge",
    sequence(
        optional("owf", tlv.SEQUENCE, keys.algorithm),
        needed("witness", tlv.OCTET_STRING, said(lambda value, _: f"{value.size} octets")),
        needed("challenge", tlv.OCTET_STRING, said(lambda value, _: f"{value.size} octets, encrypted")),
        # EnvelopedData by itself: the explicit tag holds no choice here.
        tagged("encryptedRand", 0, keys.ENVELOPED_DATA),
    ),
)
"""Body of popdecc (RFC 9810 5.2.8.3.3)."""

CHALLENGE_ANSWERS: Final = sequence_of("number", said(lambda value, _: f"withheld ({value.size} octets)"))
"""Body of popdecr."""

_VERDICTS: Final = {0: "accepted (0): the certificate is taken", 2: "rejection (2): the certificate is refused"}


def _verdict(value: Value, session: Session) -> str:
    """Return the status in a certConf, where it is not the CA that speaks."""
    return _VERDICTS.get(words.number(value, session)) or _status(value, session)


def _failure_names(value: Value, session: Session) -> str:
    return ", ".join(failures.failure_names(words.bits(value, session))) or _NO_BIT


_CONFIRMATION: Final = (
    needed("certHash", tlv.OCTET_STRING, said(words.octets)),
    _ID,
    optional("statusInfo", tlv.SEQUENCE, _status_info(_verdict, said(_failure_names))),
    tagged("hashAlg", 0, keys.algorithm),
)


def _cert_status(name: str, value: Value, session: Session) -> Item:
    matched = match(value, _CONFIRMATION, session)
    items = read_matched(matched, session)
    accepted = () if matched.value("statusInfo") else (Item("statusInfo", "absent: the certificate is accepted"),)
    return Item(name, "", (*items, *accepted))


_CERT_STATUSES: Final = sequence_of("certificate", _cert_status)


def confirmation(name: str, value: Value, session: Session) -> Item:
    """Read the body of certConf (RFC 9810 5.3.18)."""
    if not value.size:
        return Item(name, "no certificate is named: everything is rejected")
    return _CERT_STATUSES(name, value, session)


_HOUR, _DAY = 3600, 86_400


def _seconds(value: Value, session: Session) -> str:
    seconds = words.number(value, session)
    text = f"ask again after {seconds} seconds"
    for size, unit in ((_DAY, "days"), (_HOUR, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{text} (about {seconds // size} {unit})"
    return text


POLL_REQUESTS: Final = sequence_of("request", sequence(_ID))
"""Body of pollReq (RFC 9810 5.3.22)."""

POLL_ANSWERS: Final = sequence_of(
    "answer",
    sequence(
        _ID,
        needed("checkAfter", tlv.INTEGER, said(_seconds)),
        optional("reason", tlv.SEQUENCE, list_of(words.text)),
    ),
)
"""Body of pollRep."""

REVOCATIONS: Final = sequence_of(
    "revocation",
    sequence(
        needed("certDetails", tlv.SEQUENCE, TEMPLATE),
        optional("crlEntryDetails", tlv.SEQUENCE, extensions),
    ),
)
"""Body of rr (RFC 9810 5.3.9)."""

REVOCATION_ANSWERS: Final = sequence(
    needed("status", tlv.SEQUENCE, sequence_of("status", STATUS_INFO)),
    tagged("revCerts", 0, sequence_of("certificate", CERT_ID)),
    tagged("crls", 1, CRLS),
)
"""Body of rp (RFC 9810 5.3.10)."""

REVOCATION_ANNOUNCEMENT: Final = sequence(
    needed("status", tlv.INTEGER, said(_status)),
    needed("certId", tlv.SEQUENCE, CERT_ID),
    needed("willBeRevokedAt", tlv.GENERALIZED_TIME, said(words.time)),
    needed("badSinceDate", tlv.GENERALIZED_TIME, said(words.time)),
    optional("crlDetails", tlv.SEQUENCE, extensions),
)
"""Body of rann (RFC 9810 5.3.15)."""

ERROR: Final = sequence(
    needed("pKIStatusInfo", tlv.SEQUENCE, STATUS_INFO),
    optional("errorCode", tlv.INTEGER, said(words.decimal)),
    optional("errorDetails", tlv.SEQUENCE, list_of(words.text)),
)
"""Body of error (RFC 9810 5.3.21)."""


def key_update_announcement(name: str, value: Value, session: Session) -> Item:
    """Read the body of ckuann (RFC 9810 5.3.13): the old form, or RootCaKeyUpdateContent under a tag."""
    if value.key == CONTEXT | 0:
        return explicit(ROOT_UPDATE)(name, value, session)
    return KEY_UPDATE(name, value, session)


def empty(name: str, value: Value, _: Session) -> Item:
    """Read the body of pkiconf, a NULL.

    Raises:
        NotUnderstood: when there is something in it.
    """
    if value.key != tlv.NULL or value.size:
        raise NotUnderstood(value.start, "a NULL is expected")
    return Item(name, "the CA has taken the confirmation (or the error message) it got")
