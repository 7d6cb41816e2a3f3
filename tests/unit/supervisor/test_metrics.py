"""The file of figures is what a parser of Prometheus' text format takes, and is whole at every moment."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from agent.errors import StateError
from agent.overview import Overview
from agent.supervisor import metrics

SEEN = (
    Overview(
        name="ike",
        state="valid",
        usable=True,
        not_before="2026-12-01T00:00:00+00:00",
        not_after="2027-12-01T00:00:00+00:00",
        last_success="2026-12-01T00:00:00+00:00",
        next_action_at="2027-08-01T00:00:00+00:00",
        since="2026-12-01T00:00:00+00:00",
    ),
    Overview(name='o"am', state="needs-secret", attempts=3),
)
SAMPLE = re.compile(r'([a-z_]+)\{identity="((?:[^"\\]|\\.)*)"(?:,state="([^"]*)")?\} (\S+)')


def parsed(text: str) -> dict[tuple[str, str], tuple[object, float]]:
    """Return the samples by name and identity. Every family is declared before its samples, once, and is together."""
    found: dict[tuple[str, str], tuple[object, float]] = {}
    declared: list[str] = []
    for line in text.splitlines():
        if line.startswith("# HELP "):
            declared.append(line.split()[2])
            assert line.split(maxsplit=3)[3].endswith(".")
        elif line.startswith("# TYPE "):
            assert line.split()[2:] == [declared[-1], "gauge"]
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample is not None, line
            assert sample[1] == declared[-1]
            assert (sample[1], sample[2]) not in found
            found[sample[1], sample[2]] = sample[3], float(sample[4])
    assert len(set(declared)) == len(declared)
    assert text.endswith("\n")
    return found


def test_every_figure_of_an_identity_is_there() -> None:
    found = parsed(metrics.text(SEEN))
    assert found["enrolld_identity_ready", "ike"][1] == 1
    assert found["enrolld_identity_not_after_seconds", "ike"][1] == 1827619200
    assert found["enrolld_identity_state", "ike"][0] == "valid"
    assert found["enrolld_identity_next_action_seconds", "ike"][1] == 1817078400
    assert found["enrolld_identity_failed_attempts", r"o\"am"][1] == 3
    assert found["enrolld_identity_ready", r"o\"am"][1] == 0
    assert ("enrolld_identity_not_after_seconds", r"o\"am") not in found


def test_the_file_is_replaced_in_one_step_and_readable_by_the_collector(tmp_path: Path) -> None:
    path = tmp_path / "enrolld.prom"
    metrics.write(path, "old\n")
    before = path.stat().st_ino
    umask = os.umask(0o077)  # that of the unit
    try:
        metrics.write(path, metrics.text(SEEN))
    finally:
        os.umask(umask)
    assert path.stat().st_ino != before
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["enrolld.prom"]


@pytest.mark.parametrize("planted", ["pipe", "link", "file"])
def test_what_others_leave_in_the_directory_is_neither_waited_for_nor_written_to(tmp_path: Path, planted: str) -> None:
    draft, theirs = tmp_path / ".enrolld.prom.new", tmp_path / "theirs"
    theirs.write_text("theirs")
    match planted:
        case "pipe":
            os.mkfifo(draft)
        case "link":
            draft.symlink_to(theirs)
        case _:
            draft.hardlink_to(theirs)
    metrics.write(tmp_path / "enrolld.prom", "new\n")
    assert (tmp_path / "enrolld.prom").read_text() == "new\n"
    assert theirs.read_text() == "theirs"
    assert not draft.is_symlink()
    assert not draft.exists()


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"cannot write .*enrolld\.prom"):
        metrics.write(tmp_path / "none" / "enrolld.prom", "")
