from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "systemd"
UNITS = sorted((*FOLDER.glob("*.service"), *FOLDER.glob("*.timer")))


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A root in which the program of the units exists, so that ``verify`` speaks of the units only."""
    program = tmp_path / "opt/enrolld/bin/enrollctl"
    program.parent.mkdir(parents=True)
    program.symlink_to("/bin/true")
    for unit in UNITS:
        text = unit.read_text().replace("/opt/enrolld/bin/enrollctl", str(program))
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def test_the_units_have_no_unknown_or_wrong_directive(installed: Path) -> None:
    done = analyze("verify", "--man=no", *(str(installed / unit.name) for unit in UNITS))
    # An unknown directive is only a line on standard error.
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_can_reach_hardly_anything() -> None:
    # The threshold is ten times the exposure; above it the exit status is 1.
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=15", str(FOLDER / "enrolld@.service"))
    assert done.returncode == 0, done.stdout[-300:]


def test_a_pending_request_is_no_failure_of_the_service() -> None:
    text = (FOLDER / "enrolld@.service").read_text()
    assert re.search(r"^SuccessExitStatus=3$", text, re.MULTILINE)
