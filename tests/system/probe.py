"""Runs inside the sandbox of enrolld.service and tries to break each rule; writes as JSON what it could do."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_CLONE_NEWUSER = 0x10000000
_FAILED = 2**64 - 1


def attempt(work: Callable[[], object]) -> str:
    """Return "done", or the name of the error."""
    try:
        work()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def call(number: int, *arguments: object) -> None:
    """Make a system call."""
    if _LIBC.syscall(number, *arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def writable_and_executable() -> None:
    """Ask for memory that can be written and run."""
    if _LIBC.mmap(None, 4096, 7, 0x22, -1, 0) in (None, _FAILED):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def processes() -> None:
    """Look for a process of somebody else."""
    if not Path("/proc/1/status").exists():
        raise OSError(errno.ENOENT, "hidden")


FORBIDDEN: dict[str, Callable[[], object]] = {
    "write to /usr": lambda: Path("/usr/x").write_text("x"),
    "write to /etc": lambda: Path("/etc/x").write_text("x"),
    "write to its own program": lambda: Path("/usr/lib/enrolld/bin/enrolld").write_text("x"),
    "write to its own configuration": lambda: Path("/etc/enrolld/enrolld.yaml").write_text("x"),
    "read /root": lambda: list(Path("/root").iterdir()),
    "see another's process": processes,
    "open a disk": lambda: os.open("/dev/sda", os.O_RDONLY),
    "make a device": lambda: os.mknod("/tmp/device", 0o20600, os.makedev(1, 3)),  # noqa: S108 - its own /tmp
    "become root": lambda: os.setuid(0),
    "open a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "open a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
    "make a user namespace": lambda: call(272, _CLONE_NEWUSER),
    "trace a process": lambda: call(101, 16, os.getppid(), 0, 0),
    "use the kernel's keyring": lambda: call(250, 0, -3, 0),
    "mount": lambda: call(165, b"none", b"/tmp", b"tmpfs", 0, 0),
    "load a module": lambda: call(175, b"", 0, b""),
    "set the clock": lambda: call(227, 0, (ctypes.c_long * 2)(1, 0)),
    "set the host's name": lambda: call(170, b"x", 1),
    "run what it has written": writable_and_executable,
    "run in real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "make a setuid file": lambda: Path(os.environ["STATE_DIRECTORY"], "probe").chmod(0o4700),
    "raise a limit": lambda: call(160, 4, (ctypes.c_ulong * 2)(1, 1)),
    "write kernel parameters": lambda: Path("/proc/sys/kernel/core_pattern").write_text("x"),
    "read the kernel's log": lambda: call(103, 3, ctypes.create_string_buffer(64), 64),
}
ALLOWED: dict[str, Callable[[], object]] = {
    "write to its state": lambda: Path(os.environ["STATE_DIRECTORY"], "probe").write_text("x"),
    "make a socket where clients ask": lambda: socket.socket(socket.AF_UNIX).bind(
        os.environ["RUNTIME_DIRECTORY"] + "/p"
    ),
    "read its configuration": lambda: Path("/etc/enrolld/enrolld.yaml").read_text(),
    "read its secret": lambda: Path(os.environ["CREDENTIALS_DIRECTORY"], "ike-secret").read_text(),
    "connect to a CA": lambda: socket.create_connection(("127.0.0.1", 8829), 5).close(),
    "hear udev": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15).bind((0, 2)),
    "start a worker": lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
}

if __name__ == "__main__":
    found = {
        "allowed": {name: attempt(work) for name, work in ALLOWED.items()},
        "forbidden": {name: attempt(work) for name, work in FORBIDDEN.items()},
    }
    print(json.dumps(found))  # noqa: T201 - read by the test
    sys.exit(0)
