"""The few DER values the lab CA writes itself: integers, OIDs, times, extensions (X.690, RFC 5280 section 4.1).

Certificates and CRLs are put together from octets, so that a subject comes back exactly as it was asked for, and so
that a misbehaving CA can put anything anywhere.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from agent.cmp import der

_BOOLEAN, _INTEGER, _BIT_STRING, _OCTET_STRING, _OID, _ENUMERATED = 0x01, 0x02, 0x03, 0x04, 0x06, 0x0A
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18


class Extension(NamedTuple):
    """One extension: ``oid`` in dotted form, ``value`` the DER inside the OCTET STRING."""

    oid: str
    critical: bool
    value: bytes


def integer(number: int, tag: int = _INTEGER) -> bytes:
    """Return the DER of a non-negative INTEGER (or of another type with the same contents)."""
    return der.wrap(tag, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def read_integer(octets: bytes, tag: int = _INTEGER) -> int:
    """Return the number in a DER INTEGER (or another type with the same contents).

    Raises:
        MalformedMessage: when it is none.
    """
    return int.from_bytes(der.unwrap(octets, tag), "big", signed=True)


def enumerated(number: int) -> bytes:
    """Return the DER of an ENUMERATED."""
    return integer(number, _ENUMERATED)


def oid(dotted: str) -> bytes:
    """Return the DER of an OBJECT IDENTIFIER."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return der.wrap(_OID, *(_base128(arc) for arc in (first * 40 + second, *rest)))


def read_oid(octets: bytes) -> str:
    """Return the dotted form of a DER OBJECT IDENTIFIER that passed the strict gate."""
    arcs, arc = [], 0
    for octet in der.unwrap(octets, _OID):
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def octet_string(octets: bytes) -> bytes:
    """Return the DER of an OCTET STRING."""
    return der.wrap(_OCTET_STRING, octets)


def read_octet_string(octets: bytes) -> bytes:
    """Return the contents of a DER OCTET STRING.

    Raises:
        MalformedMessage: when it is none.
    """
    return der.unwrap(octets, _OCTET_STRING)


def bit_string(octets: bytes) -> bytes:
    """Return the DER of a BIT STRING of whole octets."""
    return der.wrap(_BIT_STRING, b"\x00", octets)


def read_bit_string(octets: bytes) -> bytes:
    """Return the octets of a DER BIT STRING.

    Raises:
        MalformedMessage: when it is none, or not a whole number of octets.
    """
    contents = der.unwrap(octets, _BIT_STRING)
    if contents[0]:
        raise der.malformed("a BIT STRING is not a whole number of octets")
    return contents[1:]


def named_bits(*bits: int) -> bytes:
    """Return the DER of a BIT STRING with named bits; trailing zero bits are left out (X.690 11.2.2)."""
    if not bits:
        return der.wrap(_BIT_STRING, b"\x00")
    length = max(bits) + 1
    number = sum(1 << (length - 1 - bit) for bit in bits)
    unused = -length % 8
    return der.wrap(_BIT_STRING, bytes((unused,)), (number << unused).to_bytes((length + unused) // 8, "big"))


def read_named_bits(octets: bytes) -> frozenset[int]:
    """Return the numbers of the bits set in a DER BIT STRING."""
    contents = der.unwrap(octets, _BIT_STRING)[1:]
    return frozenset(8 * at + bit for at, octet in enumerate(contents) for bit in range(8) if octet & 0x80 >> bit)


def time(when: datetime) -> bytes:
    """Return the DER of a Time: UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 4.1.2.5)."""
    written = when.astimezone(UTC).strftime("%Y%m%d%H%M%SZ").encode()
    if written < b"2050":
        return der.wrap(_UTC_TIME, written[2:])
    return der.wrap(_GENERALIZED_TIME, written)


def read_time(octets: bytes) -> datetime:
    """Return the moment in the DER of a Time.

    Raises:
        MalformedMessage: when it is none.
    """
    element = der.read(octets)
    written = octets[element.contents :].decode("latin-1")
    if element.tag == _UTC_TIME:
        written = ("19" if written >= "50" else "20") + written
    elif element.tag != _GENERALIZED_TIME:
        raise der.malformed(f"a Time has the tag {element.tag:#04x}")
    try:
        return datetime.strptime(written, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise der.malformed(f"{written!r} is not a time") from error


def generalized_time(when: datetime) -> bytes:
    """Return the DER of a GeneralizedTime in whole seconds of UTC."""
    return der.wrap(_GENERALIZED_TIME, when.astimezone(UTC).strftime("%Y%m%d%H%M%SZ").encode())


def extensions(parts: tuple[Extension, ...]) -> bytes:
    """Return the DER of Extensions."""
    return der.wrap(der.SEQUENCE, *(_extension(part) for part in parts))


def read_extensions(octets: bytes) -> tuple[Extension, ...]:
    """Read the DER of Extensions that passed the strict gate.

    Raises:
        MalformedMessage: when it is no list of extensions.
    """
    der.unwrap(octets)
    return tuple(_read_extension(octets, one) for one in der.children(octets))


def _extension(part: Extension) -> bytes:
    critical = der.wrap(_BOOLEAN, b"\xff") if part.critical else b""
    return der.wrap(der.SEQUENCE, oid(part.oid), critical, octet_string(part.value))


def _read_extension(octets: bytes, element: der.Element) -> Extension:
    fields = der.children(octets, element) if element.tag == der.SEQUENCE else []
    tags = [field.tag for field in fields]
    if tags not in ([_OID, _OCTET_STRING], [_OID, _BOOLEAN, _OCTET_STRING]):
        raise der.malformed("an extension does not consist of OID, critical and value")
    critical = tags[1] == _BOOLEAN and octets[fields[1].contents] != 0
    return Extension(
        read_oid(octets[fields[0].start : fields[0].end]), critical, octets[fields[-1].contents : fields[-1].end]
    )


def _base128(number: int) -> bytes:
    octets = [number & 0x7F]
    while number := number >> 7:
        octets.append(number & 0x7F | 0x80)
    return bytes(reversed(octets))
