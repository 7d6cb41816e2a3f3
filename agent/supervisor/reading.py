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
"""Seconds until it is given up when it was to end: what hangs in the kernel does not hear even SIGKILL."""
_hanging: list[Process] = []
"""Those that were given up and have not ended yet."""


class Reading:
    """A configuration file that is being read by another process."""

    def __init__(self, path: Path, command: tuple[str, ...] = COMMAND) -> None:
        """Start to read the file at ``path``. Raise :class:`OSError` when no process can be started."""
        self.path = path
        self.killed = False
        """Whether it was made to end, or told to in vain: it took too long, or nobody needs what it finds."""
        self._given_up = False
        self._said: list[bytes] = []
        self._size = 0
        self._ends_at = time.monotonic() + PATIENCE
        self.process = Process((*command, str(path)))

    @property
    def over(self) -> bool:
        """Whether it can be finished: the process has ended, was made to, or was given up."""
        return self.process.poll() is not None or self._given_up

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
        if now >= self._ends_at and not self.over:
            self._given_up = self.killed
            self.end(now)
        return max(self._ends_at - now, 0.0)

    def end(self, now: float) -> None:
        """Kill it; what it finds is not needed, or late. ``now`` is on the monotonic clock."""
        self.killed = True
        self.process.signal(signal.SIGKILL)
        self._ends_at = now + _AGAIN

    def close(self) -> bytes:
        """Let go of the process, which is over, and return everything it said."""
        self.hear()
        if self.process.poll() is None:
            _hanging.append(self.process)
        else:
            self.process.close()
        return b"".join(self._said)


def hanging() -> int:
    """Return how many were given up and have not ended yet."""
    for process in tuple(_hanging):
        if process.poll() is not None:
            process.close()
            _hanging.remove(process)
    return len(_hanging)
