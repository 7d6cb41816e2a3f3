"""Proof of possession: showing that we hold the private key we want certified (RFC 4211 section 4, RFC 2986)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa, x448, x25519

from agent.cmp import algorithms, asn1, by_schema, crmf, der, schema
from agent.cmp.bodies import CertReqMsg, PopKey, PopSignature, PopSubsequent, SubsequentMessage
from agent.cmp.errors import LocalError, defect
from agent.cmp.protection import Kind

if TYPE_CHECKING:
    from agent.cmp.bodies import CertRequest
    from agent.cmp.protection import Protector

_EXTENSION_REQUEST: Final = "1.2.840.113549.1.9.14"
_SENDER: Final = 0xA0


class PopMethod(StrEnum):
    """How possession is proven. A key that can sign signs; the others are for one that cannot (RFC 9810 5.2.8)."""

    SIGNATURE = "signature"
    CHALLENGE = "challenge"
    """The CA sends a number encrypted for the key, and wants to see it (popdecc, popdecr)."""
    ENCRYPTED_CERTIFICATE = "encrypted-certificate"
    """The CA sends the certificate encrypted for the key, and wants to see its hash (certConf)."""


_METHODS: Final = {
    PopMethod.CHALLENGE: SubsequentMessage.CHALLENGE_RESP,
    PopMethod.ENCRYPTED_CERTIFICATE: SubsequentMessage.ENCR_CERT,
}


def sign_request(
    request: CertRequest,
    signer: algorithms.Signer,
    scheme: str | None = None,
    *,
    vouched_by: bytes | Protector | None = None,
) -> CertReqMsg:
    """Return ``request`` with a POP signature by the key to be certified (``scheme``: default the key's best).

    With subject and public key in the template poposkInput is left out, and the signature covers the DER of certReq,
    controls included (RFC 4211 4.1, RFC 9483 4.1.1). Without a subject, poposkInput says who asks, and is signed
    instead: ``vouched_by`` is then the DER GeneralName of whoever protects the message with a certificate, or the MAC
    protector of a shared secret.

    Raises:
        LocalError: when the template has no public key or nothing says who asks, or the key cannot sign so.
    """
    rule = algorithms.scheme_of(signer, scheme)
    octets = crmf.encode_request(request)
    if request.template.public_key is None:
        raise defect("a certificate request without a public key cannot prove possession of a key")
    pop_input = None
    if request.template.subject is None:
        pop_input = der.wrap(
            der.SEQUENCE, _who_asks(vouched_by, request.template.public_key), request.template.public_key
        )
    # Signed as a SEQUENCE of its own, not under the tag it is sent with: so everybody does it (RFC 9810 5.2.8.2).
    signature = signer.sign(octets if pop_input is None else pop_input, rule.name)
    possession = PopSignature(algorithm=algorithms.signature_identifier(rule), signature=signature, input=pop_input)
    return CertReqMsg(request=request, possession=possession, request_octets=octets)


def announce(request: CertRequest, proof: PopMethod) -> CertReqMsg:
    """Return ``request`` for a key that proves itself later, in answer to what the CA sends (RFC 4211 4.2).

    Raises:
        LocalError: when nothing can be encrypted for the key.
    """
    if request.template.public_key is None:
        raise defect("a certificate request without a public key cannot prove possession of a key")
    octets = crmf.encode_request(request)
    match algorithms.load_public_key(request.template.public_key):
        case rsa.RSAPublicKey():
            key = PopKey.ENCIPHERMENT
        case ec.EllipticCurvePublicKey() | x25519.X25519PublicKey() | x448.X448PublicKey():
            key = PopKey.AGREEMENT
        case _:
            raise LocalError(
                f"a key of this kind only signs; it cannot be proven by {proof}",
                remedy="Set `usage` of the key to signature, or choose another algorithm.",
            )
    return CertReqMsg(request=request, possession=PopSubsequent(key, _METHODS[proof]), request_octets=octets)


def _who_asks(vouched_by: bytes | Protector | None, public_key: bytes) -> bytes:
    """Return authInfo of POPOSigningKeyInput: a sender that is proven otherwise, or a MAC over the key."""
    if vouched_by is None:
        raise defect("a certificate request without a subject must say otherwise who asks")
    if isinstance(vouched_by, bytes):
        return der.wrap(_SENDER, vouched_by)
    if vouched_by.kind is not Kind.MAC:
        raise defect("the key in a certificate request without a subject can be vouched for by a MAC only")
    made = der.wrap(der.BIT_STRING, b"\x00", vouched_by.protect(public_key))
    return der.wrap(der.SEQUENCE, vouched_by.algorithm, made)


def sign_pkcs10(
    subject: bytes, extensions: bytes | None, signer: algorithms.Signer, scheme: str | None = None
) -> bytes:
    """Return the DER of a PKCS#10 request for ``subject`` (DER Name) and ``extensions`` (DER Extensions or None).

    Raises:
        LocalError: when the key cannot sign so.
    """
    rule = algorithms.scheme_of(signer, scheme)
    value = schema.CertificationRequest()
    info = value["certificationRequestInfo"]
    info["version"] = 0
    info["subject"] = der.unwrap(subject)
    info["subjectPKInfo"] = der.unwrap(signer.public_key)
    info["attributes"] = _extension_request(extensions) if extensions else b""
    value["signatureAlgorithm"] = der.unwrap(algorithms.signature_identifier(rule))
    value["signature"] = by_schema.bits(signer.sign(by_schema.encode(info), rule.name))
    return by_schema.encode(value)


def _extension_request(extensions: bytes) -> bytes:
    return asn1.write_typed(_EXTENSION_REQUEST, der.wrap(der.SET, extensions))
