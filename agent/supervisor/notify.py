"""What systemd is told: ready, a status line in plain words, and a sign of life while the loop turns.

The datagrams of sd_notify(3) are sent without libsystemd, which waits for as long as systemd reads none: certificates
are kept alive whatever became of PID 1.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import Final

_HALF: Final = 2
_MICROSECONDS: Final = 1_000_000
_PATIENCE: Final = 5.0
"""Seconds that systemd may take to read what is said once; of status lines and signs of life another one follows."""


class Notifier:
    """Tells systemd, if systemd started us (``NOTIFY_SOCKET``); else nothing happens."""

    def __init__(self) -> None:
        """Look into the environment for what systemd wants to hear."""
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._status = ""
        self.watchdog_interval = _watchdog_interval()
        """Seconds between two signs of life; None when none are wanted."""

    def ready(self, status: str) -> None:
        """The configuration is read, and work begins."""
        self._status = status
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Say in one line what is going on; nothing is sent when nothing changed."""
        if status != self._status and self._send(f"STATUS={status}", patience=0):
            self._status = status

    def reloading(self) -> None:
        """The configuration is read again; :meth:`ready` says when that is over."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS=reading the configuration")

    def stopping(self, status: str) -> None:
        """We are about to end."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def alive(self) -> None:
        """Give a sign of life."""
        self._send("WATCHDOG=1", patience=0)

    def _send(self, message: str, *, patience: float = _PATIENCE) -> bool:
        """Say it, if somebody listens and reads within ``patience``; return whether nothing is left to say."""
        if not self._address:
            return True
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
            ours.settimeout(patience)
            ours.sendto(message.encode(errors="replace"), self._address)
            return True
        return False


def _watchdog_interval() -> float | None:
    """Return half of the time after which systemd takes us for dead (sd_watchdog_enabled(3))."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        microseconds = int(os.environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / _MICROSECONDS / _HALF if microseconds > 0 else None
