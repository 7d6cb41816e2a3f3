"""Room on the disk: whoever failed while there was little of it is tried again as soon as there is more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from agent.policy.clock import SLICE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.supervisor.loop import Loop

ENOUGH: Final = 2_097_152
"""Octets that have to be free: a worker holds up to 1.7 MiB for the largest answer (``agent.worker.room``)."""
_ENOUGH_FILES: Final = 32


class Room:
    """Looks at the free space once a slice, which costs a system call, as long as somebody waits for it."""

    def __init__(self, loop: Loop, wake: Callable[[str], None]) -> None:
        """``wake`` is called with the name of each identity that waited, once there is room."""
        self._loop = loop
        self._wake = wake
        self._waiting: dict[str, Path] = {}

    def note(self, name: str, directory: Path, *, failed: bool) -> None:
        """Hear how the last job of ``name`` went; what it keeps is in ``directory``."""
        if not failed or not lacking(directory):
            self._waiting.pop(name, None)
            return
        if not self._waiting:
            self._loop.after(SLICE, self._look)
        self._waiting[name] = directory

    def _look(self) -> None:
        short = {one: lacking(one) for one in set(self._waiting.values())}
        for name in [name for name, directory in self._waiting.items() if not short[directory]]:
            del self._waiting[name]
            self._wake(name)
        if self._waiting:
            self._loop.after(SLICE, self._look)


def lacking(directory: Path) -> bool:
    """Tell whether the disk of ``directory`` lacks room or inodes; one that cannot be asked counts as roomy."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    # File systems without a fixed number of inodes have 0 of them.
    return found.f_bavail * found.f_frsize < ENOUGH or (found.f_files > 0 and found.f_favail < _ENOUGH_FILES)
