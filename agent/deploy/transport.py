"""The octets of vici, bounded: a message has a largest size, and a time in which all of it is here."""

from __future__ import annotations

import struct
import time
from typing import Any, Final

from vici.protocol import RECV_TIMEOUT_DEFAULT, Transport

_LARGEST: Final = 512 * 1024
"""Octets of a message; charon itself neither sends nor takes a larger one."""


class Bounded(Transport):  # type: ignore[misc] # the package has no types
    """As in the package, which waits for ever for the rest of a message, and for as much as its length says."""

    def receive(self, timeout: Any = RECV_TIMEOUT_DEFAULT) -> bytes:
        """Return the next message. For its first octet it waits ``timeout`` seconds, the socket's own by default.

        Raises:
            TimeoutError: not even that came; nothing was taken.
            ConnectionAbortedError: the rest did not come, so that nothing after it can be read either.
            ValueError: it is too large to be one.
        """
        patience = self.socket.gettimeout()
        try:
            if timeout is not RECV_TIMEOUT_DEFAULT:
                self.socket.settimeout(timeout)
            first = self._some(1)
            end = time.monotonic() + patience
            (length,) = struct.unpack("!I", first + self._rest(self.HEADER_LENGTH - 1, end))
            if length > _LARGEST:
                raise ValueError(f"a message of {length} octets")
            return self._rest(length, end)
        finally:
            self.socket.settimeout(patience)

    def _rest(self, count: int, end: float) -> bytes:
        octets = bytearray()
        while len(octets) < count:
            left = end - time.monotonic()
            if left <= 0:
                raise ConnectionAbortedError("it stopped in the middle of a message")
            self.socket.settimeout(left)
            try:
                octets += self._some(count - len(octets))
            except TimeoutError:
                continue
        return bytes(octets)

    def _some(self, most: int) -> bytes:
        octets: bytes = self.socket.recv(most)
        if not octets:
            raise ConnectionResetError("it closed the connection")
        return octets
