"""``enroll``, ``renew``, ``refresh`` and ``retry`` have the daemon do it where one runs that would do the same."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.cli import delegation
from agent.config import load
from agent.contract import Action, Outcome, Verdict
from agent.control_client import INTERFACE, LONGEST_ANSWER, SOCKET, Client, connect, listens
from agent.errors import ControlError, NotPermitted
from agent.labca import LabCa
from tests.station import Station, asked, until

DAEMON = (sys.executable, "-m", "agent.supervisor.main", "--config")


class Daemon:
    """A real ``enrolld`` for a station."""

    def __init__(self, station: Station, process: subprocess.Popen[bytes]) -> None:
        self._station = station
        self.process = process

    def told(self) -> str:
        return (self._station.directory / "daemon.log").read_text()

    def times(self, text: str) -> int:
        return self.told().count(text)


@contextmanager
def daemon(station: Station) -> Iterator[Daemon]:
    station.more["runtime-directory"] = "run"
    station.configure()
    (station.directory / "run").mkdir(mode=0o700)
    with (station.directory / "daemon.log").open("wb") as log:
        process = subprocess.Popen([*DAEMON, station.config], stderr=log)
    try:
        until((station.directory / "run" / SOCKET).exists, seconds=60)
        yield Daemon(station, process)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def enrolled(station: Station) -> Callable[[], bool]:
    """Whether the daemon has got it a certificate, and its worker has ended, too: another job would have to wait."""
    return lambda: station.store.current is not None and not at_work(station)


def at_work(station: Station) -> bool:
    (told,) = asked(station.directory / "run" / SOCKET, f"{INTERFACE}.Describe", name="ike")
    return bool(told["parameters"]["identity"]["running"])


def pending(station: Station) -> bool:
    snapshot = station.store.transaction.load_snapshot()
    transaction = snapshot["transaction"] if snapshot else {}
    return isinstance(transaction, dict) and transaction.get("state") == "waiting"


def shape(lines: str) -> list[str]:
    """Return which steps were shown, without times and numbers."""
    return [" ".join(line.split()[1:4]) for line in lines.splitlines()]


def test_a_renewal_is_done_by_the_daemon_and_looks_as_one_in_the_foreground(station: Station) -> None:
    with daemon(station) as enrolld:
        until(enrolled(station), seconds=60)
        first = station.current.description["serial"]
        by_daemon = station.run("renew")
        assert by_daemon.code == 0, by_daemon.err
        assert enrolld.times("sending kur") == 1
        assert station.current.description["serial"] != first
        as_json = station.run("renew", "--json")
        assert enrolld.times("sending kur") == 2
    alone, alone_json = station.run("renew"), station.run("renew", "--json")
    assert shape(by_daemon.err) == shape(alone.err)
    assert by_daemon.out.split(":")[0:1] == alone.out.split(":")[0:1]
    told, expected = json.loads(as_json.out), json.loads(alone_json.out)
    assert told.keys() == expected.keys()
    assert told["fields"].keys() == expected["fields"].keys()
    assert (as_json.code, told["verdict"]) == (alone_json.code, expected["verdict"]) == (0, "issued")


def test_the_daemon_refreshes_and_retries_and_leaves_a_good_certificate_alone(station: Station) -> None:
    with daemon(station) as enrolld:
        until(enrolled(station), seconds=60)
        assert station.run("enroll").code == 0
        assert enrolld.times("sending ir") == 1
        before = enrolld.times("sending genm")
        done = station.run("refresh")
        assert done.code == 0, done.err
        assert enrolld.times("sending genm") > before
        assert station.run("retry").out == "ike: nothing is open, due or failed\n"


def test_a_failure_of_the_daemon_is_the_failure_of_the_command(station: Station) -> None:
    station.authority["urls"] = ["http://127.0.0.1:9/"]
    with daemon(station):
        failed = station.run("retry")
    assert failed.code == 1
    assert failed.problem.startswith("ike: ")
    assert failed.remedy


def test_a_renewal_of_nothing_does_not_hide_why_there_is_no_certificate(station: Station) -> None:
    station.write_secret("mistyped")
    with daemon(station) as enrolld:
        until(lambda: enrolld.times("what to do: Check reference and secret"), seconds=60)
        failed = station.run("renew")
        assert failed.code == 2
        assert failed.problem == "ike: there is no certificate yet that could be renewed"
        shown = station.run("status", "ike")
    assert "state:        needs-secret\n" in shown.out
    assert "what to do:   Check reference and secret" in shown.out


def test_the_command_waits_while_the_ca_is_undecided_and_the_daemon_asks(
    slow_station: Station, slow_lab: LabCa
) -> None:
    with daemon(slow_station) as enrolld:
        until(lambda: pending(slow_station), seconds=60)
        at_once = slow_station.run("enroll", "--wait", "0s")
        assert at_once.code == 3, at_once.err
        briefly = slow_station.run("enroll", "--wait", "2s")
        assert briefly.code == 3, briefly.err
        with slow_station.running("enroll", "--wait", "60s") as process:
            polls = enrolld.times("the CA has not decided")
            until(lambda: process.poll() is not None or enrolld.times("the CA has not decided") > polls)
            assert process.poll() is None
            assert slow_lab.approve() == 1
            out, err = process.communicate(timeout=50)
        assert process.returncode == 0, err
        assert out.startswith("ike: ")
        assert slow_station.current.confirmed
        assert enrolld.times("sending ir") == 1


def test_an_interrupted_command_leaves_the_daemon_at_work_and_says_so(slow_station: Station, slow_lab: LabCa) -> None:
    with daemon(slow_station):
        until(lambda: pending(slow_station), seconds=60)
        with slow_station.running("enroll") as process:
            assert process.stderr is not None
            first = process.stderr.readline()
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=20)
        assert process.returncode == 3, first + err
        assert out == "ike: interrupted here; enrolld goes on with the job\n"
        assert err.splitlines()[-1] == ("enrollctl: what to do: See what becomes of it with 'enrollctl watch ike'.")
        until(lambda: slow_lab.approve() == 1)
        until(enrolled(slow_station), seconds=60)


def test_what_the_daemon_cannot_honour_is_done_without_it(station: Station) -> None:
    with daemon(station) as enrolld:
        until(enrolled(station), seconds=60)
        over = station.run("enroll", "--start-over")
        assert over.code == 0, over.err
        assert enrolld.times("sending ir") == 1
        station.identity["subject"] = "CN=enb-4712,O=Operator"
        station.configure()
        changed = station.run("enroll", "--again")
        assert changed.code == 0, changed.err
        assert "note: enrolld has other settings for ike" in changed.err.replace("\n", " ").replace("  ", " ")
        assert enrolld.times("sending ir") == 1


def test_a_secret_that_is_typed_in_is_asked_for_here(station: Station) -> None:
    station.identity["bootstrap"]["shared-secret"]["secret"] = "prompt"
    with daemon(station) as enrolld:
        until(lambda: enrolld.times("has to be typed in") > 0, seconds=60)
        before = enrolld.times("has to be typed in")
        here = station.run("enroll")
        assert here.code == 4
        assert "typed in" in here.problem
        assert enrolld.times("has to be typed in") == before


def test_a_job_of_another_kind_is_not_taken_for_the_one_that_was_asked_for(station: Station) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        station.authority["urls"] = [f"http://127.0.0.1:{silent.getsockname()[1]}/"]
        with daemon(station):
            worker, _ = silent.accept()
            busy = station.run("refresh")
            worker.close()
            silent.close()
    assert busy.code == 1
    assert busy.problem == "ike: enrolld is at work on it (enroll)"


# --- a peer that is not as it should be -------------------------------------------------------------------------------


def answered(octets: bytes) -> Client:
    """Give a client whose daemon says just ``octets`` and hangs up."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            theirs.recv(65_536)
            try:
                theirs.sendall(octets)
            except OSError:
                return  # the client has had enough

    threading.Thread(target=serve, daemon=True).start()
    return Client(ours)


@pytest.mark.parametrize(
    ("octets", "error", "words"),
    [
        (b"", ControlError, "ended"),
        (b'{"parameters": {', ControlError, "ended"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n\0", ControlError, "does not answer as enrolld does"),
        (b"[]\0", ControlError, "does not answer as enrolld does"),
        (b'{"error": 5}\0', ControlError, "does not answer as enrolld does"),
        (b"[" * 100_000 + b"\0", ControlError, "does not answer as enrolld does"),
        (b"x" * (LONGEST_ANSWER + 70_000), ControlError, "does not answer as enrolld does"),
        (b'{"error": "io.enrolld.control.NotPermitted"}\0', NotPermitted, "for this user"),
        (b'{"error": "org.varlink.service.InvalidParameter"}\0', ControlError, "refuses"),
        (b'{"error": "io.enrolld.control.TooManyClients", "parameters": {"most": 16}}\0', ControlError, "too many"),
        (b'{"error": "io.enrolld.control.TooSlow"}\0', ControlError, "did not read"),
        (b'{"error": "io.enrolld.control.Ending"}\0', ControlError, "is ending"),
    ],
)
def test_an_answer_that_is_none_ends_in_an_error_with_a_remedy(
    octets: bytes, error: type[ControlError], words: str
) -> None:
    with answered(octets) as client, pytest.raises(error, match=words) as caught:
        client.settings_of("ike")
    assert caught.value.remedy.endswith(".")


def test_a_daemon_that_says_nothing_more_is_not_waited_for_beyond_the_deadline() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Client(ours) as client:
        outcome = client.run("ike", Action.ENROLL, lambda _: None, again=False, wait=0, deadline=0.2)
    assert outcome.verdict is Verdict.WAITING
    assert "goes on" in outcome.text


def test_a_daemon_that_takes_no_calls_is_neither_passed_over_nor_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(tmp_path / SOCKET))
        theirs.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for one in waiting:
            one.settimeout(0)
            one.connect_ex(str(tmp_path / SOCKET))
        with pytest.raises(ControlError, match="does not answer"):
            connect(tmp_path)
        assert listens(tmp_path)
        for one in waiting:
            one.close()


def refusing(_: Path) -> Client:
    raise NotPermitted("no", remedy="Run it as root.")


@pytest.mark.parametrize("open_to_us", [True, False])
def test_who_may_not_ask_the_daemon_works_alone_on_a_directory_of_his_own_or_is_told_what_to_do(
    station: Station, monkeypatch: pytest.MonkeyPatch, *, open_to_us: bool
) -> None:
    monkeypatch.setattr(delegation, "connect", refusing)
    monkeypatch.setattr("agent.cli.delegation.os.access", lambda *_: open_to_us)

    def ask() -> Outcome | None:
        return delegation.ask_daemon(load(station.config), "ike", Action.ENROLL, again=False, wait=0)

    if open_to_us:
        assert ask() is None
    else:
        with pytest.raises(NotPermitted):
            ask()
