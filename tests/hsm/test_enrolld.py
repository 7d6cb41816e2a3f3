"""The daemon and its token: whatever the module does, the daemon lives on, and it never costs the token its PIN."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.overview import Overview, look
from tests.hsm.conftest import TokenStation
from tests.hsm.test_faults import FAULTS
from tests.hsm.tokens import PIN, Token
from tests.station import ENVIRONMENT, asked, until

PATIENT = 60
"""Seconds to wait for what a busy machine takes its time for."""
DAEMON = "import sys; from agent.supervisor.main import main; sys.exit(main())"
HURRIED = f"from agent.supervisor import jobs; jobs._SLACK = 1.0; {DAEMON}"
"""The daemon with a worker's time for disks and tokens cut down."""
FORGETFUL = f"""
from dataclasses import replace
from agent.contract import Verdict
from agent.policy.backoff import Pace
from agent.supervisor import keeper, schedule
keeper._SECRETS = frozenset()
soon = replace(schedule.RETRY[Verdict.NEEDS_PIN], pace=Pace(base=0.1, cap=0.1, minimum=0.1))
schedule.RETRY[Verdict.NEEDS_PIN] = soon
{DAEMON}
"""
"""The daemon as if it were started anew for each attempt, and the time of the next one came at once."""


@dataclass
class Enrolld:
    """A daemon at work."""

    station: TokenStation
    process: subprocess.Popen[str]

    @property
    def control(self) -> Path:
        return self.station.directory / "run" / "io.enrolld.control"

    @property
    def seen(self) -> Overview:
        return look(self.station.state, "ike")

    def said(self) -> str:
        return (self.station.directory / "said").read_text()

    def reload(self, times: int) -> None:
        """Have it read its configuration again, for the ``times``th time."""
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.said().count("was read anew") == times, seconds=PATIENT)

    def enroll(self) -> dict[str, Any]:
        """Have it try at once; return the outcome."""
        last = asked(self.control, "io.enrolld.control.Enroll", more=True, name="ike")[-1]
        outcome: dict[str, Any] = last["parameters"]["outcome"]
        return outcome


@contextmanager
def enrolld(station: TokenStation, script: str = DAEMON) -> Iterator[Enrolld]:
    """Run the daemon; it must be the same process that ends when it is told to."""
    (station.directory / "run").mkdir(mode=0o700)
    station.more["runtime-directory"] = "run"
    station.configure()
    with (station.directory / "said").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", script, "--config", str(station.config)],
            stderr=said, stdin=subprocess.DEVNULL, text=True, env=ENVIRONMENT,
        )  # fmt: skip
        running = Enrolld(station, process)
        try:
            until(running.control.exists, seconds=PATIENT)
            yield running
            assert process.poll() is None, running.said()
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                status = process.wait(PATIENT)
            finally:
                process.kill()
        assert status == 0, running.said()


def test_no_fault_of_a_module_reaches_the_daemon(station: TokenStation, token: Token) -> None:
    token.order("C_Login segv")
    with enrolld(station) as daemon:
        until(lambda: daemon.seen.attempts == 1, seconds=PATIENT)  # at its own time, as it always does
        pid = daemon.process.pid
        for order, verdict in FAULTS:
            token.order(order)
            outcome = daemon.enroll()
            assert (order, outcome["verdict"]) == (order, verdict), outcome
            assert outcome["remedy"]
            (described,) = asked(daemon.control, "io.enrolld.control.Describe", name="ike")
            assert described["parameters"]["identity"]["name"] == "ike"
            assert daemon.process.poll() is None
        token.order()
        assert daemon.enroll()["verdict"] == "issued"
        assert daemon.process.pid == pid
        assert Path(f"/proc/{pid}").exists()
    assert station.current.number == 1
    assert "Traceback" not in daemon.said()


def test_ten_scheduled_attempts_with_a_wrong_pin_bring_the_token_one(station: TokenStation, token: Token) -> None:
    station.write_pin(b"0000")
    with enrolld(station, FORGETFUL) as daemon:
        until(lambda: daemon.seen.attempts >= 10, seconds=3 * PATIENT)
        assert daemon.seen.state == "needs-pin"
        assert token.logins == ["0xa0"]
        station.write_pin(PIN)
        until(lambda: daemon.seen.usable, seconds=PATIENT)
    assert set(token.logins[1:]) == {"0x0"}


def test_reloads_bring_the_token_no_pin_that_it_refused(station: TokenStation, token: Token) -> None:
    station.write_pin(b"0000")
    with enrolld(station) as daemon:
        until(lambda: daemon.seen.next_action == "look for a new PIN", seconds=PATIENT)
        for times in range(1, 11):
            daemon.reload(times)
        assert daemon.seen.attempts == 1
        assert token.logins == ["0xa0"]
        station.write_pin(PIN)
        daemon.reload(11)
        until(lambda: daemon.seen.usable, seconds=PATIENT)
    assert set(token.logins[1:]) == {"0x0"}


def test_a_login_that_hangs_is_ended_and_told(station: TokenStation, token: Token) -> None:
    token.order("C_Login hang")
    station.authority["http"] = {"connect-timeout": "1s", "response-timeout": "1s"}
    with enrolld(station, HURRIED) as daemon:
        until(lambda: daemon.seen.attempts == 1, seconds=PATIENT)
        assert daemon.seen.state == "timed-out"
        assert "token" in (daemon.seen.remedy or "")
        until(lambda: daemon.seen.next_action == "try again", seconds=PATIENT)
