"""What arrives on a connection, octet by octet, within bounds.

* **One deadline.** A socket timeout starts again with every octet: a server that drips one a second holds a client
  for ever. Every read here gets only what is left until the deadline.
* **One allowance.** Octets are counted where they arrive, below HTTP, so that endless headers, interim answers, chunk
  extensions and trailers are as bounded as the body.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket

_RECEIVE: Final = 16_384
_LONGEST_LINE: Final = 65_536


class HttpError(Exception):
    """What came is not an answer as HTTP wants it."""


class AllowanceExceededError(HttpError):
    """The peer sent more octets than an answer may have."""


class NotHttpError(HttpError):
    """The peer does not speak HTTP; the text is what it said."""


class BoundedStream:
    """The reading side of a socket, with a deadline and an allowance that whoever asks sets anew."""

    def __init__(self, deadline: float, allowance: int) -> None:
        """Begin with nothing received; ``deadline`` is on ``time.monotonic``, ``allowance`` in octets."""
        self.sock: socket.socket
        """Where octets come from, once there is a connection; TLS puts its own in place of it."""
        self.deadline = deadline
        self.allowance = allowance
        self.unread = bytearray()
        """What has arrived and nobody has asked for yet."""

    def remaining(self) -> float:
        """Return the seconds left until the deadline; raise TimeoutError when there are none."""
        seconds = self.deadline - monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds

    def read(self, limit: int) -> bytes:
        """Return at most ``limit`` octets as soon as there are any; none at the end.

        Raises:
            OSError: when the connection broke; TimeoutError at the deadline.
            AllowanceExceededError: when the peer has sent too much.
        """
        if not self.unread:
            self._receive()
        octets = bytes(self.unread[:limit])
        del self.unread[:limit]
        return octets

    def read_line(self) -> bytes:
        """Return the next line with its end; what there is of it, without an end, when the peer ends before.

        Raises:
            OSError, AllowanceExceededError: as :meth:`read`.
            NotHttpError: for a line beyond every measure.
        """
        looked_at = 0
        while (end := self.unread.find(b"\n", looked_at)) < 0:
            looked_at = len(self.unread)
            if looked_at > _LONGEST_LINE:
                raise NotHttpError("a line without end")
            if not self._receive():
                break
        end = end + 1 or len(self.unread)
        line = bytes(self.unread[:end])
        del self.unread[:end]
        return line

    def _receive(self) -> bool:
        """Wait for octets; say whether any came."""
        self.sock.settimeout(self.remaining())
        octets = self.sock.recv(_RECEIVE)
        self.allowance -= len(octets)
        if self.allowance < 0:
            raise AllowanceExceededError
        self.unread += octets
        return bool(octets)
