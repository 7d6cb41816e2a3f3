from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent import config
from agent.settings import Settings

PEM = b"-----BEGIN CERTIFICATE-----\n"

TEXT = """\
authorities:
  operator:
    urls: [https://ra.example]
    trust-anchors: [one.pem, two.pem]
    http: {tls-trust-anchors: [tls-root.pem], tls-certificate: tls.pem, tls-key: tls.key}
identities:
  ike:
    authority: operator
    subject: CN=enb
    key: {existing: factory.key}
    bootstrap:
      vendor-certificate: {certificate: vendor.pem, key: vendor.key, chain: chain.pem}
tokens:
  hsm: {module: module.so, label: enb, pin: "file:pin"}
"""

KEYS = {
    "authorities.operator.trust-anchors[0]": "one.pem",
    "authorities.operator.trust-anchors[1]": "two.pem",
    "authorities.operator.http.tls-trust-anchors[0]": "tls-root.pem",
    "authorities.operator.http.tls-certificate": "tls.pem",
    "authorities.operator.http.tls-key": "tls.key",
    "identities.ike.key.existing": "factory.key",
    "identities.ike.bootstrap.vendor-certificate.certificate": "vendor.pem",
    "identities.ike.bootstrap.vendor-certificate.key": "vendor.key",
    "identities.ike.bootstrap.vendor-certificate.chain": "chain.pem",
    "tokens.hsm.module": "module.so",
}


def parse(folder: Path, text: str = TEXT) -> Settings:
    return config.parse(text, source=folder / "enrolld.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in KEYS.values():
        (tmp_path / name).write_bytes(b"\x7fELF" if name.endswith(".so") else PEM)
    return tmp_path


def test_files_that_are_there_are_fine(folder: Path) -> None:
    assert config.check_files(parse(folder)) == ()


def test_every_file_that_is_missing_is_named_with_its_key(tmp_path: Path) -> None:
    found = {notice.key: (notice.text, notice.remedy) for notice in config.check_files(parse(tmp_path))}
    assert found == {
        key: (f"there is no file {tmp_path / name}", "put it there, or correct the path") for key, name in KEYS.items()
    }


def test_a_file_that_is_no_pem_is_named_with_the_way_to_convert_it(folder: Path) -> None:
    (folder / "one.pem").write_bytes(b"\x30\x82")
    (folder / "two.pem").write_bytes(b"")
    (folder / "tls.pem").write_bytes(b"x" * 1_048_577)
    assert [str(notice) for notice in config.check_files(parse(folder))] == [
        (
            f"authorities.operator.trust-anchors[0]: {folder}/one.pem holds no PEM "
            "(convert it: openssl x509 -inform DER -in one.pem -out one.pem)"
        ),
        f"authorities.operator.trust-anchors[1]: {folder}/two.pem is empty (copy it again, in PEM)",
        (
            f"authorities.operator.http.tls-certificate: {folder}/tls.pem is larger than 1048576 octets "
            "(is this the right file?)"
        ),
    ]


def test_what_is_no_regular_file_is_named_and_not_waited_for(folder: Path) -> None:
    for name in ("one.pem", "two.pem", "module.so"):
        (folder / name).unlink()
    (folder / "one.pem").mkdir()
    os.mkfifo(folder / "two.pem")
    (folder / "module.so").symlink_to("nowhere")
    assert [notice.text for notice in config.check_files(parse(folder))] == [
        f"{folder}/one.pem is a directory",
        f"{folder}/two.pem cannot be read: not a regular file",
        f"there is no file {folder}/module.so",
    ]


def test_keys_in_tokens_and_anchors_still_to_be_learned_are_no_files(tmp_path: Path) -> None:
    text = """\
authorities:
  operator: {urls: [http://ra.example], trust-anchors: enrollment}
identities:
  ike:
    authority: operator
    subject: CN=enb
    key: {existing: "pkcs11:token=enb;object=ike"}
    bootstrap: {shared-secret: {reference: a, secret: "file:secret"}}
tokens:
  hsm: {module: module.so, label: enb, pin: "file:pin"}
"""
    (tmp_path / "module.so").touch()
    assert config.check_files(parse(tmp_path, text)) == ()
