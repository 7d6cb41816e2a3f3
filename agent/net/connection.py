"""One TCP connection that writes a request at once and reads an answer within bounds.

urllib3 does the HTTP. Three things are different here, all in :class:`CmpConnection`:

* **One write.** urllib3 sends head and body separately. Nagle's algorithm and delayed acknowledgements turn that into
  42 ms a message on a kept-alive connection, so both are collected and handed over in one call.
* **One deadline.** A socket timeout starts again with every octet: a server that drips one a second holds a client
  for ever. Every read here gets only what is left until the deadline.
* **One allowance.** Octets are counted where they arrive, below HTTP, so that endless headers, interim answers, chunk
  extensions and trailers are as bounded as the body.

What is resent and what is reported is decided above, in ``agent.net.http``.
"""

from __future__ import annotations

import http.client
import io
import logging
import socket
import ssl
import warnings
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import SystemTimeWarning

from agent import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import WriteableBuffer

    from agent.net.route import Address, Route

USER_AGENT: Final = f"enrolld/{__version__}"

_TUNNEL_STANDS: Final = range(200, 300)
_HEAD_ALLOWANCE: Final = 65_536
"""Octets that status line, headers and framing may take beside the body."""

# urllib3 logs what it finds odd in an answer, with the peer's own octets. We judge and report answers ourselves.
logging.getLogger("urllib3").propagate = False


class AllowanceExceededError(Exception):
    """The peer sent more octets than an answer may have."""


class ProxyRefusedError(Exception):
    """The proxy answered CONNECT, but not with a tunnel; the text is its status line."""


class CmpConnection(HTTPConnection):
    """An HTTP connection to one address, with the three differences named above."""

    def aim(self, address: Address, route: Route) -> None:
        """Set the socket address to connect to, one of the route's first hop; called once, before anything else."""
        self.address = address
        self._source = route.source
        self._connect_target = route.server.connect_target
        self._outgoing: bytearray | None = None
        self._answer: http.client.HTTPResponse | None = None
        self.reached = False
        """Whether TCP connected: what fails later is TLS or the proxy's answer."""
        self.written = 0
        """Octets of the last request that were handed to the system; 0 means that the server has none of it."""
        self.deadline = 0.0
        """``time.monotonic`` at which connecting or the answer must be complete."""
        self.allowance = _HEAD_ALLOWANCE
        """Octets that may still be received."""

    def open(self, timeout: float) -> None:
        """Connect within ``timeout`` seconds in all: TCP, CONNECT where a proxy needs it, and TLS.

        Raises OSError (``ssl.SSLError``, ``TimeoutError`` and others), ``http.client.HTTPException``,
        ProxyRefusedError or AllowanceExceededError.
        """
        self.deadline = monotonic() + timeout
        with warnings.catch_warnings():
            # A machine without a clock battery starts in 1970. `agent.policy.clock` deals with that, not a warning.
            warnings.simplefilter("ignore", SystemTimeWarning)
            self.connect()

    def post(self, target: str, headers: Mapping[str, str], body: bytes, *, timeout: float, maximum: int) -> None:
        """Send one POST in one write and start the clock of its answer; see :meth:`_ask`."""
        self._ask("POST", target, headers, body, timeout=timeout, maximum=maximum)

    def get(self, target: str, headers: Mapping[str, str], *, timeout: float, maximum: int) -> None:
        """Send one GET in one write and start the clock of its answer; see :meth:`_ask`."""
        self._ask("GET", target, headers, None, timeout=timeout, maximum=maximum)

    def _ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        timeout: float,
        maximum: int,
    ) -> None:
        """Send one request in one write and start the clock of its answer.

        ``timeout`` is in seconds for writing and the whole answer, ``maximum`` in octets for its body. Raises OSError;
        then ``written`` tells whether the server may have got anything.
        """
        self.deadline = monotonic() + timeout
        self.allowance = 2 * maximum + _HEAD_ALLOWANCE  # small chunks need framing: room for as much again as the body
        self.written = 0
        self._outgoing = octets = bytearray()
        try:
            self.request(method, target, body, headers, preload_content=False, decode_content=False)
        finally:
            self._outgoing = None
        with memoryview(octets) as view:
            while self.written < len(view):
                self.sock.settimeout(self.remaining())
                self.written += self._hand_over(view[self.written :])

    def _hand_over(self, octets: memoryview) -> int:
        """Give the system what it takes at once; return how many octets that were."""
        return self.sock.send(octets)

    def remaining(self) -> float:
        """Return the seconds left until the deadline; raise TimeoutError when there are none."""
        seconds = self.deadline - monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds

    def drop(self) -> None:
        """Close the connection and an answer that is still being read; ``close`` alone leaves that to its reader."""
        if self._answer:
            self._answer.close()
        self.close()

    def send(self, data: Any) -> None:
        """Collect what belongs to a request (http.client calls this for each part); CONNECT goes out directly."""
        if self._outgoing is None:
            super().send(data)
        else:
            self._outgoing += data

    def response_class(  # type: ignore[override]  # a class in http.client; here what makes one
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> http.client.HTTPResponse:
        """Make the parser of an answer (http.client's own hook), reading through our bounds."""
        response = http.client.HTTPResponse(sock, debuglevel, method, url)
        unbuffered = response.fp.detach()  # the BufferedReader of sock.makefile
        response.fp = io.BufferedReader(_BoundedReader(self, sock, unbuffered))
        self._answer = response
        return response

    def _new_conn(self) -> socket.socket:
        """Connect to the one address we were aimed at (urllib3's hook for whoever makes sockets differently)."""
        sock = socket.socket(self.address.family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._source:
                sock.bind(self._source.sockaddr)
            sock.settimeout(self.remaining())
            sock.connect(self.address.sockaddr)
            sock.settimeout(self.remaining())  # what is left for TLS
        except BaseException:
            sock.close()
            raise
        self.reached = True
        return sock

    def _tunnel(self) -> None:
        """Ask the proxy for a tunnel (RFC 9110 section 9.3.6).

        http.client's own lets IPv6 lose its brackets in some versions, and tells a "no" apart by its text only.
        """
        self.send(
            f"CONNECT {self._connect_target} HTTP/1.1\r\n"
            f"Host: {self._connect_target}\r\n"
            f"User-Agent: {USER_AGENT}\r\n\r\n".encode("ascii")
        )
        response = self.response_class(self.sock, method="CONNECT")
        try:
            response.begin()
            if response.status not in _TUNNEL_STANDS:
                raise ProxyRefusedError(f"{response.status} {response.reason}".rstrip())
        finally:
            response.close()
        self.sock.settimeout(self.remaining())


class CmpTlsConnection(CmpConnection, HTTPSConnection):
    """The same over TLS; ``ssl_context`` says whom to trust."""

    def _hand_over(self, octets: memoryview) -> int:
        """As above. In TLS 1.3 a server refuses our certificate after its handshake is over for us."""
        try:
            return super()._hand_over(octets)
        except ssl.SSLEOFError:
            self.sock.recv(1)  # raises the alert that says why, where there is one
            raise


class _BoundedReader(io.RawIOBase):
    """A socket's reading side that obeys the connection's deadline and allowance."""

    def __init__(self, connection: CmpConnection, sock: socket.socket, unbuffered: io.RawIOBase) -> None:
        self._connection = connection
        self._sock = sock
        self._unbuffered = unbuffered

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._sock.settimeout(self._connection.remaining())
        count: int | None = self._unbuffered.readinto(buffer)
        self._connection.allowance -= count or 0
        if self._connection.allowance < 0:
            raise AllowanceExceededError
        return count

    def close(self) -> None:
        self._unbuffered.close()
        super().close()


def connection_to(address: Address, route: Route) -> CmpConnection:
    """Return a connection to one address of a route's first hop, not yet open."""
    hop = route.first_hop
    connection: CmpConnection
    if route.tls:
        connection = CmpTlsConnection(
            hop.bare_host, hop.port, ssl_context=route.tls, server_hostname=route.server.bare_host
        )
        if route.proxy:
            connection.set_tunnel(route.server.bare_host, route.server.port)  # only says that there is one
    else:
        connection = CmpConnection(hop.bare_host, hop.port)
    connection.aim(address, route)
    return connection
