from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.net.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, and \u00fcml\u00e4ut", "plain, and \u00fcml\u00e4ut"),
        ("\x1b]0;title\x07\x9b31m", r"\x1b]0;title\x07\x9b31m"),
        ("one\nFORGED: two\r", r"one\nFORGED: two\r"),
        ("\u202eevil\u2066", r"\u202eevil\u2066"),
        ("\ud800", r"\ud800"),
        ("abcdef", "abcdef"),
    ],
)
def test_what_a_terminal_might_obey_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()), st.integers(0, 50))
def test_text_is_printable_and_bounded(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= 10 * limit + 3
