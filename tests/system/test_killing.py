"""kill -9 of the daemon and its workers, 200 times at random moments, while two CAs issue: nothing issued is lost.

Whoever is killed is started again at once, as systemd does. One CA decides at once, the other asks for patience first,
so that the moments are spread over everything a request goes through. Workers that outlive their daemon are killed too.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent.cmp.certificates import load
from agent.labca import LabCa, LabCaSettings, running
from agent.labca.records import CertificateStatus
from agent.store.generations import IdentityStore
from tests.station import ENROLLCTL, ENVIRONMENT, SECRET, until

KILLS: Final = 200
PARTS: Final = 4
"""After each of them everything is judged: none takes so long that it seems to hang."""
SEED: Final = int(os.environ.get("KILLING_SEED") or random.SystemRandom().randrange(1_000_000))
POLLS: Final = {"prompt": 0, "patient": 1}
"""How often the CA of this name asks for patience. Each has one identity, which has its name."""
CONFIRM_WITHIN: Final = timedelta(minutes=10)
"""After this the CAs let an unconfirmed certificate lapse; nobody rests for so long here."""
LONGEST_DELAY: Final = 1.2
"""Seconds between two kills at the most, and the longest daemon and workers are left alone together."""
PATIENCE: Final = 120.0


class Site:
    """A state directory, the daemon over it, and what became of both."""

    def __init__(self, place: Path, authorities: dict[str, LabCa]) -> None:
        """Write the configuration; nothing runs yet."""
        self._place = place
        self._random = random.Random(SEED)  # noqa: S311 - chance, no secret
        self._authorities = authorities
        self._sessions: set[int] = set()
        """Every daemon leads a session, which its workers stay in when it is gone."""
        self._delay = LONGEST_DELAY
        self._log = (place / "enrolld.log").open("ab")
        self._daemon: subprocess.Popen[bytes] | None = None
        self._state = place / "state"
        self._have_one: set[str] = set()
        self.seen: dict[str, set[bytes]] = {name: set() for name in authorities}
        """Every certificate that was on disk at some time."""
        self.killed: Counter[str] = Counter()
        self._configure()

    def _configure(self) -> None:
        self._state.mkdir(mode=0o700)
        (self._place / "run").mkdir()
        (secret := self._place / "secret").write_text(f"{SECRET}\n")
        secret.chmod(0o600)
        document = {
            "state-directory": "state",
            "runtime-directory": "run",
            "authorities": {
                name: {
                    "urls": [ca.url],
                    "trust-anchors": [f"{name}/root.pem"],
                    "polling": {"minimum": "1s", "maximum": "1s"},
                }
                for name, ca in self._authorities.items()
            },
            "identities": {
                name: {
                    "authority": name,
                    "subject": f"CN={name}",
                    "bootstrap": {"shared-secret": {"reference": "site", "secret": "file:secret"}},
                }
                for name in self._authorities
            },
        }
        (self._place / "enrolld.yaml").write_text(yaml.safe_dump(document))

    def store(self, name: str) -> IdentityStore:
        return IdentityStore(self._state, name)

    # --- processes ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._daemon = subprocess.Popen(
            [ENROLLCTL.with_name("enrolld"), "--config", self._place / "enrolld.yaml"],
            env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True,
        )  # fmt: skip
        self._sessions.add(self._daemon.pid)

    def workers(self) -> dict[int, int]:
        """Process numbers of all workers, with those of their parents."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(FileNotFoundError, ProcessLookupError):
                state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                ours = int(session) in self._sessions and state != "Z"
                if ours and b"agent.worker" in (entry / "cmdline").read_bytes():
                    found[int(entry.name)] = int(parent)
        return found

    def order(self, *names: str) -> bool:
        """Ask the daemon for certificates, for everybody or ``names``; False while it does not listen yet."""
        self.look()
        calls = []
        for name in names or self._authorities:
            method, more = self._random.choice((("Renew", {}), ("Enroll", {"again": True})))
            calls.append({"method": f"io.enrolld.control.{method}", "parameters": {"name": name} | more})
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self._place / "run" / "io.enrolld.control"))
                connection.sendall(b"".join(json.dumps(call).encode() + b"\0" for call in calls))
            except OSError:
                return False
        return True

    def stop(self) -> str:
        """End the daemon in order; return everything that was said."""
        assert self._daemon is not None
        self._daemon.terminate()
        assert self._daemon.wait(PATIENCE) == 0
        assert not self.workers()
        return (self._place / "enrolld.log").read_text()

    def clean_up(self) -> None:
        """Leave nothing running, whatever happened."""
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.kill()
            self._daemon.wait()
        for pid in self.workers():
            self._kill(pid)
        self._log.close()

    # --- killing -----------------------------------------------------------------------------------------------------

    def measure(self) -> None:
        """Let everybody enroll, and then once more: what that takes on this machine is how long a kill may wait."""
        until(lambda: self.look() == set(self._authorities) and not self.workers(), seconds=PATIENCE)
        until(self.order, seconds=PATIENCE)
        until(self.workers, seconds=PATIENCE)
        began = time.monotonic()
        until(lambda: not self.workers(), seconds=PATIENCE)
        self._delay = min(time.monotonic() - began, LONGEST_DELAY)

    def strike(self) -> None:
        """Kill the daemon or one of the workers."""
        if self._random.random() < 1 / 3:
            self._strike_the_daemon()
        else:
            self._strike_a_worker()

    def _strike_the_daemon(self) -> None:
        assert self._daemon is not None
        if self._random.random() < 3 / 4:  # otherwise it may have nothing to do
            self.order()
        self._let_time_pass()
        self._daemon.kill()
        assert self._daemon.wait() == -signal.SIGKILL, "the daemon had ended by itself"
        self.killed["daemon"] += 1
        if self._random.random() < 1 / 2:  # otherwise its workers may live on beside the next one
            for orphan in self.workers():
                time.sleep(self._random.uniform(0, self._delay / 4))
                self.killed["orphan"] += self._kill(orphan)
        self.start()
        if self._random.random() < 3 / 4:  # otherwise the next one may be killed while it starts
            until(self.order, seconds=PATIENCE)

    def _strike_a_worker(self) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            until(lambda: self.workers() or (self.order() and self.workers()), seconds=PATIENCE)
            self._let_time_pass()
            found = self.workers()
            if found and self._kill(pid := self._random.choice(sorted(found))):
                self.killed["worker" if self._daemon and found[pid] == self._daemon.pid else "orphan"] += 1
                return
            assert time.monotonic() < end, "no worker lived long enough to be killed"

    def _let_time_pass(self) -> None:
        time.sleep(self._random.uniform(0, self._delay))
        self.look()

    def _kill(self, pid: int) -> bool:
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            try:
                if pid in self.workers():
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    return True
            finally:
                os.close(descriptor)
        return False

    # --- judging -----------------------------------------------------------------------------------------------------

    def look(self) -> set[str]:
        """Note every certificate on disk; return who has a credential, which is whole and never goes away."""
        for name, seen in self.seen.items():
            current = self.store(name).current
            assert current is not None or name not in self._have_one, f"{name} has lost its credential"
            self._have_one |= {name} if current else set()
            for generation in self.store(name).generations:
                with suppress(FileNotFoundError):  # it was so old that it was removed
                    seen.add(generation.certificate)
        return self._have_one

    def settle(self) -> None:
        """Let everybody have one more certificate; whatever was open has come to its end then."""
        until(lambda: not self.workers(), seconds=PATIENCE)
        for name in self._authorities:
            before = self.store(name).current
            end = time.monotonic() + PATIENCE
            while self.workers() or self.store(name).current == before or self._is_untidy(name):
                assert time.monotonic() < end, f"{name} does not come to rest"
                if not self.workers():
                    self.order(name)
                time.sleep(0.1)
        self.look()

    def _is_untidy(self, name: str) -> bool:
        """Whether a request is open, or something half written has not been cleared away."""
        directory = self.store(name).directory
        return self.store(name).transaction.path.exists() or any(directory.rglob("*.tmp"))

    def judge(self) -> None:
        """Expect one valid credential each, no key without its certificate, and a CA that knows no more than we."""
        now = datetime.now(UTC)
        for name, ca in self._authorities.items():
            current = self.store(name).current
            assert current is not None
            leaf = load(current.certificate)
            assert leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc
            leaf.verify_directly_issued_by(load(current.chain[0]))
            for generation in self.store(name).generations:
                generation.check()
                assert generation.private_key is not None
                key = load_pem_private_key(generation.private_key.read_bytes(), None)
                assert key.public_key() == load(generation.certificate).public_key()
            certificates = ca.record(now + 2 * CONFIRM_WITHIN).certificates
            in_force = [one.octets for one in certificates if one.status is not CertificateStatus.REFUSED]
            assert in_force[-1] == current.certificate
            assert set(in_force) <= self.seen[name], f"{name}: a certificate is in force that was never on this disk"
        keys = list(self._state.rglob("private-key*"))
        assert keys
        assert [key for key in keys if not (key.parent / "certificate.pem").exists()] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The tests below go on with it in turn."""
    sys.stdout.write(f"the kills of KILLING_SEED={SEED}\n")
    place = tmp_path_factory.mktemp("killing")
    with ExitStack() as stack:
        authorities = {}
        for name, polls in POLLS.items():
            settings = LabCaSettings(
                directory=place / name,
                secrets={"site": SECRET},
                polls=polls,
                confirm_wait=CONFIRM_WITHIN,
                durable=False,
            )
            stack.callback((ca := LabCa(settings)).close)
            stack.enter_context(running(ca))
            authorities[name] = ca
        made = Site(place, authorities)
        stack.callback(made.clean_up)
        made.start()
        made.measure()
        yield made


@pytest.mark.parametrize("part", range(1, PARTS + 1))
def test_whoever_is_killed_and_when_nothing_that_was_issued_is_lost(site: Site, part: int) -> None:
    while site.killed.total() < part * KILLS // PARTS:
        site.strike()
    site.settle()
    site.judge()


def test_the_daemon_was_killed_as_well_as_workers_and_nobody_met_a_defect(site: Site) -> None:
    assert site.killed.keys() == {"daemon", "worker", "orphan"}
    said = site.stop()
    assert "installed" in said
    assert "defect" not in said
    assert "Traceback" not in said
