"""Varlink (https://varlink.org) over a unix socket, on the loop: JSON objects, each ended by a NUL octet.

Nothing here waits for a client. Calls of one connection are taken one after another, one in a turn of the loop, and
not before the answer to the one before was read. Who does not read what goes on is dropped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent.frozen import frozen

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from agent.supervisor.listening import Server

LONGEST_CALL: Final = 65_536
"""Octets of one call."""
MOST_UNREAD: Final = 262_144
"""Octets that a client may leave unread while it is told what happens; one answer may be larger than that by itself."""
FAREWELL: Final = 60.0
"""Seconds in which a client that is dismissed may read why."""
_READ_SIZE: Final = 65_536


@frozen
class Peer:
    """Who is at the other end, by the kernel's word (``SO_PEERCRED``)."""

    user: int
    groups: frozenset[int]


@frozen
class Errors:
    """Full names of the errors that the server itself gives, with the parameters in brackets."""

    not_understood: str
    """What came is no call (``reason``: string)."""
    too_many: str
    """There is no place (``most``: int)."""
    too_slow: str
    """It did not read what it wanted to be told."""


@dataclass(eq=False, slots=True)
class Call:
    """A call of a client, to be answered now or later. What comes after its last answer is not sent."""

    client: Client
    method: str
    parameters: dict[str, Any]
    more: bool = False
    """Whether there may be several answers."""
    oneway: bool = False
    """Whether there may be none: nothing is sent then."""
    answered: bool = False

    @property
    def peer(self) -> Peer:
        """Who calls."""
        return self.client.peer

    @property
    def open(self) -> bool:
        """Whether somebody waits for an answer."""
        return self.client.open and not self.answered and not self.oneway

    def answer(self, parameters: dict[str, Any], *, continues: bool = False) -> None:
        """Answer it; ``continues`` while more follows."""
        if self.open:
            self.answered = not continues
            self.client.send({"parameters": parameters} | ({"continues": True} if continues else {}), self)

    def when_read(self, do: Callable[[], None]) -> None:
        """Call ``do`` in a later turn, once everything so far is on its way to a client that is still there."""
        self.client.when_read(do)

    def refuse(self, error: str, **parameters: Any) -> None:
        """Answer it with an error, by its full name."""
        if self.open:
            self.answered = True
            self.client.send({"error": error, "parameters": parameters}, self)


class Client:
    """One connection."""

    def __init__(self, server: Server, connection: socket.socket, peer: Peer, *, first: bool) -> None:
        """Take a connection that was accepted; ``first``: it is of those for whom there is always a place."""
        self._server = server
        self._connection = connection
        self._incoming = b""
        self._outgoing = b""
        self._call: Call | None = None
        self._when_read: Callable[[], None] | None = None
        self._leaving = False
        self._taking = False
        self.open = True
        self.peer = peer
        self.first = first
        self.since = server.loop.now()
        """Since when nothing came from it."""
        self.begun = self.since
        """When it began what it is at: it was let in, or made its last call."""
        self._watch()

    @property
    def idle(self) -> bool:
        """Whether nothing is done or told for it."""
        return self._leaving or (self._call is None and not self._outgoing)

    def send(self, document: dict[str, Any], call: Call) -> None:
        """Send an answer to ``call``; told too much that it does not read, it is told that, and dismissed."""
        if len(self._outgoing) > MOST_UNREAD:
            self.dismiss(self._server.errors.too_slow)
            return
        self._outgoing += json.dumps(document).encode("ascii") + b"\0"
        if call.answered:
            self._call = None
        self._flush()

    def when_read(self, do: Callable[[], None]) -> None:
        """Call ``do`` in a later turn, once nothing waits to be sent."""
        self._when_read = do
        self._go_on()

    def _go_on(self) -> None:
        if not self._outgoing and self._when_read is not None:
            do, self._when_read = self._when_read, None
            self._server.loop.after(0, do)

    def dismiss(self, error: str, **parameters: Any) -> None:
        """Say why it has to leave; that it may read for a while."""
        if self._leaving or not self.open:
            return
        if self._call is not None:
            self._call.answered = True
        self._leaving, self._incoming = True, b""
        self._outgoing += json.dumps({"error": error, "parameters": parameters}).encode("ascii") + b"\0"
        self._flush()
        if self.open:
            self._server.loop.after(FAREWELL, self.close)

    def close(self) -> None:
        """End the connection."""
        if self.open:
            self.open = False
            self._server.loop.forget(self._connection)
            self._connection.close()
            self._server.clients.discard(self)

    # --- what goes out ------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        try:
            while self._outgoing:
                self._outgoing = self._outgoing[self._connection.send(self._outgoing) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._leaving and not self._outgoing:
            self.close()
        elif self.open:
            self._go_on()
            self._watch()
            self._take_soon()

    def _watch(self) -> None:
        """Wait for what can be done: no more is read while there is a call to begin with."""
        reads, writes = self._wants_more, bool(self._outgoing)
        if reads or writes:
            self._server.loop.watch(self._connection, self._ready, read=reads, write=writes)
        else:
            self._server.loop.forget(self._connection)

    @property
    def _wants_more(self) -> bool:
        return len(self._incoming) <= LONGEST_CALL and b"\0" not in self._incoming

    def _ready(self) -> None:
        self._flush()
        if not (self.open and self._wants_more):
            return
        try:
            octets = self._connection.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            self.close()
        elif not self._leaving:
            self.since = self._server.loop.now()
            self._incoming += octets
            self._watch()
            self._take_soon()

    # --- what comes in ------------------------------------------------------------------------------------------------

    def _take_soon(self) -> None:
        """Take the next call once this turn is over: other clients, signals and the watchdog come in between."""
        if not self._taking and self.idle and self._incoming:
            self._taking = True
            self._server.loop.after(0, self._take)

    def _take(self) -> None:
        self._taking = False
        if self._leaving or not (self.open and self.idle):
            return
        octets, whole, rest = self._incoming.partition(b"\0")
        if len(octets) > LONGEST_CALL:
            self._dismiss_nonsense(f"it is longer than {LONGEST_CALL} octets")
        elif whole:
            self._incoming = rest
            self._begin(octets)
            if self.open:
                self._watch()
                self._take_soon()

    def _begin(self, octets: bytes) -> None:
        try:
            call = json.loads(octets)
            method, parameters = call["method"], call.get("parameters") or {}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self._dismiss_nonsense("it is no JSON object with a method")
            return
        if not isinstance(method, str) or not isinstance(parameters, dict):
            self._dismiss_nonsense("its method is no string, or its parameters are no object")
            return
        made = Call(self, method, parameters, more=call.get("more") is True, oneway=call.get("oneway") is True)
        self._call = None if made.oneway else made
        self.begun = self._server.loop.now()
        self._server.called(made)

    def _dismiss_nonsense(self, reason: str) -> None:
        self.dismiss(self._server.errors.not_understood, reason=reason)
