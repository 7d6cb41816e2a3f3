"""Octets to objects of :mod:`agent.cmp.schema` and back through pyasn1.

A request and the answer to it do without, as headers do: pyasn1 took most of the time that they cost. So whoever is in
a hurry loads this module and the schema when they are first used; they are imported as modules everywhere.
"""

from __future__ import annotations

from typing import Any, Final

from pyasn1.codec.ber import encoder as ber
from pyasn1.codec.der import decoder, encoder
from pyasn1.error import PyAsn1Error
from pyasn1.type import univ

from agent.cmp import der
from agent.cmp.asn1 import misfit
from agent.cmp.errors import defect
from agent.cmp.failures import clean_text


def decode(octets: bytes, schema: Any) -> Any:
    """Decode checked DER by ``schema``; everything must be used up.

    pyasn1 takes some things for what they are not: a value of another type as a :class:`~agent.cmp.schema.Raw`, a
    primitive one as constructed, an empty INTEGER as 0. So what it understood is written again and must come out as it
    came in.

    Raises:
        MalformedMessage: when ``octets`` do not fit.
    """
    try:
        value, rest = decoder.decode(octets, asn1Spec=schema)
        understood = _ENCODE(value)
    except (PyAsn1Error, ValueError, IndexError, OverflowError) as error:  # its text is for readers of pyasn1
        raise misfit(type(schema).__name__) from error
    if rest:
        raise der.malformed(f"{len(rest)} octets follow {type(schema).__name__}")
    if understood != octets:
        raise misfit(type(schema).__name__)
    return value


class _Integers(ber.IntegerEncoder):
    """INTEGER as DER has it: the library puts an octet too many before -128, -32768 and so on."""

    def encodeValue(self, value: Any, *_: Any, **__: Any) -> tuple[bytes, bool, bool]:  # noqa: N802 - its name there
        return der.integer_contents(int(value)), False, True


class _Items(encoder.SingleItemEncoder):
    TAG_MAP: Final = encoder.TAG_MAP | {univ.Integer.tagSet: _Integers()}
    TYPE_MAP: Final = encoder.TYPE_MAP | {univ.Integer.typeId: _Integers()}


class _Encoder(encoder.Encoder):
    SINGLE_ITEM_ENCODER = _Items


_ENCODE: Final = _Encoder()


def encode(value: Any) -> bytes:
    """Encode a schema object as DER.

    Raises:
        LocalError: when a part is missing or of the wrong type.
    """
    try:
        octets: bytes = _ENCODE(value)
    except (PyAsn1Error, ValueError) as error:
        raise defect(f"a {type(value).__name__} cannot be built ({clean_text(str(error), 120)})") from error
    return octets


def bits(octets: bytes) -> univ.BitString:
    """Return a BIT STRING of whole octets."""
    return univ.BitString.fromOctetString(octets)
