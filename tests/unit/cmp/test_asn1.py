from __future__ import annotations

import pytest

from agent.cmp import asn1, der
from agent.cmp.errors import MalformedMessage

NUMBER = der.wrap(der.INTEGER, b"\x01")
OCTETS = der.wrap(der.OCTET_STRING, b"octets")
LIST = der.wrap(der.SEQUENCE)


def read(octets: bytes) -> tuple[bytes, bytes | None, bytes | None]:
    """Read SEQUENCE { INTEGER, SEQUENCE OPTIONAL, OCTET STRING OPTIONAL }."""
    fields = asn1.Fields(octets, "Example")
    found = fields.required(der.INTEGER), fields.optional(der.SEQUENCE), fields.optional(der.OCTET_STRING)
    fields.end()
    return found


def test_fields_are_taken_in_the_order_of_their_definition() -> None:
    assert read(der.wrap(der.SEQUENCE, NUMBER, LIST, OCTETS)) == (NUMBER, LIST, OCTETS)
    assert read(der.wrap(der.SEQUENCE, NUMBER, OCTETS)) == (NUMBER, None, OCTETS)
    assert read(der.wrap(der.SEQUENCE, NUMBER)) == (NUMBER, None, None)


@pytest.mark.parametrize(
    "parts",
    [(), (LIST,), (LIST, NUMBER), (NUMBER, OCTETS, LIST), (NUMBER, LIST, LIST), (NUMBER, NUMBER)],
    ids=["none", "another one", "swapped", "swapped at the end", "twice", "too many"],
)
def test_a_field_that_is_missing_repeated_or_out_of_its_order_does_not_fit(parts: tuple[bytes, ...]) -> None:
    with pytest.raises(MalformedMessage, match="does not fit Example"):
        read(der.wrap(der.SEQUENCE, *parts))


def test_what_is_no_sequence_has_no_fields() -> None:
    with pytest.raises(MalformedMessage):
        read(der.wrap(der.SET, NUMBER))


@pytest.mark.parametrize("parts", [(), (NUMBER, NUMBER)])
def test_an_explicit_tag_holds_one_value(parts: tuple[bytes, ...]) -> None:
    assert asn1.within(der.wrap(0xA0, NUMBER), "Example") == NUMBER
    with pytest.raises(MalformedMessage, match="does not fit Example"):
        asn1.within(der.wrap(0xA0, *parts), "Example")
