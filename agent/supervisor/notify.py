"""What systemd is told: ready, a status line in plain words, and a sign of life while the loop turns."""

from __future__ import annotations

import os
import time
from typing import Final

_HALF: Final = 2
_MICROSECONDS: Final = 1_000_000


class Notifier:
    """Tells systemd, if systemd started us (``NOTIFY_SOCKET``); else nothing happens."""

    def __init__(self) -> None:
        """Look into the environment for what systemd wants to hear."""
        self._wanted = bool(os.environ.get("NOTIFY_SOCKET"))
        self._status = ""
        self.watchdog_interval = _watchdog_interval()
        """Seconds between two signs of life; None when none are wanted."""

    def ready(self, status: str) -> None:
        """The configuration is read, and work begins."""
        self._status = status
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Say in one line what is going on; nothing is sent when nothing changed."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is read again; :meth:`ready` says when that is over."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS=reading the configuration")

    def stopping(self, status: str) -> None:
        """We are about to end."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def alive(self) -> None:
        """Give a sign of life."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self._wanted:
            from systemd.daemon import notify  # noqa: PLC0415 - memory, where nobody listens

            notify(message)


def _watchdog_interval() -> float | None:
    """Return half of the time after which systemd takes us for dead (sd_watchdog_enabled(3))."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        microseconds = int(os.environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / _MICROSECONDS / _HALF if microseconds > 0 else None
