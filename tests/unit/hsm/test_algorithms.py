from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from agent import settings
from agent.cmp.algorithms import SIGNATURES
from hsm.algorithms import CIPHERS, KEY_PARAMETERS, SCHEMES, Cipher, Family, KeyAlgorithm, Padding, Scheme, rsa_schemes

ROOT = Path(__file__).parents[3]


def test_what_can_be_configured_can_be_made() -> None:
    assert {str(algorithm) for algorithm in settings.KeyAlgorithm} == {str(algorithm) for algorithm in KeyAlgorithm}
    assert {str(name) for name in settings.SignatureName} == {str(scheme) for scheme in Scheme}


def test_cmp_knows_every_scheme_by_the_same_name_hash_and_judgement() -> None:
    for scheme, rule in SCHEMES.items():
        signature = SIGNATURES[scheme]
        assert (signature.family.value, signature.hash) == (rule.family.value, rule.digest)
        assert signature.legacy == rule.legacy
        assert signature.pss == (rule.padding is Padding.PSS)


def test_the_tables_are_complete() -> None:
    assert set(KEY_PARAMETERS) == set(KeyAlgorithm)
    assert set(SCHEMES) == set(Scheme)
    assert set(CIPHERS) == set(Cipher)


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_key_signs_with_every_scheme_of_its_family_and_with_no_other(algorithm: KeyAlgorithm) -> None:
    parameters = KEY_PARAMETERS[algorithm]
    fitting = {scheme for scheme, rule in SCHEMES.items() if rule.family is parameters.family}
    too_long = {Scheme.RSA_PSS_SHA512} if algorithm is KeyAlgorithm.RSA_1024 else set()
    assert set(parameters.schemes) == fitting - too_long
    assert len(parameters.schemes) == len(set(parameters.schemes))


@pytest.mark.parametrize(
    ("algorithm", "best"),
    [
        (KeyAlgorithm.RSA_2048, "rsa-pkcs1-sha256"),
        (KeyAlgorithm.EC_P256, "ecdsa-sha256"),
        (KeyAlgorithm.EC_P384, "ecdsa-sha384"),
        (KeyAlgorithm.EC_P521, "ecdsa-sha512"),
        (KeyAlgorithm.ED25519, "ed25519"),
        (KeyAlgorithm.ED448, "ed448"),
        (KeyAlgorithm.ML_DSA_65, "ml-dsa-65"),
        (KeyAlgorithm.RSA_1024, "rsa-pkcs1-sha256"),
    ],
)
def test_the_best_scheme_comes_first(algorithm: KeyAlgorithm, best: str) -> None:
    assert KEY_PARAMETERS[algorithm].schemes[0] == best


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_legacy_schemes_come_last(algorithm: KeyAlgorithm) -> None:
    marks = [SCHEMES[scheme].legacy for scheme in KEY_PARAMETERS[algorithm].schemes]
    assert marks == sorted(marks)


def test_legacy_is_what_hashes_with_less_than_sha256_and_every_dsa_key_and_short_rsa_keys() -> None:
    for rule in SCHEMES.values():
        weak = rule.digest is not None and hashlib.new(rule.digest).digest_size < 32
        assert rule.legacy == (weak or rule.family is Family.DSA)
    for parameters in KEY_PARAMETERS.values():
        short = parameters.bits is not None and parameters.bits < 2048
        assert parameters.legacy == (short or parameters.family is Family.DSA)


def test_a_pss_signature_is_offered_only_where_hash_and_salt_fit_below_the_modulus() -> None:
    assert Scheme.RSA_PSS_SHA512 not in rsa_schemes(1024)
    assert Scheme.RSA_PSS_SHA512 not in rsa_schemes(1033)
    assert Scheme.RSA_PSS_SHA512 in rsa_schemes(1034)


def test_only_rsa_has_a_padding_and_decrypts_and_only_curves_have_a_name_and_agree() -> None:
    assert all((rule.padding is not None) == (rule.family is Family.RSA) for rule in SCHEMES.values())
    for rule in KEY_PARAMETERS.values():
        assert bool(rule.ciphers) == (rule.family is Family.RSA)
        assert (rule.curve is not None) == (rule.family is Family.EC)
        assert rule.agrees == (rule.family in {Family.EC, Family.X25519})
        assert (rule.bits is not None) == (rule.family in {Family.RSA, Family.DSA})


def test_every_key_can_do_something() -> None:
    assert all(rule.schemes or rule.ciphers or rule.agrees for rule in KEY_PARAMETERS.values())


def test_whoever_only_needs_the_names_loads_no_cryptography() -> None:
    code = "import sys, hsm.algorithms, hsm.keystore, hsm.errors; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=30).returncode == 0
