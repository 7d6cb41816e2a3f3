from __future__ import annotations

import base64
import textwrap
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agent.cmp import messages
from agent.cmp.bodies import ErrorMessage, PkiConf, StatusInfo
from agent.cmp.messages import Header
from agent.cmp.reading import SIZE, Item, read
from tests.unit.cmp.wire import DEVICE, ROOT

MESSAGE = messages.build(
    Header(transaction_id=bytes(range(16)), sender_nonce=bytes(range(100, 116))),
    ErrorMessage(StatusInfo(status=2, text=("-----BEGIN a joke-----",))),
)
OTHER = messages.build(Header(transaction_id=b"another one 1234"), PkiConf())
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/pkixcmp\r\nAuthorization: geheim\r\n"
POST = b"POST http://user:geheim@ra.example/.well-known/cmp HTTP/1.1\r\nHost: ra.example\r\n"


def pem(octets: bytes, label: str = "CMP MESSAGE") -> bytes:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(octets).decode()}-----END {label}-----\n".encode()


def xxd(octets: bytes) -> bytes:
    """As ``xxd`` prints it: groups of two octets, two blanks, the text."""
    lines = []
    for at in range(0, len(octets), 16):
        row = octets[at : at + 16]
        groups = " ".join(row[one : one + 2].hex() for one in range(0, len(row), 2))
        shown = "".join(chr(one) if 32 <= one < 127 else "." for one in row)
        lines.append(f"{at:08x}: {groups:<39}  {shown}\n")
    return "".join(lines).encode()


def hexdump(octets: bytes) -> bytes:
    """As ``hexdump -C`` prints it: a gap in the middle, the text between bars, the size at the end."""
    lines = []
    for at in range(0, len(octets), 16):
        row = octets[at : at + 16]
        shown = "".join(chr(one) if 32 <= one < 127 else "." for one in row)
        lines.append(f"{at:08x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  |{shown}|\n")
    return "".join([*lines, f"{len(octets):08x}\n"]).encode()


def chunked(octets: bytes) -> bytes:
    parts = [octets[:50], octets[50:]]
    joined = b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in parts)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + joined + b"0\r\n\r\n"


def without_notes(item: Item) -> tuple[str, tuple[Item, ...]]:
    return item.value, tuple(one for one in item.items if one.name != "note")


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "der": bytes,
    "der-with-line-end": lambda octets: octets + b"\r\n",
    "pem": pem,
    "pem-in-text": lambda octets: b"subject=CN = x\n" + pem(octets) + b"that was all\n",
    "pem-after-a-comment": lambda octets: b"Comment: none\n" + pem(octets) + b"\n\n",
    "pem-with-headers": lambda octets: pem(octets).replace(b"-----\n", b"-----\nComment: none\n\n", 1),
    "base64": base64.encodebytes,
    "base64-one-line": base64.b64encode,
    "base64url": lambda octets: base64.urlsafe_b64encode(octets).rstrip(b"="),
    "hex": lambda octets: octets.hex().encode(),
    "hex-lines": lambda octets: "\n".join(textwrap.wrap(octets.hex(), 64)).encode() + b"\n",
    "hex-blanks": lambda octets: octets.hex(" ").upper().encode(),
    "hex-colons": lambda octets: octets.hex(":").encode() + b"\n",
    "hex-c": lambda octets: ", ".join(f"0x{one:02x}" for one in octets).encode(),
    "xxd": xxd,
    "hexdump": hexdump,
    "http": lambda octets: HEAD + b"\r\n" + octets,
    "http-request": lambda octets: POST + b"Content-Length: %d\r\n\r\n" % len(octets) + octets,
    "http-bare-lines": lambda octets: HEAD.replace(b"\r\n", b"\n") + b"\n" + octets,
    "http-fields-only": lambda octets: b"Content-Type: application/pkixcmp\n\n" + octets,
    "http-chunked": chunked,
    "http-hex": lambda octets: HEAD + b"\r\n" + octets.hex().encode(),
    "byte-order-mark": lambda octets: b"\xef\xbb\xbf" + octets.hex().encode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_a_message_is_read_alike(form: Callable[[bytes], bytes]) -> None:
    (expected,) = read(MESSAGE).items
    reading = read(form(MESSAGE))
    assert reading.understood
    (item,) = reading.items
    assert without_notes(item) == without_notes(expected)
    assert "geheim" not in str(reading)


def test_messages_behind_one_another_are_read_each_by_itself() -> None:
    reading = read(MESSAGE + OTHER + ROOT.octets)
    assert [item.name for item in reading.items] == ["message", "message", "certificate"]
    assert [item.offset for item in reading.items] == [0, 0, 0]
    assert without_notes(reading.items[1]) == without_notes(read(OTHER).items[0])
    assert "" in reading.lines()


@pytest.mark.parametrize("length", ["", "Content-Length: %d\r\n"])
def test_a_dialogue_over_http_is_read_message_by_message(length: str) -> None:
    raw = b"".join(
        head + (length % len(octets) if length else "").encode() + b"\r\n" + octets
        for head, octets in ((POST, MESSAGE), (HEAD, OTHER), (POST, MESSAGE))
    )
    reading = read(raw)
    assert reading.understood
    notes = [one.value for item in reading.items for one in item.items if one.name == "note"]
    assert notes == [
        "POST http://ra.example/.well-known/cmp HTTP/1.1",
        "HTTP/1.1 200 OK",
        "Content-Type: application/pkixcmp",
        "POST http://ra.example/.well-known/cmp HTTP/1.1",
    ]


def test_a_body_that_is_shorter_than_announced_is_noted() -> None:
    reading = read(POST + b"Content-Length: 900\r\n\r\n" + MESSAGE[:-3])
    assert not reading.understood
    cut = f"cut off: Content-Length is 900, but {len(MESSAGE) - 3} octets follow"
    assert cut in [one.value for one in reading.items[0].items]


def test_headers_without_a_body_are_told() -> None:
    reading = read(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    assert not reading.understood
    assert reading.items[0].value == "there is no body after the headers"
    assert reading.items[0].items[0].value == "HTTP/1.1 503 Service Unavailable"


def test_several_pem_blocks_are_read_and_a_private_key_is_not() -> None:
    key = DEVICE.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    reading = read(pem(ROOT.octets, "CERTIFICATE") + key + pem(MESSAGE))
    assert [item.name for item in reading.items] == ["certificate", "private key", "message"]
    assert reading.understood
    encoded = b"".join(key.splitlines()[1:-1])
    shown = str(reading).encode()
    assert encoded[:20] not in shown
    assert base64.b64decode(encoded).hex().encode()[:40] not in shown


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (pem(MESSAGE).partition(b"-----END")[0], "the PEM block CMP MESSAGE has no end"),
        (b"-----BEGIN X-----\n!!!\n-----END X-----\n", "what stands in the PEM block X is not base64"),
        (b"-----BEGIN ", "11 octets of text; at offset 0: no message begins like that"),
        (
            b"<html>sign in</html>",
            "20 octets of a web page; at offset 0: no message begins like that",
        ),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "28 octets; at offset 0: no message begins like that"),
        (b"hello", "5 octets of text; at offset 0: no message begins like that"),
        (b"", "the input is empty"),
        (b" \n", "the input is empty"),
        (MESSAGE + b"\x00\x00x", "3 octets; at offset 0: there is no tag of a value"),
    ],
)
def test_what_is_no_message_is_named(raw: bytes, why: str) -> None:
    reading = read(raw)
    assert why in [one.value for item in reading.items for one in item.walk()]


def test_a_message_that_is_cut_off_is_not_said_to_lack_what_may_stand_behind_the_cut() -> None:
    words = "\n".join(read(MESSAGE[:-10]).lines(200))
    assert words.startswith(f"message: error (error message), cut off after {len(MESSAGE) - 10} octets")
    assert "the end of it is missing; refused when received" in words
    assert "protection: not there: the message is cut off before it" in words
    assert "nothing in this message is proven" not in words


def test_a_cut_in_base64_or_hexadecimal_loses_only_what_is_missing() -> None:
    for raw in (base64.b64encode(MESSAGE)[:-6], MESSAGE.hex().encode()[:-5]):
        reading = read(raw)
        assert not reading.understood
        assert reading.items[0].value.startswith("error (error message)")


def test_more_than_a_mebibyte_is_not_read() -> None:
    reading = read(MESSAGE + bytes(SIZE))
    assert reading.items[-1].value == f"only the first {SIZE} of the {SIZE + len(MESSAGE)} octets were read"
    assert read(MESSAGE + bytes(SIZE - len(MESSAGE))).understood


def test_no_more_than_a_hundred_messages_are_read() -> None:
    reading = read(OTHER * 101)
    assert [item.name for item in reading.items[:100]] == ["message"] * 100
    assert reading.items[100].value == "only 100 values are read at once"
    assert read(OTHER * 100).understood
