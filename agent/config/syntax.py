"""What a YAML parser means, in plain words. Both parsers of PyYAML are understood; they word things differently."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from agent.config.findings import Place, shown
from agent.frozen import frozen

if TYPE_CHECKING:
    import yaml


@frozen
class _Sentence:
    """``pattern`` is searched in the parser's ``context | problem``; LETTER in ``text`` is what stands there."""

    pattern: str
    text: str
    remedy: str
    at_start: bool = False
    """Whether the place to look at is where the construct begins, not where the parser gave up."""


_COMPARE: Final = "compare it with the examples"
_QUOTE_IT: Final = "put the value in quotes"
_ALIGN: Final = "give keys of one level the same indentation; put a value in quotes if it holds : # [ ] { } or ,"

_SENTENCES: Final = (
    _Sentence(
        r"quoted scalar.*(end of stream|document indicator)",
        "a text in quotes begins here and never ends",
        "close the quotes",
        at_start=True,
    ),
    _Sentence(
        r"double-quoted scalar.*escape|quoted scalar.*(escape|hexadecimal|Unicode)",
        "there is a backslash in double quotes that means nothing",
        "put the value in single quotes, where a backslash is a backslash",
    ),
    _Sentence(
        r"flow sequence",
        "a list begins here and is not closed by ]",
        "close it, or look for a missing comma",
        at_start=True,
    ),
    _Sentence(
        r"flow mapping",
        "keys in braces begin here and are not closed by }",
        "close it, or look for a missing comma",
        at_start=True,
    ),
    _Sentence(r"cannot start any token|node content", "a value may not begin with this character: LETTER", _QUOTE_IT),
    _Sentence(r"scanning an (alias|anchor)", "a value may not begin with * or &", _QUOTE_IT, at_start=True),
    _Sentence(r"tag", "a value may not begin with !", _QUOTE_IT, at_start=True),
    _Sentence(r"directive|<document start>", "a line here is no `key: value`", _COMPARE),
    _Sentence(
        r"mapping values are not allowed",
        "there is a colon where no key can be",
        "check the indentation, and put a value that holds a colon and a space in quotes",
    ),
    _Sentence(
        r"expected ':'|simple key",
        "a key without a colon, or a text over several lines",
        "write `key: value` on one line",
    ),
    _Sentence(
        r"block scalar", "a text that begins with | or > must begin on the next line", "put the value in quotes instead"
    ),
    _Sentence(
        r"block mapping|block collection|expected key|expected '-'", "this does not fit what stands above it", _ALIGN
    ),
)


def explain(error: yaml.MarkedYAMLError, text: str) -> tuple[Place, str, str]:
    """Return where the mistake in ``text`` is, what is wrong there, and what to do."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return (1, 1), f"this is not YAML: {error.problem}", _COMPARE
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return (mark.line + 1, 1), "this line is indented with a tab", "use spaces"
    said = f"{error.context} | {error.problem}"
    for sentence in _SENTENCES:
        if re.search(sentence.pattern, said):
            if sentence.at_start and error.context_mark is not None:
                mark = error.context_mark
            letter = shown(line[mark.column : mark.column + 1])
            return (mark.line + 1, mark.column + 1), sentence.text.replace("LETTER", letter), sentence.remedy
    return (mark.line + 1, mark.column + 1), f"this is not YAML: {error.problem}", _COMPARE
