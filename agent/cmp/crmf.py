"""Certificate requests to octets and back: RFC 4211 (CRMF), the part of CMP with implicit tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent.cmp import asn1, der, schema
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


def decode_message(octets: bytes) -> CertReqMsg:
    """Read the DER of a CertReqMsg.

    Raises:
        MalformedMessage: when it is none, or its proof of possession is of a kind that we do not know.
    """
    value = asn1.decode(octets, schema.CertReqMsg())
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
    value = schema.CertReqMsg()
    value["certReq"] = _write_request(message.request)
    if message.possession is not None:
        _write_possession(value["popo"], message.possession)
    if message.reg_info:
        value["regInfo"] = _write_attributes(message.reg_info)
    return asn1.encode(value)


def encode_request(request: CertRequest) -> bytes:
    """Return the DER of CertRequest: what a POP signature covers (RFC 4211 4.1)."""
    return asn1.encode(_write_request(request))


def encode_template(template: CertTemplate) -> bytes:
    """Return the DER of a CertTemplate."""
    return asn1.encode(_write_template(template))


def decode_template(octets: bytes) -> CertTemplate:
    """Read the DER of a CertTemplate.

    Raises:
        MalformedMessage: when it is none.
    """
    return _read_template(asn1.decode(octets, schema.CertTemplate()))


def encode_cert_id(cert_id: CertId) -> bytes:
    """Return the DER of a CertId, the value of the control oldCertID."""
    value = schema.CertId()
    value["issuer"] = asn1.decode(cert_id.issuer, schema.GeneralName())
    value["serialNumber"] = cert_id.serial_number
    return asn1.encode(value)


def decode_cert_id(octets: bytes) -> CertId:
    """Read the DER of a CertId.

    Raises:
        MalformedMessage: when it is none.
    """
    value = asn1.decode(octets, schema.CertId())
    return CertId(asn1.encode(value["issuer"]), int(value["serialNumber"]))


def _write_request(request: CertRequest) -> Any:
    value = schema.CertRequest()
    value["certReqId"] = request.cert_req_id
    value["certTemplate"] = _write_template(request.template)
    if request.controls:
        value["controls"] = _write_attributes(request.controls)
    return value


_WHOLE_OCTETS: Final = b"\x00"
"""What a BIT STRING begins with when all bits of its last octet count."""


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


def _write_possession(target: Any, possession: Possession) -> None:
    match possession:
        case RaVerified():
            target["raVerified"] = b""
        case PopSignature():
            signing = target["signature"]
            if possession.input is not None:
                signing["poposkInput"] = der.unwrap(possession.input)
            signing["algorithmIdentifier"] = der.unwrap(possession.algorithm)
            signing["signature"] = _WHOLE_OCTETS + possession.signature
        case PopSubsequent():
            target[possession.key.value]["subsequentMessage"] = der.integer_contents(possession.method)


def _read_time(value: Any) -> datetime | None:
    if not value.isValue:
        return None
    written = str(value.getComponent())
    if value.getName() == "utcTime":
        written = ("20" if written[:2] < "50" else "19") + written  # RFC 5280 4.1.2.5.1
    return moment(written)


def _write_time(target: Any, when: datetime) -> None:
    # RFC 5280 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050; two digits mean nothing before 1950.
    written = generalized_time(when)
    if "1950" <= written[:4] < "2050":
        target["utcTime"] = written[2:]
    else:
        target["generalTime"] = written


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


def _write_template(template: CertTemplate) -> Any:
    value = schema.CertTemplate()
    for theirs, ours in _TEMPLATE_NUMBERS:
        if (number := getattr(template, ours)) is not None:
            value[theirs] = der.integer_contents(number)
    for theirs, ours in _TEMPLATE_TIMES:
        if (when := getattr(template, ours)) is not None:
            _write_time(value["validity"][theirs], when)
    for theirs, ours in _TEMPLATE_OCTETS:
        if (octets := getattr(template, ours)) is not None:
            value[theirs] = der.unwrap(octets)
    return value


def _read_attributes(raw: Any) -> tuple[Attribute, ...]:
    return tuple(map(_read_attribute, asn1.items(asn1.whole(raw))))


def _read_attribute(octets: bytes) -> Attribute:
    kind, value = asn1.read_typed(octets)
    if value is None:
        raise der.malformed(f"an attribute of the type {kind} has no value")
    return Attribute(kind, value)


def _write_attributes(attributes: tuple[Attribute, ...]) -> bytes:
    return b"".join(asn1.write_typed(one.type, one.value) for one in attributes)
