"""What ``enrolld`` costs while nothing is due, beside certmonger: memory, wake-ups, its start, and a decision.

    python tests/benchmarks/bench_daemon.py [--seconds 120] [--identities 1 100 1000] [--starts 10]

Every certificate is valid for long, so nothing but the daemons themselves is measured. ``enrolld`` has its control
socket and systemd's library loaded, as in a unit; certmonger is Debian's, with certificates from its own local signer.

* Memory (PSS, ``/proc/PID/smaps``) is read while no other daemon of ours runs. The Python interpreter counts in full,
  as on a machine where nobody else uses it, though this benchmark does.
* Wake-ups are voluntary context switches, CPU is ``/proc/PID/schedstat``; both of all daemons at once, for
  ``--seconds``.
* The start is from before fork and exec to READY=1 on the notify socket, the median of ``--starts``. certmonger tells
  nobody that it is ready: there it is the time until it answers its first call.
* A decision: at every start each identity's directory is read and what is next is decided. The CPU from READY until the
  daemon is quiet, by the number of identities, is one decision.
"""

from __future__ import annotations

import argparse
import compileall
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Final
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[2]))

from agent.store.credential import Credential
from agent.store.generations import IdentityStore
from tests.benchmarks import certmonger
from tests.benchmarks.processes import Memory, cpu, memory, switches, until_quiet
from tests.benchmarks.tables import command_line, table, verdict

_ROOT: Final = Path(__file__).parents[2]
ENROLLD: Final = Path(sys.executable).with_name("enrolld")
_PATIENCE: Final = 60.0
_MEBIBYTE: Final = 1024
"""KiB."""
_MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Started:
    """A daemon of ours that has begun: its process, the seconds until READY, and the CPU it took until then."""

    pid: int
    ready: float
    spent: float


@dataclass(frozen=True, slots=True)
class Idle:
    """What a daemon does while nothing is due, in a minute: wake-ups, and milliseconds of CPU."""

    wakeups: float
    busy: float


def site(directory: Path, number: int) -> Path:
    """Make a state directory with ``number`` enrolled identities and their configuration; return the latter."""
    state = directory / "state"
    state.mkdir(mode=0o700)
    (directory / "run").mkdir(mode=0o755)
    lines = [
        "state-directory: state",
        "runtime-directory: run",
        "authorities:",
        "  lab: {urls: [http://127.0.0.1:9/], trust-anchors: enrollment}",
        "identities:",
    ]
    now = datetime.now(UTC).replace(microsecond=0)
    with mock.patch("os.fsync"):  # what is made here need not survive a power cut
        for index in range(number):
            name = f"enb-{index}"
            subject = f"CN={name}.ran.operator.example,O=Operator"
            secret = f'shared-secret: {{reference: "{name}", secret: prompt}}'
            lines.append(f'  {name}: {{authority: lab, subject: "{subject}", bootstrap: {{{secret}}}}}')
            _enroll(state, name, subject, now)
    (directory / "enrolld.yaml").write_text("\n".join(lines) + "\n")
    return directory / "enrolld.yaml"


def _enroll(state: Path, name: str, subject: str, now: datetime) -> None:
    key = state / "key"
    key.write_bytes(b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")
    key.chmod(0o600)
    credential = Credential(
        certificate=b"\x30\x00",
        chain=(),
        trust_anchors=(b"\x30\x00",),
        private_key=key,
        description={
            "subject": subject,
            "serial": "1",
            "not_before": now.isoformat(),
            "not_after": (now + timedelta(days=3650)).isoformat(),
        },
    )
    store = IdentityStore(state, name)
    with store.lock():
        store.switch(store.add(credential))
    key.unlink()


@contextmanager
def enrolld(config: Path) -> Iterator[Started]:
    """Run the daemon for the block, which begins when it is ready."""
    address = config.with_name("notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(address))
        heard.settimeout(_PATIENCE)
        environment = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(address)}
        began = time.monotonic()
        with (
            config.with_name("log").open("ab") as log,
            subprocess.Popen([ENROLLD, "--config", config], env=environment, stderr=log) as process,
        ):
            try:
                while b"READY=1" not in heard.recv(65_536):
                    pass
                started = Started(process.pid, time.monotonic() - began, cpu(process.pid))
                Thread(target=_listen, args=(heard,)).start()
                yield started
            finally:
                process.terminate()
                process.wait()
                heard.shutdown(socket.SHUT_RD)
    address.unlink()


def _listen(heard: socket.socket) -> None:
    """Take what is said, as systemd does: who sends waits where nobody reads."""
    heard.settimeout(None)
    while heard.recv(65_536):
        pass


def start_again_and_again(config: Path, times: int) -> tuple[list[Started], list[float], Memory]:
    """Start the daemon so many ``times``: each start, the CPU of looking at everything once, and its memory then."""
    with enrolld(config) as first:  # notes the state of every identity, once and durably
        until_quiet(first.pid)
    starts, looks, occupied = [], [], Memory(0, 0, 0)
    for _ in range(times):
        with enrolld(config) as started:
            until_quiet(started.pid)
            starts.append(started)
            looks.append(cpu(started.pid) - started.spent)
            occupied = memory(started.pid)
    return starts, looks, occupied


def start_the_peer(peer: certmonger.Certmonger) -> tuple[float, Memory]:
    """Start certmonger: the seconds until it answers, and its memory once it is quiet."""
    began = time.monotonic()
    with peer.running() as pid:
        answered = time.monotonic() - began
        until_quiet(pid)
        return answered, memory(pid)


def interpreter() -> Memory:
    """Return the memory of a Python that has done nothing yet: below this no daemon in Python can come."""
    program = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-I", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        occupied = memory(process.pid)
        process.stdin.close()
    return occupied


def watch(pids: list[int], seconds: float) -> list[Idle]:
    """Return what each of these processes does in ``seconds`` in which nothing is asked of it."""
    for pid in pids:
        until_quiet(pid)
    before = [(switches(pid), cpu(pid)) for pid in pids]
    time.sleep(seconds)
    found = [(switches(pid), cpu(pid)) for pid in pids]
    return [
        Idle((now - then) * _MINUTE / seconds, (busy - was_busy) * 1000 * _MINUTE / seconds)
        for (then, was_busy), (now, busy) in zip(before, found, strict=True)
    ]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--identities", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--starts", type=int, default=10)
    options = parser.parse_args()
    certmonger.install()
    for package in ("agent", "hsm"):  # as installed: a checkout without byte code is compiled anew at every start
        compileall.compile_dir(_ROOT / package, quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.identities, options.seconds, options.starts)


def measure(place: Path, numbers: list[int], seconds: float, times: int) -> None:
    """Measure and print everything below ``place``."""
    configs, peers = {}, {}
    for number in numbers:
        (place / f"enrolld-{number}").mkdir()
        configs[number] = site(place / f"enrolld-{number}", number)
        peers[number] = certmonger.Certmonger(place / f"certmonger-{number}")
        peers[number].look_after(number)
    ours = {number: start_again_and_again(config, times) for number, config in configs.items()}
    theirs = {number: start_the_peer(peer) for number, peer in peers.items()}
    with ExitStack() as running:
        pids = [running.enter_context(enrolld(config)).pid for config in configs.values()]
        pids += [running.enter_context(peer.running()) for peer in peers.values()]
        idle = watch(pids, seconds)
    names = [f"enrolld, {number}" for number in numbers] + [f"certmonger, {number}" for number in numbers]
    memories = [ours[number][2] for number in numbers] + [theirs[number][1] for number in numbers]
    print(f"idle, watched for {seconds:.0f} s ({command_line()})")
    rows: list[tuple[str, ...]] = [
        (name, *_sizes(one), f"{woken.wakeups:.1f}", f"{woken.busy:.2f}")
        for name, one, woken in zip(names, memories, idle, strict=True)
    ]
    rows.append(("a bare Python", *_sizes(interpreter()), "", ""))
    print(table(("daemon, identities", "PSS MiB", "private MiB", "RSS MiB", "wake-ups/min", "CPU ms/min"), rows))
    print(f"\nstart, median of {times} (least to most); CPU of the daemon's own process")
    rows = [_start_row(f"enrolld, {number}", number, *ours[number][:2]) for number in numbers]
    rows += [(f"certmonger, {number}", f"{theirs[number][0]:.3f}", "one start", "", "") for number in numbers]
    print(table(("daemon, identities", "ready s", "range s", "CPU s", "CPU ms a decision"), rows))
    print()
    for line in verdicts(numbers, ours, idle):
        print(line)


def _sizes(one: Memory) -> tuple[str, ...]:
    return tuple(f"{size / _MEBIBYTE:.1f}" for size in (one.pss, one.private, one.rss))


def _start_row(name: str, number: int, starts: list[Started], looks: list[float]) -> tuple[str, ...]:
    ready = [one.ready for one in starts]
    return (
        name,
        f"{statistics.median(ready):.3f}",
        f"{min(ready):.3f} to {max(ready):.3f}",
        f"{statistics.median(one.spent for one in starts):.3f}",
        f"{statistics.median(looks) * 1000 / number:.2f}",
    )


def verdicts(
    numbers: list[int], ours: dict[int, tuple[list[Started], list[float], Memory]], idle: list[Idle]
) -> Iterator[str]:
    """Give a line for each goal."""
    for number in numbers:
        goal = 14 if number == 1 else 20
        yield verdict(f"PSS, identities {number}", ours[number][2].pss / _MEBIBYTE, goal, "MiB")
    for number, one in zip(numbers, idle, strict=False):
        yield verdict(f"wake-ups, identities {number}", one.wakeups, 2, "a minute")
    for number in numbers:
        yield verdict(f"READY, identities {number}", statistics.median(one.ready for one in ours[number][0]), 0.3, "s")


if __name__ == "__main__":
    main()
