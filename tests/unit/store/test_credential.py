from __future__ import annotations

import hashlib
import json
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import StateCorrupt, StateError, StateNewer
from agent.store.credential import Credential, Generation, check_reference, file_reference
from agent.store.documents import JSON
from tests.unit.store.samples import KEY, TOKEN_KEY, credential

FILES = ["certificate.pem", "chain.pem", "trust-anchors.pem", "private-key.uri", "credential.json"]


def written(directory: Path, what: Credential) -> Generation:
    """Write a credential as the store does, without a store around it."""
    path = directory / "ike" / "generations" / "000003"
    path.mkdir(parents=True)
    for name, data in what.files().items():
        (path / name).write_bytes(data)
    for name, source in what.links.items():
        (path / name).hardlink_to(source)
    return Generation(3, path)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    path.write_bytes(KEY)
    return path


def test_what_was_issued_is_read_back(tmp_path: Path) -> None:
    generation = written(tmp_path, credential(subject="CN=enb"))
    generation.check()
    assert generation.certificate == b"certificate"
    assert generation.chain == (b"issuer", b"issuer of the issuer")
    assert generation.trust_anchors == (b"root", b"next root")
    assert generation.private_key is None
    assert generation.key_reference == TOKEN_KEY
    assert generation.description == {"subject": "CN=enb"}
    assert generation.marks == {}
    assert generation.confirmed is False


def test_a_key_file_stays_with_its_generation_and_is_named_by_its_place_there(tmp_path: Path, key: Path) -> None:
    generation = written(tmp_path, credential(key=key))
    key.unlink()
    generation.check()
    assert generation.private_key == generation.path / "private-key.pem"
    assert generation.private_key.read_bytes() == KEY
    assert generation.key_reference == generation.private_key.as_uri()


def test_other_programs_can_read_the_files(tmp_path: Path) -> None:
    generation = written(tmp_path, credential())
    assert ssl.PEM_cert_to_DER_cert((generation.path / "certificate.pem").read_text()) == b"certificate"
    assert (generation.path / "private-key.uri").read_text() == TOKEN_KEY + "\n"
    assert json.loads((generation.path / "credential.json").read_text())["version"] == 1


def test_a_credential_without_chain_has_a_chain_file_that_says_so(tmp_path: Path) -> None:
    generation = written(tmp_path, replace(credential(), chain=(), trust_anchors=()))
    assert (generation.path / "chain.pem").read_text().startswith("# no certificates")
    assert (generation.path / "trust-anchors.pem").stat().st_size > 0
    assert generation.chain == ()
    assert generation.trust_anchors == ()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("damage", "reason"),
    [(None, "is missing"), (b"", "is empty"), (b"something else", "is not")],
    ids=["missing", "empty", "changed"],
)
def test_a_damaged_file_is_found_and_named_with_the_way_out(
    tmp_path: Path, name: str, damage: bytes | None, reason: str
) -> None:
    generation = written(tmp_path, credential())
    if damage is None:
        (generation.path / name).unlink()
    else:
        (generation.path / name).write_bytes(damage)
    with pytest.raises(StateCorrupt, match=reason) as caught:
        generation.check()
    assert str(generation.path / name) in str(caught.value)
    assert "enrollctl rollback ike" in caught.value.remedy
    assert "enrollctl enroll ike" in caught.value.remedy


def test_a_credential_of_a_newer_version_is_no_damage(tmp_path: Path) -> None:
    generation = written(tmp_path, credential())
    document = generation.path / "credential.json"
    document.write_text(document.read_text().replace('"version": 1', '"version": 2'))
    for reading in (generation.check, lambda: generation.certificate, lambda: generation.marks):
        with pytest.raises(StateNewer, match="has version 2"):
            reading()


def test_every_single_reading_is_checked(tmp_path: Path) -> None:
    generation = written(tmp_path, credential())
    for name in FILES[:4]:
        data = (generation.path / name).read_bytes()
        (generation.path / name).write_bytes(data.swapcase())
    for reading in ("certificate", "chain", "trust_anchors", "key_reference"):
        with pytest.raises(StateCorrupt, match="not what was written"):
            getattr(generation, reading)


def test_a_certificate_file_that_was_written_with_two_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ike" / "generations" / "000001"
    path.mkdir(parents=True)
    for name, data in credential().files().items():
        (path / name).write_bytes(data)
    document = json.loads((path / "credential.json").read_text())
    document["sha256"]["certificate.pem"] = document["sha256"]["chain.pem"]
    (path / "credential.json").write_text(json.dumps(document))
    (path / "certificate.pem").write_bytes((path / "chain.pem").read_bytes())
    with pytest.raises(StateCorrupt, match="holds 2 certificates"):
        _ = Generation(1, path).certificate


def test_a_list_of_other_files_is_refused(tmp_path: Path) -> None:
    generation = written(tmp_path, credential())
    whole = json.loads((generation.path / "credential.json").read_text())
    for change in ({"private-key.pem": "00"}, {"../../../etc/passwd": "00"}):
        document = whole | {"sha256": whole["sha256"] | change}
        (generation.path / "credential.json").write_text(json.dumps(document))
        with pytest.raises(StateCorrupt, match="does not list the files"):
            generation.check()


def test_a_pem_file_that_never_was_one_is_refused(tmp_path: Path) -> None:
    generation = written(tmp_path, credential())
    document = json.loads((generation.path / "credential.json").read_text())
    half = b"-----BEGIN CERTIFICATE-----\n"
    document["sha256"]["chain.pem"] = hashlib.sha256(half).hexdigest()
    (generation.path / "credential.json").write_text(json.dumps(document))
    (generation.path / "chain.pem").write_bytes(half)
    with pytest.raises(StateCorrupt, match=r"chain.pem: a PEM block is cut short"):
        _ = generation.chain


def test_marks_are_added_to_what_is_there(tmp_path: Path) -> None:
    generation = written(tmp_path, credential(subject="CN=enb"))
    marks: dict[str, JSON] = {"confirmed": "2026-03-01", "deployed": ["strongswan"]}
    for mark, value in marks.items():
        (generation.path / "credential.json").write_bytes(generation.marked(mark, value))
    generation.check()
    assert generation.marks == {"confirmed": "2026-03-01", "deployed": ["strongswan"]}
    assert generation.confirmed is True
    assert generation.description == {"subject": "CN=enb"}


def test_what_can_be_no_credential_is_a_defect_of_the_caller(key: Path) -> None:
    with pytest.raises(ValueError, match="is empty"):
        credential(b"")
    with pytest.raises(ValueError, match="is empty"):
        replace(credential(), chain=(b"",))
    with pytest.raises(ValueError, match="either a key file or a key reference"):
        Credential(certificate=b"certificate")
    with pytest.raises(ValueError, match="either a key file or a key reference"):
        Credential(certificate=b"certificate", private_key=key, key_reference=TOKEN_KEY)
    with pytest.raises(ValueError, match="no URI"):
        Credential(certificate=b"certificate", key_reference="/etc/ike/factory.key")


@pytest.mark.parametrize("content", [b"", b"\0" * 241, b"-----BEGIN CERTIFICATE-----\n"])
def test_a_key_file_without_a_key_makes_no_generation(key: Path, content: bytes) -> None:
    key.write_bytes(content)
    with pytest.raises(StateCorrupt, match="holds no private key"):
        credential(key=key).files()


def test_a_key_file_that_is_gone_makes_no_generation(key: Path) -> None:
    key.unlink()
    with pytest.raises(StateError, match="ENOENT"):
        credential(key=key).files()


@pytest.mark.parametrize("reference", [TOKEN_KEY, "file:///etc/ike/a%20key.pem"])
def test_references_are_uris(reference: str) -> None:
    assert check_reference(reference) == reference


@pytest.mark.parametrize("reference", ["", "key", "file:", "file:///a b", "file:///a\n", "file:///ü", ":x", "1:x"])
def test_anything_else_is_no_reference(reference: str) -> None:
    with pytest.raises(ValueError, match="no URI"):
        check_reference(reference)


def test_a_file_reference_survives_any_name() -> None:
    assert file_reference(Path("/a b/ü#?.pem")) == "file:///a%20b/%C3%BC%23%3F.pem"
