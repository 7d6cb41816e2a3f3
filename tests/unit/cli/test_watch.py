"""``watch`` shows what changes while it changes, and leaves the terminal as it was; ``retry`` does what is next."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agent.cli.retry import next_action
from agent.cli.watched_events import of_entry
from agent.contract import Action
from agent.overview import Overview
from tests.screen import PLAIN, screen
from tests.station import ENROLLCTL, ENVIRONMENT, Station


def watching(station: Station) -> list[str | Path]:
    return [ENROLLCTL, "--config", station.config, "watch", "--interval", "0.2"]


def test_the_picture_changes_with_the_state_and_goes_away_at_the_end(station: Station) -> None:
    with screen(station.directory, watching(station)) as terminal:
        terminal.wait_for("unenrolled")
        first = terminal.shown()
        assert "enrolld does not run: systemctl start enrolld" in first
        assert station.run("enroll").code == 0
        terminal.wait_for("valid")
        assert "unenrolled" not in terminal.shown()
        terminal.assert_fits()
        terminal.press("C-c")
        assert terminal.ended() == 0
        assert "NAME" not in terminal.shown(), "what was there before is there again"


def test_a_narrow_and_a_wide_terminal_get_what_fits(station: Station) -> None:
    station.identity["subject"] = "CN=enb-4711.north.ran.operator.example,OU=Radio Access,O=Operator,C=DE"
    station.configure(urls=["http://127.0.0.1:9/.well-known/cmp"])
    station.run("enroll")
    for columns, rows in ((80, 24), (132, 43)):
        with screen(station.directory, watching(station), columns=columns, rows=rows) as terminal:
            shown = terminal.wait_for("what to do:")
            terminal.assert_fits()
            assert len(terminal.shown().splitlines()) <= rows
            assert ("O=Operator,C=DE" in shown) is (columns == 132)
            terminal.press("C-c")


def test_without_colour_each_change_is_a_line(station: Station) -> None:
    with screen(station.directory, watching(station), environment=ENVIRONMENT | {"TERM": "screen"} | PLAIN) as terminal:
        terminal.wait_for("ike: unenrolled")
        assert station.run("enroll").code == 0
        terminal.wait_for("ike: valid, until")
        assert "\x1b[3" not in terminal.coloured()
        terminal.press("C-c")
        assert terminal.ended() == 0


def test_a_pipe_gets_lines_too(station: Station) -> None:
    with station.running("watch", "--interval", "0.2", stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        process.terminate()
    assert "enrolld does not run" in lines[0]
    assert lines[1].endswith("ike: unenrolled\n")


def test_an_entry_of_the_journal_is_a_line_if_it_is_about_us() -> None:
    """It begins with the name already."""
    entry = b'{"__REALTIME_TIMESTAMP": "1764158400000000", "IDENTITY": "ike", "MESSAGE": "ike: sending ir"}'
    assert of_entry(entry, ["ike"]) == "12:00:00 ike: sending ir"
    assert of_entry(entry, ["other"]) is None
    assert of_entry(b"rubbish", ["ike"]) is None
    assert of_entry(b'{"MESSAGE": 1}', ["ike"]) is None


@pytest.mark.parametrize(
    ("seen", "action"),
    [
        (Overview(name="ike", state="pending", open_request="renew"), Action.RENEW),
        (Overview(name="ike", state="deploying", usable=True), Action.DEPLOY),
        (Overview(name="ike", state="due", usable=True), Action.RENEW),
        (Overview(name="ike", state="valid", usable=True), None),
        (Overview(name="ike", state="revoked"), None),
        (Overview(name="ike", state="expired"), Action.ENROLL),
        (Overview(name="ike", state="unreachable"), Action.ENROLL),
    ],
)
def test_retry_does_what_is_next(seen: Overview, action: Action | None) -> None:
    assert next_action(seen) is action


def test_retry_goes_on_after_the_cause_is_mended(station: Station) -> None:
    urls = station.authority["urls"]
    station.configure(urls=["http://127.0.0.1:9/.well-known/cmp"])
    assert station.run("enroll").code == 1
    station.configure(urls=urls)
    assert station.run("retry").code == 0
    done = station.run("retry")
    assert done.code == 0
    assert "nothing is open, due or failed" in done.out
