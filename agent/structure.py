"""Frozen dataclasses to JSON and back, by their type hints alone.

One way of writing for every document that passes between our programs, and the same one the configuration is written
in: keys are kebab-case, choices are their words, paths are texts, tuples are lists, and None is left out where it is
the default. Reading is strict, because whoever wrote the document is a program of ours too: an unknown key, a missing
one or a value of another type is refused by name. This module imports nothing heavy.

What a field may be: ``str``, ``int``, ``float``, ``bool``, ``Path``, a ``StrEnum``, such a dataclass,
``tuple[X, ...]``, ``dict[str, X]``, and any of them ``| None``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from types import NoneType
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from agent.errors import AgentError
from agent.frozen import frozen

T = TypeVar("T")

_MEMBERS: Final[dict[type, Mapping[str, Member]]] = {}


class StructureError(AgentError):
    """A JSON value is not the document it should be. The text begins with the path of the key."""

    def __init__(self, path: str, what: str) -> None:
        """Name the key (``identity.key.algorithm``; empty for the whole document) and what is wrong with it."""
        super().__init__(
            f"{path or 'the document'}: {what}",
            remedy="Both ends must be of one version: restart enrolld. If that does not help, report a defect.",
        )
        self.path = path


@frozen(kw_only=True)
class Member:
    """One field of a dataclass, as a document sees it."""

    name: str
    key: str
    """``name`` in kebab-case."""
    type: Any
    """The type hint without ``| None``."""
    optional: bool
    """Whether it may be None."""
    default: Any
    """``dataclasses.MISSING`` where the key is required."""
    required: bool
    """Whether a document must have this key."""
    word: str | None
    """The text that stands for None, if there is one."""
    metadata: Mapping[str, Any]


def members(cls: type) -> Mapping[str, Member]:
    """Return the fields of a dataclass by their keys, in their order."""
    known = _MEMBERS.get(cls)
    if known is None:
        hints = get_type_hints(cls)
        each = (_member(field, hints[field.name]) for field in dataclasses.fields(cls))
        known = _MEMBERS[cls] = {member.key: member for member in each}
    return known


def _member(field: dataclasses.Field[Any], hint: Any) -> Member:
    alternatives = get_args(hint) if NoneType in get_args(hint) else (hint,)
    (type_,) = (one for one in alternatives if one is not NoneType)
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return Member(
        name=field.name,
        key=field.name.replace("_", "-"),
        type=type_,
        optional=len(alternatives) > 1,
        default=default,
        required=default is dataclasses.MISSING,
        word=field.metadata.get("word"),
        metadata=field.metadata,
    )


def entry_type(type_: Any) -> Any:
    """Return what a ``tuple[X, ...]`` or ``dict[str, X]`` consists of: X."""
    return get_args(type_)[get_origin(type_) is dict]


def to_json(obj: object, *, brief: bool = False) -> dict[str, Any]:
    """Return a dataclass as what ``json.dumps`` takes; ``brief``: without what has its default.

    Raises:
        StructureError: for a number JSON cannot hold (infinite, or not a number).
        TypeError: for a value whose type no document may have; that is a defect.
    """
    return _object(obj, "", brief=brief)


def _object(obj: Any, path: str, *, brief: bool) -> dict[str, Any]:
    document = {}
    for member in members(type(obj)).values():
        value = getattr(obj, member.name)
        if brief and (value is member.default or value == member.default):
            continue
        if value is None and member.word is not None:
            document[member.key] = member.word
        elif value is not None or member.default is not None:
            document[member.key] = _plain(value, _below(path, member.key), brief=brief)
    return document


def _plain(value: Any, path: str, *, brief: bool) -> Any:
    if type(value) in _PLAIN:
        return value
    match value:
        case float() if not math.isfinite(value):
            raise StructureError(path, f"{value} is no number a document can hold")
        case StrEnum() | Path():
            return str(value)
        case None | str() | bool() | int() | float():
            return value
        case tuple():
            return [_plain(one, f"{path}[{index}]", brief=brief) for index, one in enumerate(value)]
        case Mapping():
            return {name: _plain(one, _below(path, name), brief=brief) for name, one in value.items()}
    return _object(value, path, brief=brief)


def from_json(cls: type[T], value: object) -> T:
    """Return the ``cls`` that ``value``, as ``json.loads`` gave it, describes; the inverse of :func:`to_json`.

    Raises:
        StructureError: naming the first key that is unknown, missing or of another type.
    """
    document: T = _read_object(cls, value, "")
    return document


def _read_object(cls: Any, value: object, path: str) -> Any:
    document = _expect(dict, value, path)
    known = members(cls)
    for key in document:
        if key not in known:
            raise StructureError(_below(path, str(key)), "this key is unknown")
    given = {}
    for key, member in known.items():
        if key in document:
            given[member.name] = _read_member(member, document[key], _below(path, key))
        elif member.required:
            raise StructureError(_below(path, key), "this key is missing")
    return cls(**given)


def _read_member(member: Member, value: object, path: str) -> Any:
    if member.optional and value == (None if member.word is None else member.word):
        return None
    return _reader(member.type)(value, path)


@cache
def _reader(type_: Any) -> Callable[[object, str], Any]:
    """Return what reads a value of this type; chosen once, since a document has many values of few types."""
    if get_origin(type_) is tuple:
        return partial(_read_items, entry_type(type_))
    if get_origin(type_) is dict:
        return partial(_read_entries, entry_type(type_))
    if dataclasses.is_dataclass(type_):
        return partial(_read_object, type_)
    if issubclass(type_, StrEnum):
        return partial(_read_word, type_)
    if type_ is Path:
        return lambda value, path: Path(_expect(str, value, path))
    return _read_float if type_ is float else partial(_expect, type_)


def _read_items(entry: Any, value: object, path: str) -> tuple[Any, ...]:
    items = _expect(list, value, path)
    return tuple(_reader(entry)(one, f"{path}[{index}]") for index, one in enumerate(items))


def _read_entries(entry: Any, value: object, path: str) -> dict[str, Any]:
    entries = _expect(dict, value, path)
    return {_expect(str, name, path): _reader(entry)(one, _below(path, name)) for name, one in entries.items()}


def _read_word(choices: type[StrEnum], value: object, path: str) -> StrEnum:
    word = _expect(str, value, path)
    try:
        return choices(word)
    except ValueError:
        raise StructureError(path, f"expected one of {', '.join(choices)}, found {_shown(word)}") from None


def _read_float(value: object, path: str) -> float:
    number = value if type(value) is float else _expect(int, value, path, called="a number")
    try:
        if math.isfinite(number):
            return float(number)
    except OverflowError:  # an integer beyond every float
        pass
    raise StructureError(path, "expected a finite number")


def _expect(type_: type[T], value: object, path: str, *, called: str = "") -> T:
    if type(value) is type_:  # exactly: True is no number here
        return value
    found = _WORDS.get(type(value), type(value).__name__)
    raise StructureError(path, f"expected {called or _WORDS[type_]}, found {found}")


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _shown(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else f"{text[:limit]}...")


_PLAIN: Final = frozenset({str, int, bool, NoneType})
_WORDS: Final[Mapping[type, str]] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "an integer",
    float: "a number with a fraction",
    bool: "true or false",
    NoneType: "null",
}
