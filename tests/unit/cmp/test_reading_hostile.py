"""Whatever the octets are: a reading comes out, soon, and nothing in it harms."""

from __future__ import annotations

import functools
import json
import time
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cmp import der, messages
from agent.cmp.messages import BodyType
from agent.cmp.reading import SIZE, Reading, read
from tests.unit.cmp import wire
from tests.unit.cmp.mutations import grafted, scrambled
from tests.unit.cmp.strategies import all_bodies, headers
from tests.unit.cmp.wire import DEVICE, ROOT

SECONDS = 1.0
HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of characters that steer a terminal."""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return [*wire.messages(tmp_path_factory.mktemp("openssl")).values(), ROOT.octets, DEVICE.octets]


BUILT = st.builds(
    lambda header, body, mac: messages.build(header, body, protect=(lambda _: mac) if mac else None),
    headers,
    all_bodies,
    st.none() | st.binary(min_size=1, max_size=20),
)


def examine(octets: bytes) -> Reading:
    """Read, print and dump; the time of this process counts, not that of others."""
    start = time.process_time()
    reading = read(octets, secret=b"secret")
    lines = list(reading.lines())
    json.dumps(reading.to_json())
    assert time.process_time() - start < SECONDS
    for line in lines:
        assert HARMFUL.isdisjoint(map(unicodedata.category, line)), line
    # The net under all readers must stay empty: what it catches is a defect of ours.
    assert not [one.value for one in reading.stops if "a parser fails on it" in one.value]
    return reading


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda octets: b"0" + octets))
def test_any_octets_are_read(octets: bytes) -> None:
    assert examine(octets).items


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    assert examine(text.encode("utf-8", "surrogatepass")).items


@settings(max_examples=60)
@given(BUILT)
def test_any_message_is_read_as_such(octets: bytes) -> None:
    (item,) = examine(octets).items
    assert item.name == "message"


@settings(max_examples=60)
@given(grafted(BUILT))
def test_any_message_with_other_values_in_it_is_read(octets: bytes) -> None:
    assert examine(octets).items


@settings(max_examples=200)
@given(data=st.data())
def test_real_messages_with_damage_are_read(real: list[bytes], data: st.DataObject) -> None:
    source = st.sampled_from(real)
    assert examine(data.draw(scrambled(source) | grafted(source))).items


def seq(*parts: bytes) -> bytes:
    return der.wrap(der.SEQUENCE, *parts)


def filled(value: bytes) -> bytes:
    """As many of ``value`` as there is room for."""
    return value * ((SIZE - 1000) // len(value))


HEADER = seq(b"\x02\x01\x02", messages.NULL_DN, messages.NULL_DN)
CONFIRMATION = seq(HEADER, der.wrap(0xA0 | BodyType.PKICONF, b"\x05\x00"))


def body(kind: BodyType, *contents: bytes) -> bytes:
    return seq(HEADER, der.wrap(0xA0 | kind, *contents))


def complaint(texts: bytes) -> bytes:
    return body(BodyType.ERROR, seq(seq(b"\x02\x01\x02", seq(texts))))


def long_name(number: int) -> bytes:
    """A Name with many attributes, another one for every number."""
    common_name = bytes.fromhex("0603550403")
    return seq(
        *(
            der.wrap(der.SET, seq(common_name, der.wrap(0x0C, b"%08d" % (one + number))))
            for one in range(0, 60000, 1000)
        )
    )


def long_named(number: int) -> bytes:
    return seq(seq(b"\x02\x01\x00", seq(der.wrap(0xA5, long_name(number)))))


BOMBS: dict[str, Callable[[], bytes]] = {
    "nulls": lambda: body(BodyType.GENM, seq(filled(b"\x05\x00"))),
    "empty-values-behind-one-another": lambda: filled(b"\x30\x00"),
    "empty-values-inside-one": lambda: seq(filled(b"\x30\x00")),
    "nested": lambda: functools.reduce(lambda inner, _: seq(inner), range(3000), b""),
    "nested-without-length": lambda: filled(b"\x30\x80"),
    "ends-without-length": lambda: seq(HEADER, b"\xb5\x80\x30\x80" + filled(b"\x30\x80\x00\x00") + bytes(4)),
    "certificates": lambda: seq(HEADER, b"\xb3\x02\x05\x00", der.wrap(0xA1, seq(filled(ROOT.octets)))),
    "long-names": lambda: body(BodyType.IR, seq(*map(long_named, range(400)))),
    "long-number": lambda: body(BodyType.POLLREQ, seq(seq(der.wrap(der.INTEGER, b"\x7f" * 900_000)))),
    "long-oid": lambda: body(BodyType.GENM, seq(seq(der.wrap(0x06, b"\xff" * 900_000 + b"\x01")))),
    "long-text": lambda: complaint(der.wrap(0x0C, b"\xe2\x80\xae" * 300_000)),
    "many-texts": lambda: complaint(filled(der.wrap(0x0C, b"\x1b" * 20))),
    "messages-in-messages": lambda: body(BodyType.NESTED, seq(filled(body(BodyType.NESTED, seq(CONFIRMATION * 9))))),
    "messages": lambda: filled(CONFIRMATION),
    "pem-beginnings": lambda: filled(b"-----BEGIN X-----"),
    "pem-blocks": lambda: filled(b"-----BEGIN X-----\nMAA=\n-----END X-----\n"),
    "http-heads": lambda: filled(b"Content-Length: 0\n\n"),
    "http-messages": lambda: filled(b"HTTP/1.1 200 OK\r\n\r\n" + CONFIRMATION),
    "http-chunks": lambda: b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n" + filled(b"1\r\n0\r\n"),
    "hexadecimal": lambda: filled(b"30"),
    "base64": lambda: filled(b"MAA0"),
    "dump": lambda: b"00000000 " + filled(b"30 "),
    "zeros": lambda: bytes(SIZE),
    "line-ends": lambda: filled(b"\n"),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_mebibyte_made_to_cost_time_costs_little(bomb: Callable[[], bytes]) -> None:
    octets = bomb()
    assert len(octets) <= SIZE
    reading = examine(octets)
    assert not reading.understood or len(reading.items) <= 1
    assert sum(1 for _ in reading.lines()) < 5000
