"""Readers made of readers: SEQUENCE, SEQUENCE OF, explicit tags, told as tables.

A reader takes the name to show, a value and the session, and returns an item. Where it does not understand, the item
says so and shows the bare structure; everything around it is read all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from agent.cmp.failures import clean_text
from agent.cmp.reading import tlv
from agent.cmp.reading.items import Item
from agent.cmp.reading.outline import MORE, outline, stop, type_name, with_trouble
from agent.cmp.reading.session import NotUnderstood, Session
from agent.cmp.reading.tlv import CONTEXT, Value
from agent.frozen import frozen

Reader = Callable[[str, Value, Session], Item]
Words = Callable[[Value, Session], str]

LIST: Final = 100
"""Entries of a list that are read."""


@frozen
class Field:
    """A part of a SEQUENCE: ``keys`` are the tags it may have (see :class:`Value`)."""

    name: str
    keys: tuple[int, ...]
    read: Reader
    needed: bool = True


class Match(NamedTuple):
    """A field found, its value, and whether it stood behind a field that should follow it."""

    field: Field
    value: Value
    late: bool = False


class Matched(NamedTuple):
    """The fields of a SEQUENCE that were found, and items for what is missing, not expected or damaged."""

    found: tuple[Match, ...]
    problems: tuple[Item, ...]

    def value(self, name: str) -> Value | None:
        """Return the value of the field ``name``, if it is there."""
        return next((one.value for one in self.found if one.field.name == name), None)


def optional(name: str, keys: int | tuple[int, ...], read: Reader) -> Field:
    """Return a field that may be left out."""
    return Field(name, keys if isinstance(keys, tuple) else (keys,), read, needed=False)


def needed(name: str, keys: int | tuple[int, ...], read: Reader) -> Field:
    """Return a field that must be there."""
    return Field(name, keys if isinstance(keys, tuple) else (keys,), read)


def tagged(name: str, number: int, read: Reader) -> Field:
    """Return an optional field with the explicit context tag ``number``."""
    return optional(name, CONTEXT | number, explicit(read))


def apply(read: Reader, name: str, value: Value, session: Session) -> Item:
    """Return what ``read`` makes of ``value``, or an item that says why it could not."""
    try:
        item = read(name, value, session)
    except NotUnderstood as trouble:
        item = not_understood(name, value, session, trouble)
    except Exception as error:  # noqa: BLE001 - whatever a parser raises over hostile octets, the reading goes on
        reason = clean_text(f"a parser fails on it: {type(error).__name__}: {error}")
        item = not_understood(name, value, session, NotUnderstood(value.start, reason))
    return with_trouble(item if item.offset is not None else replace(item, offset=value.start), value)


def not_understood(name: str, value: Value, session: Session, trouble: NotUnderstood) -> Item:
    """Return the item for a value that could not be read: why, where, and its bare structure."""
    return Item(
        name,
        f"not understood at offset {trouble.offset}: {trouble}",
        (outline(value, session),),
        trouble.offset,
        stopped=True,
    )


def said(words: Words) -> Reader:
    """Return the reader for a value that has words of its own."""
    return lambda name, value, session: Item(name, words(value, session))


def match(value: Value, fields: Iterable[Field], session: Session) -> Matched:
    """Find ``fields`` among the values inside ``value``. One in the wrong place is found too, and marked."""
    open_fields = list(fields)
    passed: list[Field] = []
    found: list[Match] = []
    problems: list[Item] = []
    inside = tlv.children(value, session)
    for one in inside.values:
        place = next((place for place, field in enumerate(open_fields) if one.key in field.keys), None)
        if place is not None:
            passed.extend(open_fields[:place])
            found.append(Match(open_fields[place], one))
            del open_fields[: place + 1]
        elif (late := next((field for field in passed if one.key in field.keys), None)) is not None:
            passed.remove(late)
            found.append(Match(late, one, late=True))
        elif len(problems) < LIST:
            why = f"nothing with the tag {type_name(one)} is expected at offset {one.start}"
            problems.append(Item("unexpected", why, (outline(one, session),), one.start, stopped=True))
    problems.extend(
        Item(field.name, "missing", offset=value.start, stopped=True)
        for field in (*passed, *open_fields)
        if field.needed
    )
    if inside.trouble:
        problems.append(stop(inside.trouble))
    return Matched(tuple(found), tuple(problems))


def read_matched(matched: Matched, session: Session) -> tuple[Item, ...]:
    """Return an item for each field found, then the problems."""
    items: list[Item] = []
    for field, value, late in matched.found:
        item = apply(field.read, field.name, value, session)
        if late:
            note = Item("note", "out of order; refused when received", offset=value.start)
            item = replace(item, items=(*item.items, note))
        items.append(item)
    return (*items, *matched.problems)


def sequence(*fields: Field) -> Reader:
    """Return the reader of a SEQUENCE of ``fields``."""
    return lambda name, value, session: Item(name, "", read_matched(match(value, fields, session), session))


def entries(name: str, value: Value, read: Reader, session: Session) -> tuple[Item, ...]:
    """Return an item for each value of a list, numbered if they are several; a stop where it is damaged."""
    inside = tlv.children(value, session, LIST)
    several = len(inside.values) > 1
    items = [
        apply(read, f"{name} {number}" if several else name, one, session)
        for number, one in enumerate(inside.values, 1)
    ]
    if inside.left:
        items.append(Item(MORE, f"{inside.left} further octets of this list are not shown", stopped=True))
    if inside.trouble:
        items.append(stop(inside.trouble))
    return tuple(items)


def sequence_of(entry: str, read: Reader) -> Reader:
    """Return the reader of a SEQUENCE OF; each entry is called ``entry``."""

    def reader(name: str, value: Value, session: Session) -> Item:
        found = entries(entry, value, read, session)
        if len(found) == 1 and found[0].name == name:
            return found[0]
        return Item(name, "" if found else "(an empty list)", found)

    return reader


def list_of(words: Words) -> Reader:
    """Return the reader of a SEQUENCE OF with short entries: all on one line."""

    def reader(name: str, value: Value, session: Session) -> Item:
        inside = tlv.children(value, session, LIST)
        if inside.trouble:
            raise inside.trouble
        shown = ", ".join(words(one, session) for one in inside.values) or "(an empty list)"
        return Item(name, f"{shown} and more" if inside.left else shown, stopped=bool(inside.left))

    return reader


def explicit(read: Reader) -> Reader:
    """Return the reader of what stands alone inside another value: an explicit tag, or an OCTET STRING."""
    return lambda name, value, session: apply(read, name, tlv.within(value, session), session)


def structure(name: str, value: Value, session: Session) -> Item:
    """Read a value whose type is not known: bare structure without text."""
    return Item(name, "", (outline(value, session, text=False),))
