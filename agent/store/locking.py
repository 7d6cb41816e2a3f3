"""One worker an identity: a lock that the kernel takes back from whoever dies with it."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from agent.errors import StateBusy
from agent.store.faults import reported

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST_PID: Final = 20


@contextmanager
def exclusive_lock(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file ``path`` for this block; ``what`` it protects is named to whoever comes second.

    The file stays when the lock is gone: removing it would let two processes lock two files of one name. It carries
    the process number of its last holder. Raise :class:`StateBusy` at once when another holds it (a second time in
    this process too), :class:`StateError` when it cannot be made.
    """
    with reported("lock", path):
        descriptor = os.open(path, _FLAGS, 0o600)
    try:
        with reported("lock", path):
            _take(descriptor, what)
        with suppress(OSError):  # the number is a courtesy: a full disk must not keep out whoever comes to empty it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        try:
            yield
        finally:
            # Closing alone would leave it with a child that is between fork and exec just now.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _take(descriptor: int, what: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, _LONGEST_PID, 0).strip().decode("ascii", "replace")
        who = f"process {holder}" if holder.isdecimal() else "another process"
        raise StateBusy(
            f"{who} is at work on {what}",
            remedy=f"wait for {who} to finish; 'enrollctl status' shows what it does",
        ) from error
