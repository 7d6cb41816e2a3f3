"""A software TPM 2.0 behind its resource manager, with a token of tpm2-pkcs11 in it. Its PIN really locks."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pkcs11
import pytest

from tests.hsm.documented import commands
from tests.ports import unused_port
from tests.station import ENVIRONMENT, until

MODULE: Final = next(Path("/usr/lib").glob("*/pkcs11/libtpm2_pkcs11.so"), Path("/usr/lib/libtpm2_pkcs11.so"))
LABEL: Final = "tpmenb"
TPM_PIN: Final = b"1234"
_BUS_NAME: Final = "com.intel.tss2.Tabrmd"
_PATIENT: Final = 60


@contextmanager
def software_tpm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the module of a TPM with the token ``tpmenb``, for this process and for those that it starts."""
    state, store, bus = folder / "tpm", folder / "tpm-store", folder / "bus"
    state.mkdir()
    store.mkdir()
    port = unused_port(together=2)
    command = ["swtpm_setup", "--tpm2", "--tpmstate", str(state), "--createek", "--overwrite"]
    subprocess.run(command, check=True, capture_output=True, timeout=_PATIENT)
    started = [
        subprocess.Popen(
            [
                "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--flags", "not-need-init,startup-clear",
                "--server", f"type=tcp,port={port},bindaddr=127.0.0.1",
                "--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1",  # where the TCTI looks for it
            ]
        ),
        subprocess.Popen(["dbus-daemon", "--session", "--nofork", f"--address=unix:path={bus}"]),
    ]  # fmt: skip
    manager = f"tabrmd:bus_name={_BUS_NAME},bus_type=session"
    settings = {
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}", "TPM2_PKCS11_TCTI": manager, "TPM2TOOLS_TCTI": manager,
        "TPM2_PKCS11_STORE": str(store), "TSS2_LOG": "all+none",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setitem(ENVIRONMENT, name, value)
    try:
        until(bus.exists, seconds=_PATIENT)
        tcti = f"--tcti=swtpm:host=127.0.0.1,port={port}"
        started.append(subprocess.Popen(["tpm2-abrmd", "--session", "--allow-root", tcti], stderr=subprocess.DEVNULL))
        ask = ["dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/",
               "org.freedesktop.DBus.NameHasOwner", f"string:{_BUS_NAME}"]  # fmt: skip
        until(lambda: b"true" in subprocess.run(ask, capture_output=True, check=False).stdout, seconds=_PATIENT)
        instead = {"PIN": TPM_PIN.decode(), "PUK": "5678", "$TPM2_PKCS11_STORE": str(store), "=enb": f"={LABEL}"}
        for tool, *arguments in commands("tpm2_ptool", **instead):
            subprocess.run([f"/usr/bin/{tool}", *arguments], check=True, capture_output=True, timeout=_PATIENT)
        yield MODULE
    finally:
        finalize()
        for process in reversed(started):
            process.send_signal(signal.SIGKILL)
            process.wait(_PATIENT)


def finalize() -> None:
    """Have every PKCS#11 module in this process forget its token: the next test has another one."""
    for library in pkcs11._loaded.values():
        if library.initialized:
            library.finalize()


def shown_by_pkcs11_tool(kind: str) -> str:
    """What ``pkcs11-tool``, which knows nothing of us, sees in the TPM."""
    tool = ["pkcs11-tool", "--module", str(MODULE), "--token-label", LABEL, "--login", "--pin", TPM_PIN.decode()]
    whole = [*tool, "--list-objects", "--type", kind]
    return subprocess.run(whole, check=True, capture_output=True, text=True, timeout=_PATIENT).stdout
