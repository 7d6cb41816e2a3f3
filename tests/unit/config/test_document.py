from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from agent import config
from agent.config.document import DEEPEST, MOST, Listing, Scalar, Table, Unparsable, compose
from agent.config.findings import Mistakes
from agent.errors import ConfigurationError


@pytest.fixture(params=["libyaml", "python"])
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the two parsers PyYAML may have, which word their mistakes differently."""
    if request.param == "python":
        monkeypatch.delattr(yaml, "CSafeLoader")


def first_mistake(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        config.parse(text, source=Path("f"))
    return caught.value.mistakes[0]


@pytest.mark.usefixtures("_parser")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:\n\tb: 1\n", "f:2: this line is indented with a tab (use spaces)"),
        ("a:\n  b: 1\n\tc: 2\n", "f:2: this line is indented with a tab (use spaces)".replace(":2", ":3")),
        ("\ta: 1\n", "f:1: this line is indented with a tab (use spaces)"),
        ("a: 1\nb: 'x\nc: 2\n", "f:2: a text in quotes begins here and never ends (close the quotes)"),
        ('a: 1\nb: "x\n', "f:2: a text in quotes begins here and never ends (close the quotes)"),
        (
            'a: "CN=\\d"\n',
            "f:1: there is a backslash in double quotes that means nothing (put the value in single quotes",
        ),
        ("a:\n  - b\nurls: [1,\n  2\nb: 3\n", "f:3: a list begins here and is not closed by ] ("),
        ("a: {b: c\n", "f:1: keys in braces begin here and are not closed by } ("),
        ("a: @x\n", "f:1: a value may not begin with this character: '@' (put the value in quotes)"),
        ("a: `x`\n", "f:1: a value may not begin with this character: '`' (put the value in quotes)"),
        ("a: %x\n", "f:1: a value may not begin with this character: '%' (put the value in quotes)"),
        ("a: ]\n", "f:1: a value may not begin with this character: ']' (put the value in quotes)"),
        ("a: *\n", "f:1: a value may not begin with * or & (put the value in quotes)"),
        ("a: &\n", "f:1: a value may not begin with * or & (put the value in quotes)"),
        ("a: !<x\n", "f:1: a value may not begin with ! (put the value in quotes)"),
        ("a: b: c\n", "f:1: there is a colon where no key can be (check the indentation, and put a value that holds"),
        ("a\nb: c\n", "f:2: there is a colon where no key can be ("),
        (
            "a:\n  b: 1\n c: 2\n",
            "f:3: this does not fit what stands above it (give keys of one level the same indentation",
        ),
        ("- a\nb: c\n", "f:2: this does not fit what stands above it ("),
        ("a: 'b' c\n", "f:1: this does not fit what stands above it ("),
        ("a: 1\nb\n", "f:3: a key without a colon, or a text over several lines (write `key: value` on one line)"),
        ("'a' b", "f:1: a line here is no `key: value` (compare it with the examples)"),
        (
            "a: |x\n",
            "f:1: a text that begins with | or > must begin on the next line (put the value in quotes instead)",
        ),
        ("--- a\n--- b\n", "f:2: a second document begins here, and only one is read (remove the line with ---"),
        ("a: 1\r\nb: \x07\r\n", "f:2: there is a character this file may not hold, U+0007 ("),
        ("a: 1\rb: 2\r", "f:1: there is a character this file may not hold, U+000D ("),
        ("a: \u2028b", "f:1: there is a character this file may not hold, U+2028 ("),
        ("\ufeffa: 1", "f:1: there is a byte order mark (save the file as UTF-8 without it (no BOM))"),
        ("---\n", "f: the file is empty ("),
        ("[" * 1000, "f:1: this is nested more than 16 levels deep ("),
    ],
)
def test_what_is_not_yaml_is_explained_with_its_line(text: str, said: str) -> None:
    assert first_mistake(text).startswith(said)


@pytest.mark.usefixtures("_parser")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x 1\n", "a value that begins with & is named for use elsewhere, which is not allowed here"),
        ("a: *x\n", "a value that begins with * stands for one given elsewhere, which is not allowed here"),
        ("a: !!str 1\n", "a value that begins with ! has a tag, which is not allowed here"),
        ("a: !x {}\n", "a value that begins with ! has a tag, which is not allowed here"),
        ("a: 1\na: 2\n", "this key is given twice, first on line 1"),
        ("? [a]\n: 1\n", "a key must be a single word"),
        ("{a: 1}: 1\n", "a key must be a single word"),
    ],
)
def test_the_parts_of_yaml_that_surprise_are_refused_and_the_rest_is_read_on(text: str, said: str) -> None:
    mistakes = Mistakes("f")
    root = compose(f"{text}last: 1\n", mistakes)
    assert isinstance(root, Table)
    assert "last" in root.entries
    (line,) = mistakes.error().mistakes
    assert f"{said} (" in line


def test_nodes_know_their_place_and_whether_they_stand_in_quotes() -> None:
    root = compose("a:\n  - x\n  - 'y'\n", Mistakes("f"))
    assert root == Table(
        (1, 1),
        {
            "a": (
                Scalar((1, 1), "a", plain=True),
                Listing((2, 3), [Scalar((2, 5), "x", plain=True), Scalar((3, 5), "y", plain=False)]),
            )
        },
    )


def test_a_document_of_nothing_is_none() -> None:
    assert compose("# comment\n", Mistakes("f")) is None


def test_sizes_are_bounded() -> None:
    compose(f"{'[' * DEEPEST}{']' * DEEPEST}", Mistakes("f"))
    with pytest.raises(Unparsable, match="nested more than"):
        compose(f"{'[' * (DEEPEST + 1)}{']' * (DEEPEST + 1)}", Mistakes("f"))
    with pytest.raises(Unparsable, match=f"more than {MOST} values"):
        compose("[" + "a," * MOST + "]", Mistakes("f"))
