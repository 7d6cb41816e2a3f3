"""A proxy in front of the CA: one CMP exchange at a time passes through the hands of whoever makes faults."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Final, Self
from urllib.parse import urlsplit

from agent.cmp import messages
from agent.cmp.errors import CmpError
from tests.unit.net.peers import Peer, Request, http_answer

_PATIENCE: Final = 30.0
"""Seconds after which a thread of ours gives up, whatever happens."""
_MOST: Final = 200
"""Connections that one proxy takes: more would be a loop."""


class Exchange:
    """One request as it arrived, on its way to the CA."""

    def __init__(self, peer: Peer, request: Request, upstream: str) -> None:
        """Look at the type of the message."""
        self.peer = peer
        self.body = request.body
        self._target = request.target
        self._upstream = upstream
        try:
            self.message = messages.parse(request.body).type.label
        except CmpError:
            self.message = "unreadable"

    def forward(self, body: bytes | None = None) -> bytes:
        """Hand the message, or another one, to the CA; return its answer as it is on the wire."""
        where = urlsplit(self._upstream)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=_PATIENCE)
        with contextlib.closing(connection):
            octets = self.body if body is None else body
            connection.request("POST", self._target, octets, {"Content-Type": "application/pkixcmp"})
            answer = connection.getresponse()
            return http_answer(answer.read(), f"{answer.status} {answer.reason}", answer.getheader("Content-Type"))


class Proxy:
    """Listens on loopback, on one port as long as it lives; ``handle`` is called for each exchange, in its thread."""

    def __init__(self, upstream: Callable[[], str], handle: Callable[[Exchange], None], *, most: int = _MOST) -> None:
        """Take a port and let clients in, ``most`` connections in all."""
        self._most = most
        self.tls: ssl.SSLContext | None = None
        self._upstream = upstream
        self._handle = handle
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.connections = 0
        self.port = 0
        self.open()

    def open(self) -> None:
        """Let clients in."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self.port = self._listener.getsockname()[1]
            self._start(self._accept, self._listener)

    def shut(self) -> None:
        """Refuse connections from now on, and break the ones there are."""
        with self._lock:
            listener, self._listener = self._listener, None
            if listener is not None:
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept
                listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Break every connection there is."""
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):  # the client was faster
                    sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        """Return the proxy itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End every thread."""
        self._closing.set()
        self.shut()
        for thread in self._threads:
            thread.join(_PATIENCE)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while self.connections < self._most:
            try:
                sock, _ = listener.accept()
            except OSError:
                return  # shut
            self.connections += 1
            sock.settimeout(_PATIENCE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(sock)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        secured = sock
        try:
            # A connection that breaks, on either side, is what all this is about.
            with contextlib.suppress(OSError, http.client.HTTPException):
                secured = self.tls.wrap_socket(sock, server_side=True) if self.tls else sock
                with secured:
                    with self._lock:  # TLS takes the descriptor over
                        self._open.discard(sock)
                        self._open.add(secured)
                    peer = Peer(secured, self.connections, self._closing)
                    while (request := peer.request()) is not None:
                        self._handle(Exchange(peer, request, self._upstream()))
        finally:
            with self._lock:
                self._open -= {sock, secured}
            sock.close()
