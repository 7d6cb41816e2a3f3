"""The control socket: it listens, says who is at the other end, and keeps the number of clients within bounds.

Nobody holds a place for ever: whoever may only read gives his up when all are taken and another one comes.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from agent.supervisor.varlink import Client, Peer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.supervisor.loop import Loop
    from agent.supervisor.varlink import Call, Errors

MOST_CLIENTS: Final = 16
MOST_OTHERS: Final = 12
"""How many of them may be such that only read: for who may act there is always a place."""
_SEATED: Final = 10.0
"""Seconds for which who is told something keeps his place: so that those who come back at once do not oust each other
without end."""
_PAUSE: Final = 1.0
"""Seconds without new clients when there is no descriptor left for one."""
_CREDENTIALS: Final = struct.Struct("iII")
_SO_PEERGROUPS: Final = 59
_MOST_GROUPS: Final = 4096


class Server:
    """Listens on a path and hands every call to ``called``."""

    def __init__(
        self, loop: Loop, path: Path, called: Callable[[Call], None], *, errors: Errors, first: Callable[[Peer], bool]
    ) -> None:
        """Listen. ``first`` tells for whom there is always a place. Raise :class:`OSError` when it cannot be done."""
        self.loop = loop
        self.called = called
        self.errors = errors
        self.clients: set[Client] = set()
        self._first = first
        self._path = path
        self._listener = _listener(path)
        self._listen()

    def move(self, path: Path) -> None:
        """Listen on ``path`` instead; whoever is connected stays. Raise :class:`OSError`: nothing has changed then."""
        listener = _listener(path)
        self._stop_listening()
        self._path, self._listener = path, listener
        self._listen()

    def close(self) -> None:
        """Hang up, and listen no longer."""
        for client in tuple(self.clients):
            client.close()
        self._stop_listening()

    def _stop_listening(self) -> None:
        self.loop.forget(self._listener)
        self._listener.close()
        with suppress(OSError):
            self._path.unlink()

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:
            self.loop.watch(self._listener, self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # it has gone away again
        except OSError:
            # No descriptor is left for it, and it would wake us again at once.
            self.loop.forget(self._listener)
            self.loop.after(_PAUSE, self._listen)
            return
        connection.settimeout(0)
        try:
            peer = _peer(connection)
            first = self._first(peer)
            has_place = self._make_room(peer, first=first)
            client = Client(self, connection, peer, first=first)
        except OSError:
            connection.close()
            return
        if has_place:
            self.clients.add(client)
        else:
            client.dismiss(self.errors.too_many, most=MOST_CLIENTS)

    def _make_room(self, peer: Peer, *, first: bool) -> bool:
        """Tell whether there is a place for ``peer``, or make one."""
        rivals = self.clients if first else {one for one in self.clients if not one.first}
        if len(self.clients) < MOST_CLIENTS and (first or len(rivals) < MOST_OTHERS):
            return True
        yielding = self._yielding(rivals, peer)
        if yielding is None:
            return False
        yielding.dismiss(self.errors.too_many, most=MOST_CLIENTS)
        yielding.close()
        return True

    def _yielding(self, rivals: set[Client], peer: Peer) -> Client | None:
        """Return who gives up a place to ``peer``: whoever sits there longest without a call.

        Where all have one it is a reader who is told things, or does not read them: of the user with the most places
        who is at it longest. He was there for a while, or his user has more places than that of ``peer`` will have.
        """
        idle = [one for one in rivals if one.idle]
        if idle:
            return min(idle, key=lambda one: one.since)
        readers = [one for one in rivals if not one.first]
        places = Counter(one.peer.user for one in readers)
        longest = min(readers, key=lambda one: (-places[one.peer.user], one.begun), default=None)
        if longest is None:
            return None
        unfair = places[longest.peer.user] > places[peer.user] + 1
        return longest if unfair or self.loop.now() - longest.begun >= _SEATED else None


def _listener(path: Path) -> socket.socket:
    """Return a socket that listens on ``path``. Raise :class:`OSError`.

    A socket that nobody listens on is replaced; one that somebody does is left alone (``EADDRINUSE``).
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if not _alive(path):
            path.unlink(missing_ok=True)
        listener.bind(os.fspath(path))
        path.chmod(0o660)
        listener.listen(4 * MOST_CLIENTS)
        listener.settimeout(0)
    except OSError:
        listener.close()
        raise
    return listener


def _alive(path: Path) -> bool:
    """Tell whether somebody listens, too busy as he may be (``EAGAIN``: his queue is full)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:
            return True
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
