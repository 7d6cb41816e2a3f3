"""Neither the one-time secret nor the private key shows anywhere but where they belong."""

from __future__ import annotations

import base64
import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent.labca import LabCa
from tests.station import SECRET, Station, until, worker_of


def shapes(octets: bytes) -> list[bytes]:
    """Every way in which octets could slip into a text."""
    plain = base64.b64encode(octets).rstrip(b"=")
    return [octets, octets.hex().encode(), octets.hex().upper().encode(), plain[:-1], repr(octets).encode()[2:-1]]


def secrets_of(station: Station) -> list[bytes]:
    current = station.store.current
    assert current is not None
    assert current.private_key is not None
    key = load_pem_private_key(current.private_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    number = key.private_numbers().private_value
    return [*shapes(SECRET.encode()), *shapes(number.to_bytes(32, "big")), str(number).encode()]


def test_an_enrollment_shows_neither_secret_nor_key(slow_station: Station, slow_lab: LabCa) -> None:
    seen: dict[str, bytes] = {}
    with slow_station.running("enroll", "ike") as process:
        until(slow_station.store.transaction.load_snapshot)
        worker = Path("/proc") / str(worker_of(process))
        for pid in (worker, Path("/proc") / str(process.pid)):
            for name in ("cmdline", "environ"):
                seen[f"{pid}/{name}"] = (pid / name).read_bytes()
        for path in (slow_station.state / "identities/ike/transaction").iterdir():
            if path.name != "private-key.pem":
                seen[f"pending {path.name}"] = path.read_bytes()
        approve_all(slow_lab)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    seen |= {"standard output": out.encode(), "standard error": err.encode()}
    seen |= {name: data for name, data in slow_station.files().items() if not name.endswith("private-key.pem")}
    seen["state.json"] = (slow_station.store.directory / "state.json").read_bytes()
    assert len(seen) > 12
    for where, data in seen.items():
        for secret in secrets_of(slow_station):
            assert secret not in data, where


def test_a_refused_secret_is_not_repeated(station: Station) -> None:
    station.write_secret("mistyped-but-nearly-right")
    done = station.run("enroll", "ike", "--json")
    assert done.code == 4
    shown = done.out + done.err + (station.store.directory / "state.json").read_text()
    assert "mistyped" not in shown
    assert "bWlzdHlwZWQ" not in shown


def test_a_defect_shows_no_secret(station: Station) -> None:
    """A traceback holds lines of code, not values."""
    with station.running("enroll", "ike") as process:
        worker = worker_of(process)
        with suppress(ProcessLookupError):  # it was done already
            os.kill(worker, signal.SIGABRT)
        out, err = process.communicate(timeout=30)
    assert SECRET not in out + err


def approve_all(ca: LabCa) -> None:
    """Be the person at the CA, as soon as there is something to decide on."""
    threading.Thread(target=lambda: until(ca.approve), daemon=True).start()
