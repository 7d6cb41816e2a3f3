"""A program started with exec: what it is given, what it says, and how it ended, for a loop to wait on.

``subprocess`` would do, but the daemon stays in memory for years and needs little of it.
"""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

READ_SIZE: Final = 65_536
_NOT_INHERITED: Final = frozenset({"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY"})
"""Variables by which systemd speaks to the daemon alone."""
_STANDARD_ERROR: Final = 2
_IGNORED_BY_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)
_let_go: set[int] = set()
"""Processes that were given up while they hung in the kernel: each takes a place until its end was looked at."""


class Process:
    """A running program. Both descriptors become readable: ``output`` when it says something, ``exited`` at its end.

    It leads a process group of its own: Ctrl-C on a terminal reaches us alone, and it is we who tell it.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        *,
        given: bytes | int = b"",
        inherited: Iterable[int] = (),
        address_space: int | None = None,
    ) -> None:
        """Start ``command`` with ``given`` on its standard input; standard error is ours.

        ``given`` may be a descriptor, which is closed here. It gets the descriptors ``inherited`` under their own
        numbers, and may use ``address_space`` octets.
        Raise :class:`OSError` when it cannot be started.
        """
        self.status: int | None = None
        _bury()
        with ExitStack() as ours, ExitStack() as on_failure:
            stdin = given if isinstance(given, int) else holding(given)
            ours.callback(os.close, stdin)
            self.output, writer = os.pipe2(os.O_CLOEXEC)
            ours.callback(os.close, writer)
            on_failure.callback(os.close, self.output)
            pairs = ((stdin, 0), (writer, 1), *((one, one) for one in inherited))
            self.pid = os.posix_spawn(
                command[0],
                command,
                {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED},
                file_actions=[
                    *((os.POSIX_SPAWN_DUP2, *pair) for pair in pairs),
                    *((os.POSIX_SPAWN_CLOSE, one) for one in _strays() - {one for _, one in pairs}),
                ],
                setpgroup=0,
                setsigmask=(),
                setsigdef=_IGNORED_BY_PYTHON,
            )
            on_failure.callback(self._undo)
            self.exited = os.pidfd_open(self.pid)
            on_failure.callback(os.close, self.exited)
            os.set_blocking(self.output, False)
            if address_space is not None:
                self._limit(address_space)
            on_failure.pop_all()

    def _undo(self) -> None:
        """End what was started and could not be watched."""
        os.kill(self.pid, signal.SIGKILL)
        _let_go.add(self.pid)

    def _limit(self, address_space: int) -> None:
        import resource  # noqa: PLC0415 - whoever sets no limit does not need it

        _, hard = resource.prlimit(self.pid, resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY:
            address_space = min(address_space, hard)  # LimitAS= of the unit: it may be lowered only
        resource.prlimit(self.pid, resource.RLIMIT_AS, (address_space, address_space))

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self.exited, number)

    def poll(self) -> int | None:
        """Return its exit status, negative for the signal that killed it; None while it runs.

        What is left of its process group ends with it: a library may have started something, and nobody else ever would
        end that. Until it is waited for, no other group can have this number.
        """
        if self.status is None and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def read(self) -> bytes | None:
        """Return what it has said since; empty at the end of its output, None when there is nothing to read yet."""
        try:
            return os.read(self.output, READ_SIZE)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Let go of it."""
        if self.poll() is None:
            _let_go.add(self.pid)
        os.close(self.output)
        os.close(self.exited)


def _bury() -> None:
    """Look at the end of those who were let go and have ended since."""
    for pid in tuple(_let_go):
        if os.waitpid(pid, os.WNOHANG)[0]:
            _let_go.discard(pid)


def holding(octets: bytes) -> int:
    """Return a descriptor to read ``octets`` from; they are in it already, so nobody waits for the reader."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        if len(octets) <= fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ):
            os.write(writer, octets)
            return reader
    finally:
        os.close(writer)
    os.close(reader)
    # A file in memory has room for more, but not where no file may grow (RLIMIT_FSIZE).
    stored = os.memfd_create("given", os.MFD_CLOEXEC)
    os.write(stored, octets)
    os.lseek(stored, 0, os.SEEK_SET)
    return stored


def _strays() -> set[int]:
    """Return what whoever started us left open for every child: nothing of ours is inherited unasked (PEP 446)."""
    found = set()
    with os.scandir("/proc/self/fd") as entries:
        for entry in entries:
            number = int(entry.name)
            with suppress(OSError):  # the descriptor of this very directory is gone by then
                if number > _STANDARD_ERROR and os.get_inheritable(number):
                    found.add(number)
    return found
