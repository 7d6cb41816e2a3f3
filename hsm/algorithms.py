"""Which keys there are, how they sign and what they decrypt, as tables: the names a configuration and a store share.

Rows marked ``legacy`` can be forged or broken today. They are there for old peers that know nothing better, and it is
for whoever uses the keys to ask for them by name. This module imports nothing heavy: whoever only needs the names pays
for no cryptography.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class KeyAlgorithm(StrEnum):
    """Keys that can be made."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"
    EC_P521 = "ec-p521"
    ED25519 = "ed25519"
    ED448 = "ed448"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"
    X25519 = "x25519"
    RSA_1024 = "rsa-1024"
    DSA_1024 = "dsa-1024"


class Family(StrEnum):
    """Kinds of keys: what fits one key of a family fits the others."""

    RSA = "rsa"
    DSA = "dsa"
    EC = "ec"
    ED25519 = "ed25519"
    ED448 = "ed448"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"
    X25519 = "x25519"


class Padding(StrEnum):
    """How RSA pads a signature (RFC 8017 sections 8.1 and 8.2)."""

    PKCS1 = "pkcs1"
    PSS = "pss"


class Scheme(StrEnum):
    """Ways to sign, with the octets that X.509 carries.

    ECDSA and DSA as DER (RFC 3279 section 2.2), PSS with MGF1 and a salt as long as the hash (RFC 4055), Ed25519 and
    Ed448 pure (RFC 8410), ML-DSA pure with an empty context (RFC 9881).
    """

    RSA_PKCS1_SHA256 = "rsa-pkcs1-sha256"
    RSA_PKCS1_SHA384 = "rsa-pkcs1-sha384"
    RSA_PKCS1_SHA512 = "rsa-pkcs1-sha512"
    RSA_PSS_SHA256 = "rsa-pss-sha256"
    RSA_PSS_SHA384 = "rsa-pss-sha384"
    RSA_PSS_SHA512 = "rsa-pss-sha512"
    ECDSA_SHA256 = "ecdsa-sha256"
    ECDSA_SHA384 = "ecdsa-sha384"
    ECDSA_SHA512 = "ecdsa-sha512"
    ED25519 = "ed25519"
    ED448 = "ed448"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"
    RSA_PKCS1_SHA1 = "rsa-pkcs1-sha1"
    RSA_PKCS1_MD5 = "rsa-pkcs1-md5"
    ECDSA_SHA1 = "ecdsa-sha1"
    DSA_SHA1 = "dsa-sha1"


class Cipher(StrEnum):
    """Ways to encrypt to an RSA key (RFC 8017 section 7); OAEP with MGF1 of the same hash and without a label."""

    RSA_OAEP_SHA256 = "rsa-oaep-sha256"
    RSA_OAEP_SHA384 = "rsa-oaep-sha384"
    RSA_OAEP_SHA512 = "rsa-oaep-sha512"
    RSA_OAEP_SHA1 = "rsa-oaep-sha1"
    RSA_PKCS1 = "rsa-pkcs1"


@dataclass(frozen=True, slots=True)
class SchemeParameters:
    """``digest``: name of the hash as in :mod:`hashlib`, None where the scheme hashes itself; ``padding``: of RSA.

    ``legacy``: with a hash or a kind of key that can be forged today; nobody gets it without asking for it.
    """

    family: Family
    digest: str | None
    padding: Padding | None = None
    legacy: bool = False


SCHEMES: Final[dict[Scheme, SchemeParameters]] = {
    Scheme.RSA_PKCS1_SHA256: SchemeParameters(Family.RSA, "sha256", Padding.PKCS1),
    Scheme.RSA_PKCS1_SHA384: SchemeParameters(Family.RSA, "sha384", Padding.PKCS1),
    Scheme.RSA_PKCS1_SHA512: SchemeParameters(Family.RSA, "sha512", Padding.PKCS1),
    Scheme.RSA_PSS_SHA256: SchemeParameters(Family.RSA, "sha256", Padding.PSS),
    Scheme.RSA_PSS_SHA384: SchemeParameters(Family.RSA, "sha384", Padding.PSS),
    Scheme.RSA_PSS_SHA512: SchemeParameters(Family.RSA, "sha512", Padding.PSS),
    Scheme.ECDSA_SHA256: SchemeParameters(Family.EC, "sha256"),
    Scheme.ECDSA_SHA384: SchemeParameters(Family.EC, "sha384"),
    Scheme.ECDSA_SHA512: SchemeParameters(Family.EC, "sha512"),
    Scheme.ED25519: SchemeParameters(Family.ED25519, None),
    Scheme.ED448: SchemeParameters(Family.ED448, None),
    Scheme.ML_DSA_44: SchemeParameters(Family.ML_DSA_44, None),
    Scheme.ML_DSA_65: SchemeParameters(Family.ML_DSA_65, None),
    Scheme.ML_DSA_87: SchemeParameters(Family.ML_DSA_87, None),
    Scheme.RSA_PKCS1_SHA1: SchemeParameters(Family.RSA, "sha1", Padding.PKCS1, legacy=True),
    Scheme.RSA_PKCS1_MD5: SchemeParameters(Family.RSA, "md5", Padding.PKCS1, legacy=True),
    Scheme.ECDSA_SHA1: SchemeParameters(Family.EC, "sha1", legacy=True),
    Scheme.DSA_SHA1: SchemeParameters(Family.DSA, "sha1", legacy=True),
}

CIPHERS: Final[dict[Cipher, str | None]] = {
    Cipher.RSA_OAEP_SHA256: "sha256",
    Cipher.RSA_OAEP_SHA384: "sha384",
    Cipher.RSA_OAEP_SHA512: "sha512",
    Cipher.RSA_OAEP_SHA1: "sha1",
    Cipher.RSA_PKCS1: None,
}
"""The hash of OAEP, as in :mod:`hashlib`. SHA-1 is no weakness there; what to take is the sender's choice anyway."""


def rsa_schemes(bits: int) -> tuple[Scheme, ...]:
    """Return the ways an RSA key with a modulus of ``bits`` signs, best first.

    PKCS#1 v1.5 with SHA-256 comes first: every CMP server and every IKE peer verifies it; PSS only where asked for.
    """
    return tuple(
        scheme
        for scheme, rule in SCHEMES.items()
        if rule.family is Family.RSA and (rule.padding is not Padding.PSS or _has_room(bits, str(rule.digest)))
    )


def rsa_ciphers(bits: int) -> tuple[Cipher, ...]:
    """Return the ways to encrypt to an RSA key with a modulus of ``bits``, best first."""
    return tuple(cipher for cipher, digest in CIPHERS.items() if digest is None or _has_room(bits, digest))


_DIGEST_SIZES: Final = {"md5": 16, "sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
"""Octets (RFC 1321, FIPS 180-4). A table and not hashlib, which would load OpenSSL to check a configuration: 4 ms."""


def _has_room(bits: int, digest: str) -> bool:
    """Tell whether two hashes and two octets fit below the modulus (RFC 8017 sections 7.1.1 and 9.1.1)."""
    return (bits - 1 + 7) // 8 >= 2 * _DIGEST_SIZES[digest] + 2


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyParameters:
    """How keys of one algorithm are made and what they can do.

    ``schemes``: ways to sign, best first, the hash that fits the curve before the others, legacy ones last; ``bits``:
    size of the modulus of RSA and DSA; ``curve``: its name in SEC 2; ``ciphers``: what it decrypts; ``agrees``: whether
    it makes shared secrets; ``legacy``: can be broken today, so whoever uses such a key must have a reason.
    """

    family: Family
    schemes: tuple[Scheme, ...] = ()
    bits: int | None = None
    curve: str | None = None
    ciphers: tuple[Cipher, ...] = ()
    agrees: bool = False
    legacy: bool = False


def _rsa(bits: int, *, legacy: bool = False) -> KeyParameters:
    schemes, ciphers = rsa_schemes(bits), rsa_ciphers(bits)
    return KeyParameters(family=Family.RSA, schemes=schemes, bits=bits, ciphers=ciphers, legacy=legacy)


def _ec(curve: str, *schemes: Scheme) -> KeyParameters:
    return KeyParameters(family=Family.EC, schemes=(*schemes, Scheme.ECDSA_SHA1), curve=curve, agrees=True)


def _only(scheme: Scheme) -> KeyParameters:
    return KeyParameters(family=SCHEMES[scheme].family, schemes=(scheme,))


KEY_PARAMETERS: Final[dict[KeyAlgorithm, KeyParameters]] = {
    KeyAlgorithm.RSA_2048: _rsa(2048),
    KeyAlgorithm.RSA_3072: _rsa(3072),
    KeyAlgorithm.RSA_4096: _rsa(4096),
    KeyAlgorithm.EC_P256: _ec("secp256r1", Scheme.ECDSA_SHA256, Scheme.ECDSA_SHA384, Scheme.ECDSA_SHA512),
    KeyAlgorithm.EC_P384: _ec("secp384r1", Scheme.ECDSA_SHA384, Scheme.ECDSA_SHA512, Scheme.ECDSA_SHA256),
    KeyAlgorithm.EC_P521: _ec("secp521r1", Scheme.ECDSA_SHA512, Scheme.ECDSA_SHA384, Scheme.ECDSA_SHA256),
    KeyAlgorithm.ED25519: _only(Scheme.ED25519),
    KeyAlgorithm.ED448: _only(Scheme.ED448),
    KeyAlgorithm.ML_DSA_44: _only(Scheme.ML_DSA_44),
    KeyAlgorithm.ML_DSA_65: _only(Scheme.ML_DSA_65),
    KeyAlgorithm.ML_DSA_87: _only(Scheme.ML_DSA_87),
    KeyAlgorithm.X25519: KeyParameters(family=Family.X25519, agrees=True),
    KeyAlgorithm.RSA_1024: _rsa(1024, legacy=True),
    KeyAlgorithm.DSA_1024: KeyParameters(family=Family.DSA, schemes=(Scheme.DSA_SHA1,), bits=1024, legacy=True),
}
