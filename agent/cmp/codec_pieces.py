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


def octets_of(value: Any) -> bytes | None:
    """Return the value of an optional OCTET STRING; None when it is absent."""
    return bytes(value) if value.isValue else None


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


def read_status(value: Any) -> StatusInfo:
    """Read a PKIStatusInfo (RFC 9810 5.2.3)."""
    bits = value["failInfo"]
    return StatusInfo(
        status=asn1.number(value["status"]),
        text=asn1.texts(asn1.whole(value["statusString"])),
        failures=decode_failures(bytes(bits)) if bits.isValue else frozenset(),
    )


def write_status(target: Any, status: StatusInfo) -> Any:
    """Fill a PKIStatusInfo, and return it."""
    target["status"] = status.status
    if status.text:
        target["statusString"] = write_texts(status.text)
    if status.failures:
        target["failInfo"] = encode_failures(status.failures)
    return target
