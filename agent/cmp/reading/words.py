"""Single values in words: numbers, times, text, octets, names. Each returns one line that is safe to print."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

from agent.cmp import names
from agent.cmp.errors import MalformedMessage
from agent.cmp.failures import clean_text
from agent.cmp.reading import oids, tlv
from agent.cmp.reading.session import NotUnderstood, Session
from agent.cmp.reading.tlv import CONTEXT, Value

_NUMBER_OCTETS: Final = 64
_OID_OCTETS: Final = 128
_NAME_OCTETS: Final = 4096
_NAME_COST: Final = 20
"""Values that reading a name counts as, on top of its own."""
_TEXT: Final = 400
_HEX: Final = 64
"""Octets that are shown of a value that has no other words."""


def reason(error: Exception) -> str:
    """Return what an error of the strict readers says, without its opening words about "the answer"."""
    text = str(error)
    return clean_text(text.partition(": ")[2] or text) if isinstance(error, MalformedMessage) else clean_text(text)


def number(value: Value, _: Session) -> int:
    """Return an INTEGER or ENUMERATED, padded ones too.

    Raises:
        NotUnderstood: when there is none, or one that no standard needs.
    """
    if not value.size:
        raise NotUnderstood(value.start, "a number without octets")
    if value.size > _NUMBER_OCTETS:
        raise NotUnderstood(value.start, f"a number of {value.size} octets")
    return int.from_bytes(value.inside, "big", signed=True)


def decimal(value: Value, session: Session) -> str:
    """Return a number in decimal."""
    return str(number(value, session))


def serial(value: Value, session: Session) -> str:
    """Return a certificate's serial number in hexadecimal, as everywhere in this program."""
    return f"{number(value, session):x}"


def boolean(value: Value, _: Session) -> str:
    """Return "yes" or "no"; anything but zero is true (BER)."""
    return "yes" if any(value.inside) else "no"


def hexadecimal(octets: bytes) -> str:
    """Return octets in hexadecimal, long ones cut."""
    if len(octets) > _HEX:
        return f"{octets[:_HEX].hex()}... ({len(octets)} octets)"
    return octets.hex() or "(empty)"


def octets(value: Value, session: Session) -> str:
    """Return an OCTET STRING in hexadecimal."""
    return hexadecimal(tlv.string(value, session))


def text_or_octets(value: Value, session: Session) -> str:
    """Return an OCTET STRING as text where it is some, else in hexadecimal."""
    found = tlv.string(value, session)
    if found and found.isascii() and found.decode("ascii").isprintable():
        return quoted(found.decode("ascii"))
    return hexadecimal(found)


def withheld(value: Value, _: Session) -> str:
    """Say that something secret is there."""
    return f"withheld: it is secret ({value.size} octets)"


def quoted(text: str) -> str:
    """Return somebody's text in quotation marks; only ours say where it ends."""
    cleaned = clean_text(text.replace('"', "'"), _TEXT)
    return f'"{cleaned}"'


_ENCODINGS: Final = {tlv.UTF8: "utf-8", tlv.BMP: "utf-16-be", tlv.UNIVERSAL: "utf-32-be", tlv.TELETEX: "latin-1"}
STRINGS: Final = frozenset({*_ENCODINGS, tlv.NUMERIC, tlv.PRINTABLE, tlv.IA5, tlv.VISIBLE})
"""Keys of the types that hold text."""


def text(value: Value, session: Session) -> str:
    """Return a text in quotation marks, whatever its string type; damaged characters become replacement characters.

    Raises:
        NotUnderstood: when it is no text. What is shown where text should be must not be something else.
    """
    if value.key not in STRINGS:
        raise NotUnderstood(value.start, "not a text")
    return quoted(plain_text(value, session))


def plain_text(value: Value, session: Session) -> str:
    """Return a text as it is: not safe to print."""
    return tlv.string(value, session).decode(_ENCODINGS.get(value.key, "utf-8"), "replace")


def oid(value: Value, _: Session) -> str:
    """Return an OBJECT IDENTIFIER in dotted form.

    Raises:
        NotUnderstood: when it is none, or longer than any in use.
    """
    inside = value.inside
    if not inside or len(inside) > _OID_OCTETS or inside[-1] & 0x80:
        raise NotUnderstood(value.start, "not an object identifier")
    arcs: list[int] = []
    arc = 0
    for octet in inside:
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def labelled(value: Value, session: Session, what: str, rest: int | None = None) -> tuple[str, tuple[Value, ...]]:
    """Return the OID that ``value`` begins with, and the values behind it: exactly ``rest``, unless that is None.

    Raises:
        NotUnderstood: when it is not so made; ``what`` names the thing it should be.
    """
    parts = tlv.children(value, session).complete()
    if not parts or parts[0].key != tlv.OID or rest not in {None, len(parts) - 1}:
        raise NotUnderstood(value.start, f"not {what}")
    return oid(parts[0], session), parts[1:]


def named_oid(value: Value, session: Session) -> str:
    """Return the name of an OBJECT IDENTIFIER, with the OID."""
    return oids.named(oid(value, session))


_TIME: Final = re.compile(r"(\d{2}|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?(?:[.,]\d{1,9})?(Z|[+-]\d{4})?", re.ASCII)
_PIVOT: Final = 50
_LONG_YEAR: Final = 4


def time(value: Value, session: Session) -> str:
    """Return a UTCTime or GeneralizedTime in UTC, also in forms that DER does not allow.

    Raises:
        NotUnderstood: when it is no time.
    """
    written = tlv.string(value, session).decode("latin-1")
    match = _TIME.fullmatch(written)
    if match is None or (value.key == tlv.GENERALIZED_TIME) != (len(match[1]) == _LONG_YEAR):
        raise NotUnderstood(value.start, f"{quoted(written[:40])} is not a time")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    if value.key == tlv.UTC_TIME:
        year += 2000 if year < _PIVOT else 1900  # RFC 5280 4.1.2.5.1
    zone = match[7]
    place: tzinfo = UTC
    try:
        if zone and zone != "Z":
            minutes = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
            place = timezone(-minutes if zone[0] == "-" else minutes)
        moment = datetime(year, month, day, hour, minute, second, tzinfo=place).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise NotUnderstood(value.start, f"{quoted(written)} is not a time") from error
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" + ("" if zone else " (no time zone is given)")


def name(value: Value, session: Session) -> str:
    """Return a distinguished name as RFC 4514 text.

    Raises:
        NotUnderstood: when it is none, or too long to be one.
    """
    session.spend(value.start, _NAME_COST)
    if value.end - value.start > _NAME_OCTETS:
        raise NotUnderstood(value.start, f"a name of {value.end - value.start} octets")
    try:
        found = names.parse_name(tlv.canonical(value, session)).rfc4514_string()
    except (MalformedMessage, ValueError, TypeError) as error:  # TypeError: a BIT STRING in place of text
        raise NotUnderstood(value.start, f"not a distinguished name: {reason(error)}") from error
    return clean_text(found, _TEXT) or "(nobody: an empty name)"


def general_name(value: Value, session: Session) -> str:
    """Return a GeneralName, written as in our configuration where it can be.

    Raises:
        NotUnderstood: when it is none.
    """
    rule = _GENERAL_NAMES.get(value.key)
    if rule is None:
        raise NotUnderstood(value.start, "not a general name")
    kind, words = rule
    return f"{kind}:{words(value, session)}" if kind else words(value, session)


def address(value: Value, _: Session) -> str:
    """Return an IP address, or network with mask (name constraints).

    Raises:
        NotUnderstood: for another number of octets, or a mask that is none.
    """
    inside = value.inside
    try:
        if len(inside) in {4, 16}:
            return str(ipaddress.ip_address(inside))
        half = len(inside) // 2
        mask = int.from_bytes(inside[half:], "big")
        bits = mask.bit_count()
        if half in {4, 16} and mask == (1 << bits) - 1 << 8 * half - bits:
            return f"{ipaddress.ip_address(inside[:half])}/{bits}"
    except ValueError as error:
        raise NotUnderstood(value.start, "not an IP address") from error
    raise NotUnderstood(value.start, f"an IP address of {len(inside)} octets")


def _bare_text(value: Value, session: Session) -> str:
    return clean_text(plain_text(value, session), _TEXT)


def _other_name(value: Value, session: Session) -> str:
    kind, rest = labelled(value, session, "a name of another kind")
    found = [one for outer in rest for one in tlv.children(outer, session).values]
    if len(found) == 1 and found[0].key in STRINGS:
        return f"{oids.named(kind)} {text(found[0], session)}"
    return oids.named(kind)


_GENERAL_NAMES: Final[dict[int, tuple[str, Callable[[Value, Session], str]]]] = {
    CONTEXT | 0: ("other", _other_name),
    CONTEXT | 1: ("email", _bare_text),
    CONTEXT | 2: ("dns", _bare_text),
    CONTEXT | 3: ("x400", lambda value, _: f"({value.size} octets)"),
    CONTEXT | 4: ("dir", lambda value, session: name(tlv.within(value, session), session)),
    CONTEXT | 5: ("edi", lambda value, _: f"({value.size} octets)"),
    CONTEXT | 6: ("uri", _bare_text),
    CONTEXT | 7: ("ip", address),
    CONTEXT | 8: ("oid", named_oid),
}
GENERAL_NAME_KEYS: Final = tuple(_GENERAL_NAMES)


def party(value: Value, session: Session) -> str:
    """Return a GeneralName of the header: a distinguished name alone, other kinds with their kind."""
    return general_name(value, session).removeprefix("dir:")


def bits(value: Value, session: Session) -> frozenset[int]:
    """Return the numbers of the bits set in a named bit list; trailing zero bits do not matter.

    Raises:
        NotUnderstood: when it is no BIT STRING.
    """
    inside = tlv.string(value, session)[: 1 + _NUMBER_OCTETS]
    if not inside:
        raise NotUnderstood(value.start, "a bit string without octets")
    width = 8 * (len(inside) - 1)
    found = int.from_bytes(inside[1:], "big")
    return frozenset(bit for bit in range(width) if found >> (width - 1 - bit) & 1)
