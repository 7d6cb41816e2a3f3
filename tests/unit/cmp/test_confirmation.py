from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from agent.cmp import algorithms, codec, composition, der, names
from agent.cmp.bodies import CertConfirm
from agent.cmp.certificates import MODERN, load
from agent.cmp.confirmation import certificate_hash
from agent.cmp.errors import MalformedMessage, ProtectionError
from agent.cmp.memory import Memory
from agent.cmp.messages import BodyType, parse
from agent.cmp.request import Inquiry
from agent.cmp.states import State
from agent.cmp.trust import build_path
from tests.unit.cmp import openssl, pki

VECTORS = Path(__file__).parents[2] / "vectors" / "openssl"
RSA = rsa.generate_private_key(65537, 2048)


def signed_with(algorithm: bytes) -> bytes:
    """Return a certificate that says it was signed with this algorithm; nobody verifies it here."""
    holder = pki.issue("CN=enb")
    content, _, signature = der.values(holder.octets)
    return der.wrap(der.SEQUENCE, content, algorithm, signature)


def test_the_hash_is_that_of_the_signature_algorithm() -> None:
    for name in ("sha224", "sha256", "sha384", "sha512"):
        for scheme in (f"rsa-pkcs1-{name}", f"ecdsa-{name}", f"rsa-pss-{name}"):
            certificate = signed_with(algorithms.signature_identifier(algorithms.SIGNATURES[scheme]))
            assert certificate_hash(certificate) == (hashlib.new(name, certificate).digest(), None)


@pytest.mark.parametrize(
    "holder",
    [pki.issue("CN=a", key=RSA), pki.issue("CN=a", key=RSA, pss=True), pki.issue("CN=a", key=pki.new_key())],
    ids=["rsa", "rsa-pss", "ec"],
)
def test_real_certificates_signed_with_sha256(holder: pki.Holder) -> None:
    assert certificate_hash(holder.octets) == (hashlib.sha256(holder.octets).digest(), None)


def test_eddsa_has_its_own_hashes() -> None:
    ed25519_one = pki.issue("CN=a", key=ed25519.Ed25519PrivateKey.generate()).octets
    assert certificate_hash(ed25519_one) == (hashlib.sha512(ed25519_one).digest(), None)
    ed448_one = pki.issue("CN=a", key=ed448.Ed448PrivateKey.generate()).octets
    assert certificate_hash(ed448_one) == (hashlib.shake_256(ed448_one).digest(64), None)


@pytest.mark.parametrize("size", [44, 65, 87])
def test_ml_dsa_names_its_hash(size: int) -> None:
    certificate = signed_with(algorithms.signature_identifier(algorithms.SIGNATURES[f"ml-dsa-{size}"]))
    digest, hash_algorithm = certificate_hash(certificate)
    assert digest == hashlib.sha512(certificate).digest()
    assert hash_algorithm is not None
    assert algorithms.hash_algorithm(hash_algorithm).name == "sha512"


def test_openssl_sends_the_same_hash() -> None:
    """certConf of a recorded transaction is about the certificate beside it."""
    certificate = (VECTORS / "certificate.der").read_bytes()
    confirmation = parse((VECTORS / "signed-cr-request1.der").read_bytes()).body()
    assert isinstance(confirmation, CertConfirm)
    assert confirmation.statuses[0].cert_hash == certificate_hash(certificate)[0]
    assert load(certificate).signature_hash_algorithm is not None


def test_every_kind_of_certificate_by_openssl_has_a_hash(openssl_folder: Path) -> None:
    files = openssl.der_files(openssl_folder)
    assert [len(certificate_hash(files[f"{kind}.pem"])[0]) for kind in ("rsa", "ec", "ed25519")] == [32, 32, 64]


@pytest.mark.parametrize("octets", ["", "3000", "300405000500", "0500", "30060500050005"])
def test_what_is_no_certificate_is_refused(octets: str) -> None:
    with pytest.raises(MalformedMessage):
        certificate_hash(bytes.fromhex(octets))


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ProtectionError, match="not accepted here"):
        certificate_hash(signed_with(algorithms.build_algorithm("1.2.3.4")))


@pytest.mark.parametrize("mask", ["sha1", "sha512"])
def test_a_certificate_signed_with_another_mask_is_hashed_as_its_hash_says(mask: str) -> None:
    """RSASSA-PSS with SHA-256 and a mask by SHA-1: what Java's PSSParameterSpec gives a CA that says nothing of it."""
    one = algorithms.build_algorithm(algorithms.HASHES["sha256"].oid)
    two = algorithms.build_algorithm("1.2.840.113549.1.1.8", algorithms.build_algorithm(algorithms.HASHES[mask].oid))
    parameters = der.wrap(der.SEQUENCE, der.wrap(0xA0, one), der.wrap(0xA1, two))
    algorithm = algorithms.build_algorithm("1.2.840.113549.1.1.10", parameters)
    certificate = signed_with(algorithm)
    assert certificate_hash(certificate) == (hashlib.sha256(certificate).digest(), None)
    with pytest.raises(ProtectionError, match="uncommon parameters"):
        algorithms.signature_algorithm(algorithm)  # messages are another matter


def test_such_a_certificate_is_one_that_a_path_accepts() -> None:
    root = pki.authority("CN=root", key=RSA)
    leaf = pki.issue("CN=enb", by=root, pss=True, mask=hashes.SHA512())
    path = build_path(leaf.certificate, intermediates=(), anchors=(root.certificate,), at=pki.NOW, rules=MODERN)
    assert len(path) == 2
    assert certificate_hash(leaf.octets) == (hashlib.sha256(leaf.octets).digest(), None)


def test_what_was_accepted_is_confirmed_by_a_named_hash_where_its_algorithm_is_unknown() -> None:
    certificate = signed_with(algorithms.build_algorithm("2.16.840.1.101.3.4.3.1"))  # DSA with SHA-224: backhaul only
    memory = Memory(state=State.ISSUED, type=BodyType.IR, transaction_id=b"t" * 16, certificate=certificate)
    body = composition.body(memory, Inquiry(info_type="1.2.3"))
    assert isinstance(body, CertConfirm)
    (status,) = body.statuses
    assert status.cert_hash == hashlib.sha256(certificate).digest()
    assert status.hash_alg is not None
    assert algorithms.hash_algorithm(status.hash_alg).name == "sha256"
    assert composition.body(replace(memory, state=State.REFUSING), Inquiry(info_type="1.2.3")) == CertConfirm(())


def test_no_status_at_all_rejects_everything() -> None:
    assert codec.encode(CertConfirm(())) == (BodyType.CERTCONF, b"\x30\x00")


def test_the_certificate_is_hashed_as_it_came() -> None:
    one = pki.issue(names.parse_name(names.name_from_text("CN=a")), key=ec.generate_private_key(ec.SECP256R1())).octets
    assert certificate_hash(one)[0] != certificate_hash(one[:-1] + bytes((one[-1] ^ 1,)))[0]
