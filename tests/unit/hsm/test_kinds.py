from __future__ import annotations

import sys

import pytest
from cryptography.hazmat.primitives import asymmetric
from cryptography.hazmat.primitives.asymmetric import dsa, ec, mldsa, mlkem, rsa, x448

from hsm.algorithms import KEY_PARAMETERS, KeyAlgorithm
from hsm.kinds import Unsuitable, kind_of


def rsa_of(bits: int) -> rsa.RSAPublicKey:
    """Return a public key with a modulus of that size; nobody has its private half."""
    return rsa.RSAPublicNumbers(e=65_537, n=(1 << (bits - 1)) | 1).public_key()


def dsa_of(bits: int) -> dsa.DSAPublicKey:
    """Return a DSA key; its numbers have the right sizes and nothing else."""
    numbers = dsa.DSAParameterNumbers(p=(1 << (bits - 1)) | 1, q=(1 << 159) | 1, g=2)
    return dsa.DSAPublicNumbers(y=4, parameter_numbers=numbers).public_key()


@pytest.mark.parametrize(
    ("bits", "algorithm", "legacy"),
    [
        (1024, KeyAlgorithm.RSA_1024, True),
        (1536, None, True),
        (2047, None, True),
        (2048, KeyAlgorithm.RSA_2048, False),
        (2560, None, False),
        (4096, KeyAlgorithm.RSA_4096, False),
        (16_384, None, False),
    ],
)
def test_rsa_keys_of_any_sensible_size_are_used_and_short_ones_are_flagged(
    bits: int, algorithm: KeyAlgorithm | None, *, legacy: bool
) -> None:
    kind = kind_of(rsa_of(bits))
    assert (kind.algorithm, kind.legacy) == (algorithm, legacy)
    assert kind.schemes[0] == "rsa-pkcs1-sha256"
    assert "rsa-pkcs1" in kind.ciphers
    assert not kind.agrees


@pytest.mark.parametrize(("bits", "algorithm"), [(1024, KeyAlgorithm.DSA_1024), (2048, None), (3072, None)])
def test_every_dsa_key_is_flagged(bits: int, algorithm: KeyAlgorithm | None) -> None:
    kind = kind_of(dsa_of(bits))
    assert (kind.algorithm, kind.legacy, kind.schemes) == (algorithm, True, ("dsa-sha1",))


@pytest.mark.parametrize(
    ("algorithm", "public"),
    [
        (KeyAlgorithm.EC_P256, ec.generate_private_key(ec.SECP256R1()).public_key()),
        (KeyAlgorithm.EC_P521, ec.generate_private_key(ec.SECP521R1()).public_key()),
        (KeyAlgorithm.ML_DSA_87, mldsa.MLDSA87PrivateKey.generate().public_key()),
    ],
)
def test_other_keys_can_do_what_their_row_says(algorithm: KeyAlgorithm, public: ec.EllipticCurvePublicKey) -> None:
    kind, rule = kind_of(public), KEY_PARAMETERS[algorithm]
    assert kind.algorithm is algorithm
    assert (kind.schemes, kind.ciphers, kind.agrees, kind.legacy) == (rule.schemes, (), rule.agrees, False)


@pytest.mark.parametrize(
    ("public", "said"),
    [
        (rsa_of(1023), "an RSA key of 1023 bits"),
        (rsa_of(16_385), "an RSA key of 16385 bits"),
        (ec.generate_private_key(ec.SECP256K1()).public_key(), "a key on the curve secp256k1"),
        (x448.X448PrivateKey.generate().public_key(), "a key of a kind that is not used here"),
        (mlkem.MLKEM768PrivateKey.generate().public_key(), "a key of a kind that is not used here"),
    ],
    ids=["RSA too small", "RSA too large", "curve", "X448", "ML-KEM"],
)
def test_a_key_nobody_uses_is_named(public: rsa.RSAPublicKey, said: str) -> None:
    with pytest.raises(Unsuitable, match=said):
        kind_of(public)


def test_an_old_library_without_ml_dsa_is_no_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(asymmetric, "mldsa")
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None)
    with pytest.raises(Unsuitable):
        kind_of(x448.X448PrivateKey.generate().public_key())
