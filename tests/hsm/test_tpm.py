"""Keys in a TPM 2.0: a software TPM behind its resource manager, through tpm2-pkcs11. Its PIN really locks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.labca import LabCa
from hsm.errors import PinRefused
from hsm.module import TokenAddress
from hsm.pinmemory import PinMemory
from hsm.pkcs11 import TokenKeyStore
from tests.hsm.conftest import TokenStation, nothing_private_on_disk
from tests.hsm.tpm import LABEL, TPM_PIN, shown_by_pkcs11_tool, software_tpm


@pytest.fixture
def tpm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the module of a TPM with a token ``tpmenb``; PIN 1234."""
    with software_tpm(tmp_path, monkeypatch) as module:
        yield module


@pytest.mark.parametrize("kind", ["rsa-2048", "ec-p256"])
def test_a_key_in_the_tpm_is_enrolled_updated_and_revoked(tmp_path: Path, lab: LabCa, tpm: Path, kind: str) -> None:
    (tmp_path / "site").mkdir()
    station = TokenStation(tmp_path / "site")
    assert lab.settings.directory is not None
    station.write_pin(TPM_PIN)
    station.identity["key"] = {"algorithm": kind, "store": "tpm"}
    station.more = {"tokens": {"tpm": {"module": str(tpm), "label": LABEL, "pin": "file:pin"}}}
    root = str(lab.settings.directory / "root.pem")
    station.configure(urls=[lab.url], trust_anchors=[root], mac={"iterations": 100})
    for command in (("enroll",), ("renew",), ("revoke", "ike", "--yes")):
        done = station.run(*command)
        assert done.code == 0, done.err
    assert station.current.number == 2
    assert station.current.key_reference.startswith("pkcs11:token=tpmenb;")
    keys, beside = shown_by_pkcs11_tool("privkey"), shown_by_pkcs11_tool("cert")
    assert keys.count("sensitive, always sensitive, never extractable, local") == 2
    assert ids(keys) == ids(beside)
    nothing_private_on_disk(station.directory)


def ids(shown: str) -> list[str]:
    return sorted(line.split()[1] for line in shown.splitlines() if line.strip().startswith("ID:"))


def test_ten_attempts_with_a_wrong_pin_do_not_lock_the_tpm(tmp_path: Path, tpm: Path) -> None:
    address = TokenAddress(name="tpm", module=tpm, label=LABEL)
    for _ in range(10):
        with pytest.raises(PinRefused):
            TokenKeyStore(address, b"0000", PinMemory(tmp_path / "memory.json")).log_in()
    TokenKeyStore(address, TPM_PIN, PinMemory(tmp_path / "memory.json")).log_in()
