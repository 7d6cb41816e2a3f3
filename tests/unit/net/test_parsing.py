"""HTTP/1.1 as a client reads it, from a socket that gives its octets one by one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent.net.parsing import CutShortError, HungUpError, read_body, read_head
from agent.net.stream import AllowanceExceededError, BoundedStream, NotHttpError


@contextmanager
def stream_of(octets: bytes, *, allowance: int = 1_000_000, at_once: int = 1) -> Iterator[BoundedStream]:
    """A stream that gets ``octets`` in pieces and then its end."""
    ours, theirs = socket.socketpair()

    def say() -> None:
        with theirs:
            for start in range(0, len(octets), at_once):
                theirs.sendall(octets[start : start + at_once])

    speaker = threading.Thread(target=say)
    with ours:
        stream = BoundedStream(deadline=time.monotonic() + 30, allowance=allowance)
        stream.sock = ours
        speaker.start()
        try:
            yield stream
        finally:
            while ours.recv(65_536):  # to the end: whoever speaks is not to find a closed door
                pass
            speaker.join()


def whole(octets: bytes) -> tuple[int, bytes, bytes]:
    """Status, body, and what is left over."""
    with stream_of(octets) as stream:
        head = read_head(stream)
        body = b"".join(read_body(stream, head, 7))
        return head.status, body, bytes(stream.unread)


@pytest.mark.parametrize(
    ("octets", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", b"abc"),
        (b"HTTP/1.1 200\r\ncontent-length:3\r\n\r\nabcdef", b"abc"),
        (b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabcdef", b"abc"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabcdef", b"abc"),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n b: c\r\nodd line\r\nContent-Length: 3\r\n\r\nabcdef", b"abc"),
        (b"HTTP/1.1 103 Early\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\n\r\nabcdef", b"abcdef"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: much\r\n\r\nabcdef", b"abcdef"),
        (b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc", b""),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA;x\r\n0123456789\r\n1 \r\na\r\n0\r\nT: 1\r\n\r\nzz",
            b"0123456789a",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n2\r\nab\r\n0\r\n", b"ab"),
    ],
)
def test_the_head_says_where_the_body_ends(octets: bytes, body: bytes) -> None:
    status, found, _ = whole(octets)
    assert (status, found) == (int(octets.rpartition(b"HTTP/1.1 ")[2][:3]), body)


@pytest.mark.parametrize("digits", [b"-1", b"0x1", b"1_0", b"+1", b"", b" ", b"g", b"1" * 13])
def test_the_length_of_a_chunk_is_nothing_but_hexadecimal_digits(digits: bytes) -> None:
    with pytest.raises(CutShortError):
        whole(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + digits
            + b"\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n"
        )


def test_a_chunk_ends_where_it_said() -> None:
    with pytest.raises(CutShortError):
        whole(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n")


@pytest.mark.parametrize("octets", [b"", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"])
def test_an_end_before_there_is_a_whole_head_is_a_server_that_hung_up(octets: bytes) -> None:
    with stream_of(octets) as stream, pytest.raises(HungUpError):
        read_head(stream)


@pytest.mark.parametrize(
    "octets",
    [
        b"SSH-2.0-x",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2000 x\r\n\r\n",
        b"HTTP/1.1 0200 x\r\n\r\n",
        b"HTTP/1.1 \xb2\xb2\xb2 x\r\n\r\n",
    ],
)
def test_another_first_line_is_told_as_it_came(octets: bytes) -> None:
    with stream_of(octets) as stream, pytest.raises(NotHttpError) as caught:
        read_head(stream)
    assert str(caught.value) == octets.decode("latin-1").strip()


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        ("1.1", "", True),
        ("1.1", "Close", False),
        ("1.1", "x, close", False),
        ("1.0", "", False),
        ("1.0", "keep-alive", True),
    ],
)
def test_whether_the_connection_is_kept_stands_in_the_head(version: str, connection: str, *, kept: bool) -> None:
    with stream_of(f"HTTP/{version} 200 OK\r\nConnection: {connection}\r\n\r\n".encode()) as stream:
        assert read_head(stream).persistent is kept


def test_lines_and_octets_without_end_are_given_up() -> None:
    with stream_of(b"x" * 100_000, at_once=10_000) as stream, pytest.raises(NotHttpError):
        stream.read_line()
    with stream_of(b"x" * 1000, allowance=999, at_once=100) as stream, pytest.raises(AllowanceExceededError):
        b"".join(iter(lambda: stream.read(10), b""))
