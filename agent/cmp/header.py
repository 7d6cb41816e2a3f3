"""PKIHeader (RFC 9810 5.1.1) as a frozen dataclass: read and written field by field, straight from and to DER.

Every message begins with one, and it is flat: a table of fields is all the schema it takes. Through pyasn1 it was most
of what a message cost.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple

from agent.cmp import asn1, der
from agent.cmp.failures import clean_text
from agent.frozen import frozen

NULL_DN: Final = bytes.fromhex("a4023000")
"""GeneralName directoryName with an empty Name: "unknown" in a header (RFC 9810 appendix C.1)."""

PVNO_2, PVNO_3 = 2, 3


@frozen
class InfoTypeAndValue:
    """``type`` is a dotted OID, ``value`` the DER of its value or None."""

    type: str
    value: bytes | None = None


@frozen(kw_only=True)
class Header:
    """PKIHeader (RFC 9810 5.1.1). ``sender`` and ``recipient`` are the DER of a GeneralName."""

    pvno: int = PVNO_2
    sender: bytes = NULL_DN
    recipient: bytes = NULL_DN
    message_time: datetime | None = None
    protection_alg: bytes | None = None
    sender_kid: bytes | None = None
    recip_kid: bytes | None = None
    transaction_id: bytes | None = None
    sender_nonce: bytes | None = None
    recip_nonce: bytes | None = None
    free_text: tuple[str, ...] = ()
    general_info: tuple[InfoTypeAndValue, ...] = ()

    def info(self, kind: str) -> InfoTypeAndValue | None:
        """Return the first generalInfo entry of ``kind``."""
        return next((entry for entry in self.general_info if entry.type == kind), None)


def moment(value: Any) -> datetime:
    """Return a GeneralizedTime (text or schema object) as an aware datetime; beyond microseconds it is cut.

    Raises:
        MalformedMessage: when it is no such time.
    """
    written = str(value)
    found = _GENERALIZED_TIME.fullmatch(written)
    if found is None:
        raise der.malformed(f"{clean_text(written, 40)!r} is not a time")
    whole, fraction = found.groups(default="")
    try:  # not by strptime, which loads tables of the locale first
        year, month, day, hour, minute, second = (int(whole[start:end]) for start, end in pairwise(_PLACES))
        seconds = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise der.malformed(f"{written[:20]!r} is not a time") from error
    return seconds.replace(microsecond=int(fraction[:6].ljust(6, "0")))


_PLACES: Final = (0, 4, 6, 8, 10, 12, 14)
"""Where year, month, day, hour, minute and second begin and end."""
_GENERALIZED_TIME: Final = re.compile(r"(\d{14})(?:\.(\d+))?Z", re.ASCII)


def generalized_time(when: datetime) -> str:
    """Return the aware ``when`` in the form of RFC 5280 4.1.2.5.2: UTC, whole seconds."""
    utc = when.astimezone(UTC)
    return f"{utc.year:04}{utc:%m%d%H%M%S}Z"  # %Y has no leading zeros everywhere


def read_infos(octets: bytes | None) -> tuple[InfoTypeAndValue, ...]:
    """Return a list of InfoTypeAndValue (DER, or None when it is absent) as dataclasses.

    Raises:
        MalformedMessage: when it is none.
    """
    return tuple(InfoTypeAndValue(*asn1.read_typed(one)) for one in asn1.items(octets))


def write_infos(infos: tuple[InfoTypeAndValue, ...]) -> bytes:
    """Return the entries of a list of InfoTypeAndValue, without the SEQUENCE around them."""
    return b"".join(asn1.write_typed(one.type, one.value) for one in infos)


class _Field(NamedTuple):
    """An optional field: the number of its explicit tag, and how its value is read from DER and written to it."""

    number: int
    name: str
    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]


def _octets(number: int, name: str) -> _Field:
    return _Field(
        number,
        name,
        lambda value: der.unwrap(value, der.OCTET_STRING),
        lambda octets: der.wrap(der.OCTET_STRING, octets),
    )


def _read_algorithm(value: bytes) -> bytes:
    der.unwrap(value)
    return value


_CONTEXT: Final = 0xA0
_TIME_TAG: Final = 0x18
_DIRECTORY_NAME: Final = 0xA4
_GENERAL_NAMES: Final = frozenset({0xA0, 0x81, 0x82, 0xA3, _DIRECTORY_NAME, 0xA5, 0x86, 0x87, 0x88})
"""Tags of a GeneralName (RFC 5280 4.2.1.6): otherName to registeredID."""
_FIELDS: Final = (
    _Field(
        0,
        "message_time",
        lambda value: moment(der.unwrap(value, _TIME_TAG).decode("ascii")),
        lambda when: der.wrap(_TIME_TAG, generalized_time(when).encode("ascii")),
    ),
    _Field(1, "protection_alg", _read_algorithm, _read_algorithm),
    _octets(2, "sender_kid"),
    _octets(3, "recip_kid"),
    _octets(4, "transaction_id"),
    _octets(5, "sender_nonce"),
    _octets(6, "recip_nonce"),
    _Field(7, "free_text", asn1.texts, lambda texts: der.wrap(der.SEQUENCE, *map(asn1.utf8_string, texts))),
    _Field(8, "general_info", read_infos, lambda infos: der.wrap(der.SEQUENCE, write_infos(infos))),
)


def read_header(octets: bytes) -> Header:
    """Read a PKIHeader; ``octets`` have passed the strict gate (``agent.cmp.der.check``).

    Raises:
        MalformedMessage: when they are none.
    """
    der.unwrap(octets)
    parts = der.values(octets)
    if len(parts) < 3:  # noqa: PLR2004 - what is not optional
        raise _misfit()
    pvno, sender, recipient, *rest = parts
    found: dict[str, Any] = {}
    fields = iter(_FIELDS)
    for part in rest:
        # Each in its order and once: one that is out of order finds the iterator past its place.
        field = next((one for one in fields if part[0] == _CONTEXT | one.number), None)
        if field is None:
            raise _misfit()
        found[field.name] = field.read(asn1.within(part, "PKIHeader"))
    return Header(
        pvno=asn1.number(der.integer(der.unwrap(pvno, der.INTEGER))),
        sender=_general_name(sender),
        recipient=_general_name(recipient),
        **found,
    )


def write_header(header: Header) -> bytes:
    """Return the DER of a PKIHeader.

    Raises:
        LocalError: when it holds what cannot be encoded.
    """
    fields = [der.wrap(der.INTEGER, der.integer_contents(header.pvno)), header.sender, header.recipient]
    for field in _FIELDS:
        value = getattr(header, field.name)
        if value is not None and value != ():
            fields.append(der.wrap(_CONTEXT | field.number, field.write(value)))
    return der.wrap(der.SEQUENCE, *fields)


def _general_name(octets: bytes) -> bytes:
    """Return a GeneralName as it came; what a name of its kind may be is for whoever compares it."""
    if octets[0] not in _GENERAL_NAMES:
        raise _misfit()
    if octets[0] == _DIRECTORY_NAME:
        der.unwrap(asn1.within(octets, "PKIHeader"))
    return octets


def _misfit() -> Exception:
    return der.malformed("it does not fit PKIHeader")
