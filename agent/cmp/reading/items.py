"""What a reading is made of: a tree of named items, as text for people and as plain data for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, Final

from agent.frozen import frozen

INDENT: Final = 2
WIDTH: Final = 80


@frozen
class Item:
    """One thing read: ``name`` as the RFC spells it, ``value`` in words (one line, safe to print), ``items`` inside.

    ``offset`` counts octets from the start of the message or file part that was read. ``stopped`` marks where
    understanding ended: the value says why, and the items inside show what structure there is.
    """

    name: str
    value: str = ""
    items: tuple[Item, ...] = ()
    offset: int | None = None
    stopped: bool = False

    def walk(self) -> Iterator[Item]:
        """Yield this item and all items inside, in the order they are printed."""
        yield self
        for item in self.items:
            yield from item.walk()

    def to_json(self) -> dict[str, Any]:
        """Return plain data; what is empty is left out."""
        document: dict[str, Any] = {"name": self.name}
        if self.value:
            document["value"] = self.value
        if self.offset is not None:
            document["offset"] = self.offset
        if self.stopped:
            document["stopped"] = True
        if self.items:
            document["items"] = [item.to_json() for item in self.items]
        return document


@frozen
class Reading:
    """Everything that was read, one item a message, certificate or other part of the input."""

    items: tuple[Item, ...]

    @property
    def stops(self) -> tuple[Item, ...]:
        """Where understanding ended; () when all was understood."""
        return tuple(one for item in self.items for one in item.walk() if one.stopped)

    @property
    def understood(self) -> bool:
        """Whether all was understood. What is understood may still be refused when it is received."""
        return not self.stops

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"understood": self.understood, "items": [item.to_json() for item in self.items]}

    def lines(self, width: int = WIDTH) -> Iterator[str]:
        """Yield indented lines of at most ``width`` columns, as far as the depth of the tree leaves room."""
        for number, item in enumerate(self.items):
            if number:
                yield ""
            yield from _lines(item, 0, width)


def _lines(item: Item, depth: int, width: int) -> Iterator[str]:
    text = f"{item.name}: {item.value}" if item.value else item.name
    yield from _wrapped(text, depth, width)
    for one in item.items:
        yield from _lines(one, depth + 1, width)


_LEAST_ROOM: Final = 24
"""Columns a line keeps for its text, however deep it stands."""


def _wrapped(text: str, depth: int, width: int) -> Iterator[str]:
    margin = " " * (INDENT * depth)
    hanging = margin + " " * (2 * INDENT)
    room = max(width, len(hanging) + _LEAST_ROOM)
    if len(margin) + len(text) <= room:  # nearly all lines; wrapping is slow
        yield margin + text
        return
    yield from textwrap.wrap(text, room, initial_indent=margin, subsequent_indent=hanging, break_on_hyphens=False)
