"""The rules for what is printed: for pipes and files here, for terminals in ``test_terminal``."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli import output
from agent.cli.steps import Steps


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and not how wide."""

    def isatty(self) -> bool:
        return True


@given(st.text())
def test_no_text_can_move_the_cursor(text: str) -> None:
    shown = output.harmless(text)
    assert all(character.isprintable() for line in shown.split("\n") for character in line)
    assert shown.count("\n") == text.count("\n")


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"])))
def test_what_can_be_printed_is_printed_as_it_is(text: str) -> None:
    assert output.harmless(text) == text


def test_escape_sequences_are_shown_as_text() -> None:
    assert output.harmless("CN=\x1b[2J\u202eevil\x07") == r"CN=\x1b[2J\u202eevil\x07"


@pytest.mark.parametrize(
    ("remedy", "sentence"),
    [
        ("free space on the disk", "Free space on the disk."),
        ("Is it plugged in?", "Is it plugged in?"),
        ("Run it again.", "Run it again."),
        ("", "."),
    ],
)
def test_a_remedy_is_a_sentence(remedy: str, sentence: str) -> None:
    assert output.sentence(remedy) == sentence


def test_an_error_is_two_lines_the_second_of_which_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    output.problem("it broke", "mend it")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "enrollctl: error: it broke\nenrollctl: what to do: Mend it.\n"


def test_json_is_ascii_and_complete(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"subject": "CN=Zürich \udcff"}
    output.say_json(document)
    told = capsys.readouterr().out
    assert told.isascii()
    assert json.loads(told) == document


def test_lines_are_folded_for_terminals_only() -> None:
    text = "word " * 40 + "http://very-long.example/" + "x" * 90
    assert output.folded(text, io.StringIO()) == text
    lines = output.folded(text, Terminal()).split("\n")
    assert all(len(line) <= 80 for line in lines[:-1])
    assert all(line.startswith("    ") for line in lines[1:])
    assert "http://very-long.example/" + "x" * 90 in lines[-1]  # to be copied whole


@pytest.mark.parametrize(
    ("stream", "environment", "styled"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {}, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_colour_is_for_terminals_that_show_it(
    stream: io.StringIO, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, styled: bool
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert output.styled(stream) is styled


def test_a_table_is_aligned_and_has_no_blanks_at_its_end() -> None:
    table = output.table(("NAME", "STATE"), [("ike", "valid"), ("management", "-")])
    assert table == "NAME        STATE\nike         valid\nmanagement  -"


def test_a_table_yields_on_a_terminal_that_is_too_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("ike", "CN=" + "x" * 100, "in 20 days")]
    assert "x" * 100 in output.table(("A", "B", "C"), rows, yielding=1)
    monkeypatch.setattr("sys.stdout", Terminal())
    _, line = output.table(("A", "B", "C"), rows, yielding=1).split("\n")
    assert len(line) == 80
    assert "xxx...  in 20 days" in line


def test_steps_are_plain_lines_with_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    with Steps("ike") as steps:
        steps.step("sending ir\x1b[2J")
    told = capsys.readouterr().err
    assert told[2] == told[5] == ":"
    assert told[8:] == " ike: sending ir\\x1b[2J\n"
