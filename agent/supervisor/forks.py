"""Workers that are forked from one that has loaded everything: for where many jobs wait.

The program at the other end is ``agent.worker.forking``, which says how the two talk.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

from agent.contract import FORKING_READY
from agent.supervisor.process import READ_SIZE, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

COMMAND: Final = (sys.executable, "-I", "-m", "agent.worker.forking")
PATIENCE: Final = 30.0
"""Seconds that it may take to load; what takes longer hangs, or the machine has no time for it."""
_AGAIN: Final = 5.0
"""Seconds until it is given up after SIGKILL: what hangs in the kernel does not hear even that."""
_ANSWERS_WITHIN: Final = 1000
"""Milliseconds for an answer: it takes a few. The loop waits meanwhile."""
_FAR: Final = 86_400.0
"""Seconds: there is nothing to hurry."""
_NUMBER: Final = struct.Struct("i")


class ForkServer:
    """The process that workers are forked from. Its ``process`` is to be watched like any other."""

    def __init__(
        self, loaded: Callable[[], None], *, address_space: int | None, command: tuple[str, ...] = COMMAND
    ) -> None:
        """Start it, and call ``loaded`` when it is ready; it and all its forks may use ``address_space`` octets each.

        Raise :class:`OSError` when it cannot be started.
        """
        self.address_space = address_space
        self._loaded = loaded
        self._loads_until = time.monotonic() + PATIENCE
        self.ready = False
        """Whether it has loaded everything, as far as was heard."""
        self._killed = False
        self._given_up = False
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, ExitStack() as on_failure:
            on_failure.callback(self._requests.close)
            command = (*command, str(theirs.fileno()))
            self.process = Process(command, inherited=(theirs.fileno(),), address_space=address_space)
            on_failure.pop_all()

    @property
    def over(self) -> bool:
        """Whether it has ended, or is not waited for any more."""
        return self.process.poll() is not None or self._given_up

    def hear(self) -> bool:
        """Take what it has said; return whether more may come."""
        octets = self.process.read()
        if octets == FORKING_READY and not self.ready:
            self.ready = True
            self._loaded()
        return octets != b""

    def hurry(self, now: float) -> float:
        """End it when it takes too long to load; return the seconds until that is due. ``now`` is monotonic."""
        if self.ready:
            return _FAR
        if now >= self._loads_until:
            self._given_up = self._killed
            self._killed = True
            self.process.signal(signal.SIGKILL)
            self._loads_until = now + _AGAIN
        return max(self._loads_until - now, 0.0)

    def fork(self, given: bytes, inherited: Iterable[int]) -> Forked:
        """Return a new worker with ``given`` on its standard input, and the descriptors ``inherited``.

        It gets ``given`` once we know of it: one of which we never hear finds nothing there, and leaves.

        Raises:
            OSError: there is none. :class:`ConnectionError`: nor will there be another one from here.
        """
        numbers = (0, 1, *inherited)
        with ExitStack() as theirs, ExitStack() as on_failure:
            stdin, feeder = os.pipe2(os.O_CLOEXEC)
            theirs.callback(os.close, stdin)
            theirs.callback(os.close, feeder)
            if len(given) > fcntl.fcntl(feeder, fcntl.F_GETPIPE_SZ):
                raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
            output, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            theirs.callback(os.close, writer)
            on_failure.callback(os.close, output)
            exited, status = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            theirs.callback(os.close, status)
            on_failure.callback(os.close, exited)
            os.set_blocking(writer, True)
            packet = json.dumps(numbers).encode("ascii")
            socket.send_fds(self._requests, [packet], [status, stdin, writer, *numbers[2:]])
            worker = Forked(self._answer(), output, exited)
            os.write(feeder, given)
            on_failure.pop_all()
            return worker

    def _answer(self) -> int:
        poll = select.poll()
        poll.register(self._requests, select.POLLIN)
        if not poll.poll(_ANSWERS_WITHIN):
            raise ConnectionAbortedError("it does not answer")
        octets, descriptors, _, _ = socket.recv_fds(self._requests, _NUMBER.size, 1)
        if not octets:
            raise ConnectionResetError("it has ended")
        if not descriptors:
            number = _NUMBER.unpack(octets)[0] or errno.EMFILE  # it came, and there was no room for it here
            raise OSError(number, os.strerror(number))
        os.set_inheritable(descriptors[0], False)  # noqa: FBT003 - its only form
        return descriptors[0]

    def dismiss(self, *, at_once: bool = False) -> None:
        """Have it end when the last of its forks has, or ``at_once``: these go on, and how they end is not known."""
        self._requests.close()
        if at_once or not self.ready:
            self.process.signal(signal.SIGKILL)

    def close(self) -> None:
        """Let go of it."""
        self._requests.close()
        self.process.close()


class Forked:
    """A worker that was forked, with all that :class:`Process` has for those who wait for one."""

    def __init__(self, pidfd: int, output: int, exited: int) -> None:
        """Wait on ``output`` for what it says, and on ``exited`` for how it ended."""
        self.status: int | None = None
        self.output = output
        self.exited = exited
        self._pidfd = pidfd

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # whoever forked it knows already, and is about to tell
                signal.pidfd_send_signal(self._pidfd, number)

    def poll(self) -> int | None:
        """Return its exit status, negative for the signal that killed it; None while it runs.

        Where nobody is left who could tell, it is that of a process that was killed: whatever killed the one that
        forked it has most likely met this one as well.
        """
        if self.status is None:
            try:
                octets = os.read(self.exited, _NUMBER.size)
            except BlockingIOError:
                return None
            self.status = _NUMBER.unpack(octets)[0] if octets else -signal.SIGKILL
        return self.status

    def read(self) -> bytes | None:
        """Return what it has said since; empty at the end of its output, None when there is nothing to read yet."""
        try:
            return os.read(self.output, READ_SIZE)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Let go of it."""
        for one in (self.output, self.exited, self._pidfd):
            os.close(one)
