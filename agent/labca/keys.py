"""The lab CA's own keys: made, kept in PEM files without a password, and used through ``cryptography`` directly."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa

from agent.cmp import algorithms, der
from agent.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable


class KeyKind(StrEnum):
    """Keys the lab CA can have; those of 1024 bits are as old servers have them."""

    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"
    EC_P521 = "ec-p521"
    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    ED25519 = "ed25519"
    ED448 = "ed448"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"
    RSA_1024 = "rsa-1024"
    DSA_1024 = "dsa-1024"


class LabKey:
    """A private key in memory; fits :class:`agent.cmp.algorithms.Signer`."""

    def __init__(self, private: Any, scheme: str | None = None) -> None:
        """Take a private key of ``cryptography``; ``scheme`` is what it signs with, None the best it can.

        Raises:
            ConfigurationError: when it cannot sign so.
        """
        self.private = private
        self.public_key: bytes = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.schemes: tuple[str, ...] = _schemes(private)
        if scheme is not None:
            self.schemes = _with_first(scheme, self.schemes)

    @classmethod
    def generate(cls, kind: KeyKind = KeyKind.EC_P256, scheme: str | None = None) -> LabKey:
        """Make a new key.

        Raises:
            ConfigurationError: when the installed ``cryptography`` cannot make such keys, or they cannot sign so.
        """
        return cls(_GENERATORS[kind](), scheme)

    @classmethod
    def from_pem(cls, pem: bytes, scheme: str | None = None) -> LabKey:
        """Read an unencrypted PEM file."""
        return cls(serialization.load_pem_private_key(pem, None), scheme)

    def pem(self) -> bytes:
        """Return the key as unencrypted PKCS#8 in PEM."""
        octets: bytes = self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return octets

    def sign(self, data: bytes, scheme: str) -> bytes:
        """Return the signature over ``data``; ``scheme`` is a name from :data:`agent.cmp.algorithms.SIGNATURES`."""
        rule = algorithms.SIGNATURES[scheme]
        signature: bytes
        if rule.hash is None:
            signature = self.private.sign(data)
            return signature
        hash_ = algorithms.HASHES[rule.hash].primitive
        match self.private:
            case rsa.RSAPrivateKey():
                pad = padding.PSS(padding.MGF1(hash_), hash_.digest_size) if rule.pss else padding.PKCS1v15()
                signature = self.private.sign(data, pad, hash_)
            case ec.EllipticCurvePrivateKey():
                signature = self.private.sign(data, ec.ECDSA(hash_))
            case _:
                signature = self.private.sign(data, hash_)
        return signature


def key_identifier(spki: bytes) -> bytes:
    """Return the subjectKeyIdentifier for a DER SubjectPublicKeyInfo (RFC 7093 method 1: 160 bits of SHA-256)."""
    bits = der.children(spki)[-1]
    return hashlib.sha256(spki[bits.contents + 1 : bits.end]).digest()[:20]


def _schemes(private: Any) -> tuple[str, ...]:
    match private:
        case rsa.RSAPrivateKey():
            pkcs1 = ("rsa-pkcs1-sha256", "rsa-pkcs1-sha384", "rsa-pkcs1-sha512")
            pss = ("rsa-pss-sha256", "rsa-pss-sha384")
            return (*pkcs1, *pss, "rsa-pkcs1-sha1", "rsa-pkcs1-md5")
        case ec.EllipticCurvePrivateKey():
            modern = ("ecdsa-sha384",) if isinstance(private.curve, ec.SECP384R1) else ("ecdsa-sha256", "ecdsa-sha512")
            return (*modern, "ecdsa-sha1")
        case dsa.DSAPrivateKey():
            return ("dsa-sha1", "dsa-sha256")
        case ed25519.Ed25519PrivateKey():
            return ("ed25519",)
        case ed448.Ed448PrivateKey():
            return ("ed448",)
    name = type(private).__name__.upper()
    return tuple(kind.value for kind in KeyKind if kind.name.replace("_", "") in name)


def _with_first(scheme: str, schemes: tuple[str, ...]) -> tuple[str, ...]:
    if scheme not in schemes:
        raise ConfigurationError(
            f"a key of the lab CA cannot sign with {scheme}", remedy=f"Choose one of {', '.join(schemes)}."
        )
    return (scheme, *(one for one in schemes if one != scheme))


def _ml_dsa(size: int) -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa  # noqa: PLC0415 - came to the library late
    except ImportError as error:
        raise ConfigurationError(
            "the installed `cryptography` has no ML-DSA",
            remedy="Install a newer `cryptography`, or choose another key.",
        ) from error
    return getattr(mldsa, f"MLDSA{size}PrivateKey").generate()


_GENERATORS: Final[dict[KeyKind, Callable[[], Any]]] = {
    KeyKind.EC_P256: lambda: ec.generate_private_key(ec.SECP256R1()),
    KeyKind.EC_P384: lambda: ec.generate_private_key(ec.SECP384R1()),
    KeyKind.EC_P521: lambda: ec.generate_private_key(ec.SECP521R1()),
    KeyKind.RSA_2048: lambda: rsa.generate_private_key(65537, 2048),
    KeyKind.RSA_3072: lambda: rsa.generate_private_key(65537, 3072),
    KeyKind.ED25519: ed25519.Ed25519PrivateKey.generate,
    KeyKind.ED448: ed448.Ed448PrivateKey.generate,
    KeyKind.ML_DSA_44: lambda: _ml_dsa(44),
    KeyKind.ML_DSA_65: lambda: _ml_dsa(65),
    KeyKind.ML_DSA_87: lambda: _ml_dsa(87),
    KeyKind.RSA_1024: lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 - as old servers have them
    KeyKind.DSA_1024: lambda: dsa.generate_private_key(1024),  # noqa: S505 - as old servers have them
}
