from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from agent import journal
from agent.cli.steps import Steps


def test_steps_are_not_written_twice_where_standard_error_goes_to_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "journal"
    with place.open("w") as stream, Steps("ike") as steps:
        status = os.fstat(stream.fileno())
        monkeypatch.setattr(sys, "stderr", stream)
        steps.step("shown, as this is not the journal")
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        steps.step("left to the worker, who wrote it with its fields")
    assert "shown, as this" in place.read_text()
    assert "left to the worker" not in place.read_text()


def test_only_what_root_enrolld_or_whoever_asks_has_written_is_read_as_enrolld_s(tmp_path: Path) -> None:
    mine = f"_UID={os.geteuid()}"
    assert set(journal.query(tmp_path)) == {"--identifier=enrolld", "_UID=0", mine}
    theirs = Path("/proc/1")  # root's
    assert set(journal.query(theirs)) == {"--identifier=enrolld", "_UID=0", mine}
    assert set(journal.query(tmp_path / "none")) == {"--identifier=enrolld", "_UID=0", mine}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")
def test_what_the_owner_of_the_state_directory_wrote_is_enrolld_s(tmp_path: Path) -> None:
    os.chown(tmp_path, 4711, -1)
    assert set(journal.query(tmp_path)) == {"--identifier=enrolld", "_UID=0", "_UID=4711"}


@pytest.mark.parametrize("value", ["", "8:1", "nonsense"])
def test_another_stream_is_not_taken_for_the_journal(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", value)
    with Path(os.devnull).open("w") as stream:
        assert not journal.leads_to_journal(stream)
