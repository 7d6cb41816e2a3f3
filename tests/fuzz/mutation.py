"""Makes one input of DER from another: values are moved, repeated, dropped or retagged, and every length is right.

What only flips octets dies at the first length. The other half of the time octets are flipped all the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from agent.cmp import der
from agent.cmp.errors import MalformedMessage

Mutator = Callable[[bytes, int, int], bytes]
"""From an input, the most octets it may have, and a seed."""

_CONSTRUCTED: Final = 0x20
_MOST_NODES: Final = 2000
_LEAVES: Final = (
    b"",
    b"\x00",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\x00\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x1b[2J",
)
_TAGS: Final = (1, 2, 3, 4, 5, 6, 0x0A, 0x0C, 0x13, 0x17, 0x18, 0x1E, 0x30, 0x31, 0x80, 0x81, 0xA0, 0xA1, 0xA3)


def der_mutator(octets: bytes, maximum: int, seed: int) -> bytes:
    """Return ``octets`` with one to three things changed."""
    chance = random.Random(seed)  # noqa: S311 - the same input again from the same seed
    for _ in range(chance.randint(1, 3)):
        change = _change_octets if chance.random() < 0.4 else _change_values
        octets = change(octets, chance) or octets
    return octets[:maximum]


def plain_mutator(octets: bytes, maximum: int, seed: int) -> bytes:
    """Return ``octets`` with one to three octets or stretches changed."""
    chance = random.Random(seed)  # noqa: S311 - as above
    for _ in range(chance.randint(1, 3)):
        octets = _change_octets(octets, chance)
    return octets[:maximum]


def _change_octets(octets: bytes, chance: random.Random) -> bytes:
    data = bytearray(octets or b"\x30\x00")
    at = chance.randrange(len(data))
    match chance.randrange(4):
        case 0:
            data[at] ^= 1 << chance.randrange(8)
        case 1:
            data[at] = chance.randrange(256)
        case 2:
            del data[at : at + chance.randint(1, 8)]
        case _:
            data[at:at] = chance.randbytes(chance.randint(1, 8))
    return bytes(data)


def _change_values(octets: bytes, chance: random.Random) -> bytes:
    nodes = _nodes(octets)
    if not nodes:
        return _change_octets(octets, chance)
    start, end = chance.choice(nodes)
    old = octets[start:end]
    other_start, other_end = chance.choice(nodes)
    other = octets[other_start:other_end]
    leaf = der.wrap(chance.choice(_TAGS), chance.choice(_LEAVES))
    new = (
        b"",
        old + old,
        old * chance.choice((3, 33, 70)),
        other,
        leaf,
        old + leaf,
        bytes((chance.choice(_TAGS),)) + old[1:],
        der.wrap(old[0], chance.choice(_LEAVES)),
        der.wrap(chance.choice(_TAGS), old),
    )[chance.randrange(9)]
    return _replaced(octets, (start, end), new)


def _nodes(octets: bytes) -> list[tuple[int, int]]:
    """Return where values start and end, outer ones first; as many as can be told."""
    found: list[tuple[int, int]] = []
    try:
        todo = [der.read(octets)]
        while todo and len(found) < _MOST_NODES:
            one = todo.pop(0)
            found.append((one.start, one.end))
            if one.tag & _CONSTRUCTED:
                todo.extend(der.children(octets, one))
    except (MalformedMessage, IndexError):
        pass
    return found


def _replaced(octets: bytes, node: tuple[int, int], new: bytes) -> bytes:
    """Return ``octets`` with ``new`` in place of a value; the lengths around it follow."""
    return _rebuilt(octets, der.read(octets), node, new)


def _rebuilt(octets: bytes, one: der.Element, node: tuple[int, int], new: bytes) -> bytes:
    if (one.start, one.end) == node:
        return new
    if not (one.start <= node[0] and node[1] <= one.end):
        return octets[one.start : one.end]
    parts = (_rebuilt(octets, child, node, new) for child in der.children(octets, one))
    return octets[one.start : one.start + 1] + der.wrap(0, *parts)[1:]
