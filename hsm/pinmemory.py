"""Which PIN a token refused: remembered on disk, so that a wrong one is tried once and not until the token locks.

Of the PIN itself one octet is kept: of its scrypt hash with a salt. Whoever reads the file can leave out 255 of 256
guesses of a PIN that was wrong, and learns nothing of the right one. In exchange, one new PIN in 256 looks like the
refused one; a person who runs ``enrollctl token probe`` gets past that, as ``insist`` says.

A PIN is tried only while there is room for the refusal on the disk, and by one process at a time: another one that
waited for its turn sees what became of it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_SALT: Final = 16
_LARGEST: Final = 4096
_ROOM: Final = 256
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_LOCK: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_PATIENCE: Final = 30.0
"""Seconds to wait for a process that is trying its PIN."""
_PAUSE: Final = 0.02


@dataclass(frozen=True, slots=True)
class PinMemory:
    """What is remembered for one token, in the file ``path``. ``insist``: a person is there and wants it tried."""

    path: Path
    insist: bool = False

    @property
    def has_place(self) -> bool:
        """Whether there is a state directory: where there is none, no daemon tries a PIN again and again."""
        return self.path.parent.parent.is_dir()

    @contextmanager
    def trying(self) -> Iterator[Path]:
        """Be the only one who tries a PIN; give the room for :meth:`refused`, which is gone after the block.

        Raise :class:`OSError` when there is none, or when the one who tries does not come to an end.
        """
        with suppress(FileExistsError):
            self.path.parent.mkdir(mode=0o700)
        descriptor = os.open(self.path.with_suffix(".lock"), _LOCK, 0o600)
        try:
            _take(descriptor)
            for left in self.path.parent.glob(f".{self.path.name}.*.tmp"):
                left.unlink(missing_ok=True)  # by a crash
            room = self.path.with_name(f".{self.path.name}.{os.urandom(4).hex()}.tmp")
            try:
                _reserve(room)
                yield room
            finally:
                room.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def was_refused(self, pin: bytes, serial: str) -> bool:
        """Tell whether the token with this serial number refused ``pin``."""
        if self.insist:
            return False
        try:
            with self.path.open("rb") as file:
                found = json.loads(file.read(_LARGEST))
            return bool(found["mark"] == _mark(pin, serial, bytes.fromhex(found["salt"])))
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return True  # something was refused, and nobody can say what any more

    def refused(self, pin: bytes, serial: str, room: Path) -> None:
        """Remember in ``room`` that the token refused ``pin``, durably. Raise :class:`OSError` when that fails."""
        salt = os.urandom(_SALT)
        document = json.dumps({"salt": salt.hex(), "mark": _mark(pin, serial, salt)})
        with room.open("r+b") as file:
            file.truncate(file.write(document.encode()))
            file.flush()
            os.fsync(file.fileno())
        room.replace(self.path)
        _fsync_directory(self.path.parent)

    def accepted(self) -> None:
        """Forget what was refused: the token took a PIN. Raise :class:`OSError` when that cannot be done."""
        self.path.unlink(missing_ok=True)


def _take(lock: int) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise OSError(errno.EBUSY, "another process tries it and does not come to an end") from None
            time.sleep(_PAUSE)
        else:
            return


def _reserve(path: Path) -> None:
    descriptor = os.open(path, _NEW, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _ROOM)
    finally:
        os.close(descriptor)


def _mark(pin: bytes, serial: str, salt: bytes) -> int:
    return hashlib.scrypt(pin, salt=salt + serial.encode(), n=2**14, r=8, p=1, dklen=1)[0]


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
