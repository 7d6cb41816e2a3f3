"""Varlink (https://varlink.org) over a unix socket, on the loop: JSON objects, each ended by a NUL octet.

Nothing here waits for a client: what it does not read is kept up to a bound, and then it is dropped. Who it is comes
from the kernel (``SO_PEERCRED``).
"""

from __future__ import annotations

import json
import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from agent.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.supervisor.loop import Loop

LONGEST_CALL: Final = 65_536
"""Octets of one call."""
MOST_UNREAD: Final = 262_144
"""Octets that a client may leave unread; every identity of a large site in one answer may exceed it once."""
MOST_CLIENTS: Final = 16
_READ_SIZE: Final = 65_536
_CREDENTIALS: Final = struct.Struct("iII")
_SO_PEERGROUPS: Final = 59
_MOST_GROUPS: Final = 4096


@frozen
class Peer:
    """Who is at the other end."""

    user: int
    groups: frozenset[int]


class Client:
    """One connection: its calls come in, answers go out in their order."""

    def __init__(self, server: Server, connection: socket.socket) -> None:
        """Take a connection that was accepted."""
        self._server = server
        self._connection = connection
        self._incoming = b""
        self._outgoing = b""
        self.open = True
        self.peer = _peer(connection)
        server.loop.watch(connection, self._ready)

    def answer(self, parameters: dict[str, Any], *, continues: bool = False) -> None:
        """Answer a call; ``continues`` while more follows."""
        self._send({"parameters": parameters} | ({"continues": True} if continues else {}))

    def refuse(self, error: str, **parameters: Any) -> None:
        """Answer a call with an error, by its full name."""
        self._send({"error": error, "parameters": parameters})

    def close(self) -> None:
        """End the connection."""
        if self.open:
            self.open = False
            self._server.loop.forget(self._connection)
            self._connection.close()
            self._server.clients.discard(self)

    def _send(self, document: dict[str, Any]) -> None:
        if not self.open:
            return
        # A client that reads nothing is dropped; one answer may be larger than the bound by itself.
        if len(self._outgoing) > MOST_UNREAD:
            self.close()
            return
        self._outgoing += json.dumps(document).encode("ascii") + b"\0"
        self._flush()

    def _flush(self) -> None:
        try:
            while self._outgoing:
                self._outgoing = self._outgoing[self._connection.send(self._outgoing) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._server.loop.watch(self._connection, self._ready, write=bool(self._outgoing))

    def _ready(self) -> None:
        self._flush()
        if not self.open:
            return
        try:
            octets = self._connection.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            self.close()
            return
        *calls, self._incoming = (self._incoming + octets).split(b"\0")
        if any(len(one) > LONGEST_CALL for one in (*calls, self._incoming)):
            self.close()
            return
        for call in calls:
            if self.open:
                self._take(call)

    def _take(self, octets: bytes) -> None:
        try:
            call = json.loads(octets)
            method, parameters = call["method"], call.get("parameters") or {}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self.close()  # no Varlink: there is nothing to answer to
            return
        if not isinstance(method, str) or not isinstance(parameters, dict):
            self.close()
            return
        self._server.called(self, method, parameters, more=call.get("more") is True)


class Server:
    """Listens on a path and hands every call to ``called``."""

    def __init__(self, loop: Loop, path: Path, called: Callable[..., None]) -> None:
        """Listen. ``called(client, method, parameters, more=...)``. Raise :class:`OSError` when it cannot be done.

        A socket that nobody listens on is replaced; one that somebody does is left alone (``EADDRINUSE``).
        """
        self.loop = loop
        self.called = called
        self.clients: set[Client] = set()
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if not _alive(path):
                path.unlink(missing_ok=True)
            self._listener.bind(os.fspath(path))
            path.chmod(0o660)
            self._listener.listen(4 * MOST_CLIENTS)
            self._listener.settimeout(0)
        except OSError:
            self._listener.close()
            raise
        loop.watch(self._listener, self._accept)

    def close(self) -> None:
        """Hang up, and listen no longer."""
        for client in tuple(self.clients):
            client.close()
        self.loop.forget(self._listener)
        self._listener.close()
        with suppress(OSError):
            self._path.unlink()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # it has gone away again, or there is no descriptor left for it
        connection.settimeout(0)
        if len(self.clients) >= MOST_CLIENTS:
            connection.close()
            return
        try:
            self.clients.add(Client(self, connection))
        except OSError:
            connection.close()


def _alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
        return True


def _peer(connection: socket.socket) -> Peer:
    _, user, group = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    groups = {group}
    with suppress(OSError):  # a kernel before 4.13, or more groups than that
        octets = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MOST_GROUPS)
        groups |= set(memoryview(octets).cast("I"))
    return Peer(user, frozenset(groups))
