"""Keys in a TPM 2.0: a software TPM behind its resource manager, through tpm2-pkcs11. Its PIN really locks."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.labca import LabCa
from hsm.errors import PinRefused
from hsm.module import TokenAddress
from hsm.pinmemory import PinMemory
from hsm.pkcs11 import TokenKeyStore
from tests.hsm.conftest import TokenStation
from tests.station import ENVIRONMENT

MODULE = next(Path("/usr/lib").glob("*/pkcs11/libtpm2_pkcs11.so"), Path("/usr/lib/libtpm2_pkcs11.so"))
BUS_NAME = "com.intel.tss2.Tabrmd"


@pytest.fixture
def tpm(tmp_path: Path, loopback_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the module of a TPM with a token ``tpmenb``; PIN 1234."""
    state, store, bus = tmp_path / "tpm", tmp_path / "tpm-store", tmp_path / "bus"
    state.mkdir()
    store.mkdir()
    command = ["swtpm_setup", "--tpm2", "--tpmstate", str(state), "--createek", "--overwrite"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    started = [
        subprocess.Popen(
            [
                "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--flags", "not-need-init,startup-clear",
                "--server", f"type=tcp,port={loopback_port},bindaddr=127.0.0.1",
                "--ctrl", f"type=tcp,port={loopback_port + 1},bindaddr=127.0.0.1",  # where the TCTI looks for it
            ]
        ),
        subprocess.Popen(["dbus-daemon", "--session", "--nofork", f"--address=unix:path={bus}"]),
    ]  # fmt: skip
    manager = f"tabrmd:bus_name={BUS_NAME},bus_type=session"
    settings = {
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}", "TPM2_PKCS11_TCTI": manager, "TPM2TOOLS_TCTI": manager,
        "TPM2_PKCS11_STORE": str(store), "TSS2_LOG": "all+none",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setitem(ENVIRONMENT, name, value)
    try:
        wait_for(bus.exists)
        tcti = f"--tcti=swtpm:host=127.0.0.1,port={loopback_port}"
        started.append(subprocess.Popen(["tpm2-abrmd", "--session", "--allow-root", tcti], stderr=subprocess.DEVNULL))
        ask = ["dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/",
               "org.freedesktop.DBus.NameHasOwner", f"string:{BUS_NAME}"]  # fmt: skip
        wait_for(lambda: b"true" in subprocess.run(ask, capture_output=True, check=False, timeout=20).stdout)
        for arguments in (["init"], ["addtoken", "--pid=1", "--label=tpmenb", "--userpin=1234", "--sopin=5678"]):
            whole = ["/usr/bin/tpm2_ptool", *arguments, "--path", str(store)]
            subprocess.run(whole, check=True, capture_output=True, timeout=60)
        yield MODULE
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGKILL)
            process.wait(20)


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["rsa-2048", "ec-p256"])
def test_a_key_in_the_tpm_is_enrolled_updated_and_revoked(tmp_path: Path, lab: LabCa, tpm: Path, kind: str) -> None:
    (tmp_path / "site").mkdir()
    station = TokenStation(tmp_path / "site")
    assert lab.settings.directory is not None
    station.write_pin(b"1234")
    station.identity["key"] = {"algorithm": kind, "store": "tpm"}
    station.more = {"tokens": {"tpm": {"module": str(tpm), "label": "tpmenb", "pin": "file:pin"}}}
    root = str(lab.settings.directory / "root.pem")
    station.configure(urls=[lab.url], trust_anchors=[root], mac={"iterations": 100})
    for command in (("enroll",), ("renew",), ("revoke", "ike", "--yes")):
        done = station.run(*command)
        assert done.code == 0, done.err
    assert station.current.number == 2
    assert station.current.key_reference.startswith("pkcs11:token=tpmenb;")


def test_ten_attempts_with_a_wrong_pin_do_not_lock_the_tpm(tmp_path: Path, tpm: Path) -> None:
    address = TokenAddress(name="tpm", module=tpm, label="tpmenb")
    for _ in range(10):
        with pytest.raises(PinRefused):
            TokenKeyStore(address, b"0000", PinMemory(tmp_path / "memory.json")).log_in()
    TokenKeyStore(address, b"1234", PinMemory(tmp_path / "memory.json")).log_in()
    assert os.environ["TPM2_PKCS11_STORE"].startswith(str(tmp_path))
