"""The daemon and its token: whatever the module does, the daemon lives on, and it never costs the token its PIN."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.store.token_keys import TokenKeys
from tests.hsm.conftest import TokenStation
from tests.hsm.daemon import DAEMON, PATIENT, enrolld
from tests.hsm.test_faults import FAULTS
from tests.hsm.tokens import PIN, Token
from tests.station import asked, until

HURRIED = f"from agent.supervisor import jobs; jobs._SLACK = 1.0; {DAEMON}"
"""The daemon with a worker's time for disks and tokens cut down."""
FORGETFUL = f"""
from dataclasses import replace
from agent.contract import Verdict
from agent.policy.backoff import Pace
from agent.supervisor import roster, schedule
assert roster._refused
roster._refused = lambda *_: False
soon = replace(schedule.RETRY[Verdict.NEEDS_PIN], pace=Pace(base=0.1, cap=0.1, minimum=0.1))
schedule.RETRY[Verdict.NEEDS_PIN] = soon
{DAEMON}
"""
"""The daemon as if it were started anew for each attempt, and the time of the next one came at once."""


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


def test_a_module_that_takes_all_memory_gets_no_more_than_a_worker_may_have(
    station: TokenStation, token: Token
) -> None:
    station.more["daemon"] = {"worker-memory": 256}
    token.order("C_Sign leak")
    with enrolld(station) as daemon:
        until(lambda: daemon.seen.attempts == 1, seconds=PATIENT)
        assert "memory" in (daemon.seen.last_error or "")
        assert daemon.seen.remedy
        until(lambda: daemon.seen.next_action == "try again", seconds=PATIENT)  # its worker has ended by then
        token.order()
        assert daemon.enroll()["verdict"] == "issued"


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


@pytest.mark.parametrize("end", ["", "C_Sign segv"], ids=["a job that is done", "a worker that crashes"])
def test_what_a_module_starts_ends_with_its_worker(station: TokenStation, token: Token, end: str) -> None:
    token.order("C_Login fork", *filter(None, [end]))
    with enrolld(station) as daemon:
        until(lambda: daemon.seen.attempts or daemon.seen.usable, seconds=PATIENT)
        assert daemon.seen.usable is (not end)
        until(lambda: not workers_of(token), seconds=5)


def workers_of(token: Token) -> list[str]:
    """Return every worker that has this token, and whatever one of them has started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            environment, line = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
            if str(token.orders).encode() in environment and b"agent.worker" in line:
                found.append(process.name)
    return found


def test_a_login_that_hangs_is_ended_and_told(station: TokenStation, token: Token) -> None:
    token.order("C_Login hang")
    station.authority["http"] = {"connect-timeout": "1s", "response-timeout": "1s"}
    with enrolld(station, HURRIED) as daemon:
        until(lambda: daemon.seen.attempts == 1, seconds=PATIENT)
        assert daemon.seen.state == "timed-out"
        assert "token" in (daemon.seen.remedy or "")
        until(lambda: daemon.seen.next_action == "try again", seconds=PATIENT)


def test_a_key_left_on_a_token_is_destroyed_by_the_daemon_when_its_time_has_come(
    station: TokenStation, token: Token
) -> None:
    assert station.run("enroll").code == 0
    station.identity["key"]["store"] = "software"
    station.configure()
    assert station.run("renew").code == 0
    station.more["tokens"]["hsm"] = token.settings(**{"retire-after": "0s"})
    TokenKeys(station.store.directory).plan(datetime.now(UTC))
    with enrolld(station) as daemon:
        until(lambda: "destroyed an old key" in daemon.said(), seconds=PATIENT)
        assert daemon.seen.state == "valid"
    assert "Private Key Object" not in token.tool("--list-objects")
    assert station.current.private_key is not None
