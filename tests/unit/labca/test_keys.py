from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from agent.cmp import algorithms
from agent.errors import ConfigurationError
from agent.labca import pki
from agent.labca.keys import KeyKind, LabKey, key_identifier
from tests.unit.labca.entity import NOW


@pytest.mark.parametrize("kind", sorted(set(KeyKind) - {KeyKind.RSA_3072}))  # takes seconds to make, and is RSA
def test_a_key_of_each_kind_signs_comes_back_from_its_file_and_makes_a_pki(kind: KeyKind) -> None:
    key = LabKey.from_pem(LabKey.generate(kind).pem())
    assert key.schemes
    for scheme in key.schemes:
        rule = algorithms.SIGNATURES[scheme]
        signature = key.sign(b"data", scheme)
        assert algorithms.verify(algorithms.load_public_key(key.public_key), rule, signature, b"data")
        assert not algorithms.verify(algorithms.load_public_key(key.public_key), rule, signature, b"other data")


@pytest.mark.parametrize("kind", [KeyKind.EC_P384, KeyKind.EC_P521, KeyKind.ED25519, KeyKind.ML_DSA_44])
def test_certificates_signed_with_each_kind_verify(kind: KeyKind) -> None:
    made = pki.make(kind, NOW)
    rule = algorithms.signature_algorithm(
        algorithms.build_algorithm(made.ra.loaded.signature_algorithm_oid.dotted_string)
    )
    assert algorithms.verify(
        algorithms.load_public_key(made.issuing.key.public_key),
        rule,
        made.ra.loaded.signature,
        made.ra.loaded.tbs_certificate_bytes,
    )


def test_a_key_identifier_is_the_one_of_rfc_7093() -> None:
    key = LabKey.generate()
    point = key.public_key[-65:]
    assert key_identifier(key.public_key) == x509.SubjectKeyIdentifier(_sha256(point)[:20]).digest


def _sha256(octets: bytes) -> bytes:
    return algorithms.HASHES["sha256"].digest(octets)


def test_a_lab_signs_as_it_is_told_and_does_so_after_a_restart(tmp_path: Path) -> None:
    made = pki.load_or_make(tmp_path, KeyKind.RSA_2048, NOW, scheme="rsa-pkcs1-sha1")
    assert made.ra.loaded.signature_algorithm_oid == x509.SignatureAlgorithmOID.RSA_WITH_SHA1
    again = pki.load_or_make(tmp_path, KeyKind.RSA_2048, NOW, scheme="rsa-pkcs1-md5")
    assert again.issuing.certificate == made.issuing.certificate
    assert {one.key.schemes[0] for one in (again.root, again.issuing, again.ra)} == {"rsa-pkcs1-md5"}
    assert again.vendor_root.key.schemes[0] == "ecdsa-sha256"


def test_a_signature_that_the_keys_cannot_make_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot sign with rsa-pss-sha256") as caught:
        pki.make(KeyKind.ED448, NOW, scheme="rsa-pss-sha256")
    assert "ed448" in caught.value.remedy
