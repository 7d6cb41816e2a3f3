"""A worker that is started before there is a job for it, and loads what does one meanwhile.

What it will have open has to be there when it is started. Its standard input is a pipe for the job, and it inherits
some empty ones for what is secret. Where nothing is written it leaves (``agent.worker.early``), as it does when we are
killed.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Final

from agent.supervisor.process import Process

COMMAND: Final = (sys.executable, "-I", "-m", "agent.worker.early")
SPARE: Final = 4
"""Pipes for what is secret. A one-time secret and the PIN of a token are what jobs have; one with more waits."""
_PATIENCE: Final = 5.0
"""Seconds after which one is given up that SIGKILL does not reach: it hangs in the kernel."""


class Early(AbstractContextManager["Early"]):
    """A worker without a job."""

    def __init__(self, command: tuple[str, ...] = COMMAND) -> None:
        """Start it. Raise :class:`OSError` when it cannot be started."""
        with ExitStack() as readers, ExitStack() as writers:
            self._spare = [_pipe(readers, writers) for _ in range(SPARE)]
            inherited = tuple(reader for reader, _ in self._spare)
            stdin, self._job = os.pipe2(os.O_CLOEXEC)
            writers.callback(os.close, self._job)
            self._process: Process | None = Process((*command, *map(str, inherited)), given=stdin, inherited=inherited)
            self._readers, self._writers = readers.pop_all(), writers.pop_all()

    def __exit__(self, *_: object) -> None:
        """End it at once, unless it was given a job: it has begun nothing, and nothing is lost."""
        self._writers.close()
        self._readers.close()
        if self._process is not None:
            self._process.signal(signal.SIGKILL)
            select.select([self._process.exited], [], [], _PATIENCE)
            self._process.close()
            self._process = None

    def has_room(self, number: int) -> bool:
        """Tell whether it waits for a job, and can be given so many secrets with that."""
        return self._process is not None and number <= len(self._spare)

    def holding(self, secret: bytes) -> int:
        """Return the descriptor, here and there, from which ``secret`` is read to its end once the job was given."""
        reader, writer = self._spare.pop()
        os.write(writer, secret)
        return reader

    def give(self, octets: bytes) -> Process | None:
        """Give it the job and let go of it; None when that is too large for a pipe, and it leaves without one.

        It may have died since, in which case its end tells how.
        """
        fits = len(octets) <= fcntl.fcntl(self._job, fcntl.F_GETPIPE_SZ)
        if fits:
            with suppress(BrokenPipeError):
                os.write(self._job, octets)
        self._writers.close()
        if not fits:
            return None
        self._readers.close()
        process, self._process = self._process, None
        return process


def _pipe(readers: ExitStack, writers: ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    readers.callback(os.close, reader)
    writers.callback(os.close, writer)
    return reader, writer
