"""The small shapes that most octets have, read and written without pyasn1 (:mod:`agent.cmp.by_schema`)."""

from __future__ import annotations

from typing import Any, Final

from agent.cmp import der
from agent.cmp.errors import LocalError, MalformedMessage, defect
from agent.cmp.failures import clean_text

MAXIMUM_ITEMS: Final = 64
"""Entries of any list that we read; honest messages have one or two."""
_NUMBER_BITS: Final = 63
"""More than any certReqId, status, count of iterations or number of seconds needs."""


def read_typed(octets: bytes) -> tuple[str, bytes | None]:
    """Read SEQUENCE { OBJECT IDENTIFIER, anything OPTIONAL }; return the dotted OID and the DER of the rest.

    AlgorithmIdentifier, InfoTypeAndValue and AttributeTypeAndValue are of this shape, and every message has many.

    Raises:
        MalformedMessage: when it is none.
    """
    der.unwrap(octets)
    kind, *rest = der.values(octets) or [b""]
    if len(rest) > 1:
        raise der.malformed("a type in it has more than one value")
    return der.oid(der.unwrap(kind, der.OBJECT_IDENTIFIER)), rest[0] if rest else None


def write_typed(oid: str, value: bytes | None = None) -> bytes:
    """Return the DER that :func:`read_typed` reads.

    Raises:
        LocalError: when ``oid`` is no dotted OBJECT IDENTIFIER.
    """
    try:
        kind = der.wrap(der.OBJECT_IDENTIFIER, der.oid_contents(oid))
    except ValueError as error:
        raise defect(str(error)) from error
    return der.wrap(der.SEQUENCE, kind, value or b"")


def whole(raw: Any) -> bytes | None:
    """Return the complete SEQUENCE of a :class:`~agent.cmp.schema.Raw` field; None when the field is absent."""
    return der.wrap(der.SEQUENCE, bytes(raw)) if raw.isValue else None


def required(raw: Any) -> bytes:
    """Return the complete SEQUENCE of a :class:`~agent.cmp.schema.Raw` field that the schema demands."""
    return der.wrap(der.SEQUENCE, bytes(raw))


def items(octets: bytes | None, maximum: int = MAXIMUM_ITEMS) -> list[bytes]:
    """Return the entries of a SEQUENCE OF; none when it is absent (None).

    Raises:
        MalformedMessage: for another type, or more than ``maximum`` entries.
    """
    if octets is None:
        return []
    der.unwrap(octets)
    found = der.values(octets)
    if len(found) > maximum:
        raise der.malformed(f"a list in it has {len(found)} entries, more than the cap of {maximum}")
    return found


def number(value: Any) -> int:
    """Return an INTEGER of the protocol.

    Raises:
        MalformedMessage: for one that no honest peer needs: nothing later has to cope with a thousand digits.
    """
    found = int(value)
    if found.bit_length() > _NUMBER_BITS:
        raise der.malformed(f"it has a number of {found.bit_length()} bits where {_NUMBER_BITS} are plenty")
    return found


class Fields:
    """The fields of a SEQUENCE of checked DER, taken one after the other in the order of its definition."""

    def __init__(self, octets: bytes, name: str) -> None:
        """Take ``octets`` apart; ``name`` is the type's, for what is said of octets that are none.

        Raises:
            MalformedMessage: when they are no SEQUENCE.
        """
        der.unwrap(octets)
        self._left = der.values(octets)[::-1]
        self._name = name

    def optional(self, *tags: int) -> bytes | None:
        """Take the next field and return its DER if it carries one of ``tags``; else return None."""
        return self._left.pop() if self._left and self._left[-1][0] in tags else None

    def required(self, *tags: int) -> bytes:
        """Take the next field and return its DER.

        Raises:
            MalformedMessage: when there is none, or it carries none of ``tags``.
        """
        found = self.optional(*tags)
        if found is None:
            raise misfit(self._name)
        return found

    def end(self) -> None:
        """Raise :class:`MalformedMessage` when fields are left."""
        if self._left:
            raise misfit(self._name)


def within(explicit: bytes, name: str) -> bytes:
    """Return the DER of the one value inside an explicit tag of the type called ``name``.

    Raises:
        MalformedMessage: when there is another number of values.
    """
    values = der.values(explicit)
    if len(values) != 1:
        raise misfit(name)
    return values[0]


def misfit(name: str) -> MalformedMessage:
    """Return what is raised for octets that are none of the type called ``name``."""
    return der.malformed(f"it does not fit {name}")


def texts(octets: bytes | None) -> tuple[str, ...]:
    """Return a PKIFreeText (SEQUENCE OF UTF8String) as strings; () when it is absent (None).

    Raises:
        MalformedMessage: when it is none.
    """
    return tuple(der.unwrap(one, der.UTF8_STRING).decode() for one in items(octets))


def utf8_string(text: str) -> bytes:
    """Return the DER of a UTF8String.

    Raises:
        LocalError: for text that cannot be written in UTF-8 (half of a surrogate pair).
    """
    try:
        return der.wrap(der.UTF8_STRING, text.encode())
    except UnicodeEncodeError as error:
        raise LocalError(
            f"{clean_text(text)!r} holds characters that cannot be sent", remedy="Write it in plain UTF-8."
        ) from error
