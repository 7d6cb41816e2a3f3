"""enrolld with many identities and certificates that live for seconds, while workers, daemon, CA and network fail."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from agent.cmp.certificates import load
from agent.labca.records import CertificateStatus
from tests.faults.proxy import Exchange
from tests.soak.plan import TOLD_WITHIN, Plan, Report
from tests.soak.site import Site
from tests.station import until
from tests.unit.net.peers import http_answer

_SAMPLE: Final = 0.5
_SETTLING: Final = 150.0
"""Seconds a busy machine may need at the beginning, and at the end once nothing fails any more."""
_LONG: Final = timedelta(days=1)
"""A life that no soak sees the end of."""
_CALIBRATION: Final = 12
"""Identities whose first certificates show what a machine can do."""
_SERIAL: Final = re.compile(r"\bserial ([0-9a-f]+)")
_UNCONFIRMED: Final = re.compile(r"did not acknowledge the confirmation of certificate ([0-9a-f]+)")
_EXPIRED: Final = re.compile(r"^enrolld: (\S+): the certificate expired on ")


def calibrate(place: Path, plan: Plan) -> float:
    """Return how many certificates a second the daemon gets on this machine while nothing fails."""
    with Site(place, identities=_CALIBRATION, life=_LONG, workers=plan.workers) as site:
        came: dict[str, float] = {}

        def everybody_has_one() -> bool:
            for name in site.names:
                if name not in came and site.current(name) is not None:
                    came[name] = time.monotonic()
            return len(came) == len(site.names)

        site.start()
        until(everybody_has_one, seconds=_SETTLING)
    moments = sorted(came.values())
    # The first ones came together, after the daemon had started.
    return (len(moments) - plan.workers) / (moments[-1] - moments[plan.workers - 1])


class Soak:
    """One run below ``place``, of ``plan`` cut to what this machine bears."""

    def __init__(self, place: Path, plan: Plan) -> None:
        """Measure what the machine bears, and prepare everything."""
        rate = calibrate(place / "calibration", plan)
        self._plan = plan = plan.fitted(rate)
        self._report = Report(plan=plan, rate=rate)
        self._random = random.Random(plan.seed)  # noqa: S311 - chance, no secret
        self._calm = True
        self._site = Site(
            place / "soak", identities=plan.identities, life=plan.life, workers=plan.workers, handle=self._handle
        )
        self._seen: dict[str, dict[bytes, datetime]] = {name: {} for name in self._site.names}
        """By identity, the certificates that were in use at some time, and their ends."""
        self._lacking: dict[str, float] = {}
        """Since when who is without a valid certificate."""
        self._told: dict[str, float] = {}
        """When the daemon said last of whom that his certificate had expired."""
        self._serials: set[int] = set()
        """Certificates that the agent has spoken of."""
        self._unconfirmed: set[int] = set()
        """Those of them whose confirmation the CA did not acknowledge: better installed than nothing."""

    def run(self) -> Report:
        """Run it all, and return what was seen."""
        with self._site as site:
            site.start()
            until(self._everybody_has_one, seconds=_SETTLING)
            self._calm = False
            self._disturb()
            self._calm = True
            # From now on certificates live long: once everybody has one of those, nothing more is under way.
            site.restart_ca(life=_LONG)
            until(self._quiet, seconds=_SETTLING)
            site.stop()
            self._judge()
        return self._report

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    def _handle(self, exchange: Exchange) -> None:
        if self._calm or self._random.random() > self._plan.fault_share:
            exchange.peer.say(exchange.forward())
            return
        kind = self._random.choice(("reset", "answer lost", "cut short", "late", "bad gateway"))
        self._report.faults[kind] += 1
        match kind:
            case "reset":
                exchange.peer.reset()
            case "answer lost":
                exchange.forward()
                exchange.peer.reset()
            case "cut short":
                answer = exchange.forward()
                exchange.peer.say(answer[: len(answer) // 2])
                exchange.peer.reset()
            case "late":
                answer = exchange.forward()
                exchange.peer.pause(0.5)
                exchange.peer.say(answer)
            case "bad gateway":
                exchange.peer.say(http_answer(b"<html>Bad Gateway</html>", "502 Bad Gateway", "text/html"))

    def _disturb(self) -> None:
        plan = self._plan
        due = [
            (plan.seconds / 2 * (one + 1) / (plan.daemon_kills + 1), self._kill_daemon)
            for one in range(plan.daemon_kills)
        ]
        due.append((plan.seconds * 3 / 4, self._restart_ca))
        due += [(at, self._kill_a_worker) for at in _moments(plan.worker_kill_every, plan.seconds)]
        due.sort(key=lambda one: one[0])
        began = time.monotonic()
        while (passed := time.monotonic() - began) < plan.seconds:
            while due and passed > due[0][0]:
                due.pop(0)[1]()
            self._look()
            time.sleep(_SAMPLE)

    def _kill_daemon(self) -> None:
        self._site.kill()
        self._report.faults["daemon killed"] += 1
        self._report.memory.clear()
        self._report.descriptors.clear()
        self._report.beside.clear()
        self._site.start()

    def _restart_ca(self) -> None:
        self._site.restart_ca()
        self._report.faults["CA restarted"] += 1

    def _kill_a_worker(self) -> None:
        if workers := self._site.workers():
            with suppress(ProcessLookupError):  # it was done
                os.kill(self._random.choice(workers), signal.SIGKILL)
                self._report.faults["worker killed"] += 1

    # --- what is seen ------------------------------------------------------------------------------------------------

    def _end(self, name: str) -> datetime | None:
        """Return the end of the certificate that ``name`` uses; that it was in use is remembered."""
        certificate = self._site.current(name)
        if certificate is None:
            return None
        seen = self._seen[name]
        if certificate not in seen:
            seen[certificate] = load(certificate).not_valid_after_utc
        return seen[certificate]

    def _everybody_has_one(self) -> bool:
        ends = [self._end(name) for name in self._site.names]
        return None not in ends

    def _quiet(self) -> bool:
        """Tell whether everybody has a certificate that lives long, and nothing is under way."""
        self._look()
        later = datetime.now(UTC) + _LONG / 2
        ends = [self._end(name) for name in self._site.names]
        return all(end is not None and end > later for end in ends) and not self._site.workers()

    def _look(self) -> None:
        assert self._site.daemon is not None
        assert self._site.daemon.poll() is None, f"the daemon ended by itself, see {self._site.log}"
        self._hear()
        now = time.monotonic()
        for name in self._site.names:
            end = self._end(name)
            assert end is not None, f"the credential of {name} went away"
            if end > datetime.now(UTC):
                self._lacking.pop(name, None)
                continue
            if name not in self._lacking:
                self._report.gaps += 1
            began = self._lacking.setdefault(name, now)
            self._report.longest_gap = max(self._report.longest_gap, now - began + _SAMPLE)
            told = self._told.get(name, 0.0) >= began - TOLD_WITHIN
            if now - began > TOLD_WITHIN and not told and name not in self._report.unnoticed:
                self._report.unnoticed.append(name)
        self._measure()

    def _hear(self) -> None:
        """Take in what the daemon has said since."""
        now = time.monotonic()
        for line in self._site.news():
            self._serials.update(int(one, 16) for one in _SERIAL.findall(line))
            self._unconfirmed.update(int(one, 16) for one in _UNCONFIRMED.findall(line))
            if told := _EXPIRED.match(line):
                self._told[told[1]] = now

    def _measure(self) -> None:
        proc = self._site.proc
        if b"agent.supervisor" not in (proc / "cmdline").read_bytes():
            return  # it has only just been started
        rollup = (proc / "smaps_rollup").read_text()
        self._report.memory += [int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")]
        explained, count = self._site.descriptors_of_workers(), len(list((proc / "fd").iterdir()))
        self._report.descriptors.append(count)
        self._report.beside.append(count - explained)

    def _judge(self) -> None:
        report, site = self._report, self._site
        record = site.record().certificates
        confirmed = {one.octets: one for one in record if one.status is CertificateStatus.CONFIRMED}
        newest = {one.subject.removeprefix("CN="): one.octets for one in confirmed.values()}
        for name in site.names:
            if site.current(name) != newest.get(name) or site.opened(name):
                report.disagreeing.append(name)
        in_use = {one for some in self._seen.values() for one in some}
        self._hear()
        report.certificates, report.lapsed = len(confirmed), len(record) - len(confirmed)
        disputed = {one for one in in_use - confirmed.keys() if load(one).serial_number in self._unconfirmed}
        report.unconfirmed = len(disputed)
        report.unknown = [_who(one) for one in in_use - confirmed.keys() - disputed]
        report.unused = [
            _who(one) for one, known in confirmed.items() if one not in in_use and known.serial not in self._serials
        ]


def _moments(every: float, until_end: float) -> list[float]:
    return [every * (one + 1) for one in range(int(until_end / every))]


def _who(certificate: bytes) -> str:
    loaded = load(certificate)
    return f"{loaded.subject.rfc4514_string()}, serial {loaded.serial_number:x}"
