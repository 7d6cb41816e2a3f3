"""Nodes to settings, guided by the types and metadata of ``agent.settings``; every mistake is noted with its place."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn, get_origin

from agent import units
from agent.config import formats, scalars
from agent.config.document import Listing, Node, Scalar, Table, Unusable, place_of
from agent.config.findings import KeyPath, Mistakes, Wrong, choose, dotted, nearest
from agent.settings import EXACTLY_ONE, NAME, Format, Settings
from agent.structure import Member, entry_type, members


class UnreadValue(Exception):
    """Somebody looked at a value that could not be read."""


class Unread:
    """Stands where a value could not be read, so that rules about the other values can still be checked.

    It is not None, because something does stand in the file; any other look at it raises :class:`UnreadValue`.
    """

    def _refuse(self, *_: object) -> NoReturn:
        raise UnreadValue

    __getattr__ = __getitem__ = __iter__ = __len__ = __contains__ = __bool__ = _refuse
    __eq__ = __ne__ = __hash__ = __lt__ = __le__ = __gt__ = __ge__ = __str__ = __format__ = _refuse


UNREAD: Final[Any] = Unread()
_NAME: Final = re.compile(NAME)


class Reader:
    """Reads one file."""

    def __init__(self, root: Node, base: Path, mistakes: Mistakes) -> None:
        """Read what is below ``root``, and relative paths from ``base``, an absolute directory."""
        self._root = root
        self._base = base
        self._mistakes = mistakes

    def settings(self) -> Settings | None:
        """Return the settings, with :data:`UNREAD` wherever there is a mistake; None when there is nothing to return.

        Raises:
            Enough: when there are too many mistakes.
        """
        settings = self._guarded(Settings, self._root, (), None)
        return settings if isinstance(settings, Settings) else None

    def _guarded(self, type_: Any, node: Node, path: KeyPath, member: Member | None) -> Any:
        if isinstance(node, Unusable):
            return UNREAD
        try:
            return self._value(type_, node, path, member)
        except Wrong as wrong:
            self._refuse(path, path, wrong.text, wrong.remedy)
            return UNREAD

    def _refuse(self, at: KeyPath, path: KeyPath, text: str, remedy: str) -> None:
        """Note a mistake about ``path``, which stands ``at`` the same or a section around it."""
        self._mistakes.add(place_of(at, self._root), path, text, remedy)

    def _value(self, type_: Any, node: Node, path: KeyPath, member: Member | None) -> Any:
        if member and member.word and isinstance(node, Scalar) and node.text == member.word:
            return None
        shape = _shape(type_)
        if shape is object:
            return self._section(type_, node, path)
        if shape is dict:
            return self._named(type_, node, path)
        if member is None:
            raise TypeError("a table of names holds sections only")
        return self._list(type_, node, path, member) if shape is tuple else self._scalar(type_, node, member)

    def _section(self, cls: Any, node: Node, path: KeyPath) -> Any:
        known = members(cls)
        table = node if isinstance(node, Table) else _no_table(node, f"keys ({_some(known)})")
        given: dict[str, Any] = {}
        for word, (_, child) in table.entries.items():
            below = (*path, word)
            if (member := known.get(word)) is not None:
                given[member.name] = self._guarded(member.type, child, below, member)
            else:
                self._unknown(word, below, known, given)
        if cls in EXACTLY_ONE:
            self._exactly_one(cls, [key for key, member in known.items() if member.name in given], path)
        for member in _required(cls):
            if member.name not in given:
                self._missing(member, path)
                given[member.name] = UNREAD
        return cls(**given)

    def _unknown(self, word: str, path: KeyPath, known: Mapping[str, Member], given: dict[str, Any]) -> None:
        meant = nearest(word, known)
        homes = _homes().get(word.replace("_", "-"), ())
        remedy = f"it belongs {' or '.join(homes)}" if meant is None and homes else choose(word, known)
        self._refuse(path, path, "this key is unknown", remedy)
        if meant is not None:  # one mistake is enough: do not call the key missing as well
            given.setdefault(known[meant].name, UNREAD)

    def _missing(self, member: Member, path: KeyPath) -> None:
        self._refuse(path, (*path, member.key), "this key is missing", f"add it: {member.metadata['doc']}")

    def _exactly_one(self, cls: type, present: list[str], path: KeyPath) -> None:
        if len(present) == 1:
            return
        found = f"found {' and '.join(present)}" if present else "found none"
        remedy = "keep one of them" if present else "add one of them"
        text = f"expected exactly one of {_some(members(cls))}, {found}"
        self._refuse(path, path, text, remedy)

    def _named(self, type_: Any, node: Node, path: KeyPath) -> dict[str, Any]:
        table = node if isinstance(node, Table) else _no_table(node, "names with keys below them")
        values = {}
        for word, (key, child) in table.entries.items():
            below = (*path, word)
            try:
                _check_name(key)
            except Wrong as wrong:
                self._mistakes.add(key.place, below, wrong.text, wrong.remedy)
            values[word] = self._guarded(entry_type(type_), child, below, None)
        return values

    def _list(self, type_: Any, node: Node, path: KeyPath, member: Member) -> tuple[Any, ...]:
        if not isinstance(node, Listing):
            raise Wrong(f"expected a list, found {scalars.found(node)}", f"write {_example(member)}")
        bounds = member.metadata.get("bounds")
        if bounds and not bounds[0] <= len(node.items) <= bounds[1]:
            raise Wrong(f"expected {bounds[0]} to {bounds[1]} entries, found {len(node.items)}", "correct the list")
        each = dataclasses.replace(member, metadata={**member.metadata, "bounds": None}, word=None)
        return tuple(
            self._guarded(entry_type(type_), item, (*path, index), each) for index, item in enumerate(node.items)
        )

    def _scalar(self, type_: Any, node: Node, member: Member) -> Any:
        format_: Format | None = member.metadata.get("format")
        if type_ is str:
            text = scalars.text(node)
            return text if format_ is None else self._formatted(text, format_, member)
        if type_ is Path:
            return formats.path(scalars.text(node), self._base)
        if type_ is bool:
            return scalars.truth(node)
        if type_ is int:
            return _within(scalars.integer(node), member)
        if type_ is float:
            return _within(scalars.amount(node, format_), member)
        return scalars.choice(node, type_)

    def _formatted(self, text: str, format_: Format, member: Member) -> str:
        rule = formats.RULES[format_]
        checked = rule.check(text, self._base)
        if rule.measure is not None:
            _within(rule.measure(checked), member)
        return checked


@cache
def _shape(type_: Any) -> type | None:
    """Return what a value of this type is written as: ``dict``, ``tuple``, ``object`` for a section, or None."""
    return object if dataclasses.is_dataclass(type_) else get_origin(type_)


@cache
def _required(cls: type) -> tuple[Member, ...]:
    return tuple(member for member in members(cls).values() if member.required)


def _no_table(node: Node, expected: str) -> NoReturn:
    if isinstance(node, Scalar) and scalars.kind_of(node) is scalars.Kind.NOTHING:
        raise Wrong(
            f"expected {expected}, found no value", "write them below, indented, or {} for none, or remove the line"
        )
    raise Wrong(f"expected {expected}, found {scalars.found(node)}", "write `key: value` lines below, indented")


def _check_name(key: Scalar) -> None:
    name = scalars.text(key)
    if not _NAME.fullmatch(name):
        raise Wrong(
            "this is not a name", "use up to 64 letters, digits, dots, hyphens and underscores, a letter or digit first"
        )


def _within(amount: float, member: Member) -> Any:
    bounds = member.metadata.get("bounds")
    if bounds and not bounds[0] <= amount <= bounds[1]:
        low, high = (amount_text(bound, member.metadata.get("format")) for bound in bounds)
        raise Wrong(
            f"expected {low} to {high}, found {amount_text(amount, member.metadata.get('format'))}", "correct it"
        )
    return amount


def amount_text(amount: float, format_: Format | None) -> str:
    """Write an amount as the setting's format does."""
    if format_ is Format.DURATION:
        return units.duration_text(amount)
    return f"{amount:.12g}{'%' if format_ is Format.PERCENT else ''}"


def _example(member: Member) -> str:
    entries = member.metadata.get("example") or ["..."]
    word = f", or `{member.key}: {member.word}`" if member.word else ""
    return f"`{member.key}: [{', '.join(map(str, entries))}]`{word}"


def _some(known: Mapping[str, Member]) -> str:
    return ", ".join(known)


@cache
def _homes() -> Mapping[str, tuple[str, ...]]:
    """Return for every key the sections it belongs to, for people who wrote it one level off."""
    homes: dict[str, tuple[str, ...]] = {}
    _walk(Settings, (), homes)
    return homes


def _walk(cls: Any, path: KeyPath, homes: dict[str, tuple[str, ...]]) -> None:
    for key, member in members(cls).items():
        homes[key] = (*homes.get(key, ()), f"under {dotted(path)}" if path else "at the left margin")
        below = member.type
        inner = (*path, key)
        if get_origin(below) in {dict, tuple}:
            inner = (*inner, "NAME") if get_origin(below) is dict else inner
            below = entry_type(below)
        if dataclasses.is_dataclass(below):
            _walk(below, inner, homes)
