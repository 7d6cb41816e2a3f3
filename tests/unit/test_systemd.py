from __future__ import annotations

import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from agent.settings import DaemonSettings

FOLDER = Path(__file__).parents[2] / "systemd"
SERVICE = FOLDER / "enrolld.service"
EXAMPLES = sorted((FOLDER / "examples").glob("*.conf"))


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A place in which the program of the unit exists, so that ``verify`` speaks of the unit only."""
    text = SERVICE.read_text().replace("ExecStart=enrolld", "ExecStart=/bin/true")
    assert "ExecStart=/bin/true" in text
    (tmp_path / SERVICE.name).write_text(text)
    return tmp_path


def verify(place: Path) -> tuple[int, str]:
    done = analyze("verify", "--man=no", str(place / SERVICE.name))
    return done.returncode, done.stderr


def test_the_service_has_no_unknown_or_wrong_directive(installed: Path) -> None:
    # An unknown directive is only a line on standard error.
    assert verify(installed) == (0, "")


def test_as_many_workers_as_may_be_configured_have_room_each_with_a_command_that_runs_another() -> None:
    (workers,) = (one for one in fields(DaemonSettings) if one.name == "workers")
    found = re.search("^TasksMax=([0-9]+)$", SERVICE.read_text(), re.MULTILINE)
    assert found is not None
    assert int(found[1]) > 3 * workers.metadata["bounds"][1] + 3  # enrolld, what forks, and who reads the configuration


def test_a_worker_that_the_kernel_ends_for_want_of_memory_does_not_end_the_service() -> None:
    # By default systemd ends all of it (OOMPolicy=stop).
    settings = dict(
        line.split("=", 1) for line in SERVICE.read_text().splitlines() if re.match("[A-Z][A-Za-z]+=", line)
    )
    assert int(settings["MemoryMax"].removesuffix("M")) > 0
    assert settings["OOMPolicy"] == "continue"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_of_a_drop_in_has_no_unknown_or_wrong_directive(example: Path, installed: Path) -> None:
    drop_ins = installed / f"{SERVICE.name}.d"
    drop_ins.mkdir()
    (drop_ins / example.name).write_text(example.read_text())
    assert verify(installed) == (0, "")


@pytest.mark.parametrize("example", sorted((FOLDER / "examples").glob("*.service")), ids=lambda path: path.stem)
def test_an_example_of_a_service_has_no_wrong_directive_and_can_reach_hardly_anything(
    example: Path, tmp_path: Path
) -> None:
    text = re.sub("^ExecStart=.*", "ExecStart=/bin/true", example.read_text(), flags=re.MULTILINE)
    (unit := tmp_path / example.name).write_text(text)
    done = analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stderr) == (0, "")
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=25", str(unit))
    assert done.returncode == 0, done.stdout[-300:]


def test_there_are_examples_for_secrets_tokens_and_consumers() -> None:
    assert {"credentials", "token-pcscd", "token-softhsm", "tpm", "strongswan"} <= {path.stem for path in EXAMPLES}


def test_the_service_can_reach_hardly_anything() -> None:
    # The threshold is ten times the exposure; above it the exit status is 1.
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=12", str(SERVICE))
    assert done.returncode == 0, done.stdout[-300:]


def test_every_right_that_is_left_is_explained() -> None:
    done = analyze("security", "--offline=true", "--no-pager", str(SERVICE))
    left = re.findall(r"^✗ ([A-Za-z]+)=(?:/[A-Za-z]+=|~?(\S+))?", done.stdout, re.MULTILINE)
    reasons = SERVICE.read_text().partition("still counts, and why it is so")[2]
    assert left
    for directive, value in left:
        assert directive in reasons or value.strip("()|") in reasons, f"{directive} {value}"
