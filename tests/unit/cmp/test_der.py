from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cmp import der
from agent.cmp.der import Limits, check, integer, integer_contents, unwrap, wrap
from agent.cmp.errors import MalformedMessage
from tests.unit.cmp import openssl, strategies

CANONICAL = {
    "null": "0500",
    "false": "010100",
    "true": "0101ff",
    "zero": "020100",
    "minus one": "0201ff",
    "128": "02020080",
    "-129": "0202ff7f",
    "empty bit string": "030100",
    "bits without the unused ones": "030205a0",
    "empty sequence": "3000",
    "set": "3103020100",
    "oid": "06032a0304",
    "oid with a large arc": "06072a8fffffffff7f",
    "oid whose arc ends in 0x80-like octets": "06042a818000",
    "relative oid": "0d028148",
    "utf8": "0c02c3a4",
    "latin letters in a TeletexString": "1401e4",
    "utc time": "170d3236303130313030303030305a",
    "generalized time": "180f32303236303130313030303030305a",
    "time with a fraction": "181132303236303130313030303030302e355a",
    "time before printing": "180f30303031303130313030303030305a",
    "context tag": "8000",
    "constructed context tag": "a0020500",
    "tag 31": "9f1f00",
    "tag 128": "9f810000",
    "length 128": "048180" + 128 * "00",
}

OFFENCES = {
    "nothing": "",
    "tag only": "30",
    "cut off": "020200",
    "trailing octets": "050000",
    "two values": "05000500",
    "indefinite length": "30800000",
    "end of contents": "0000",
    "end of contents inside": "30020000",
    "constructed end of contents": "2000",
    "length in long form for no reason": "02810100",
    "length with a leading zero": "0482008000",
    "length of five octets": "04850000000001",
    "length that overflows": "04ffffffff",
    "child longer than its parent": "3003040400",
    "empty integer": "0200",
    "padded integer": "02020001",
    "padded negative integer": "0202ff80",
    "huge integer": "02820402" + "01" * 1026,
    "padded enumerated": "0a020001",
    "boolean that is neither": "010101",
    "boolean of two octets": "0102ffff",
    "null with contents": "050100",
    "bit string without a count": "0300",
    "bit string with 8 unused bits": "03020800",
    "bit string with unused bits of nothing": "030101",
    "bit string with an unused bit set": "03020101",
    "empty oid": "0600",
    "oid that ends in the middle": "06022a80",
    "oid with a padded arc": "06032a8001",
    "oid that begins with padding": "06028001",
    "endless arc": "068181" + "2a" + "ff" * 127 + "7f",
    "relative oid with a padded arc": "0d028001",
    "overlong utf8": "0c02c080",
    "half a surrogate pair": "0c03eda080",
    "utc time without seconds": "170b323630313031303030305a",
    "utc time with an offset": "17113236303130313030303030302b30303030",
    "generalized time without Z": "180e3230323630313031303030303030",
    "generalized time with a zero fraction": "181132303236303130313030303030302e305a",
    "generalized time with an empty fraction": "181032303236303130313030303030302e5a",
    "generalized time with a comma": "181132303236303130313030303030302c355a",
    "generalized time in other digits": "1812" + ("٢" * 9).encode().hex(),
    "primitive sequence": "1000",
    "primitive set": "1100",
    "constructed integer": "2203020100",
    "constructed octet string": "2403040100",
    "constructed utf8": "2c030c0161",
    "constructed bit string, the fault before its contents": "230401000000",
    "high form for a low tag": "9f1e00",
    "high form with padding": "9f801f00",
    "high form without end": "9fffff",
    "endless tag": "bf" + "ff" * 5 + "7f00",
}


@pytest.mark.parametrize("octets", CANONICAL.values(), ids=CANONICAL)
def test_canonical_values_pass(octets: str) -> None:
    check(bytes.fromhex(octets))
    assert der.read(bytes.fromhex(octets)).end == len(octets) // 2


@pytest.mark.parametrize("octets", OFFENCES.values(), ids=OFFENCES)
def test_what_is_not_canonical_is_refused(octets: str) -> None:
    with pytest.raises(MalformedMessage, match="not a well-formed CMP message"):
        check(bytes.fromhex(octets))


@pytest.mark.parametrize("name", sorted(OFFENCES.keys() - {"nothing", "two values"}))
def test_an_offence_inside_is_found_too(name: str) -> None:
    with pytest.raises(MalformedMessage):
        check(wrap(der.SEQUENCE, b"\x05\x00", bytes.fromhex(OFFENCES[name])))


def test_the_offset_of_the_first_offence_is_named() -> None:
    with pytest.raises(MalformedMessage, match="offset 4 "):
        check(bytes.fromhex("300a05000202000102020001"))


def test_the_wrong_form_is_said_before_anything_inside_is_read() -> None:
    with pytest.raises(MalformedMessage, match="tag 0x24 at offset 2 has the wrong form"):
        check(bytes.fromhex("300424020202"))


def test_caps_are_exact() -> None:
    nested = b"\x05\x00"
    for _ in range(3):
        nested = wrap(der.SEQUENCE, nested)
    check(nested, Limits(size=len(nested), depth=3, elements=4))
    for limits in (Limits(size=len(nested) - 1), Limits(depth=2), Limits(elements=3)):
        with pytest.raises(MalformedMessage):
            check(nested, limits)


def test_the_longest_identifiers_and_numbers_pass() -> None:
    check(wrap(0x06, b"\x2a" + b"\xff" * 126 + b"\x7f"))
    check(wrap(der.INTEGER, b"\x7f" * 1025))
    check(b"\xbf\xff\xff\xff\x7f\x02\x05\x00")


def test_real_certificates_and_crls_and_requests_pass(openssl_folder: Path) -> None:
    files = openssl.der_files(openssl_folder)
    assert len(files) >= 12
    for octets in files.values():
        check(octets)


@given(strategies.values)
def test_wrapped_values_are_canonical_and_come_apart_again(octets: bytes) -> None:
    check(octets)
    element = der.read(octets)
    assert unwrap(octets, element.tag) == octets[element.contents :]
    outer = wrap(der.SEQUENCE, octets, b"\x05\x00", octets)
    assert der.values(outer) == [octets, b"\x05\x00", octets]
    assert [outer[one.start : one.end] for one in der.children(outer)] == der.values(outer)


@given(st.binary(max_size=60))
def test_random_octets_pass_or_are_refused_in_our_words(octets: bytes) -> None:
    try:
        check(octets)
    except MalformedMessage:
        return
    assert der.read(octets).end == len(octets)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_lengths_are_in_their_shortest_form(size: int) -> None:
    octets = wrap(0x04, bytes(size))
    check(octets)
    assert unwrap(octets, 0x04) == bytes(size)


@pytest.mark.parametrize("octets", ["0500", "30000500", "3001", ""])
def test_unwrap_takes_one_value_of_the_right_tag_only(octets: str) -> None:
    with pytest.raises(MalformedMessage):
        unwrap(bytes.fromhex(octets))


@given(st.integers(-(2**300), 2**300))
def test_numbers_come_back(number: int) -> None:
    contents = integer_contents(number)
    check(wrap(der.INTEGER, contents))
    assert integer(contents) == number


@pytest.mark.parametrize("contents", ["", "0001", "ff80", "01" * 1026])
def test_numbers_under_implicit_tags_are_as_strict(contents: str) -> None:
    with pytest.raises(MalformedMessage):
        integer(bytes.fromhex(contents))


@given(strategies.oids)
def test_object_identifiers_come_back(dotted: str) -> None:
    contents = der.oid_contents(dotted)
    check(wrap(der.OBJECT_IDENTIFIER, contents))
    assert der.oid(contents) == dotted


def test_object_identifiers_are_the_known_ones() -> None:
    assert der.oid(bytes.fromhex("2a864886f70d01010b")) == "1.2.840.113549.1.1.11"
    assert der.oid(bytes.fromhex("883703")) == "2.999.3"
    assert der.oid(b"\x27") == "0.39"


@pytest.mark.parametrize("dotted", ["", "1", "1.40", "3.1", "1.2.", "1.02", "1.2.-3", "1.2.x", "1.2.\u0663", "2.5 .4"])
def test_other_texts_are_no_object_identifiers(dotted: str) -> None:
    with pytest.raises(ValueError, match="not an object identifier"):
        der.oid_contents(dotted)


def test_object_identifiers_are_bounded() -> None:
    with pytest.raises(ValueError, match="too long"):
        der.oid_contents("1.2" + ".1000000" * 50)
    for contents in (b"", b"\x80\x01", b"\x2a\x80", b"\x2a" * 129):
        with pytest.raises(MalformedMessage):
            der.oid(contents)
    longest = b"\x2a" + b"\xff" * 126 + b"\x7f"
    assert der.oid_contents(der.oid(longest)) == longest
