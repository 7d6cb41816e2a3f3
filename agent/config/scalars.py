"""Plain values as YAML 1.1 reads them, and as a setting takes them.

YAML reads some words as other things than their writer thinks: ``no`` is false, ``0640`` is 416, ``12:30:00`` is
45000, ``2026-01-31`` is a date. A text setting refuses these and asks for quotes. Decimal numbers are taken as the
text that stands in the file, so that ``reference: 4711`` needs none.
"""

from __future__ import annotations

import math
import re
from enum import StrEnum
from typing import Final

from agent import units
from agent.config.document import Listing, Node, Scalar, Table
from agent.config.findings import Wrong, choose, shown
from agent.settings import Format


class Kind(StrEnum):
    """What YAML 1.1 takes a plain scalar for; each value is a phrase for people."""

    TEXT = "a text"
    NOTHING = "no value"
    TRUTH = "true or false"
    INTEGER = "an integer"
    DECIMAL = "a number"
    OCTAL = "an octal number"
    SEXAGESIMAL = "a number in base 60"
    OTHER_NUMBER = "a number in another notation"
    DATE = "a date"


_WORDS: Final = dict.fromkeys(("", "~", "null", "Null", "NULL"), Kind.NOTHING) | {
    spelled: Kind.TRUTH
    for word in ("yes", "no", "true", "false", "on", "off")
    for spelled in (word, word.title(), word.upper())
}
_BEGINS_A_NUMBER: Final = frozenset("0123456789+-.")
_PATTERNS: Final = {
    Kind.INTEGER: r"[-+]?(?:0|[1-9][0-9]*)",
    Kind.DECIMAL: r"[-+]?[0-9]+\.[0-9]*|\.[0-9]+",
    Kind.OCTAL: r"[-+]?0[0-7_]+",
    Kind.SEXAGESIMAL: r"[-+]?(?:[1-9][0-9_]*(?::[0-5]?[0-9])+|[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)",
    Kind.OTHER_NUMBER: (
        r"[-+]?0b[0-1_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
        r"|[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    ),
    Kind.DATE: (
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}"
        r"(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::?[0-9]{2})?))?"
    ),
}
_KINDS: Final = tuple(_PATTERNS)
_NUMBER: Final = re.compile("|".join(f"({pattern})" for pattern in _PATTERNS.values()))
"""Tried in their order, as one: a configuration of a thousand identities has ten thousand values."""
_TEXTUAL: Final = frozenset({Kind.TEXT, Kind.INTEGER, Kind.DECIMAL})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST: Final = 4096


def kind_of(scalar: Scalar) -> Kind:
    """Tell what YAML 1.1 takes it for."""
    if not scalar.plain:
        return Kind.TEXT
    text = scalar.text
    if (kind := _WORDS.get(text)) is not None:
        return kind
    match = _NUMBER.fullmatch(text) if text[0] in _BEGINS_A_NUMBER else None
    return Kind.TEXT if match is None or match.lastindex is None else _KINDS[match.lastindex - 1]


def found(node: Node) -> str:
    """Say what stands in the file without repeating it: it may be a secret."""
    match node:
        case Listing():
            return "a list"
        case Table():
            return "keys with values"
        case Scalar():
            return kind_of(node)
    return "something unusable"


def text(node: Node) -> str:
    """Return the text of a scalar.

    Raises:
        Wrong: when it is none, or YAML reads it as something else.
    """
    scalar, kind = _scalar(node, "a text")
    if kind not in _TEXTUAL:
        raise Wrong(f"expected a text, but YAML reads this as {kind}", "put it in quotes")
    if not scalar.text:
        raise Wrong("the text is empty", "give it a value, or remove the line")
    if len(scalar.text) > _LONGEST:
        raise Wrong(f"the text is longer than {_LONGEST} characters", "shorten it")
    if not scalar.text.isprintable() and (control := _CONTROL.search(scalar.text)) is not None:
        raise Wrong(f"the text holds a control character, U+{ord(control[0]):04X}", "write it on one line, without it")
    return scalar.text


def truth(node: Node) -> bool:
    """Return a truth value.

    Raises:
        Wrong: when it is anything but a plain true or false.
    """
    scalar, kind = _scalar(node, "true or false")
    word = scalar.text.lower()
    if kind is Kind.TRUTH and word in {"true", "false"}:
        return word == "true"
    if kind is Kind.TRUTH:
        raise Wrong("expected true or false", f"write {'true' if word in {'yes', 'on'} else 'false'}")
    quoted = not scalar.plain and word in {"true", "false"}
    raise Wrong(
        f"expected true or false, found {found(scalar)}", "remove the quotes" if quoted else "write true or false"
    )


def integer(node: Node) -> int:
    """Return a whole number.

    Raises:
        Wrong: when it is anything but plain decimal digits.
    """
    scalar, kind = _scalar(node, "a whole number")
    if kind is not Kind.INTEGER:
        quoted = not scalar.plain and scalar.text.isdecimal()
        raise Wrong(
            f"expected a whole number, found {found(scalar)}",
            "remove the quotes" if quoted else "write decimal digits and nothing else",
        )
    if len(scalar.text) > 18:  # noqa: PLR2004 - no bound of ours is near
        raise Wrong("the number is too large", "shorten it")
    return int(scalar.text)


def amount(node: Node, format: Format | None) -> float:  # noqa: A002 - the word of JSON Schema
    """Return a number; with :attr:`Format.DURATION` in seconds, however it is written.

    Raises:
        Wrong: when it is neither.
    """
    duration = format is Format.DURATION
    form = "a duration such as 30s, 5m or 24h" if duration else "a number"
    scalar, kind = _scalar(node, form)
    if kind in {Kind.INTEGER, Kind.DECIMAL} or (kind is Kind.TEXT and duration):
        try:
            number = units.seconds(scalar.text) if duration else float(scalar.text)
        except ValueError:
            pass
        else:
            if math.isfinite(number):
                return number
    raise Wrong(
        f"expected {form}, found {found(scalar)}", "write 10 or 10s for ten seconds" if duration else "write 10"
    )


def choice(node: Node, words: type[StrEnum]) -> StrEnum:
    """Return one of the words.

    Raises:
        Wrong: naming all of them and the nearest.
    """
    word = text(node)
    for one in words:
        if word == one:
            return one
    raise Wrong(f"expected one of {', '.join(words)}, found {shown(word)}", choose(word, words))


def _scalar(node: Node, expected: str) -> tuple[Scalar, Kind]:
    if not isinstance(node, Scalar):
        raise Wrong(f"expected {expected}, found {found(node)}", "write a single value")
    kind = kind_of(node)
    if kind is Kind.NOTHING:
        raise Wrong(f"expected {expected}, found no value", "give it a value, or remove the line")
    return node, kind
