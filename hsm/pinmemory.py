"""Which PIN a token refused: remembered on disk, so that a wrong one is tried once and not until the token locks.

Of the PIN itself one octet is kept: of its scrypt hash with a salt. Whoever reads the file can leave out 255 of 256
guesses of a PIN that was wrong, and learns nothing of the right one. In exchange, one new PIN in 256 looks like the
refused one; a person who runs ``enrollctl token probe`` gets past that, as ``insist`` says.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SALT: Final = 16
_LARGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class PinMemory:
    """What is remembered for one token, in the file ``path``. ``insist``: a person is there and wants it tried."""

    path: Path
    insist: bool = False

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

    def refused(self, pin: bytes, serial: str) -> None:
        """Remember that the token refused ``pin``, durably. Raise :class:`OSError` when that cannot be written."""
        salt = os.urandom(_SALT)
        document = json.dumps({"salt": salt.hex(), "mark": _mark(pin, serial, salt)})
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.urandom(4).hex()}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(document.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        _fsync_directory(self.path.parent)

    def accepted(self) -> None:
        """Forget what was refused: the token took a PIN."""
        self.path.unlink(missing_ok=True)


def _mark(pin: bytes, serial: str, salt: bytes) -> int:
    return hashlib.scrypt(pin, salt=salt + serial.encode(), n=2**14, r=8, p=1, dklen=1)[0]


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
