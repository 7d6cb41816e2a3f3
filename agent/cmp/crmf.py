"""Certificate requests to octets and back: RFC 4211 (CRMF), the part of CMP with implicit tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent.cmp import asn1, by_schema, der, schema
from agent.cmp.bodies import (
    Attribute,
    CertId,
    CertReqMsg,
    CertRequest,
    CertTemplate,
    PopKey,
    PopSignature,
    PopSubsequent,
    Possession,
    RaVerified,
    SubsequentMessage,
)
from agent.cmp.messages import generalized_time, moment

if TYPE_CHECKING:
    from datetime import datetime

_PRIMITIVE: Final = 0x80
"""Class and form of an implicit tag over what has no parts; the number is added."""
_CONSTRUCTED: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18


def decode_message(octets: bytes) -> CertReqMsg:
    """Read the DER of a CertReqMsg.

    Raises:
        MalformedMessage: when it is none, or its proof of possession is of a kind that we do not know.
    """
    value = by_schema.decode(octets, schema.CertReqMsg())
    request = value["certReq"]
    return CertReqMsg(
        request=CertRequest(
            cert_req_id=asn1.number(request["certReqId"]),
            template=_read_template(request["certTemplate"]),
            controls=_read_attributes(request["controls"]),
        ),
        possession=_read_possession(value["popo"]) if value["popo"].isValue else None,
        reg_info=_read_attributes(value["regInfo"]),
        # What a POP signature covers is cut from the octets as received, never encoded again.
        request_octets=der.values(octets)[0],
    )


def encode_message(message: CertReqMsg) -> bytes:
    """Return the DER of a CertReqMsg."""
    return der.wrap(
        der.SEQUENCE,
        encode_request(message.request),
        _write_possession(message.possession) if message.possession is not None else b"",
        _write_attributes(message.reg_info),
    )


def encode_request(request: CertRequest) -> bytes:
    """Return the DER of CertRequest: what a POP signature covers (RFC 4211 4.1)."""
    return der.wrap(
        der.SEQUENCE,
        der.wrap(der.INTEGER, der.integer_contents(request.cert_req_id)),
        encode_template(request.template),
        _write_attributes(request.controls),
    )


def encode_template(template: CertTemplate) -> bytes:
    """Return the DER of a CertTemplate."""
    return der.wrap(
        der.SEQUENCE,
        _number(0, template.version),
        _number(1, template.serial_number),
        _implicit(2, template.signing_alg),
        _explicit(3, template.issuer),
        _write_validity(template),
        _explicit(5, template.subject),
        _implicit(6, template.public_key),
        _implicit(9, template.extensions),
    )


def decode_template(octets: bytes) -> CertTemplate:
    """Read the DER of a CertTemplate.

    Raises:
        MalformedMessage: when it is none.
    """
    return _read_template(by_schema.decode(octets, schema.CertTemplate()))


def encode_cert_id(cert_id: CertId) -> bytes:
    """Return the DER of a CertId, the value of the control oldCertID."""
    value = schema.CertId()
    value["issuer"] = by_schema.decode(cert_id.issuer, schema.GeneralName())
    value["serialNumber"] = cert_id.serial_number
    return by_schema.encode(value)


def decode_cert_id(octets: bytes) -> CertId:
    """Read the DER of a CertId.

    Raises:
        MalformedMessage: when it is none.
    """
    value = by_schema.decode(octets, schema.CertId())
    return CertId(by_schema.encode(value["issuer"]), int(value["serialNumber"]))


_WHOLE_OCTETS: Final = b"\x00"
"""What a BIT STRING begins with when all bits of its last octet count."""


_POP_KEYS: Final = {PopKey.ENCIPHERMENT: 2, PopKey.AGREEMENT: 3}
"""Tags of the arms of ProofOfPossession for keys that do not sign."""


def _read_possession(value: Any) -> Possession:
    kind = value.getName()
    if kind == "raVerified":
        return RaVerified()
    if kind == "signature":
        signing = value["signature"]
        signature = bytes(signing["signature"])
        if not signature.startswith(_WHOLE_OCTETS):
            raise der.malformed("its proof of possession is not a whole number of octets")
        return PopSignature(
            algorithm=asn1.required(signing["algorithmIdentifier"]),
            signature=signature[1:],
            input=asn1.whole(signing["poposkInput"]),
        )
    private = value.getComponent()
    if private.getName() != "subsequentMessage":
        raise der.malformed(f"its proof of possession {private.getName()} is not supported")
    method = der.integer(bytes(private.getComponent()))
    if method not in SubsequentMessage.__members__.values():
        raise der.malformed("its proof of possession names an unknown method")
    return PopSubsequent(PopKey(kind), SubsequentMessage(method))


def _write_possession(possession: Possession) -> bytes:
    match possession:
        case RaVerified():
            return der.wrap(_PRIMITIVE | 0)
        case PopSignature():
            signature = der.wrap(der.BIT_STRING, _WHOLE_OCTETS, possession.signature)
            algorithm = der.wrap(der.SEQUENCE, der.unwrap(possession.algorithm))
            return der.wrap(_CONSTRUCTED | 1, _implicit(0, possession.input), algorithm, signature)
        case PopSubsequent():
            return der.wrap(_CONSTRUCTED | _POP_KEYS[possession.key], _number(1, possession.method))


def _read_time(value: Any) -> datetime | None:
    if not value.isValue:
        return None
    written = str(value.getComponent())
    if value.getName() == "utcTime":
        written = ("20" if written[:2] < "50" else "19") + written  # RFC 5280 4.1.2.5.1
    return moment(written)


def _write_validity(template: CertTemplate) -> bytes:
    ends = (template.not_before, template.not_after)
    if ends == (None, None):
        return b""
    times = (der.wrap(_CONSTRUCTED | number, _write_time(when)) for number, when in enumerate(ends) if when is not None)
    return der.wrap(_CONSTRUCTED | 4, *times)


def _write_time(when: datetime) -> bytes:
    # RFC 5280 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050; two digits mean nothing before 1950.
    written = generalized_time(when)
    if "1950" <= written[:4] < "2050":
        return der.wrap(_UTC_TIME, written[2:].encode())
    return der.wrap(_GENERALIZED_TIME, written.encode())


_TEMPLATE_NUMBERS: Final = (("version", "version"), ("serialNumber", "serial_number"))
_TEMPLATE_TIMES: Final = (("notBefore", "not_before"), ("notAfter", "not_after"))
_TEMPLATE_OCTETS: Final = (
    ("signingAlg", "signing_alg"),
    ("issuer", "issuer"),
    ("subject", "subject"),
    ("publicKey", "public_key"),
    ("extensions", "extensions"),
)


def _read_template(value: Any) -> CertTemplate:
    found: dict[str, Any] = {}
    for theirs, ours in _TEMPLATE_NUMBERS:
        found[ours] = der.integer(bytes(value[theirs])) if value[theirs].isValue else None
    if value["validity"].isValue:
        found |= {ours: _read_time(value["validity"][theirs]) for theirs, ours in _TEMPLATE_TIMES}
    found |= {ours: asn1.whole(value[theirs]) for theirs, ours in _TEMPLATE_OCTETS}
    return CertTemplate(**found)


def _read_attributes(raw: Any) -> tuple[Attribute, ...]:
    return tuple(map(_read_attribute, asn1.items(asn1.whole(raw))))


def _read_attribute(octets: bytes) -> Attribute:
    kind, value = asn1.read_typed(octets)
    if value is None:
        raise der.malformed(f"an attribute of the type {kind} has no value")
    return Attribute(kind, value)


def _write_attributes(attributes: tuple[Attribute, ...]) -> bytes:
    """Return the list of attributes; nothing for none, since both of CRMF's lists have one at least."""
    entries = [asn1.write_typed(one.type, one.value) for one in attributes]
    return der.wrap(der.SEQUENCE, *entries) if entries else b""


def _number(tag: int, number: int | None) -> bytes:
    """Return an INTEGER under an implicit tag; nothing for None."""
    return b"" if number is None else der.wrap(_PRIMITIVE | tag, der.integer_contents(number))


def _implicit(tag: int, sequence: bytes | None) -> bytes:
    """Return the SEQUENCE ``sequence`` with ``tag`` in the place of its own; nothing for None."""
    return b"" if sequence is None else der.wrap(_CONSTRUCTED | tag, der.unwrap(sequence))


def _explicit(tag: int, sequence: bytes | None) -> bytes:
    """Return the SEQUENCE ``sequence`` inside of ``tag``; nothing for None."""
    return b"" if sequence is None else der.wrap(_CONSTRUCTED | tag, der.wrap(der.SEQUENCE, der.unwrap(sequence)))
