"""Which of our keys and schemes a token can do, and by which mechanism: tables over PKCS#11's names.

Hashing is done here and the token only pads and signs, because many tokens (SoftHSM, smart cards) hash nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pkcs11 import MGF, KeyType, Mechanism

from hsm.algorithms import CIPHERS, KEY_PARAMETERS, SCHEMES, Cipher, Family, KeyAlgorithm, Padding, Scheme

_DIGEST_INFO: Final[dict[str, bytes]] = {
    "md5": bytes.fromhex("3020300c06082a864886f70d020505000410"),
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""What stands before the hash (RFC 8017 section 9.2, note 1)."""

_HASHES: Final[dict[str, tuple[Mechanism, MGF]]] = {
    "sha1": (Mechanism.SHA_1, MGF.SHA1),
    "sha256": (Mechanism.SHA256, MGF.SHA256),
    "sha384": (Mechanism.SHA384, MGF.SHA384),
    "sha512": (Mechanism.SHA512, MGF.SHA512),
}

_GENERATORS: Final[dict[Family, tuple[KeyType, Mechanism]]] = {
    Family.RSA: (KeyType.RSA, Mechanism.RSA_PKCS_KEY_PAIR_GEN),
    Family.EC: (KeyType.EC, Mechanism.EC_KEY_PAIR_GEN),
    Family.ED25519: (KeyType.EC_EDWARDS, Mechanism.EC_EDWARDS_KEY_PAIR_GEN),
    Family.ED448: (KeyType.EC_EDWARDS, Mechanism.EC_EDWARDS_KEY_PAIR_GEN),
}

_CURVES: Final[dict[str, tuple[bytes, ...]]] = {
    "secp256r1": (bytes.fromhex("06082a8648ce3d030107"),),
    "secp384r1": (bytes.fromhex("06052b81040022"),),
    "secp521r1": (bytes.fromhex("06052b81040023"),),
    # PKCS#11 3.0 has the curve's name, 3.1 its OID too, and modules take the one or the other.
    "ed25519": (b"\x13\x0cedwards25519", bytes.fromhex("06032b6570")),
    "ed448": (b"\x13\x0aedwards448", bytes.fromhex("06032b6571")),
}
"""CKA_EC_PARAMS by the names of SEC 2, and of RFC 8032; DER."""

_LEAST_BITS: Final = 64

_SIZES: Final[dict[str, int]] = {
    "secp256r1": 256,
    "secp384r1": 384,
    "secp521r1": 521,
    "ed25519": 255,
    "ed448": 448,
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a key is made: ``parameters`` are forms of CKA_EC_PARAMS to try in turn, none for RSA."""

    key_type: KeyType
    mechanism: Mechanism
    bits: int
    parameters: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """What the token is asked to do with ``data``."""

    mechanism: Mechanism
    data: bytes
    parameter: Any = None


def recipe(algorithm: KeyAlgorithm) -> Recipe | None:
    """Return how PKCS#11 makes such a key; None when it does not."""
    rule = KEY_PARAMETERS[algorithm]
    if rule.family not in _GENERATORS:
        return None
    key_type, mechanism = _GENERATORS[rule.family]
    if rule.bits is not None:
        return Recipe(key_type, mechanism, rule.bits)
    curve = rule.curve or rule.family.value
    return Recipe(key_type, mechanism, _SIZES[curve], _CURVES[curve])


def curve_of(parameters: bytes) -> str | None:
    """Return the name of the curve that CKA_EC_PARAMS names."""
    return next((name for name, forms in _CURVES.items() if parameters in forms), None)


def makes(limits: Mapping[Mechanism, tuple[int, int]]) -> tuple[KeyAlgorithm, ...]:
    """Return what a token makes; ``limits`` are the smallest and largest sizes it tells, (0, 0) for untold."""
    return tuple(name for name in KEY_PARAMETERS if _can_make(name, limits))


def _can_make(name: KeyAlgorithm, limits: Mapping[Mechanism, tuple[int, int]]) -> bool:
    how = recipe(name)
    if how is None or how.mechanism not in limits:
        return False
    least, most = limits[how.mechanism]
    # Some tell octets, or nothing at all; what cannot be is found out when a key is made.
    tolerance = 1 if how.key_type is KeyType.EC_EDWARDS else 0  # Ed25519 has 255 bits, or 256
    return most < _LEAST_BITS or least - tolerance <= how.bits <= most + tolerance


def schemes_of(known: Iterable[Scheme], mechanisms: Iterable[Mechanism]) -> tuple[Scheme, ...]:
    """Return which of ``known`` the token can do."""
    able = frozenset(mechanisms)
    return tuple(one for one in known if _signing_mechanism(one) in able)


def ciphers_of(known: Iterable[Cipher], mechanisms: Iterable[Mechanism]) -> tuple[Cipher, ...]:
    """Return which of ``known`` the token can do; it may still refuse a hash that it does not have."""
    able = frozenset(mechanisms)
    return tuple(one for one in known if _decryption_mechanism(one) in able)


def signing(scheme: Scheme, data: bytes, bits: int) -> Operation:
    """Return how the token signs ``data``; ``bits`` is the size of the key's modulus or field."""
    digest = SCHEMES[scheme].digest
    mechanism = _signing_mechanism(scheme)
    assert mechanism is not None  # noqa: S101 - the key does not offer others
    if digest is None:
        return Operation(mechanism, data)
    hashed = hashlib.new(digest, data, usedforsecurity=False).digest()
    match mechanism:
        case Mechanism.RSA_PKCS:
            return Operation(mechanism, _DIGEST_INFO[digest] + hashed)
        case Mechanism.RSA_PKCS_PSS:
            return Operation(mechanism, hashed, (*_HASHES[digest], len(hashed)))
    # ECDSA takes the leftmost bits (SEC 1 4.1.3); not every token cuts a longer hash by itself.
    return Operation(mechanism, hashed[: (bits + 7) // 8])


def decryption(cipher: Cipher, ciphertext: bytes) -> Operation:
    """Return how the token decrypts ``ciphertext``."""
    digest = CIPHERS[cipher]
    mechanism = _decryption_mechanism(cipher)
    return Operation(mechanism, ciphertext, None if digest is None else (*_HASHES[digest], None))


def _signing_mechanism(scheme: Scheme) -> Mechanism | None:
    rule = SCHEMES[scheme]
    match rule.family:
        case Family.RSA:
            return Mechanism.RSA_PKCS_PSS if rule.padding is Padding.PSS else Mechanism.RSA_PKCS
        case Family.EC:
            return Mechanism.ECDSA
        case Family.ED25519 | Family.ED448:
            return Mechanism.EDDSA
    return None


def _decryption_mechanism(cipher: Cipher) -> Mechanism:
    return Mechanism.RSA_PKCS if CIPHERS[cipher] is None else Mechanism.RSA_PKCS_OAEP
