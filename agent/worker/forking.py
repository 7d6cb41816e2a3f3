"""``python -I -m agent.worker.forking SOCKET``: a worker that has loaded everything, and is forked for many jobs.

Most of what a short job costs is its start: an interpreter, libraries, our own modules. Where many jobs wait, whoever
starts workers starts this first (``agent.supervisor.forks``), and has it fork a worker for each. It never sees a job:
it gets descriptors over a socket, hands them to a child, and closes them. It holds no secret, loads no vendor's
library, and ends when nobody has asked it for a while.

A request is one packet. With it come descriptors: first a pipe for the exit status of the child, then what the child
has open under the numbers in the packet, a JSON array. The answer is one packet, an ``int`` of this machine: 0, with
the child's pidfd, or the number of an error. What the child reads from its standard input may come after that: one of
which nobody hears finds nothing there and has nothing to do. The status is such an ``int`` as well. The child holds the
writing end of its pipe too: where this process was killed, the end of the pipe still is the end of the child.
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
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Final, NoReturn

from agent import cores
from agent.contract import FORKING_READY
from agent.worker import __main__ as worker

_IDLE: Final = 10.0
"""Seconds without a child and without a request after which it ends."""
_DESCRIPTORS: Final = 250
"""The most that come with a request: SCM_MAX_FD of Linux is 253."""
_PACKET: Final = 4096
_NUMBER: Final = struct.Struct("i")
_STANDARD_ERROR: Final = 2
_ON_FIRST_USE: Final = ("agent.cmp.codec", "cryptography.hazmat.backends.openssl.backend")
"""What a worker loads while it is at work: one that does nothing else may not need it."""


@dataclass(slots=True)
class Child:
    """A worker that was forked: its process number, and where its status goes."""

    pid: int
    status: int


@dataclass(slots=True)
class Nursery:
    """Everybody who was forked and has not ended, by pidfd."""

    requests: socket.socket
    poll: select.poll = field(default_factory=select.poll)
    children: dict[int, Child] = field(default_factory=dict)
    ending: bool = False

    def run(self) -> None:
        """Serve until there are no requests any more, and no children."""
        self.poll.register(self.requests, select.POLLIN)
        while events := self.poll.poll(None if self.children else _IDLE * 1000):
            for descriptor, _ in events:
                if descriptor in self.children:
                    self._bury(descriptor)
                else:
                    self._serve()
            if self.ending and not self.children:
                return

    def _serve(self) -> None:
        """Fork for one request. What is wrong with it is answered, and touches nobody who runs."""
        packet, flags = b"", 0
        descriptors: list[int] = []
        with suppress(ConnectionResetError):  # whoever asked is gone, and has left an answer unread
            packet, descriptors, flags, _ = socket.recv_fds(self.requests, _PACKET, _DESCRIPTORS)
        if not packet:  # it is gone, or needs no more of us
            self.ending = True
            self.poll.unregister(self.requests)
            return
        try:
            numbers = _numbers(packet, descriptors, flags)
            if not (pid := os.fork()):
                _be_a_worker(numbers, descriptors)
            self._adopt(pid, descriptors[0])
        except OSError as error:
            with suppress(BrokenPipeError):
                self.requests.send(_NUMBER.pack(error.errno or errno.EAGAIN))
        for one in descriptors:
            os.close(one)

    def _adopt(self, pid: int, status: int) -> None:
        """Answer with the child, and look after it; end it if that cannot be done."""
        # It does so, too: whoever of us is first, neither signals the group before it is there.
        with suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)
        with ExitStack() as on_failure:
            on_failure.callback(_undo, pid)
            descriptor = os.pidfd_open(pid)
            on_failure.callback(os.close, descriptor)
            status = os.dup(status)
            on_failure.callback(os.close, status)
            with suppress(BrokenPipeError):  # whoever asked is gone, as the next look at the socket tells
                socket.send_fds(self.requests, [_NUMBER.pack(0)], [descriptor])
            on_failure.pop_all()
        self.children[descriptor] = Child(pid, status)
        self.poll.register(descriptor, select.POLLIN)

    def _bury(self, descriptor: int) -> None:
        """Pass on how a child ended. What is left of its process group ends with it, as with any worker."""
        child = self.children.pop(descriptor)
        self.poll.unregister(descriptor)
        os.close(descriptor)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        _, status = os.waitpid(child.pid, 0)
        with suppress(BrokenPipeError):
            os.write(child.status, _NUMBER.pack(os.waitstatus_to_exitcode(status)))
        os.close(child.status)


def _numbers(packet: bytes, descriptors: list[int], flags: int) -> list[int]:
    """Return the numbers that a request names; raise :class:`OSError` where a descriptor is missing for one."""
    if flags & socket.MSG_CTRUNC:
        raise OSError(errno.EMFILE, "not all of them could be opened here")
    try:
        numbers: list[int] = json.loads(packet)
        if len(numbers) + 1 == len(descriptors):
            return numbers
    except (TypeError, ValueError):
        pass
    raise OSError(errno.EINVAL, "it is no request")


def _undo(pid: int) -> None:
    """End a child that nobody could look after. It has no job yet: that comes after the answer."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _be_a_worker(numbers: list[int], descriptors: list[int]) -> NoReturn:
    """Be what ``python -I -m agent.worker`` would be with these descriptors under these numbers.

    Whatever happens, it does not go on as what it was forked from.
    """
    code = 1
    try:
        os.setpgid(0, 0)
        status, *given = descriptors
        _keep(status, dict(zip(numbers, given, strict=True)))
        code = worker.main()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - see above
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _keep(status: int, given: dict[int, int]) -> None:
    """Have those ``given`` under their numbers, somewhere ``status``, and nothing else open but standard error."""
    above = max(status, *given, *given.values(), _STANDARD_ERROR) + 1
    moved = {number: fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, above) for number, one in given.items()}
    kept = {_STANDARD_ERROR, fcntl.fcntl(status, fcntl.F_DUPFD_CLOEXEC, above), *given}
    for number, one in moved.items():
        os.dup2(one, number, inheritable=number < _STANDARD_ERROR)
    with os.scandir("/proc/self/fd") as entries:
        others = {int(one.name) for one in entries} - kept
    for one in others:
        with suppress(OSError):  # the descriptor of this very directory is gone by then
            os.close(one)


def load() -> None:
    """Load what a worker does, and what it loads while it is at work."""
    worker.load(*_ON_FIRST_USE)


def main(arguments: list[str]) -> None:
    """Load everything, say so, and serve."""
    cores.prevent()
    load()
    with socket.socket(fileno=int(arguments[0])) as requests:
        with suppress(BrokenPipeError):  # whoever started us is gone, as the first look at the socket tells
            os.write(sys.stdout.fileno(), FORKING_READY)
        Nursery(requests).run()
    worker.leave(0)


if __name__ == "__main__":
    main(sys.argv[1:])
