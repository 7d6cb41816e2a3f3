"""Ways to spoil a message: random octets, and random values put into the tree so that every length stays right."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from agent.cmp import der
from tests.unit.cmp.strategies import values

_ODD_LEAVES: Final = st.sampled_from(
    [
        der.wrap(tag, contents)
        for tag in (
            0x01,
            0x02,
            0x03,
            0x04,
            0x05,
            0x06,
            0x0A,
            0x0C,
            0x0D,
            0x13,
            0x16,
            0x17,
            0x18,
            0x1E,
            0x80,
            0x81,
            0x85,
        )
        for contents in (
            b"",
            b"\x00",
            b"\x7f",
            b"\xff",
            b"\x00\x01",
            b"20201332250000Z",
            b"991332250000Z",
            b"\x7f" * 1000,
        )
    ]
)


def _nodes(data: bytes, position: int = 0) -> list[tuple[int, int]]:
    """Return where each value of ``data`` starts and ends, level by level."""
    found, todo = [], [der.read(data, position)]
    while todo:
        one = todo.pop(0)
        found.append((one.start, one.end))
        if one.tag & 0x20:
            todo.extend(der.children(data, one))
    return found


def _replaced(data: bytes, start: int, end: int, new: bytes, within: tuple[int, int] | None = None) -> bytes:
    """Return ``data`` with the value from ``start`` to ``end`` replaced; the lengths around it follow."""
    if within is None:
        within = (0, len(data))
    if (start, end) == within:
        return new
    outer = der.read(data, within[0])
    parts = [
        _replaced(data, start, end, new, (one.start, one.end))
        if one.start <= start and end <= one.end
        else data[one.start : one.end]
        for one in der.children(data, outer)
    ]
    return data[outer.start : outer.start + 1] + der.wrap(0, *parts)[1:]


@st.composite
def grafted(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> bytes:
    """Replace, repeat, drop or retag some values of a message drawn from ``source``."""
    data = draw(source)
    for _ in range(draw(st.integers(1, 3))):
        nodes = _nodes(data)
        start, end = draw(st.sampled_from(nodes[3:] or nodes))  # not the message, its header and its body as such
        old = data[start:end]
        new = draw(
            st.one_of(
                values,
                _ODD_LEAVES,
                st.just(b""),
                st.just(old + old),
                st.integers(0, 255).map(lambda tag, rest=old[1:]: bytes((tag,)) + rest),  # type: ignore[misc]
                st.sampled_from(nodes).map(lambda node, data=data: data[node[0] : node[1]]),  # type: ignore[misc]
            )
        )
        data = _replaced(data, start, end, new)
        try:
            _nodes(data)
        except Exception:  # noqa: BLE001 - a tag now says "constructed" over contents that are no values
            return data
        if not data:
            return data
    return data


@st.composite
def scrambled(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> bytes:
    """Flip, cut, insert or repeat octets of a message drawn from ``source``."""
    data = bytearray(draw(source))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["flip", "cut", "insert", "drop"])):
            case "flip" if at < len(data):
                data[at] ^= draw(st.integers(1, 255))
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=4))
            case _:
                del data[at : at + draw(st.integers(1, 4))]
    return bytes(data)
