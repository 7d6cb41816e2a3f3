"""Tags and lengths read leniently, BER and damaged ones too; :mod:`agent.cmp.der` decides what is accepted.

Nothing here is good enough to check a signature over. It is for people who want to know what somebody sent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from agent.cmp import der
from agent.cmp.reading.session import NotUnderstood, Session
from agent.frozen import frozen

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID, ENUMERATED = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A
UTF8, SEQUENCE, SET, NUMERIC, PRINTABLE, TELETEX, IA5 = 0x0C, 0x10, 0x11, 0x12, 0x13, 0x14, 0x16
UTC_TIME, GENERALIZED_TIME, VISIBLE, UNIVERSAL, BMP = 0x17, 0x18, 0x1A, 0x1C, 0x1E
CONTEXT: Final = 0x80
"""Added to the number of a context tag, it gives the key of :class:`Value`."""

_CLASS: Final = 0xC0
_CONSTRUCTED: Final = 0x20
_HIGH_TAG: Final = 0x1F
_LONG_LENGTH: Final = 0x80
_RESERVED_LENGTH: Final = 0xFF
_DEPTH: Final = 32
_HIGH_TAG_OCTETS: Final = 4


@frozen
class Value:
    """One value of ``data``: from ``start`` to ``end``, its contents from ``contents`` to ``stop``.

    ``key`` is its first octet without the bit for "constructed". ``announced`` is the length it claims; it is cut to
    what there is. ``outer_cut``: what holds it was cut off as well.
    """

    data: bytes
    key: int
    constructed: bool
    start: int
    contents: int
    stop: int
    end: int
    announced: int
    outer_cut: bool = False

    @property
    def cut(self) -> bool:
        """Whether its end is missing."""
        return self.announced > self.size

    @property
    def trouble(self) -> str:
        """Say that its end is missing, unless a value inside it will say so."""
        if not self.cut or (self.outer_cut and self.constructed):
            return ""
        # A length of a hundred octets is a number nobody can read.
        announced = str(self.announced) if self.announced < 1 << 64 else "a vast number of"
        return f"it announces {announced} octets, but only {self.size} are there"

    @property
    def octets(self) -> bytes:
        """The whole value as it stands in the input."""
        return self.data[self.start : self.end]

    @property
    def inside(self) -> bytes:
        """Its contents as they stand in the input."""
        return self.data[self.contents : self.stop]

    @property
    def size(self) -> int:
        """Octets of its contents."""
        return self.stop - self.contents


class Children(NamedTuple):
    """The values inside another; why reading them ended early; octets left out because there were enough of them."""

    values: tuple[Value, ...]
    trouble: NotUnderstood | None
    left: int = 0

    def complete(self) -> tuple[Value, ...]:
        """Return the values.

        Raises:
            NotUnderstood: when they are not all.
        """
        if self.trouble:
            raise self.trouble
        return self.values


def read(data: bytes, position: int, limit: int, session: Session, depth: int = 0) -> Value:
    """Read the value at ``position``; it should end before ``limit``.

    Raises:
        NotUnderstood: when there is no tag and length.
    """
    session.spend(position)
    if position + 2 > limit:
        raise NotUnderstood(position, "it ends in the middle of a value")
    tag = data[position]
    at = position + 1
    if tag & _HIGH_TAG == _HIGH_TAG:
        while at < limit and data[at] & 0x80 and at - position < _HIGH_TAG_OCTETS:
            at += 1
        at += 1
    if tag == 0 or at >= limit:
        raise NotUnderstood(position, "there is no tag of a value")
    first = data[at]
    at += 1
    key, constructed = tag & ~_CONSTRUCTED, bool(tag & _CONSTRUCTED)
    if first == _LONG_LENGTH and constructed:
        stop, end = _end_of_contents(data, at, limit, session, depth + 1)
        return Value(data, key, constructed, position, at, stop, end, announced=stop - at)
    length = first
    if first & _LONG_LENGTH:
        octets = first & ~_LONG_LENGTH
        if first in {_LONG_LENGTH, _RESERVED_LENGTH} or at + octets > limit:
            raise NotUnderstood(position, "there is no length of a value")
        length = int.from_bytes(data[at : at + octets], "big")
        at += octets
    end = min(at + length, limit)
    return Value(data, key, constructed, position, at, end, end, announced=length)


def children(value: Value, session: Session, most: int | None = None) -> Children:
    """Read the values inside ``value``, as many as can be found, or ``most``."""
    found: list[Value] = []
    position = value.contents
    try:
        while position < value.stop and len(found) != most:
            child = read(value.data, position, value.stop, session)
            found.append(replace(child, outer_cut=True) if child.cut and value.cut else child)
            position = child.end
    except NotUnderstood as trouble:
        return Children(tuple(found), trouble)
    return Children(tuple(found), None, value.stop - position)


def within(value: Value, session: Session, skip: int = 0) -> Value:
    """Return the one value encoded in the contents of ``value`` after ``skip`` octets (OCTET STRING, explicit tag ...).

    Raises:
        NotUnderstood: when there is none, or more than one.
    """
    inner = read(value.data, value.contents + skip, value.stop, session)
    if inner.end < value.stop:
        raise NotUnderstood(inner.end, f"{value.stop - inner.end} octets follow the value")
    return replace(inner, outer_cut=True) if inner.cut and value.cut else inner


def string(value: Value, session: Session, depth: int = 0) -> bytes:
    """Return the contents of a string type, its segments joined when it is constructed (BER).

    Raises:
        NotUnderstood: when the segments cannot be read.
    """
    if not value.constructed or value.key >= CONTEXT:
        return value.inside
    if depth > _DEPTH:
        raise NotUnderstood(value.start, "it is nested too deep")
    return b"".join(string(one, session, depth + 1) for one in children(value, session).complete())


def canonical(value: Value, session: Session, depth: int = 0) -> bytes:
    """Return ``value`` with canonical lengths: for readers that take DER only.

    Raises:
        NotUnderstood: when it is damaged.
    """
    if depth > _DEPTH or value.cut:
        raise NotUnderstood(value.start, value.trouble or "it is cut off or nested too deep")
    if not value.constructed:
        return der.wrap(value.data[value.start], value.inside)
    inside = (canonical(one, session, depth + 1) for one in children(value, session).complete())
    return der.wrap(value.data[value.start], *inside)


def _end_of_contents(data: bytes, position: int, limit: int, session: Session, depth: int) -> tuple[int, int]:
    """Return where contents of indefinite length stop, and the end of the two zero octets behind them."""
    if depth > _DEPTH:
        raise NotUnderstood(position, "it is nested too deep")
    while data[position : position + 2] != b"\0\0" or position + 2 > limit:
        if position >= limit:
            raise NotUnderstood(position, "a value of indefinite length has no end")
        position = read(data, position, limit, session, depth).end
    return position, position + 2
