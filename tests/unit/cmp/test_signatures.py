"""Every signature algorithm where it is used: in certificates, PKCS#10 and certConf; OpenSSL has the second opinion."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

import pytest
from cryptography import x509

from agent.cmp import names
from agent.cmp.algorithms import SIGNATURES, Family
from agent.cmp.certificates import load, read, signature_verifies
from agent.cmp.confirmation import certificate_hash
from agent.cmp.possession import sign_pkcs10
from agent.cmp.profiles import PROFILES, Profile
from agent.labca.certificates import Credential, authority_extensions, end_entity_extensions, plan_for, sign
from agent.labca.keys import KeyKind, LabKey

NOW: Final = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
SUBJECT: Final = names.name_from_text("CN=enb-4711,O=Operator")
KIND_OF: Final[dict[Family, KeyKind]] = {
    Family.RSA: KeyKind.RSA_2048,
    Family.EC: KeyKind.EC_P256,
    Family.DSA: KeyKind.DSA_1024,
    **{family: KeyKind(family.value) for family in Family if family not in {Family.RSA, Family.EC, Family.DSA}},
}


@cache
def key_of(family: Family) -> LabKey:
    return LabKey.generate(KIND_OF[family])


def signing(name: str) -> LabKey:
    """Return a key that signs with the algorithm, as weak as it may be."""
    key = LabKey(key_of(SIGNATURES[name].family).private)
    key.schemes = (name,)
    return key


def authority(name: str) -> Credential:
    """Return a CA that signs everything with one algorithm."""
    key = signing(name)
    plan = plan_for(names.name_from_text("CN=CA"), key, NOW, timedelta(days=30), authority_extensions())
    return Credential(sign(plan, None, key), key)


def issued_by(issuer: Credential) -> bytes:
    plan = plan_for(SUBJECT, key_of(Family.EC), NOW, timedelta(days=9), end_entity_extensions())
    return sign(plan, issuer)


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_certificate_verifies_with_its_issuer_and_with_nobody_else(name: str) -> None:
    issuer = authority(name)
    certificate = issued_by(issuer)
    facts, ca = read(load(certificate)), read(load(issuer.certificate))
    assert signature_verifies(facts, ca)
    assert signature_verifies(ca, ca)
    family = SIGNATURES[name].family
    stranger = Credential(issuer.certificate, LabKey.generate(KIND_OF[family]))
    other = plan_for(SUBJECT, stranger.key, NOW, timedelta(days=9), authority_extensions())
    assert not signature_verifies(facts, read(load(sign(other, None, stranger.key))))
    for wrong in Family:
        if wrong is not family:
            other = plan_for(SUBJECT, key_of(wrong), NOW, timedelta(days=9), authority_extensions())
            assert not signature_verifies(facts, read(load(sign(other, None, key_of(wrong)))))


@pytest.mark.parametrize("name", SIGNATURES)
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_profile_accepts_in_certificates_what_it_would_sign_with_itself(name: str, profile: Profile) -> None:
    """A CA with a key of DSA is refused for its key, whatever the hash."""
    issuer, rules = authority(name), profile.algorithms
    key_problem = rules.key_problem(read(load(issuer.certificate)))
    problem = key_problem or rules.signature_problem(read(load(issued_by(issuer))))
    assert (problem is None) == (name in profile.signatures)


HASH_ALG_SHA512: Final = bytes.fromhex("300b0609608648016503040203")


@pytest.mark.parametrize("name", SIGNATURES)
def test_cert_hash_takes_the_hash_of_the_signature_and_names_it_where_that_does_not(name: str) -> None:
    """RFC 9810 5.3.18: Ed25519 with SHA-512, Ed448 with 64 octets of SHAKE256; ML-DSA has no rule, so it is said."""
    certificate = issued_by(authority(name))
    expected = {
        "ed25519": hashlib.sha512(certificate).digest(),
        "ed448": hashlib.shake_256(certificate).digest(64),
        **dict.fromkeys(("ml-dsa-44", "ml-dsa-65", "ml-dsa-87"), hashlib.sha512(certificate).digest()),
    }
    if name not in expected:
        expected[name] = hashlib.new(name.rsplit("-", 1)[-1], certificate).digest()
    named = HASH_ALG_SHA512 if name.startswith("ml-dsa") else None
    assert certificate_hash(certificate) == (expected[name], named)


@pytest.mark.parametrize("name", [name for name in SIGNATURES if not name.startswith("ml-dsa")])
def test_openssl_verifies_a_pkcs10_request_with_every_signature(name: str) -> None:
    request = sign_pkcs10(SUBJECT, None, signing(name), name)
    command = ["openssl", "req", "-verify", "-noout", "-inform", "DER"]
    judged = subprocess.run(command, input=request, check=True, capture_output=True, timeout=30)
    assert b"verify OK" in judged.stderr


@pytest.mark.parametrize("name", ["ml-dsa-44", "ml-dsa-65", "ml-dsa-87"])
def test_cryptography_verifies_a_pkcs10_request_with_ml_dsa(name: str) -> None:
    request = x509.load_der_x509_csr(sign_pkcs10(SUBJECT, None, signing(name), name))
    assert request.is_signature_valid
    assert request.signature_algorithm_oid.dotted_string == SIGNATURES[name].oid
