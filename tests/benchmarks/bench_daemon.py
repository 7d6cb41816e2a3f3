"""What ``enrolld`` costs while nothing is due: memory (PSS), wake-ups a minute, and the time until it is ready.

    python tests/benchmarks/bench_daemon.py [--seconds 60] [--identities 1 100 1000]

Every identity has a certificate that is valid for ten years, so nothing but the daemon itself is measured. PSS is from
``/proc/PID/smaps_rollup``, wake-ups are voluntary context switches from ``/proc/PID/status``.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.policy.jitter import fraction
from agent.store.credential import Credential
from agent.store.generations import IdentityStore

ENROLLD = Path(sys.executable).with_name("enrolld")
SETTLE = 10.0
"""Seconds after READY until every directory was looked at."""


@dataclass(frozen=True, slots=True)
class Figures:
    """``ready`` in seconds, ``pss`` and ``private`` in KiB, ``wakeups`` a minute."""

    ready: float
    pss: int
    private: int
    wakeups: float


def site(directory: Path, number: int) -> Path:
    """Make a state directory with ``number`` enrolled identities and their configuration; return the latter."""
    state = directory / "state"
    state.mkdir(mode=0o700)
    lines = [
        "state-directory: state",
        "runtime-directory: run",
        "authorities:",
        "  lab: {urls: [http://127.0.0.1:9/], trust-anchors: enrollment}",
        "identities:",
    ]
    now = datetime.now(UTC).replace(microsecond=0)
    for index in range(number):
        name = f"enb-{index}"
        subject = f"CN={name}.ran.operator.example,O=Operator"
        lines.append(
            f'  {name}: {{authority: lab, subject: "{subject}", '
            f'bootstrap: {{shared-secret: {{reference: "{name}", secret: prompt}}}}}}'
        )
        _enrol(state, name, subject, now)
    (directory / "enrolld.yaml").write_text("\n".join(lines) + "\n")
    return directory / "enrolld.yaml"


def _enrol(state: Path, name: str, subject: str, now: datetime) -> None:
    key = state / "key"
    key.write_bytes(b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")
    key.chmod(0o600)
    life = timedelta(days=3650 + 100 * fraction(name, "bench"))
    credential = Credential(
        certificate=b"\x30\x00",
        chain=(),
        trust_anchors=(b"\x30\x00",),
        private_key=key,
        description={
            "subject": subject,
            "serial": "1",
            "not_before": now.isoformat(),
            "not_after": (now + life).isoformat(),
        },
    )
    store = IdentityStore(state, name)
    with store.lock():
        store.switch(store.add(credential))
    key.unlink()


def measure(config: Path, seconds: float, command: Sequence[str] = (str(ENROLLD),)) -> Figures:
    """Run the daemon and return what it costs."""
    address = str(config.with_name("notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(address)
        heard.settimeout(30)
        started = time.monotonic()
        with subprocess.Popen(
            [*command, "--config", str(config)],
            env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": address},
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                while b"READY=1" not in heard.recv(65_536):
                    pass
                ready = time.monotonic() - started
                time.sleep(SETTLE)
                before = _switches(process.pid)
                time.sleep(seconds)
                woken = _switches(process.pid) - before
                memory = _memory(process.pid)
            finally:
                process.send_signal(signal.SIGTERM)
    Path(address).unlink()
    return Figures(ready, memory["Pss"], memory["Private_Clean"] + memory["Private_Dirty"], woken * 60 / seconds)


def _switches(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary_ctxt_switches"))


def _memory(pid: int) -> dict[str, int]:
    lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return {name.rstrip(":"): int(value) for name, value, *_ in lines}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--identities", type=int, nargs="*", default=[1, 100, 1000])
    options = parser.parse_args()
    print(f"{'identities':>10} {'ready':>8} {'PSS':>10} {'private':>10} {'wake-ups/min':>13}")
    for number in options.identities:
        with tempfile.TemporaryDirectory() as directory:
            found = measure(site(Path(directory), number), options.seconds)
        print(
            f"{number:>10} {found.ready:>6.2f} s {found.pss / 1024:>6.1f} MiB {found.private / 1024:>6.1f} MiB"
            f" {found.wakeups:>13.1f}"
        )


if __name__ == "__main__":
    main()
