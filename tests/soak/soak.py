"""enrolld with many identities and certificates that live for seconds, while workers, daemon and network fail."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final

import yaml

from agent.cmp.certificates import load
from agent.labca import LabCa, LabCaSettings, running
from agent.labca.records import CertificateStatus
from agent.store.generations import IdentityStore
from tests.faults.proxy import Exchange, Proxy
from tests.station import until

SECRET: Final = "Corr3ct-h0rse-battery"
_SAMPLE: Final = 0.5
_SETTLING: Final = 120.0
"""Seconds a busy machine may need at the beginning, and at the end once nothing fails any more."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done for how long. Workers are killed all the time, the daemon in the first half only.

    Its last life is the one whose memory and descriptors are watched.
    """

    seconds: float
    identities: int = 50
    life: timedelta = timedelta(seconds=20)
    workers: int = 2
    daemon_kills: int = 2
    worker_kill_every: float = 5.0
    fault_share: float = 0.03
    """The share of exchanges that go wrong."""
    seed: int = 1


@dataclass(kw_only=True)
class Report:
    """What was seen."""

    certificates: int = 0
    lapsed: int = 0
    """Issued, never confirmed: their answer was lost or their worker killed."""
    unknown: list[str] = field(default_factory=list)
    """In use at some time, and not known to the CA as confirmed."""
    unused: list[str] = field(default_factory=list)
    """In force at the CA, and never in use."""
    disagreeing: list[str] = field(default_factory=list)
    """Identities whose certificate in use is not the newest one in force at the CA."""
    longest_gap: float = 0.0
    """Seconds the unluckiest identity was without a valid certificate, after it had its first."""
    gaps: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)
    """PSS of the daemon in KiB, in its last life."""
    descriptors: list[int] = field(default_factory=list)

    @property
    def growth(self) -> int:
        """How much more memory the daemon has in the last quarter of its last life than in the quarter before half."""
        if not self.memory:
            return 0
        quarter = max(len(self.memory) // 4, 1)
        return int(median(self.memory[-quarter:]) - median(self.memory[quarter : 2 * quarter]))

    def __str__(self) -> str:
        """Say it in lines for people."""
        memory, descriptors = self.memory or [0], self.descriptors or [0]
        return (
            f"certificates confirmed {self.certificates}, lapsed {self.lapsed}, unknown {len(self.unknown)}, "
            f"unused {len(self.unused)}, disagreeing {len(self.disagreeing)}\n"
            f"gaps without a valid certificate {self.gaps}, the longest {self.longest_gap:.1f} s\n"
            f"faults {dict(self.faults)}\n"
            f"daemon: memory {memory[0]} to {memory[-1]} KiB (growth of the median {self.growth} KiB), "
            f"descriptors {min(descriptors)} to {max(descriptors)}"
        )


class Soak:
    """One run below ``place``."""

    def __init__(self, place: Path, plan: Plan) -> None:
        """Prepare the CA, the proxy and the configuration; nothing runs yet."""
        self._place = place
        self._plan = plan
        self._random = random.Random(plan.seed)  # noqa: S311 - chance, no secret
        self._report = Report()
        self._names = [f"enb-{number:02}" for number in range(plan.identities)]
        self._calm = False
        self._seen: dict[str, set[bytes]] = {name: set() for name in self._names}
        self._lacking: dict[str, float] = {}
        self._state = place / "state"
        self._state.mkdir(mode=0o700)
        self._log = (place / "enrolld.log").open("ab")
        self._ca = LabCa(
            LabCaSettings(directory=place / "ca", secrets={"site": SECRET}, validity=plan.life, durable=False)
        )

    def run(self) -> Report:
        """Run it all, and return what was seen."""
        with running(self._ca), Proxy(lambda: self._ca.url, self._handle, most=1_000_000) as proxy:
            self._configure(proxy.port)
            self._daemon = self._start()
            try:
                until(self._everybody_has_one, seconds=_SETTLING)
                self._disturb()
                self._calm = True
                until(self._agree, seconds=_SETTLING)
            finally:
                self._daemon.send_signal(signal.SIGTERM)
                self._daemon.wait(60)
                self._log.close()
            self._judge()
        self._ca.close()
        return self._report

    def _configure(self, port: int) -> None:
        secret = self._place / "secret"
        secret.write_text(f"{SECRET}\n")
        secret.chmod(0o600)
        url = f"http://127.0.0.1:{port}/.well-known/cmp"
        document = {
            "state-directory": "state",
            "runtime-directory": "run",
            "daemon": {"workers": self._plan.workers},
            "authorities": {
                "lab": {"urls": [url], "trust-anchors": ["ca/root.pem"], "http": {"response-timeout": "3s"}}
            },
            "identities": {
                name: {"authority": "lab", "subject": f"CN={name}", "bootstrap": _bootstrap()} for name in self._names
            },
        }
        (self._place / "enrolld.yaml").write_text(yaml.safe_dump(document))

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "agent.supervisor.main", "--config", str(self._place / "enrolld.yaml")]
        return subprocess.Popen(command, stderr=self._log, stdout=self._log)

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    def _handle(self, exchange: Exchange) -> None:
        chance = 1.0 if self._calm else self._random.random()
        if chance > self._plan.fault_share:
            exchange.peer.say(exchange.forward())
            return
        kind = self._random.choice(("reset", "answer lost", "cut short", "late"))
        self._report.faults[kind] += 1
        if kind == "reset":
            exchange.peer.reset()
            return
        answer = exchange.forward()
        if kind == "late":
            exchange.peer.pause(0.5)
            exchange.peer.say(answer)
            return
        if kind == "cut short":
            exchange.peer.say(answer[: len(answer) // 2])
        exchange.peer.reset()

    def _disturb(self) -> None:
        began = time.monotonic()
        kills = [
            self._plan.seconds / 2 * (one + 1) / (self._plan.daemon_kills + 1) for one in range(self._plan.daemon_kills)
        ]
        next_worker = began
        while (passed := time.monotonic() - began) < self._plan.seconds:
            if kills and passed > kills[0]:
                kills.pop(0)
                self._daemon.kill()
                self._daemon.wait()
                self._report.faults["daemon killed"] += 1
                self._report.memory.clear()
                self._report.descriptors.clear()
                self._daemon = self._start()
            if time.monotonic() > next_worker:
                next_worker = time.monotonic() + self._plan.worker_kill_every
                self._kill_a_worker()
            self._look()
            time.sleep(_SAMPLE)

    def _kill_a_worker(self) -> None:
        children = Path(f"/proc/{self._daemon.pid}/task/{self._daemon.pid}/children").read_text().split()
        if not children:
            return
        chosen = self._random.choice(children)
        with suppress(FileNotFoundError, ProcessLookupError):  # it was done
            if b"agent.worker" in Path(f"/proc/{chosen}/cmdline").read_bytes():  # not what reads the configuration
                os.kill(int(chosen), signal.SIGKILL)
                self._report.faults["worker killed"] += 1

    # --- what is seen ------------------------------------------------------------------------------------------------

    def _current(self, name: str) -> bytes | None:
        generation = IdentityStore(self._state, name).current
        return None if generation is None else generation.certificate

    def _everybody_has_one(self) -> bool:
        for name in self._names:
            self._seen[name] |= {one for one in (self._current(name),) if one}
        return all(self._seen.values())

    def _look(self) -> None:
        assert self._daemon.poll() is None, "the daemon ended by itself"
        now = time.monotonic()
        for name in self._names:
            certificate = self._current(name)
            assert certificate is not None, "a credential in use went away"
            self._seen[name].add(certificate)
            if load(certificate).not_valid_after_utc > datetime.now(UTC):
                self._lacking.pop(name, None)
            else:
                if name not in self._lacking:
                    self._report.gaps += 1
                began = self._lacking.setdefault(name, now)
                self._report.longest_gap = max(self._report.longest_gap, now - began + _SAMPLE)
        process = Path(f"/proc/{self._daemon.pid}")
        rollup = (process / "smaps_rollup").read_text()
        memory = [int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")]
        self._report.memory += memory
        self._report.descriptors.append(len(list((process / "fd").iterdir())))

    def _newest(self) -> dict[str, bytes]:
        """Return the newest certificate in force of each identity, as the CA knows it."""
        confirmed = [one for one in self._ca.record().certificates if one.status is CertificateStatus.CONFIRMED]
        return {one.subject.removeprefix("CN="): one.octets for one in confirmed}

    def _agree(self) -> bool:
        """Wait for a moment at which nobody is in the middle of a renewal; what is in use then is seen, too."""
        self._look()
        newest = self._newest()
        return all(self._current(name) == newest.get(name) and not self._lacking for name in self._names)

    def _judge(self) -> None:
        report, newest = self._report, self._newest()
        record = self._ca.record().certificates
        for name in self._names:
            current = self._current(name)
            assert current is not None
            self._seen[name].add(current)
            if current != newest.get(name):
                report.disagreeing.append(name)
        confirmed = {one.octets for one in record if one.status is CertificateStatus.CONFIRMED}
        seen = {one for some in self._seen.values() for one in some}
        report.certificates, report.lapsed = len(confirmed), len(record) - len(confirmed)
        report.unknown = [load(one).subject.rfc4514_string() for one in seen - confirmed]
        report.unused = [load(one).subject.rfc4514_string() for one in confirmed - seen]


def _bootstrap() -> dict[str, object]:
    """Return a new dictionary each time: YAML would write one that is used twice as an alias."""
    return {"shared-secret": {"reference": "site", "secret": "file:secret"}}
