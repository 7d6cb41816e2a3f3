"""A configuration file that is being read by a process beside the daemon.

This is a module of its own, with few imports, because the daemon begins with it: the other process is at work while the
rest is imported here, and READY comes 0.1 s earlier.
"""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING, Final

from agent.supervisor.process import Process

if TYPE_CHECKING:
    from pathlib import Path

COMMAND: Final = (sys.executable, "-I", "-m", "agent.config")
PATIENCE: Final = 60.0
"""Seconds until a reader of the file counts as hanging: a disk or a network file system that does not answer."""
_LARGEST: Final = 16 * 1_048_576
_AGAIN: Final = 5.0
"""Seconds until it is looked at again when it was to end: what hangs in the kernel does not hear even SIGKILL."""


class Reading:
    """A configuration file that is being read by another process."""

    def __init__(self, path: Path, command: tuple[str, ...] = COMMAND) -> None:
        """Start to read the file at ``path``. Raise :class:`OSError` when no process can be started."""
        self.path = path
        self._said: list[bytes] = []
        self._size = 0
        self._ends_at = time.monotonic() + PATIENCE
        self.process = Process((*command, str(path)))

    @property
    def over(self) -> bool:
        """Whether it can be finished: the process has ended, or was made to."""
        return self.process.poll() is not None

    def hear(self) -> bool:
        """Take what the process has said; return whether more may come."""
        while octets := self.process.read():
            self._size += len(octets)
            if self._size > _LARGEST:
                self.process.signal(signal.SIGKILL)
            else:
                self._said.append(octets)
        return octets is None

    def hurry(self, now: float) -> float:
        """End it when it takes too long; return the seconds until that is due. ``now`` is on the monotonic clock."""
        if now >= self._ends_at:
            self.process.signal(signal.SIGKILL)
            self._ends_at = now + _AGAIN
        return max(self._ends_at - now, 0.0)

    def close(self) -> bytes:
        """Let go of the process, which is over, and return everything it said."""
        self.hear()
        self.process.close()
        return b"".join(self._said)
