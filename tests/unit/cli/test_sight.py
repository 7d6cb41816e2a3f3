"""``status`` and ``watch`` ask enrolld where it runs; what it does not tell is read from its files."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.cli import sight
from agent.cli.sight import Daemon
from agent.config import load
from agent.control_client import SOCKET
from agent.overview import Overview
from tests.printed import valid
from tests.screen import screen
from tests.station import ENROLLCTL, ENVIRONMENT, Station, until
from tests.unit.cli.test_delegation import daemon, enrolled

NOW = datetime.now(UTC)


@contextmanager
def answering(station: Station, answer: bytes) -> Iterator[None]:
    """Something listens in the place of enrolld and says just this."""
    station.more["runtime-directory"] = "run"
    station.configure()
    (station.directory / "run").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(station.directory / "run" / SOCKET))
        server.listen()

        def serve() -> None:
            try:
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(65_536)
                        connection.sendall(answer)
            except OSError:
                return  # the test is over

        threading.Thread(target=serve, daemon=True).start()
        yield
        server.shutdown(socket.SHUT_RDWR)


def listed(station: Station, **facts: Any) -> bytes:
    one = {"name": "ike", "state": "valid", "attempts": 0, "usable": True, "consumers": [], "running": True}
    one |= {"state_directory": str(station.state)} | facts
    return json.dumps({"parameters": {"identities": [one]}}).encode() + b"\0"


def seen(station: Station) -> tuple[Overview, Daemon]:
    found = sight.see(load(station.config), ["ike"], NOW)
    (one,) = found.seen
    return one, found.daemon


def test_the_daemon_and_its_files_say_the_same(station: Station) -> None:
    files = station.directory / "files"
    files.mkdir(mode=0o750)
    station.identity["deploy"] = [{"directory": {"path": str(files)}}]
    with daemon(station):
        until(enrolled(station), seconds=60)
        until(lambda: seen(station)[0].state == "valid" and not seen(station)[0].running, seconds=60)
        asked = valid("status", station.run("status", "--json").out)
        shown = station.run("status")
        in_full = station.run("status", "ike").out
    (read,) = valid("status", station.run("status", "--json").out)
    times = {"deploy-at", "refresh-at"}  # the files are read at another moment
    assert {key: value for key, value in asked[0].items() if key not in times} == {
        key: value for key, value in read.items() if key not in times
    }
    assert shown.err == ""
    assert "USED BY" in shown.out
    assert f"directory {files}: since" in in_full


def test_without_its_runtime_directory_it_is_said_whose_service_has_to_be_started(station: Station) -> None:
    """With a configuration of one's own, the service that systemctl starts would keep something else."""
    station.more["runtime-directory"] = "run"
    station.configure()
    assert seen(station)[1] is Daemon.ELSEWHERE
    told = station.run("status").err
    assert "enrolld does not run with this configuration, and without it nobody renews: systemctl start enrolld" in told
    assert "where this is the configuration of the service" in told
    (station.directory / "run").mkdir()
    assert seen(station)[1] is Daemon.ABSENT


def test_what_enrolld_is_at_work_on_is_told(station: Station) -> None:
    with answering(station, listed(station)):
        one, found = seen(station)
        assert (one.state, one.running, found) == ("valid", True, Daemon.RUNS)
        assert "enrolld is at work on it" in station.run("status").out


@pytest.mark.parametrize(
    "facts", [{"state_directory": "/elsewhere"}, {"name": "other"}, {"unheard_of": 1}, {"usable": "yes"}]
)
def test_what_enrolld_says_of_other_files_or_in_another_version_is_not_taken(
    station: Station, facts: dict[str, Any]
) -> None:
    with answering(station, listed(station, **facts)):
        one, found = seen(station)
    assert (one.state, one.running, found) == ("unenrolled", False, Daemon.RUNS)


NO_ANSWERS = {
    "nothing": b"",
    "rubbish": b"rubbish\0",
    "no list": b'{"parameters": {"identities": 5}}\0',
    "nothing, and more of it": b'{"parameters": {"identities": []}, "continues": true}\0' * 2,
    "too many": b'{"parameters": {"identities": [%b{}]}, "continues": true}\0' % (b"{}," * 9_999) * 7,
    "an end in the middle": b'{"parameters": {"identities": [{}]}, "continues": true}\0',
}


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_one_that_does_not_answer_is_told_of_and_its_files_are_read(station: Station, answer: bytes) -> None:
    with answering(station, answer):
        done = station.run("status")
    assert done.code == 0
    assert "unenrolled" in done.out
    assert "enrolld runs, but does not answer, and without it nobody renews: systemctl restart enrolld" in done.err


def test_one_that_stands_still_costs_seconds_only(station: Station) -> None:
    with daemon(station) as enrolld:
        until(enrolled(station), seconds=60)
        enrolld.process.send_signal(signal.SIGSTOP)
        try:
            assert seen(station)[1] is Daemon.SILENT
            assert "valid" in station.run("status").out
        finally:
            enrolld.process.send_signal(signal.SIGCONT)


def test_who_may_not_ask_reads_the_files(station: Station) -> None:
    with answering(station, b'{"error": "io.enrolld.control.NotPermitted"}\0'):
        one, found = seen(station)
    assert (one.state, found) == ("unenrolled", Daemon.CLOSED)


def test_watch_shows_what_enrolld_tells_where_there_is_no_journal(station: Station, tmp_path: Path) -> None:
    with daemon(station):
        until(enrolled(station), seconds=60)
        command: list[str | Path] = [ENROLLCTL, "--config", station.config, "watch", "--interval", "0.3"]
        with screen(tmp_path, command, environment=ENVIRONMENT | {"TERM": "screen-256color"}) as terminal:
            terminal.wait_for("enrolld runs")
            assert station.run("renew").code == 0
            terminal.wait_for("ike: sending kur")
            terminal.wait_for("ike: installed:")
            terminal.assert_fits()


def test_watch_tells_when_enrolld_goes_and_comes_back(station: Station) -> None:
    with daemon(station):
        until(enrolled(station), seconds=60)
        with station.running("watch", "--interval", "0.2") as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first.endswith(" enrolld runs\n")
            assert process.stdout.readline().endswith(" UTC\n")
            process.terminate()
    with station.running("watch", "--interval", "0.2") as process:
        assert process.stdout is not None
        assert "enrolld does not run: systemctl start enrolld" in process.stdout.readline()
        process.terminate()
