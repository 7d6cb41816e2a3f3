"""What a key is and what it can do, told from its public half: the same for a file and for a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519

from hsm.algorithms import KEY_PARAMETERS, Cipher, Family, KeyAlgorithm, Scheme, rsa_ciphers, rsa_schemes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

RSA_BITS: Final = range(1024, 16_384 + 1)
"""Modulus sizes of keys made elsewhere: shorter is no protection, longer is a way to keep a small processor busy."""

_LEGACY_RSA_BITS: Final = range(2048)
_DSA_BITS: Final = range(1024, 3072 + 1)
"""FIPS 186-4 section 4.2."""

_BY_SIZE: Final = {(rule.family, rule.bits): name for name, rule in KEY_PARAMETERS.items() if rule.bits is not None}
_BY_CURVE: Final = {rule.curve: name for name, rule in KEY_PARAMETERS.items() if rule.curve is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a key is and can do; the fields mean what they mean in :class:`hsm.keystore.Key`."""

    algorithm: KeyAlgorithm | None
    schemes: tuple[Scheme, ...]
    ciphers: tuple[Cipher, ...] = ()
    agrees: bool = False
    legacy: bool = False


class Unsuitable(Exception):
    """A key nobody here uses; the text says what it is: "an RSA key of 512 bits"."""


def kind_of(public: PublicKeyTypes) -> Kind:
    """Tell what a key is, whether it is of a size we make or not.

    Raises:
        Unsuitable: for a kind, size or curve that is not used here.
    """
    match public:
        case rsa.RSAPublicKey(key_size=bits) if bits in RSA_BITS:
            return Kind(
                algorithm=_BY_SIZE.get((Family.RSA, bits)),
                schemes=rsa_schemes(bits),
                ciphers=rsa_ciphers(bits),
                legacy=bits in _LEGACY_RSA_BITS,
            )
        case rsa.RSAPublicKey(key_size=bits):
            raise Unsuitable(f"an RSA key of {bits} bits")
        case dsa.DSAPublicKey(key_size=bits) if bits in _DSA_BITS:
            schemes = KEY_PARAMETERS[KeyAlgorithm.DSA_1024].schemes
            return Kind(algorithm=_BY_SIZE.get((Family.DSA, bits)), schemes=schemes, legacy=True)
        case dsa.DSAPublicKey(key_size=bits):
            raise Unsuitable(f"a DSA key of {bits} bits")
        case ec.EllipticCurvePublicKey(curve=curve) if curve.name not in _BY_CURVE:
            raise Unsuitable(f"a key on the curve {curve.name}")
    algorithm = _algorithm_of(public)
    rule = KEY_PARAMETERS[algorithm]
    return Kind(algorithm=algorithm, schemes=rule.schemes, ciphers=rule.ciphers, agrees=rule.agrees)


def _algorithm_of(public: PublicKeyTypes) -> KeyAlgorithm:
    match public:
        case ec.EllipticCurvePublicKey(curve=curve):
            return _BY_CURVE[curve.name]
        case ed25519.Ed25519PublicKey():
            return KeyAlgorithm.ED25519
        case ed448.Ed448PublicKey():
            return KeyAlgorithm.ED448
        case x25519.X25519PublicKey():
            return KeyAlgorithm.X25519
    return _ml_dsa_of(public)


def _ml_dsa_of(public: PublicKeyTypes) -> KeyAlgorithm:
    # ML-DSA came to the library late, and takes its time to load: it is looked for only when nothing else fits.
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa  # noqa: PLC0415
    except ImportError:
        raise Unsuitable("a key of a kind that is not used here") from None
    match public:
        case mldsa.MLDSA44PublicKey():
            return KeyAlgorithm.ML_DSA_44
        case mldsa.MLDSA65PublicKey():
            return KeyAlgorithm.ML_DSA_65
        case mldsa.MLDSA87PublicKey():
            return KeyAlgorithm.ML_DSA_87
    raise Unsuitable("a key of a kind that is not used here")
