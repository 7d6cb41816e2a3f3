from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cmp import by_schema, der, names, peer, protection, schema
from agent.cmp.bodies import Body, ErrorMessage, PkiConf, PollRequest, StatusInfo
from agent.cmp.errors import CmpError, LocalError, MalformedMessage
from agent.cmp.messages import NULL_DN, BodyType, Header, Info, InfoTypeAndValue, Message, build, moment, parse
from agent.cmp.protection import ProtectionRules
from agent.cmp.sizes import MAXIMUM_CERTIFICATES
from tests.unit.cmp import mutations, openssl, pki, strategies

VECTORS = Path(__file__).parents[2] / "vectors" / "openssl"
RECORDED = {path.stem: path.read_bytes() for path in sorted(VECTORS.glob("*-re*.der"))}

WHOLE_MESSAGES = st.builds(
    lambda header, body, protection_octets, extra_certs: build(
        header,
        body,
        protect=None if protection_octets is None else lambda _: protection_octets,
        extra_certs=tuple(extra_certs),
    ),
    strategies.headers,
    strategies.all_bodies,
    st.none() | strategies.octets,
    st.lists(strategies.sequences, max_size=2),
)
KEY = pki.new_key().public_key()


def rebuilt(message: Message) -> bytes:
    made = message.protection
    protect = None if made is None else lambda _: made
    return build(message.header, message.body(), protect=protect, extra_certs=message.extra_certs)


@pytest.mark.parametrize("number", [-32769, -32768, -129, -128, -1, 0, 127, 128, 32768])
def test_numbers_at_the_edge_of_an_octet_are_written_as_der_has_them(number: int) -> None:
    header = Header(pvno=number, sender=NULL_DN, recipient=NULL_DN)
    assert parse(build(header, PkiConf())).header.pvno == number


@settings(max_examples=150)
@given(
    strategies.headers, strategies.all_bodies, st.none() | strategies.octets, st.lists(strategies.sequences, max_size=3)
)
def test_every_message_comes_back_as_it_was_built(
    header: Header, body: Body, made: bytes | None, extra_certs: list[bytes]
) -> None:
    octets = build(header, body, protect=None if made is None else lambda _: made, extra_certs=tuple(extra_certs))
    message = parse(octets)
    assert (message.header, message.type, message.protection) == (header, body.type, made)
    assert message.extra_certs == tuple(extra_certs)
    assert message.body() == body
    assert rebuilt(message) == octets


@pytest.mark.parametrize("octets", RECORDED.values(), ids=RECORDED)
def test_recorded_messages_are_read_and_written_octet_by_octet(octets: bytes) -> None:
    assert rebuilt(parse(octets)) == octets


def test_messages_of_the_openssl_at_hand_are_read_and_written_octet_by_octet(recordings: dict[str, bytes]) -> None:
    assert len(recordings) >= 28
    labels = {parse(octets).type.label for octets in recordings.values()}
    assert labels == {
        "ir", "ip", "cr", "cp", "kur", "kup", "p10cr", "rr", "rp", "genm", "genp", "error", "certConf", "pkiconf",
        "pollReq", "pollRep",
    }  # fmt: skip
    for octets in recordings.values():
        assert rebuilt(parse(octets)) == octets


@settings(max_examples=20)
@given(WHOLE_MESSAGES)
def test_openssl_reads_the_same_structure(openssl_folder: Path, octets: bytes) -> None:
    assert openssl.run("asn1parse", "-inform", "DER", folder=openssl_folder, stdin=octets)


def use(octets: bytes) -> None:
    """Do with a message all that may be done before it is trusted; only our own errors may come out."""
    steps: tuple[Callable[[Message], object], ...] = (
        Message.body,
        peer.claim,
        protection.kind_of,
        lambda message: protection.verify_mac(message, b"secret", ProtectionRules(legacy=True, maximum_iterations=500)),
        lambda message: protection.verify_signature(message, KEY, ProtectionRules(legacy=True)),
        lambda message: names.text_of(names.name_of(message.header.sender) or b""),
    )
    try:
        message = parse(octets)
    except MalformedMessage:
        return
    for step in steps:
        try:
            step(message)
        except CmpError as error:
            assert error.remedy  # noqa: PT017 - the error may come, and must be one of ours


@settings(max_examples=80)
@given(mutations.grafted(WHOLE_MESSAGES))
def test_values_in_wrong_places_raise_nothing_but_our_errors(octets: bytes) -> None:
    use(octets)


@settings(max_examples=80)
@given(mutations.scrambled(st.sampled_from(list(RECORDED.values()))))
def test_damaged_messages_raise_nothing_but_our_errors(octets: bytes) -> None:
    use(octets)


@settings(max_examples=60)
@given(mutations.grafted(st.sampled_from(list(RECORDED.values()))))
def test_what_is_read_from_a_spoiled_message_is_written_as_it_came(octets: bytes) -> None:
    """Nothing is understood in a way that another reader of the same octets would not share."""
    try:
        message = parse(octets)
        again = rebuilt(message)
    except CmpError:
        return
    assert parse(again).header == message.header
    assert parse(again).body() == message.body()


@pytest.mark.parametrize("octets", RECORDED.values(), ids=RECORDED)
def test_a_message_cut_off_anywhere_is_refused(octets: bytes) -> None:
    for end in range(0, len(octets), 7):
        with pytest.raises(MalformedMessage):
            parse(octets[:end])


W = der.wrap
HEADER = der.values(build(Header(transaction_id=b"x" * 16), PkiConf()))[0]
MILLION = 1_000_000


def with_body(tag: int, *contents: bytes) -> bytes:
    return W(der.SEQUENCE, HEADER, W(tag, W(der.SEQUENCE, *contents)))


def with_header(*fields: bytes) -> bytes:
    return W(der.SEQUENCE, W(der.SEQUENCE, *fields), W(0xB3, b"\x05\x00"))


def deep(levels: int) -> bytes:
    octets = b""
    for _ in range(levels):
        octets = W(der.SEQUENCE, octets)
    return octets


STATUS = W(der.SEQUENCE, b"\x02\x01\x02")
PVNO = b"\x02\x01\x02"
BOMBS: dict[str, Callable[[], bytes]] = {
    "6,000 pollReps": lambda: with_body(0xBA, *[W(0x30, PVNO, PVNO)] * 6000),
    "9,000 pollReqs": lambda: with_body(0xB9, *[W(0x30, PVNO)] * 9000),
    "6,000 requests": lambda: with_body(0xA0, *[W(0x30, W(0x30, PVNO, W(0x30)))] * 4000),
    "4,000 responses": lambda: with_body(0xA1, W(0x30, *[W(0x30, PVNO, STATUS)] * 4000)),
    "9,000 infos": lambda: with_body(0xB6, *[W(0x30, b"\x06\x01\x2a")] * 9000),
    "9,000 statuses of certificates": lambda: with_body(0xB8, *[W(0x30, b"\x04\x00", PVNO)] * 6000),
    "19,000 numbers": lambda: with_body(0xA6, *[PVNO] * 19_000),
    "19,000 texts": lambda: with_body(0xB7, STATUS, W(0x30, *[b"\x0c\x01a"] * 19_000)),
    "25,000 elements": lambda: with_body(0xB7, STATUS, W(0x30, *[b"\x0c\x01a"] * 25_000)),
    "9,000 infos in the header": lambda: with_header(
        PVNO, NULL_DN, NULL_DN, W(0xA8, W(0x30, *[W(0x30, b"\x06\x01\x2a")] * 9000))
    ),
    "19,000 free texts": lambda: with_header(PVNO, NULL_DN, NULL_DN, W(0xA7, W(0x30, *[b"\x0c\x01a"] * 19_000))),
    "19,000 parts of a header": lambda: with_header(*[PVNO] * 19_000),
    "5,000 parts of a name": lambda: with_header(
        PVNO, W(0xA4, W(0x30, *[W(0x31, W(0x30, b"\x06\x03\x55\x04\x03", b"\x0c\x01a"))] * 4900)), NULL_DN
    ),
    "19,000 extraCerts": lambda: W(0x30, HEADER, W(0xB3, b"\x05\x00"), W(0xA1, W(0x30, *[b"\x30\x00"] * 19_000))),
    "19,000 caPubs": lambda: with_body(0xA1, W(0xA1, W(0x30, *[b"\x30\x00"] * 19_000)), W(0x30)),
    "a huge pvno": lambda: with_header(W(0x02, b"\x7f" * MILLION), NULL_DN, NULL_DN),
    "a pvno of 4,000 digits": lambda: with_header(W(0x02, b"\x7f" * 1000), NULL_DN, NULL_DN),
    "a checkAfter of 2,000 digits": lambda: with_body(0xBA, W(0x30, PVNO, W(0x02, b"\x8f" * 900))),
    "a status of 2,000 digits": lambda: with_body(0xB7, W(0x30, W(0x02, b"\x7f" * 900))),
    "a huge serial number": lambda: with_body(0xAB, W(0x30, W(0x30, W(0x81, b"\x7f" * MILLION)))),
    "a failInfo of a million octets": lambda: with_body(0xB7, W(0x30, PVNO, W(0x03, b"\x00" + b"\x01" * MILLION))),
    "a proof of possession of a million octets": lambda: with_body(
        0xA0, W(0x30, W(0x30, PVNO, W(0x30)), W(0xA1, W(0x30), W(0x03, b"\x00" + b"\x01" * MILLION)))
    ),
    "a unique ID of a million octets": lambda: with_body(0xAB, W(0x30, W(0x30, W(0x87, b"\x00" + b"\x01" * MILLION)))),
    "a text of a million letters": lambda: with_body(0xB7, W(0x30, PVNO, W(0x30, W(0x0C, b"a" * MILLION)))),
    "an OID of a million octets": lambda: with_body(0xB6, W(0x30, W(0x06, b"\x2a" + b"\xff" * MILLION + b"\x7f"))),
    "an OID with one huge arc": lambda: with_body(0xB6, W(0x30, W(0x06, b"\x2a" + b"\xff" * 120 + b"\x7f"))),
    "a RELATIVE-OID for an OID": lambda: with_body(0xB6, W(0x30, W(0x0D, b"\x2a\x03"))),
    "a tag of a million octets": lambda: with_body(0xB6, W(0x30, b"\xbf" + b"\xff" * MILLION + b"\x7f\x00")),
    "a thousand levels": lambda: with_body(0xB6, deep(1000)),
    "a megabyte of brackets": lambda: b"\x30\x80" * (MILLION // 2),
    "too many octets": lambda: bytes(1_048_577),
    "month 13": lambda: with_header(PVNO, NULL_DN, NULL_DN, W(0xA0, W(0x18, b"20261301000000Z"))),
    "the year 0": lambda: with_header(PVNO, NULL_DN, NULL_DN, W(0xA0, W(0x18, b"00000101000000Z"))),
    "a time with a million digits": lambda: with_header(
        PVNO, NULL_DN, NULL_DN, W(0xA0, W(0x18, b"20260101000000." + b"1" * MILLION + b"Z"))
    ),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_hostile_message_costs_little_time_and_memory(bomb: Callable[[], bytes]) -> None:
    octets = bomb()
    started = time.process_time()
    use(octets)
    assert time.process_time() - started < 1
    tracemalloc.start()
    try:
        use(octets)
        assert tracemalloc.get_traced_memory()[1] < 16 * MILLION
    finally:
        tracemalloc.stop()


def test_a_message_of_the_largest_size_with_32_certificates_is_read(openssl_folder: Path) -> None:
    certificate = openssl.der_files(openssl_folder)["rsa.pem"]
    message = parse(build(Header(), PkiConf(), extra_certs=(certificate,) * MAXIMUM_CERTIFICATES))
    assert message.extra_certs == (certificate,) * 32
    with pytest.raises(MalformedMessage, match="33 entries"):
        parse(build(Header(), PkiConf(), extra_certs=(certificate,) * 33))


SHAPES = {
    "not a sequence": W(0x31, HEADER, W(0xB3, b"\x05\x00")),
    "no body": W(0x30, HEADER),
    "no header": W(0x30, W(0xB3, b"\x05\x00")),
    "five parts": W(0x30, HEADER, W(0xB3, b"\x05\x00"), *[W(0xA0, b"\x03\x01\x00")] * 3),
    "body 27": W(0x30, HEADER, W(0xBB, b"\x05\x00")),
    "body without context tag": W(0x30, HEADER, b"\x05\x00"),
    "empty body": W(0x30, HEADER, W(0xB3)),
    "two bodies in one": W(0x30, HEADER, W(0xB3, b"\x05\x00\x05\x00")),
    "protection twice": W(0x30, HEADER, W(0xB3, b"\x05\x00"), *[W(0xA0, b"\x03\x01\x00")] * 2),
    "extraCerts before protection": W(0x30, HEADER, W(0xB3, b"\x05\x00"), W(0xA1, W(0x30)), W(0xA0, b"\x03\x01\x00")),
    "protection that is no bit string": W(0x30, HEADER, W(0xB3, b"\x05\x00"), W(0xA0, b"\x04\x01\x00")),
    "protection with unused bits": W(0x30, HEADER, W(0xB3, b"\x05\x00"), W(0xA0, b"\x03\x02\x01\x02")),
    "two protections in one": W(0x30, HEADER, W(0xB3, b"\x05\x00"), W(0xA0, b"\x03\x01\x00\x03\x01\x00")),
    "extraCerts that are no list": W(0x30, HEADER, W(0xB3, b"\x05\x00"), W(0xA1, W(0x31))),
    "a third optional part": W(0x30, HEADER, W(0xB3, b"\x05\x00"), W(0xA2, W(0x30))),
    "octets after it": build(Header(), PkiConf()) + b"\x00",
    "a name that is a SET": with_header(PVNO, W(0xA4, W(0x31)), NULL_DN),
    "a name that is an OCTET STRING": with_header(PVNO, W(0xA4, b"\x04\x00"), NULL_DN),
    "an algorithm that is an INTEGER": with_header(PVNO, NULL_DN, NULL_DN, W(0xA1, PVNO)),
    "a directory name in primitive form": with_header(PVNO, b"\x84\x02\x30\x00", NULL_DN),
    "a nonce without its explicit tag": with_header(PVNO, NULL_DN, NULL_DN, b"\x85\x01\x00"),
    "fields out of order": with_header(PVNO, NULL_DN, NULL_DN, W(0xA5, b"\x04\x00"), W(0xA4, b"\x04\x00")),
    "a field twice": with_header(PVNO, NULL_DN, NULL_DN, W(0xA5, b"\x04\x00"), W(0xA5, b"\x04\x00")),
    "an unknown field": with_header(PVNO, NULL_DN, NULL_DN, W(0xA9, b"\x04\x00")),
    "texts that are PrintableStrings": with_header(PVNO, NULL_DN, NULL_DN, W(0xA7, W(0x30, b"\x13\x01a"))),
    "an info without type": with_header(PVNO, NULL_DN, NULL_DN, W(0xA8, W(0x30, W(0x30, b"\x05\x00")))),
    "an info with two values": with_header(
        PVNO, NULL_DN, NULL_DN, W(0xA8, W(0x30, W(0x30, b"\x06\x01\x2a\x05\x00\x05\x00")))
    ),
}  # fmt: skip


@pytest.mark.parametrize("octets", SHAPES.values(), ids=SHAPES)
def test_what_is_not_shaped_like_a_pkimessage_is_refused(octets: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        parse(octets)
    assert "TagSet" not in str(caught.value)


def test_the_protected_part_is_header_and_body_as_they_came() -> None:
    seen: list[bytes] = []

    def protect(part: bytes) -> bytes:
        seen.append(part)
        return b"made"

    octets = build(Header(transaction_id=b"1" * 16), PollRequest((0,)), protect=protect)
    message = parse(octets)
    assert message.protected_part == seen[0] == W(0x30, *der.values(octets)[:2])
    assert message.protection == b"made"
    assert message.body_octets == bytes.fromhex("30053003020100")


def test_no_certificates_means_no_field() -> None:
    assert len(der.values(build(Header(), PkiConf()))) == 2
    message = parse(build(Header(), PkiConf()))
    assert (message.protection, message.extra_certs) == (None, ())


def test_an_empty_protection_is_not_the_same_as_none() -> None:
    assert parse(build(Header(), PkiConf(), protect=lambda _: b"")).protection == b""


def test_the_header_finds_an_info_by_its_type() -> None:
    found = InfoTypeAndValue(Info.IMPLICIT_CONFIRM.value, b"\x05\x00")
    header = Header(general_info=(InfoTypeAndValue("1.2.3"), found, InfoTypeAndValue(found.type, None)))
    assert header.info(Info.IMPLICIT_CONFIRM) is found
    assert header.info(Info.CERT_PROFILE) is None


def test_bodies_are_called_as_in_the_rfc() -> None:
    assert [kind.label for kind in BodyType] == [
        "ir", "ip", "cr", "cp", "p10cr", "popdecc", "popdecr", "kur", "kup", "krr", "krp", "rr", "rp", "ccr", "ccp",
        "ckuann", "cann", "rann", "crlann", "pkiconf", "nested", "genm", "genp", "error", "certConf", "pollReq",
        "pollRep",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "when"),
    [
        ("20260601120000Z", datetime(2026, 6, 1, 12, tzinfo=UTC)),
        ("20260601120000.5Z", datetime(2026, 6, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("20260601120000.123456789Z", datetime(2026, 6, 1, 12, 0, 0, 123_456, tzinfo=UTC)),
        ("00010101000000Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_times_are_read_with_their_fraction(written: str, when: datetime) -> None:
    octets = with_header(PVNO, NULL_DN, NULL_DN, W(0xA0, W(0x18, written.encode())))
    assert parse(octets).header.message_time == when
    assert moment(written) == when


@pytest.mark.parametrize(
    "written", ["", "Z", "2026060112000Z", "20260601120000", "20260631120000Z", "\u0662" * 14 + "Z"]
)
def test_other_texts_are_no_times(written: str) -> None:
    with pytest.raises(MalformedMessage):
        moment(written)


def test_times_are_sent_in_utc_and_whole_seconds() -> None:
    there = datetime(2026, 6, 1, 14, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert parse(build(Header(message_time=there), PkiConf())).header.message_time == datetime(
        2026, 6, 1, 12, tzinfo=UTC
    )


def test_text_that_cannot_be_sent_is_our_own_error() -> None:
    for header, body in (
        (Header(free_text=("\ud800",)), PkiConf()),
        (Header(), ErrorMessage(StatusInfo(status=2, text=("\udfff",)))),
    ):
        with pytest.raises(LocalError, match="cannot be sent"):
            build(header, body)


def test_a_damaged_schema_object_is_our_own_error() -> None:
    with pytest.raises(LocalError, match="PollReq cannot be built"):
        by_schema.encode(schema.PollReq())
