"""Answers to a request are read field by field from DER. pyasn1 reads them by the schema of RFC 9810 and judges."""

from __future__ import annotations

from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st
from pyasn1.type import univ

from agent.cmp import asn1, by_schema, codec, der
from agent.cmp.bodies import CertRepMessage
from agent.cmp.codec_pieces import certificates_in
from agent.cmp.errors import MalformedMessage
from agent.cmp.failures import decode_failures
from agent.cmp.messages import BodyType
from agent.cmp.schema import Raw, RawBits, _explicit, _fields, _implicit, _optional
from tests.unit.cmp import strategies
from tests.unit.cmp.mutations import grafted


class PKIStatusInfo(univ.Sequence):
    """RFC 9810 5.2.3."""

    componentType = _fields(  # noqa: N815
        ("status", univ.Integer()), _optional("statusString", Raw()), _optional("failInfo", RawBits())
    )


class EncryptedKey(univ.Choice):
    """RFC 4211 2.1."""

    componentType = _fields(("encryptedValue", Raw()), ("envelopedData", _implicit(0, Raw())))  # noqa: N815


class CertOrEncCert(univ.Choice):
    """RFC 9810 5.3.4."""

    componentType = _fields(  # noqa: N815
        ("certificate", _explicit(0, Raw())), ("encryptedCert", _explicit(1, EncryptedKey()))
    )


class CertifiedKeyPair(univ.Sequence):
    """RFC 9810 5.3.4."""

    componentType = _fields(  # noqa: N815
        ("certOrEncCert", CertOrEncCert()),
        _optional("privateKey", _explicit(0, EncryptedKey())),
        _optional("publicationInfo", _explicit(1, Raw())),
    )


class Response(univ.Sequence):
    """CertResponse, RFC 9810 5.3.4."""

    componentType = _fields(  # noqa: N815
        ("certReqId", univ.Integer()),
        ("status", PKIStatusInfo()),
        _optional("certifiedKeyPair", CertifiedKeyPair()),
        _optional("rspInfo", univ.OctetString()),
    )


class Responses(univ.Sequence):
    """CertRepMessage, RFC 9810 5.3.4."""

    componentType = _fields(_optional("caPubs", _explicit(1, Raw())), ("response", Raw()))  # noqa: N815


TAGS = {"encryptedValue": der.SEQUENCE, "envelopedData": 0xA0}


def by_the_schema(octets: bytes) -> list[Any]:
    """Return what the schema finds in a CertRepMessage; raise :class:`MalformedMessage` as the reader should."""
    value = by_schema.decode(octets, Responses())
    found: list[Any] = [certificates_in(asn1.whole(value["caPubs"]))]
    for one in asn1.items(asn1.required(value["response"])):
        response = by_schema.decode(one, Response())
        status, pair = response["status"], response["certifiedKeyPair"]
        bits, info = status["failInfo"], response["rspInfo"]
        found += [
            asn1.number(response["certReqId"]),
            asn1.number(status["status"]),
            asn1.texts(asn1.whole(status["statusString"])),
            decode_failures(bytes(bits)) if bits.isValue else frozenset(),
            bytes(info) if info.isValue else None,
            *(keys(pair) if pair.isValue else (None, None, None)),
        ]
    return found


def keys(pair: Any) -> tuple[bytes | None, ...]:
    choice = pair["certOrEncCert"]
    plain = choice.getName() == "certificate"
    certificate = asn1.required(choice["certificate"]) if plain else None
    return certificate, None if plain else encrypted(choice["encryptedCert"]), encrypted(pair["privateKey"])


def encrypted(value: Any) -> bytes | None:
    return der.wrap(TAGS[value.getName()], bytes(value.getComponent())) if value.isValue else None


def by_the_reader(octets: bytes) -> list[Any]:
    body = codec.decode(BodyType.IP, octets)
    assert isinstance(body, CertRepMessage)
    found: list[Any] = [body.ca_pubs]
    for one in body.responses:
        status = one.status
        found += [one.cert_req_id, status.status, status.text, status.failures, one.rsp_info]
        found += [one.certificate, one.encrypted_certificate, one.private_key]
    return found


def outcome(read: Any, octets: bytes) -> Any:
    try:
        der.check(octets)
        return read(octets)
    except MalformedMessage:
        return "refused"


@given(strategies.answers)
def test_what_is_written_is_what_the_schema_reads(body: CertRepMessage) -> None:
    _, octets = codec.encode(body)
    assert by_the_schema(octets) == by_the_reader(octets)


written = strategies.answers.map(lambda body: codec.encode(body)[1])


@given(grafted(written))
@settings(max_examples=400)
def test_octets_that_were_changed_are_refused_or_read_as_the_schema_reads_them(octets: bytes) -> None:
    found = outcome(by_the_reader, octets)
    event("refused" if found == "refused" else "read")
    assert found == outcome(by_the_schema, octets)


@given(written, st.data())
@settings(max_examples=200)
def test_no_other_tag_is_taken_for_the_one_that_should_be_there(octets: bytes, data: st.DataObject) -> None:
    changed = bytearray(octets)
    at = data.draw(st.integers(0, len(octets) - 1))
    changed[at] = data.draw(st.sampled_from([2, 3, 4, 5, 0x30, 0xA0, 0xA1, 0xA2]))
    assert outcome(by_the_reader, bytes(changed)) == outcome(by_the_schema, bytes(changed))
