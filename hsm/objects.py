"""What stands on a token beside the private key: the public half in X.509's form, and the certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from pkcs11 import Attribute, CertificateType, KeyType, ObjectClass
from pkcs11.exceptions import AttributeSensitive, AttributeTypeInvalid, FunctionFailed, GeneralError

from hsm.mechanisms import curve_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

_POINT_SIZES: Final = {"secp256r1": 65, "secp384r1": 97, "secp521r1": 133, "ed25519": 32, "ed448": 57}
_CURVES: Final = {one.name: one for one in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())}
_UNTOLD: Final = (AttributeTypeInvalid, AttributeSensitive, FunctionFailed, GeneralError)


def attribute(item: Any, name: Attribute) -> Any:
    """Return an attribute of an object, None where the token does not tell it."""
    try:
        return item[name]
    except _UNTOLD:
        return None


def public_key(item: Any) -> PublicKeyTypes | None:
    """Return the public key that an object (public or private key, certificate) tells; None when it tells none.

    Raises:
        ValueError: it is damaged.
    """
    if attribute(item, Attribute.CLASS) is ObjectClass.CERTIFICATE:
        return x509.load_der_x509_certificate(bytes(item[Attribute.VALUE])).public_key()
    match attribute(item, Attribute.KEY_TYPE):
        case KeyType.RSA:
            modulus, exponent = (attribute(item, one) for one in (Attribute.MODULUS, Attribute.PUBLIC_EXPONENT))
            if not modulus or not exponent:
                return None
            return rsa.RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")).public_key()
        case KeyType.EC | KeyType.EC_EDWARDS:
            parameters, point = (attribute(item, one) for one in (Attribute.EC_PARAMS, Attribute.EC_POINT))
            return _on_curve(bytes(parameters), bytes(point)) if parameters and point else None
    return None


def _on_curve(parameters: bytes, point: bytes) -> PublicKeyTypes | None:
    name = curve_of(parameters)
    if name is None:
        return None
    size = _POINT_SIZES[name]
    # An OCTET STRING by the standard, but some tell the octets alone.
    octets = point if len(point) == size else point[len(point) - size :]
    match name:
        case "ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(octets)
        case "ed448":
            return ed448.Ed448PublicKey.from_public_bytes(octets)
    return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[name], octets)


def destroy_pair(session: Any, key_id: bytes | None) -> None:
    """Destroy a key pair, and the certificate beside it. Raise :class:`pkcs11.exceptions.PKCS11Error`."""
    # The private half last: while it is there, a second try finds the rest.
    for kind in (ObjectClass.CERTIFICATE, ObjectClass.PUBLIC_KEY, ObjectClass.PRIVATE_KEY):
        for item in list(session.get_objects({Attribute.CLASS: kind, Attribute.ID: key_id})):
            item.destroy()


def certificate_template(certificate: bytes, key_id: bytes, label: str) -> dict[Attribute, Any]:
    """Return the object to make for a certificate (DER) beside the key ``key_id``."""
    loaded = x509.load_der_x509_certificate(certificate)
    serial = loaded.serial_number
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big", signed=True)
    return {
        Attribute.CLASS: ObjectClass.CERTIFICATE,
        Attribute.CERTIFICATE_TYPE: CertificateType.X_509,
        Attribute.TOKEN: True,
        Attribute.PRIVATE: False,
        Attribute.ID: key_id,
        Attribute.LABEL: label,
        Attribute.SUBJECT: loaded.subject.public_bytes(),
        Attribute.ISSUER: loaded.issuer.public_bytes(),
        Attribute.SERIAL_NUMBER: b"\x02" + bytes([len(octets)]) + octets,
        Attribute.VALUE: loaded.public_bytes(Encoding.DER),
    }
