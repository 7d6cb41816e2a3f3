"""What bodies of several kinds are made of: status, lists, texts; and an entry of the tables of bodies.

Readers here take a decoded schema object or the DER of one, writers return what is assigned to a field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.cmp import asn1, der
from agent.cmp.bodies import StatusInfo
from agent.cmp.failures import decode_failures, encode_failures
from agent.cmp.sizes import MAXIMUM_CERTIFICATES

if TYPE_CHECKING:
    from agent.cmp.messages import BodyType


class Codec(NamedTuple):
    """A kind of body with its reader and its writer."""

    body: type[Any]
    read: Callable[[BodyType, bytes], Any]
    write: Callable[[Any], bytes]


def number_of(value: Any) -> int | None:
    """Return the value of an optional INTEGER; None when it is absent."""
    return asn1.number(value) if value.isValue else None


def integer(number: int) -> bytes:
    """Return the DER of an INTEGER."""
    return der.wrap(der.INTEGER, der.integer_contents(number))


def sequence_of(entries: Iterable[bytes]) -> bytes:
    """Return the DER of a SEQUENCE OF."""
    return der.wrap(der.SEQUENCE, *entries)


def certificates_in(octets: bytes | None) -> tuple[bytes, ...]:
    """Return a list of certificates or CRLs: each is one SEQUENCE, more is not known here."""
    found = asn1.items(octets, MAXIMUM_CERTIFICATES)
    for one in found:
        der.unwrap(one)
    return tuple(found)


def write_texts(values: tuple[str, ...]) -> bytes:
    """Return the entries of a PKIFreeText."""
    return b"".join(map(asn1.utf8_string, values))


def read_integer(octets: bytes) -> int:
    """Return the value of the DER of an INTEGER."""
    return asn1.number(der.integer(der.unwrap(octets, der.INTEGER)))


def read_status(octets: bytes) -> StatusInfo:
    """Read the DER of a PKIStatusInfo (RFC 9810 5.2.3)."""
    fields = asn1.Fields(octets, "PKIStatusInfo")
    status = read_integer(fields.required(der.INTEGER))
    text = asn1.texts(fields.optional(der.SEQUENCE))
    bits = fields.optional(der.BIT_STRING)
    fields.end()
    failures = frozenset() if bits is None else decode_failures(der.unwrap(bits, der.BIT_STRING))
    return StatusInfo(status=status, text=text, failures=failures)


def write_status(status: StatusInfo) -> bytes:
    """Return the DER of a PKIStatusInfo."""
    return der.wrap(
        der.SEQUENCE,
        integer(status.status),
        der.wrap(der.SEQUENCE, write_texts(status.text)) if status.text else b"",
        der.wrap(der.BIT_STRING, encode_failures(status.failures)) if status.failures else b"",
    )
