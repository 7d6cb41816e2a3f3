"""The same words on standard error, and not twice where that is the journal. The journal itself: tests/system."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from agent import journal
from agent.events import Event

WORDS = {"verdict": "unreachable", "reason": "no address of the CA answered"}
FIELDS = {"IDENTITY": "ike", "REMEDY": "Check the cable."}


@pytest.fixture(autouse=True)
def no_journald(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SOCKET", tmp_path / "none")


def test_without_journald_an_event_goes_to_standard_error_with_its_remedy(capfd: pytest.CaptureFixture[str]) -> None:
    journal.report(Event.FAILED, FIELDS, **WORDS)
    assert capfd.readouterr().err == (
        "enrolld: ike: unreachable: no address of the CA answered\nenrolld: ike: what to do: Check the cable.\n"
    )


def test_what_a_worker_reported_is_repeated_in_the_same_words(capfd: pytest.CaptureFixture[str]) -> None:
    journal.repeat("unreachable: no address of the CA answered", FIELDS)
    repeated = capfd.readouterr().err
    journal.report(Event.FAILED, FIELDS, **WORDS)
    assert repeated == capfd.readouterr().err


def test_an_event_is_on_standard_error_once_when_journald_has_gone_away(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.fstat(sys.stderr.fileno())
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    journal.report(Event.ENDING)
    assert capfd.readouterr().err == "enrolld: ending; open requests stay on disk\n"
    (tmp_path / "none").touch()
    journal.repeat("sent by the worker", {})
    assert capfd.readouterr().err == ""


class Broken(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_an_event_is_reported_though_nobody_reads_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Broken())
    journal.report(Event.ENDING)
    journal.say("a line that is no event")
