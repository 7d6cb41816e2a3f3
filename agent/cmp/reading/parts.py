"""From what a person has at hand to octets: DER, PEM, base64, hexadecimal, HTTP dumps, in any mix that makes sense.

Every step costs time in proportion to the input, whatever it is.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from agent.cmp.failures import clean_text
from agent.frozen import frozen

_BLANK: Final = b" \t\r\n"
_HEX_SEPARATORS: Final = b" \t\r\n:,;-"
_HEX: Final = b"0123456789abcdefABCDEF"
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_SEQUENCE: Final = 0x30
_SAMPLE: Final = 64
"""Octets that are looked at before all are."""


@frozen
class Part:
    """Octets out of the input: ``source`` says how they stood there, ``notes`` what was around them.

    ``secret``: a private key, whose octets are left out. ``trouble`` says what could not be unwrapped; there are no
    octets then.
    """

    octets: bytes
    source: str = ""
    notes: tuple[str, ...] = ()
    trouble: str = ""
    secret: bool = False


def parts(raw: bytes) -> Iterator[Part]:
    """Yield what is in ``raw``; nothing for blank input."""
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    notes: tuple[str, ...] = ()
    exchanges = 0
    while raw.strip(_BLANK):
        exchanges += 1
        head = _http_head(raw) if exchanges <= _EXCHANGES else None
        if head is None:
            yield from _unwrapped(raw, notes)
            return
        seen, body, raw = head
        notes = (*notes, *seen)
        if body.strip(_BLANK):
            yield from _unwrapped(body, notes)
            notes = ()
    if notes:
        yield Part(b"", trouble="there is no body after the headers", notes=notes)


def _unwrapped(raw: bytes, notes: tuple[str, ...]) -> Iterator[Part]:
    if raw[0] == _SEQUENCE and not raw[:_SAMPLE].isascii():
        yield Part(raw, "", notes)
        return
    if begins := list(_BEGIN.finditer(raw)):
        for part in _pem(raw, begins):
            yield replace(part, notes=(*notes, *part.notes))
            notes = ()
        return
    for source, decode in (("hexadecimal", _hexadecimal), ("base64", _base64)):
        octets = decode(raw)
        if octets and octets[0] == _SEQUENCE:
            yield Part(octets, source, notes)
            return
    yield Part(raw, "", notes)


# --- HTTP -----------------------------------------------------------------------------------------------------------

_START: Final = re.compile(
    rb"(?:HTTP/\d(?:\.\d)? \d{3}|[A-Z]{3,8} [^\s]{1,2000} HTTP/\d|[A-Za-z][A-Za-z-]{1,40}:[ \t])"
)
_HEAD_OCTETS: Final = 65_536
_EXCHANGES: Final = 100
"""HTTP messages behind one another that are taken apart."""
_DIGITS: Final = 10
_USER: Final = re.compile(r"//[^/@\s]*@")


def starts_with_http(raw: bytes) -> bool:
    """Tell whether ``raw`` begins with a line of HTTP."""
    return _START.match(raw.lstrip(_BLANK)) is not None


def _http_head(raw: bytes) -> tuple[tuple[str, ...], bytes, bytes] | None:
    """Return notes on the HTTP headers at the start of ``raw``, the body, and what follows; None: there are none."""
    raw = raw.lstrip(_BLANK)
    if not _START.match(raw):
        return None
    ends = [(at, at + len(mark)) for mark in (b"\r\n\r\n", b"\n\n") if (at := raw.find(mark, 0, _HEAD_OCTETS)) >= 0]
    if not ends:
        return None
    at, start = min(ends)
    lines = raw[:at].decode("latin-1").splitlines()
    if not all(":" in line for line in lines[1:]):
        return None
    fields = {
        name.strip().lower(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon
    }
    # Other fields may carry somebody's password.
    notes = [clean_text(_USER.sub("//", lines[0]))] if "HTTP/" in lines[0] else []
    if kind := fields.get("content-type"):
        notes.append(f"Content-Type: {clean_text(kind)}")
    body = raw[start:]
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return (tuple(notes), *_dechunked(body))
    length = fields.get("content-length", "")
    if length.isascii() and length.isdigit() and len(length) < _DIGITS:
        if int(length) > len(body):
            notes.append(f"cut off: Content-Length is {int(length)}, but {len(body)} octets follow")
        return tuple(notes), body[: int(length)], body[int(length) :]
    return tuple(notes), body, b""


_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,6})[ \t]*(?:;[^\r\n]{0,200})?\r?\n")


def _dechunked(body: bytes) -> tuple[bytes, bytes]:
    """Return the joined chunks and what follows them; a body without chunks is returned as it is."""
    joined: list[bytes] = []
    position = 0
    while match := _CHUNK.match(body, position):
        size = int(match[1], 16)
        position = match.end() + size
        joined.append(body[match.end() : position])
        while position < len(body) and body[position] in b"\r\n":
            position += 1
        if size == 0:
            return b"".join(joined), body[position:]
    return (b"".join(joined), body[position:]) if joined else (body, b"")


# --- text -----------------------------------------------------------------------------------------------------------

_BEGIN: Final = re.compile(rb"^[ \t]*-----BEGIN ([A-Za-z0-9 #.+/_]{1,60})-----", re.MULTILINE)
_PRIVATE: Final = "PRIVATE KEY"


def _pem(raw: bytes, begins: list[re.Match[bytes]]) -> Iterator[Part]:
    """Yield the PEM blocks that begin at ``begins``; text between them is ignored, as other programs do."""
    for begin, after in zip(begins, [*begins[1:], None], strict=True):
        label = begin[1].decode("ascii")
        source = f"PEM {label}"
        if _PRIVATE in label:
            yield Part(b"", source, secret=True)
            continue
        limit = after.start() if after else len(raw)
        end = raw.find(b"-----END ", begin.end(), limit)
        octets = _base64(_without_headers(raw[begin.end() : limit if end < 0 else end]))
        if octets is None:
            yield Part(b"", source, trouble=f"what stands in the PEM block {label} is not base64")
        else:
            yield Part(octets, source, (f"the PEM block {label} has no end",) if end < 0 else ())


def _without_headers(block: bytes) -> bytes:
    lines = block.splitlines()
    if not any(b":" in line for line in lines):
        return block
    blank = next((number for number, line in enumerate(lines) if number and not line.strip(_BLANK)), 0)
    return b"\n".join(lines[blank:])


def _base64(raw: bytes) -> bytes | None:
    if raw[:_SAMPLE].translate(None, _BASE64 + b"-_" + _BLANK):
        return None
    compact = raw.translate(bytes.maketrans(b"-_", b"+/"), _BLANK)
    if not compact or compact.translate(None, _BASE64):
        return None
    compact = compact.rstrip(b"=")
    try:
        # A last character that is left over is the mark of a cut: what stands before it is read.
        whole = compact if len(compact) % 4 != 1 else compact[:-1]
        return binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))
    except binascii.Error:
        return None


def _hexadecimal(raw: bytes) -> bytes | None:
    dump = _dump(raw)
    if dump is not None:
        return dump
    if raw[:_SAMPLE].translate(None, _HEX + b"xX" + _HEX_SEPARATORS):
        return None
    compact = raw.replace(b"0x", b"").replace(b"0X", b"").translate(None, _HEX_SEPARATORS)
    if not compact or compact.translate(None, _HEX):
        return None
    return bytes.fromhex(compact[: len(compact) // 2 * 2].decode("ascii"))


_DUMP_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{4,8}):? {1,3}((?:[0-9A-Fa-f]{2,4} {1,2}){0,15}[0-9A-Fa-f]{2,4}) {0,60}(?:[ |].*)?"
)


def _dump(raw: bytes) -> bytes | None:
    """Return the octets of a dump with offsets and text beside it, as ``xxd`` and ``hexdump -C`` print it."""
    found = bytearray()
    if _DUMP_LINE.fullmatch(raw.lstrip(_BLANK).partition(b"\n")[0].rstrip(_BLANK)) is None:
        return None
    for line in raw.splitlines():
        match = _DUMP_LINE.fullmatch(line.strip(_BLANK))
        if match is None or int(match[1], 16) != len(found):
            # hexdump ends with a line that holds the size only.
            return bytes(found) if found and line.strip(_BLANK) == b"%08x" % len(found) else None
        # Two blanks stand in the middle of hexdump's columns, but end those of xxd.
        columns = match[2] if b"|" in line else match[2].partition(b"  ")[0]
        found += bytes.fromhex(columns.decode("ascii"))
    return bytes(found) or None
