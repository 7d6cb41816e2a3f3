"""The frame of every command: exit codes, errors in two lines, and output that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent import __version__
from agent.cli import main as module
from agent.cli.main import COMMANDS, main
from agent.errors import ConfigurationError, SecretError, StateError
from tests.station import ENROLLCTL, ENVIRONMENT, Station


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let every command raise what a test sets as ``error``."""

    def fail(*_: object, **__: object) -> None:
        raise module.error  # type: ignore[attr-defined]

    monkeypatch.setattr(module.cli, "main", fail)
    return monkeypatch


def raising(failing: pytest.MonkeyPatch, error: BaseException) -> int:
    failing.setattr(module, "error", error, raising=False)
    return run()


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    told = capsys.readouterr()
    assert told.err == ""
    for name, (_, line) in COMMANDS.items():
        assert name in told.out
        assert line in told.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help") == 0
    told = capsys.readouterr().out
    assert told.startswith(f"Usage: enrollctl {name}") or "Usage: " in told


def test_what_was_printed_before_a_command_stopped_is_not_lost() -> None:
    """A process ends at once, and what a pipe has not got by then it never gets."""
    script = """
from agent.cli import main, output
def command(*_, **__):
    output.say("a result")
    output.stop("nobody can be asked here", "Say yes.", 2)
main.cli.main = command
main.run()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "a result\n")
    assert done.stderr.endswith("enrollctl: what to do: Say yes.\n")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert __version__ in capsys.readouterr().out


def test_without_a_command_the_help_is_shown_and_nothing_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "Commands:" in told.err
    assert "error" not in told.err


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["enrol"], "See 'enrollctl --help'."),
        (["enroll", "--wait", "soon"], "See 'enrollctl enroll --help'."),
        (["status", "--colour"], "See 'enrollctl status --help'."),
        (["config", "make"], "See 'enrollctl config --help'."),
    ],
)
def test_a_mistake_in_the_command_line_leads_to_its_help(
    arguments: list[str], remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    first, last = told.err.splitlines()
    assert first.startswith("enrollctl: error: ")
    assert last.endswith(f"what to do: {remedy}")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("it is wrong", remedy="Correct it."), 2),
        (SecretError("it is missing", remedy="Ask for it."), 4),
        (StateError("it is full", remedy="Make room."), 1),
    ],
)
def test_every_error_of_ours_has_its_exit_code(
    failing: pytest.MonkeyPatch,
    error: ConfigurationError | SecretError | StateError,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert raising(failing, error) == code
    assert capsys.readouterr().err == f"enrollctl: error: {error}\nenrollctl: what to do: {error.remedy}\n"


def test_every_mistake_has_a_line_before_the_error(
    failing: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(failing, ConfigurationError("two", remedy="Correct them.", mistakes=("a:1: x", "a:2: y")))
    assert capsys.readouterr().err.splitlines()[:2] == ["enrollctl: a:1: x", "enrollctl: a:2: y"]


def test_ctrl_c_is_no_traceback(failing: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(failing, KeyboardInterrupt()) == 1
    assert capsys.readouterr().err.splitlines() == [
        "enrollctl: error: interrupted",
        "enrollctl: what to do: Run the command again to go on: nothing on disk was lost.",
    ]


def test_a_defect_says_so_after_its_traceback(failing: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(failing, ZeroDivisionError("of ours")) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("Traceback")
    assert told[-2] == "enrollctl: error: a defect of enrollctl: ZeroDivisionError: of ours"
    assert told[-1].startswith("enrollctl: what to do: Report this")


# --- output that cannot be written ------------------------------------------------------------------------------------


SIZES = {"that fits into a buffer": ("explain", "badPOP"), "that does not": ("explain",)}


@pytest.mark.parametrize("arguments", SIZES.values(), ids=SIZES)
def test_a_reader_that_goes_away_is_no_error(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [ENROLLCTL, *arguments], env=ENVIRONMENT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", SIZES.values(), ids=SIZES)
def test_a_result_that_cannot_be_written_is_an_error(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [ENROLLCTL, *arguments], env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "enrollctl: error: the result cannot be written: No space left on device",
        "enrollctl: what to do: Run the command again with another output.",
    ]


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_every_name_can_be_printed_in_every_locale(station: Station, locale: str) -> None:
    station.identity["subject"] = "CN=Zürich-\u0416,O=Operator"
    station.configure()
    environment = ENVIRONMENT | {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = station.run("status", env=environment, encoding=None, errors="replace")
    assert done.code == 0, done.err
    assert "rich-" in done.out
    (warning,) = done.err.splitlines()
    assert "enrolld does not run" in warning
