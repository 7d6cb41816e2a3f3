"""The strict gate before the parser: canonical DER within caps, or nothing (X.690 clauses 8, 10 and 11).

pyasn1's decoder is lenient (lengths in long form, padded integers, trailing octets). A signature or MAC over octets
that two parsers read differently is worth nothing, so everything received passes :func:`check` first: one walk over
all tags and lengths, no object is built. The same few lines give the slices that protection is computed over.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from agent.cmp.errors import MalformedMessage
from agent.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Collection

INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
UTF8_STRING: Final = 0x0C
SEQUENCE: Final = 0x30
SET: Final = 0x31

_CONSTRUCTED: Final = 0x20
_LOW_TAG: Final = 0x1F
_LONG_LENGTH: Final = 0x80
_MORE: Final = 0x80
"""Set in every octet but the last of a tag in high form and of an arc of an OBJECT IDENTIFIER."""
_LENGTH_OCTETS: Final = 4
"""Already more than every cap on size."""
_HIGH_TAG_OCTETS: Final = 4
"""No schema has a tag beyond 2**28, and a parser's arithmetic on a million octets of tag is slow."""
_OID_OCTETS: Final = 128
"""The same for OBJECT IDENTIFIERs: a UUID under 2.25 takes 20."""
_INTEGER_OCTETS: Final = 1025
"""The longest INTEGER outside of keys is a Diffie-Hellman prime of 8192 bits."""
_UTC_TIME_LENGTH: Final = 13
"""``YYMMDDHHMMSSZ``: DER allows neither missing seconds nor offsets."""
_GENERALIZED_TIME_LENGTH: Final = 15


@frozen
class Limits:
    """Caps on what is parsed: ``size`` in octets, ``depth`` in nested values, ``elements`` in values all told."""

    size: int = 1_048_576
    depth: int = 32
    elements: int = 20_000


LIMITS: Final = Limits()


class Element(NamedTuple):
    """One value: ``tag`` is its first octet, ``start`` .. ``end`` the whole of it, ``contents`` where those begin."""

    tag: int
    start: int
    contents: int
    end: int


def check(data: bytes, limits: Limits = LIMITS, opaque: Collection[Element] = ()) -> None:
    """Pass if ``data`` is exactly one value in canonical DER within ``limits``.

    ``opaque`` are values in it that are not walked through, and do not count: somebody else reads them.

    Not checked, since it takes the schema: values under an implicit tag, named bit lists (certificates in the field
    have trailing zero bits), fields that repeat their DEFAULT, the insides of OCTET STRING and BIT STRING. Nor are the
    order of SET OF (names are compared as sets) and the repertoire of string types other than UTF8String.

    Raises:
        MalformedMessage: naming the first offence and its offset.
    """
    left_out = {one.start for one in opaque}
    size = len(data) - sum(one.end - one.start for one in opaque)
    if size > limits.size:
        raise malformed(f"it has {size} octets, more than the cap of {limits.size}")
    ends: list[int] = []
    position = count = 0
    while position < len(data) or count == 0:
        contents, end = _bounds(data, position, ends[-1] if ends else len(data))
        tag = data[position]
        count += 1
        if count > limits.elements:
            raise malformed(f"it has more than {limits.elements} elements")
        if tag in _WRONG_FORM:
            raise malformed(f"tag {tag:#04x} at offset {position} has the wrong form")
        if tag & _CONSTRUCTED and position not in left_out:
            ends.append(end)
            if len(ends) > limits.depth:
                raise malformed(f"it is nested deeper than {limits.depth} levels at offset {position}")
            position = contents
        else:
            rule = _PRIMITIVES.get(tag)
            if rule is not None and not rule(data[contents:end]):
                raise malformed(f"the value at offset {position} (tag {tag:#04x}) is not canonical or too long")
            position = end
        while ends and position == ends[-1]:
            ends.pop()
        if not ends and position < len(data):
            raise malformed(f"{len(data) - position} octets follow its end")


def read(data: bytes, position: int = 0) -> Element:
    """Read the tag and length of the value at ``position``.

    Raises:
        MalformedMessage: when they are not canonical, or the value ends beyond ``data``.
    """
    return _read(data, position, len(data))


def children(data: bytes, parent: Element | None = None) -> list[Element]:
    """Return the values directly inside ``parent`` (default: the outermost value) of checked DER."""
    parent = parent or read(data)
    found: list[Element] = []
    position = parent.contents
    while position < parent.end:
        found.append(_read(data, position, parent.end))
        position = found[-1].end
    return found


def first_children(data: bytes, parent: Element, most: int) -> list[Element]:
    """Return the values directly inside ``parent``, ``most`` at the most, of octets that nobody has checked.

    Raises:
        MalformedMessage: when their tags and lengths are not canonical.
    """
    found: list[Element] = []
    position = parent.contents
    while position < parent.end and len(found) < most:
        found.append(_read(data, position, parent.end))
        position = found[-1].end
    return found


def values(data: bytes) -> list[bytes]:
    """Return the octets of each value directly inside the outermost value of checked DER."""
    return [data[one.start : one.end] for one in children(data)]


def wrap(tag: int, *contents: bytes) -> bytes:
    """Return one value: ``tag``, the canonical length, and the joined ``contents``."""
    joined = b"".join(contents)
    length = len(joined)
    if length < _LONG_LENGTH:
        return bytes((tag, length)) + joined
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG_LENGTH | len(octets))) + octets + joined


def unwrap(data: bytes, tag: int = SEQUENCE) -> bytes:
    """Return the contents of the one value ``data``, which must carry ``tag``.

    Raises:
        MalformedMessage: for another tag, bad length or octets after the value.
    """
    element = read(data)
    if element.tag != tag or element.end != len(data):
        raise malformed(f"a value with tag {tag:#04x} was expected, not {element.tag:#04x}")
    return data[element.contents :]


def integer(contents: bytes) -> int:
    """Return the number in the contents octets of an INTEGER; for those under an implicit tag.

    Raises:
        MalformedMessage: when they are not in their shortest form, or longer than anything uses.
    """
    if not _integer(contents):
        raise malformed("a number in it is not canonical or too long")
    return int.from_bytes(contents, "big", signed=True)


def integer_contents(number: int) -> bytes:
    """Return the contents octets of an INTEGER."""
    magnitude = number if number >= 0 else ~number
    return number.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True)


def oid(contents: bytes) -> str:
    """Return the dotted form of the contents octets of an OBJECT IDENTIFIER.

    Raises:
        MalformedMessage: when they are not canonical, or longer than anything uses.
    """
    if not _oid(contents):
        raise malformed("an object identifier in it is not canonical or too long")
    arcs, arc = [], 0
    for octet in contents:
        arc = arc << 7 | octet & ~_MORE
        if not octet & _MORE:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def oid_contents(dotted: str) -> bytes:
    """Return the contents octets of the OBJECT IDENTIFIER written as ``dotted``.

    Raises:
        ValueError: when it is none.
    """
    if not _DOTTED.fullmatch(dotted):
        raise ValueError(f"{dotted!r:.60} is not an object identifier")
    first, second, *rest = map(int, dotted.split("."))
    contents = b"".join(map(_base128, (40 * first + second, *rest)))
    if len(contents) > _OID_OCTETS:
        raise ValueError(f"{dotted!r:.60} is too long for an object identifier")
    return contents


_DOTTED: Final = re.compile(r"(?:[01]\.[1-3]?[0-9]|2\.(?:0|[1-9][0-9]{0,299}))(?:\.(?:0|[1-9][0-9]{0,299}))*")


def _base128(arc: int) -> bytes:
    octets = [arc & ~_MORE & 0xFF]
    while arc := arc >> 7:
        octets.append(arc & 0x7F | _MORE)
    return bytes(reversed(octets))


def malformed(what: str) -> MalformedMessage:
    """Return the error for octets that are not what they should be; ``what`` completes "the answer is ...: "."""
    return MalformedMessage(
        f"the answer is not a well-formed CMP message: {what}",
        remedy="Check that the URL of the authority is its CMP address; if it is, give the CA's operator this message.",
    )


def _read(data: bytes, position: int, limit: int) -> Element:
    bounds = _bounds(data, position, limit)
    return Element(data[position], position, *bounds)


def _bounds(data: bytes, position: int, limit: int) -> tuple[int, int]:
    """Return where the contents of the value at ``position`` begin and end."""
    if position + 2 > limit:
        raise malformed(f"it ends in the middle of a value at offset {position}")
    tag = data[position]
    at = position + 1
    if tag & _LOW_TAG == _LOW_TAG:
        at = _skip_high_tag(data, at, limit)
    if tag in _NO_TAGS or at >= limit:
        raise malformed(f"there is no valid tag at offset {position}")
    length = data[at]
    at += 1
    if length >= _LONG_LENGTH:
        octets = length & ~_LONG_LENGTH
        if octets == 0 or octets > _LENGTH_OCTETS or at + octets > limit:
            raise malformed(f"the length at offset {position} is indefinite, too long or cut off")
        length = int.from_bytes(data[at : at + octets], "big")
        if length < _LONG_LENGTH or length < 1 << 8 * (octets - 1):
            raise malformed(f"the length at offset {position} is not in its shortest form")
        at += octets
    if at + length > limit:
        raise malformed(f"the value at offset {position} is longer than what holds it")
    return at, at + length


def _skip_high_tag(data: bytes, at: int, limit: int) -> int:
    end = min(limit, at + _HIGH_TAG_OCTETS)
    last = next((one for one in range(at, end) if not data[one] & _MORE), end)
    if last == end or data[at] == _MORE or (last == at and data[at] < _LOW_TAG):
        raise malformed(f"the tag at offset {at - 1} is too long, cut off or not in its shortest form")
    return last + 1


_NO_TAGS: Final = frozenset({0x00, _CONSTRUCTED})
"""End-of-contents: a mark of the indefinite form, not a value."""
_CONSTRUCTED_TYPES: Final = frozenset({0x08, 0x0B, SEQUENCE & ~_CONSTRUCTED, SET & ~_CONSTRUCTED, 0x1D})
"""EXTERNAL, EMBEDDED PDV, SEQUENCE, SET and CHARACTER STRING; every other universal type is primitive in DER."""
_WRONG_FORM: Final = _CONSTRUCTED_TYPES | {
    number | _CONSTRUCTED for number in range(1, _LOW_TAG) if number not in _CONSTRUCTED_TYPES
}


def _boolean(contents: bytes) -> bool:
    return contents in {b"\x00", b"\xff"}


def _integer(contents: bytes) -> bool:
    if not 0 < len(contents) <= _INTEGER_OCTETS:
        return False
    # Nine equal bits at the start: the first octet says nothing (X.690 8.3.2).
    return len(contents) == 1 or int.from_bytes(contents[:2], "big") >> 7 not in {0, 0x1FF}


def _bit_string(contents: bytes) -> bool:
    if not contents:
        return False
    unused, last = contents[0], contents[-1]
    if len(contents) == 1:
        return unused == 0
    return unused < 8 and not last & ((1 << unused) - 1)  # noqa: PLR2004 - bits in an octet


def _null(contents: bytes) -> bool:
    return not contents


def _oid(contents: bytes) -> bool:
    if not 0 < len(contents) <= _OID_OCTETS or contents[-1] & _MORE:
        return False
    # An arc may not begin with seven zero bits and "more" (X.690 8.19.2); hardly any has such an octet at all.
    if _MORE not in contents:
        return True
    begins = (True, *(not octet & _MORE for octet in contents[:-1]))
    return not any(octet == _MORE and begin for octet, begin in zip(contents, begins, strict=True))


def _utf8(contents: bytes) -> bool:
    try:
        contents.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _utc_time(contents: bytes) -> bool:
    return len(contents) == _UTC_TIME_LENGTH and contents[:-1].isdigit() and contents.endswith(b"Z")


def _generalized_time(contents: bytes) -> bool:
    digits, point, fraction = contents.removesuffix(b"Z").partition(b".")
    whole = len(digits) == _GENERALIZED_TIME_LENGTH - 1 and digits.isdigit() and contents.endswith(b"Z")
    return whole and (not point or (fraction.isdigit() and not fraction.endswith(b"0")))


_PRIMITIVES: Final = {
    0x01: _boolean,
    INTEGER: _integer,
    BIT_STRING: _bit_string,
    0x05: _null,
    OBJECT_IDENTIFIER: _oid,
    0x0A: _integer,
    UTF8_STRING: _utf8,
    0x0D: _oid,
    0x17: _utc_time,
    0x18: _generalized_time,
}
"""By tag: BOOLEAN, INTEGER, BIT STRING, NULL, OBJECT IDENTIFIER, ENUMERATED, UTF8String, RELATIVE-OID, both times."""
