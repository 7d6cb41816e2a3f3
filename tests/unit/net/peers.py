"""A server on loopback that speaks in raw octets, so that it can do everything a server should not do."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REQUEST = b"\x30\x03\x02\x01\x02"
RESPONSE = b"\x30\x03\x02\x01\x03"
CMP = "application/pkixcmp"
PATIENT = 60
"""Seconds for what a busy machine takes its time for; nothing waits so long unless something is wrong."""
SOON = 20
"""Seconds within which what has a deadline of a second or less has ended, on a busy machine too."""


@dataclass(frozen=True)
class Request:
    """One request as received; ``pieces`` are the sizes of what each recv returned."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    pieces: tuple[int, ...]


class Peer:
    """One accepted connection, seen from the server."""

    def __init__(self, sock: socket.socket, number: int, closing: threading.Event) -> None:
        self.sock = sock
        self.number = number
        self._closing = closing

    def request(self) -> Request | None:
        """Read one request; None when the client is gone."""
        data, pieces = b"", []
        while b"\r\n\r\n" not in data or len(data) < _whole(data):
            piece = self.sock.recv(65_536)
            if not piece:
                return None
            pieces.append(len(piece))
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        return Request(method, target, headers, body, tuple(pieces))

    def say(self, octets: bytes) -> None:
        self.sock.sendall(octets)

    def drip(self, octets: bytes, every: float) -> None:
        """Send one octet at a time, until all are sent or the test is over."""
        for octet in octets:
            self.say(bytes([octet]))
            if self.pause(every):
                return

    def flood(self, octets: bytes) -> None:
        """Send the same octets again and again, until the client has enough."""
        while not self._closing.is_set():
            self.say(octets)

    def pause(self, seconds: float) -> bool:
        """Do nothing for a while; True when the test ended meanwhile."""
        return self._closing.wait(seconds)

    def hang(self) -> None:
        """Say nothing until the test is over."""
        self._closing.wait(PATIENT)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class RawServer:
    """Accepts on loopback and gives every connection to ``behaviour`` in a thread of its own."""

    def __init__(
        self, behaviour: Callable[[Peer], None], *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.connections = 0
        self.defects: list[Exception] = []
        self._behaviour = behaviour
        self._tls = tls
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}/cmp"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        for sock in self._open:
            with contextlib.suppress(OSError):  # closed already
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENT)
        self._listener.close()
        assert not self.defects, self.defects

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            sock.settimeout(PATIENT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(self._serve, sock, self.connections)

    def _serve(self, sock: socket.socket, number: int) -> None:
        with sock, contextlib.suppress(OSError):  # a client that hangs up is what many tests are about
            served = self._tls.wrap_socket(sock, server_side=True) if self._tls else sock
            self._open.append(served)
            with served:
                try:
                    self._behaviour(Peer(served, number, self._closing))
                except OSError:
                    raise
                except Exception as error:  # noqa: BLE001 - shown by the test, a thread cannot fail it
                    self.defects.append(error)


def http_answer(
    body: bytes = RESPONSE, status: str = "200 OK", content_type: str | None = CMP, **headers: str
) -> bytes:
    """Return a well-formed answer; ``Retry_After="5"`` becomes the header Retry-After."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def answering(*answers: bytes, seen: list[Request] | None = None) -> Callable[[Peer], None]:
    """Return a behaviour: each request gets the next of ``answers`` (the last one for ever), all on one connection."""
    left = list(answers)

    def behave(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            if seen is not None:
                seen.append(request)
            peer.say(left.pop(0) if len(left) > 1 else left[0])

    return behave


def once(octets: bytes) -> Callable[[Peer], None]:
    """Return a behaviour: one request, these octets, the end of the connection."""

    def behave(peer: Peer) -> None:
        peer.request()
        peer.say(octets)

    return behave


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    end = time.monotonic() + PATIENT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def _whole(data: bytes) -> int:
    head, _, _ = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(head) + 4 + int(value)
    return len(head) + 4
