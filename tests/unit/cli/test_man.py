"""Manual pages and completion are those of the code, and what reads them has nothing to complain about."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agent.cli import man
from agent.cli.main import COMMANDS
from tests.station import ENROLLCTL, ENVIRONMENT

DOCUMENTS = man.documents()
PAGES = [path for path in DOCUMENTS if path.parent == man.PAGES]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_generated_files_are_up_to_date(path: Path) -> None:
    same = path.read_text() == DOCUMENTS[path]
    assert same, f"{path.name} is out of date; write it anew with: python -m agent.cli.man"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_groff_has_no_warning(path: Path) -> None:
    command = ["groff", "-man", "-ww", "-Tutf8", "-rLL=78n", "-z", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_fits_a_small_terminal(path: Path) -> None:
    command = ["groff", "-man", "-Tascii", "-P-c", "-P-b", "-P-o", "-P-u", "-rLL=78n", str(path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "NAME" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_every_command_is_in_the_manual() -> None:
    text = DOCUMENTS[man.PAGES / "enrollctl.1"]
    for name in COMMANDS:
        assert f".SS enrollctl {name}".replace("-", "\\-") in text


def test_every_setting_is_in_the_manual() -> None:
    text = DOCUMENTS[man.PAGES / "enrolld.yaml.5"].replace("\\-", "-")
    for key in ("connect-timeout", "trust-anchors", "subject-pattern", "recording", "pin"):
        assert f".B {key}\n" in text


def complete(words: str, number: int) -> list[str]:
    done = subprocess.run(
        [ENROLLCTL],
        env=ENVIRONMENT | {"_ENROLLCTL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)},
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_the_shell_completes_commands_and_options() -> None:
    assert complete("enrollctl st", 1) == ["status"]
    assert complete("enrollctl ", 1) == list(COMMANDS)
    assert "--wait" in complete("enrollctl enroll --", 2)


@pytest.mark.parametrize("shell", ["bash"])
def test_the_script_is_one_of_its_shell(shell: str) -> None:
    script = man.COMPLETION / "enrollctl.bash"
    assert subprocess.run([shell, "-n", script], check=False).returncode == 0
    assert "enrollctl" in script.read_text()
