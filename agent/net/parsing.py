"""An answer of HTTP/1.1 (RFC 9112), read from a bounded stream: its head, then its body piece by piece.

Only what an answer to POST, GET or CONNECT can be is read here. Strict where it matters for where the answer ends,
lenient with headers that nobody asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.net.answers import Head
from agent.net.stream import BoundedStream, HttpError, NotHttpError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_HEADERS: Final = 100
_INTERIM: Final = frozenset({100, *range(102, 200)})
"""Status codes that another answer follows (RFC 9110 section 15.2); after 101 nobody speaks HTTP any more."""
_BODILESS: Final = frozenset({*range(100, 200), 204, 304})
_HEXADECIMAL: Final = frozenset(b"0123456789abcdefABCDEF")
_CHUNK_DIGITS: Final = 12


class HungUpError(ConnectionResetError):
    """The peer closed the connection before there was an answer."""


class CutShortError(HttpError):
    """The body ended, or lost its framing, before its end."""


def read_head(stream: BoundedStream) -> Head:
    """Return status and headers of the answer, interim ones skipped.

    Raises:
        HungUpError: when there is none.
        NotHttpError: when it is not HTTP/1.x; the text is what came instead.
        OSError, AllowanceExceededError: as ``BoundedStream.read``.
    """
    head: Head | None = None
    while head is None or head.status in _INTERIM:
        try:
            head = _read_one_head(stream)
        except HungUpError:
            if head is None:
                raise
            return head
    return head


def _read_one_head(stream: BoundedStream) -> Head:
    line = stream.read_line()
    if not line:
        raise HungUpError
    said = line.decode("latin-1").strip()
    version, _, rest = said.partition(" ")
    code, _, reason = rest.lstrip().partition(" ")
    if not version.startswith("HTTP/1.") or not _is_status(code):
        raise NotHttpError(said)
    headers = _read_headers(stream)
    length = headers.get("content-length", "")
    if "," in length:
        if len({one.strip() for one in length.split(",")}) > 1:
            raise NotHttpError("two lengths")
        headers["content-length"] = length.partition(",")[0].strip()
    return Head(status=int(code), headers=headers, reason=reason.strip(), persistent=_persists(version, headers))


def _is_status(code: str) -> bool:
    return len(code) == 3 and code.isascii() and code.isdecimal() and code[0] != "0"  # noqa: PLR2004 - RFC 9112 4


def _read_headers(stream: BoundedStream) -> dict[str, str]:
    """Return headers by their names in lower case; several of one name as one, with commas (RFC 9110 section 5.3)."""
    headers: dict[str, str] = {}
    name = ""
    for _ in range(_MOST_HEADERS + 1):
        line = stream.read_line()
        if not line.endswith(b"\n"):
            raise HungUpError
        text = line.decode("latin-1").rstrip("\r\n")
        if not text:
            return headers
        if text[0] in " \t":  # goes on with the one before (RFC 9112 section 5.2)
            if name:
                headers[name] = f"{headers[name]} {text.strip()}"
            continue
        before, colon, value = text.partition(":")
        name = before.strip().lower() if colon else ""
        if name:
            headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    raise NotHttpError("headers without end")


def _persists(version: str, headers: dict[str, str]) -> bool:
    """Say whether the server means to keep the connection (RFC 9112 section 9.3)."""
    options = {one.strip().lower() for one in headers.get("connection", "").split(",")}
    return "keep-alive" in options if version == "HTTP/1.0" else "close" not in options


def read_body(stream: BoundedStream, head: Head, size: int) -> Iterator[bytes]:
    """Yield the body in pieces of at most ``size`` octets; who takes the last one has all of it.

    Raises:
        CutShortError: when it ends before its end.
        OSError, AllowanceExceededError: as ``BoundedStream.read``.
    """
    if head.status in _BODILESS:
        return iter(())
    if head.chunked:
        return _chunks(stream, size)
    length = head.length
    return _until_the_end(stream, size) if length is None else _exactly(stream, length, size)


def _exactly(stream: BoundedStream, length: int, size: int) -> Iterator[bytes]:
    while length:
        octets = stream.read(min(length, size))
        if not octets:
            raise CutShortError
        length -= len(octets)
        yield octets


def _until_the_end(stream: BoundedStream, size: int) -> Iterator[bytes]:
    while octets := stream.read(size):
        yield octets


def _chunks(stream: BoundedStream, size: int) -> Iterator[bytes]:
    """Read chunks up to the last, and the trailers, which nobody looks at (RFC 9112 section 7.1)."""
    while length := _chunk_length(stream):
        yield from _exactly(stream, length, size)
        if stream.read_line() not in {b"\r\n", b"\n"}:
            raise CutShortError
    while stream.read_line().strip():
        pass


def _chunk_length(stream: BoundedStream) -> int:
    line = stream.read_line()
    digits = line.partition(b";")[0].strip()
    if not line.endswith(b"\n") or not digits or len(digits) > _CHUNK_DIGITS or not _HEXADECIMAL.issuperset(digits):
        raise CutShortError
    return int(digits, 16)
