"""One TCP connection that writes a request at once and reads an answer within bounds.

* **One write.** Head and body leave in one call: sent one after the other, Nagle's algorithm and delayed
  acknowledgements turn them into 42 ms a message on a kept-alive connection.
* **One deadline, one allowance** for all that arrives: ``agent.net.stream``.

What is resent and what is reported is decided above, in ``agent.net.http``.
"""

from __future__ import annotations

import select
import socket
from time import monotonic
from typing import TYPE_CHECKING, Final

from agent import __version__
from agent.net.parsing import read_body, read_head
from agent.net.stream import BoundedStream, HttpError, NotHttpError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.net.answers import Head
    from agent.net.route import Address, Route

USER_AGENT: Final = f"enrolld/{__version__}"

_TUNNEL_STANDS: Final = range(200, 300)
_HEAD_ALLOWANCE: Final = 65_536
"""Octets that status line, headers and framing may take beside the body."""


class ProxyRefusedError(HttpError):
    """The proxy answered CONNECT, but not with a tunnel; the text is its status line."""


class Connection:
    """A connection to ``address``, one of the socket addresses of ``route``'s first hop; not open at first."""

    def __init__(self, address: Address, route: Route) -> None:
        """Do nothing yet."""
        self.address = address
        self._route = route
        self._stream = BoundedStream(deadline=0.0, allowance=_HEAD_ALLOWANCE)
        self._sock: socket.socket | None = None
        self._persistent = True
        self.reached = False
        """Whether TCP connected: what fails later is TLS or the proxy's answer."""
        self.written = 0
        """Octets of the last request that were handed to the system; 0 means that the server has none of it."""

    @property
    def sock(self) -> socket.socket:
        """The socket of an open connection; an ``ssl.SSLSocket`` where the route has TLS."""
        if self._sock is None:
            raise ConnectionError("the connection is not open")
        return self._sock

    def open(self, timeout: float) -> None:
        """Connect within ``timeout`` seconds in all: TCP, CONNECT where a proxy needs it, and TLS.

        Raises OSError (``ssl.SSLError``, ``TimeoutError`` and others) or HttpError.
        """
        self._stream.deadline = monotonic() + timeout
        self._adopt(self._connected())
        self.reached = True
        if self._route.tls:
            if self._route.proxy:
                self._tunnel()
            self.sock.settimeout(self._stream.remaining())
            name = self._route.server.bare_host.rstrip(".")
            self._adopt(self._route.tls.wrap_socket(self.sock, server_hostname=name))

    def _adopt(self, sock: socket.socket) -> None:
        self._sock = self._stream.sock = sock

    def _connected(self) -> socket.socket:
        sock = socket.socket(self.address.family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._route.source:
                sock.bind(self._route.source.sockaddr)
            sock.settimeout(self._stream.remaining())
            sock.connect(self.address.sockaddr)
        except BaseException:
            sock.close()
            raise
        return sock

    def _tunnel(self) -> None:
        """Ask the proxy for a tunnel (RFC 9110 section 9.3.6)."""
        target = self._route.server.connect_target
        self._write(_request("CONNECT", target, {"Host": target, "User-Agent": USER_AGENT}))
        head = read_head(self._stream)
        if head.status not in _TUNNEL_STANDS:
            raise ProxyRefusedError(f"{head.status} {head.reason}".rstrip())
        if self._stream.unread:
            raise NotHttpError("something before the tunnel stood")

    def post(self, target: str, headers: Mapping[str, str], body: bytes, *, timeout: float, maximum: int) -> None:
        """Send one POST in one write and start the clock of its answer; see :meth:`get`."""
        request = _request("POST", target, {**headers, "Content-Length": str(len(body))})
        self._ask(request + body, timeout, maximum)

    def get(self, target: str, headers: Mapping[str, str], *, timeout: float, maximum: int) -> None:
        """Send one GET in one write and start the clock of its answer.

        ``timeout`` is in seconds for writing and the whole answer, ``maximum`` in octets for its body. Raises OSError;
        then ``written`` tells whether the server may have got anything.
        """
        self._ask(_request("GET", target, headers), timeout, maximum)

    def _ask(self, request: bytes, timeout: float, maximum: int) -> None:
        self._stream.deadline = monotonic() + timeout
        # Small chunks need framing: room for as much again as the body.
        self._stream.allowance = 2 * maximum + _HEAD_ALLOWANCE
        self._write(request)

    def _write(self, octets: bytes) -> None:
        self.written = 0
        with memoryview(octets) as view:
            while self.written < len(view):
                self.sock.settimeout(self._stream.remaining())
                self.written += self._hand_over(view[self.written :])

    def _hand_over(self, octets: memoryview) -> int:
        """Give the system what it takes at once; return how many octets that were."""
        try:
            return self.sock.send(octets)
        except TimeoutError:
            raise
        except OSError:
            if self._route.tls:  # in TLS 1.3 a server refuses our certificate after its handshake is over for us
                self.sock.recv(1)  # raises the alert that says why, where there is one
            raise

    def head(self) -> Head:
        """Return status and headers of the answer; raises as ``agent.net.parsing.read_head``."""
        head = read_head(self._stream)
        self._persistent = head.persistent
        return head

    def body(self, head: Head, size: int) -> Iterator[bytes]:
        """Yield its body in pieces of at most ``size`` octets; raises as ``agent.net.parsing.read_body``."""
        return read_body(self._stream, head, size)

    def hurry(self, seconds: float) -> None:
        """Give what is still to come ``seconds`` at the most."""
        self._stream.deadline = min(self._stream.deadline, monotonic() + seconds)

    @property
    def is_connected(self) -> bool:
        """Whether the server kept the connection; what came unasked (an end, most often) says it did not."""
        if self._sock is None or not self._persistent or self._stream.unread:
            return False
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)

    def drop(self) -> None:
        """Close the connection, whatever is on its way there."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _request(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("ascii")
