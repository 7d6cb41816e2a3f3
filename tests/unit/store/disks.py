"""A disk that fails, dies with the power, and forgets whatever was not made durable.

While a :class:`FailingDisk` is in place, every effect on the file system is counted. At a chosen one it raises: an
error of the disk, or :class:`PowerCut`, from which on nothing has any effect (``finally`` blocks run in a test, but
not in a device without power). :meth:`FailingDisk.restore` then builds what a reboot may find.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any

import pytest

EFFECTS = (
    "open", "write", "pwrite", "ftruncate", "fchmod", "fsync",
    "mkdir", "rmdir", "symlink", "link", "unlink", "rename", "replace",
)  # fmt: skip


class Late(Enum):
    """How much of what nobody had asked to keep reached the disk by itself."""

    NOTHING = auto()
    REMOVALS = auto()
    """Of a directory: names that went are gone, those that came are not there yet."""
    ALL = auto()


Survival = Callable[[Path, bool], Late]
"""How much of the last state of a path (seen from the root; True: a directory) there is after a power cut."""

_OUTER = {Path(), Path("identities"), Path("identities/ike"), Path("identities/ike/generations")}

SURVIVALS: dict[str, Survival] = {
    "nothing": lambda _path, _directory: Late.NOTHING,
    "everything": lambda _path, _directory: Late.ALL,
    "names but no content": lambda _path, directory: Late.ALL if directory else Late.NOTHING,
    "inner before outer": lambda path, _directory: Late.NOTHING if path in _OUTER else Late.ALL,
    "removals only": lambda _path, directory: Late.REMOVALS if directory else Late.ALL,
}
"""What a file system may have written by itself before the power went, in an order of its own."""


class PowerCut(BaseException):
    """The device went dark."""


class FailingDisk:
    """Counts effects below ``root`` and models what of them is durable: only what fsync was called for."""

    def __init__(self, root: Path) -> None:
        """Take all that is below ``root`` now as durable."""
        self.root = root
        self.effects = 0
        self.syncs: list[int] = []
        """Which of the effects were an fsync: what is durable changes with these alone."""
        self._pins: dict[int, int] = {}
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, tuple[int, str]]] = {}
        for path in (root, *root.rglob("*")):
            inode = self._pin(path)
            if stat.S_ISREG(os.fstat(self._pins[inode]).st_mode):
                self._contents[inode] = path.read_bytes()
            elif path.is_dir() and not path.is_symlink():
                self._names[inode] = self._listed(inode)

    def close(self) -> None:
        """Let go of the files that were kept open so that no inode number is used twice."""
        for descriptor in self._pins.values():
            os.close(descriptor)

    @contextmanager
    def failing(self, failure: Callable[[int], BaseException | None]) -> Iterator[None]:
        """Ask ``failure`` before every effect, with its number, what to raise instead."""
        with pytest.MonkeyPatch.context() as patch:
            for name in EFFECTS:
                patch.setattr(os, name, self._wrapped(name, getattr(os, name), failure))
            yield

    def restore(self, target: Path, survives: Survival) -> None:
        """Build in ``target``, a new directory, what a reboot finds.

        ``survives`` tells what reached the disk though nobody had asked for it. Where nothing did, a directory has
        the names and a file the content of the last fsync, and without one none.
        """
        self._restore(self.root.stat().st_ino, target, Path(), survives)

    def _wrapped(
        self, name: str, real: Callable[..., Any], failure: Callable[[int], BaseException | None]
    ) -> Callable[..., Any]:
        def effect(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return real(*arguments, **options)
            self.effects += 1
            raised = failure(self.effects)
            if raised is not None:
                raise raised
            if name == "fsync":
                self.syncs.append(self.effects)
                return self._sync(arguments[0])
            result = real(*arguments, **options)
            if name == "open":
                self._pin(Path(f"/proc/self/fd/{result}"), os.O_RDONLY)
            elif name in {"mkdir", "symlink"}:
                self._pin(Path(arguments[1] if name == "symlink" else arguments[0]))
            return result

        return effect

    def _pin(self, path: Path, flags: int = os.O_PATH | os.O_NOFOLLOW) -> int:
        descriptor = _open(path, flags)
        inode = os.fstat(descriptor).st_ino
        if inode in self._pins:
            os.close(descriptor)
        else:
            self._pins[inode] = descriptor
        return inode

    def _sync(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            self._names[status.st_ino] = self._listed(status.st_ino)
        else:
            self._contents[status.st_ino] = self._content(status.st_ino)

    def _listed(self, inode: int) -> dict[str, tuple[int, str]]:
        directory = self._visible(inode)
        names = {}
        for entry in os.scandir(directory):
            names[entry.name] = (entry.inode(), os.readlink(entry.path) if entry.is_symlink() else "")
        return names

    def _content(self, inode: int) -> bytes:
        return self._visible(inode).read_bytes()

    def _visible(self, inode: int) -> Path:
        return Path(f"/proc/self/fd/{self._pins[inode]}")

    def _restore(self, inode: int, target: Path, path: Path, survives: Survival) -> None:
        mode = os.fstat(self._pins[inode]).st_mode
        late = survives(path, stat.S_ISDIR(mode))
        if not stat.S_ISDIR(mode):
            target.write_bytes(self._contents.get(inode, b"") if late is Late.NOTHING else self._content(inode))
            target.chmod(stat.S_IMODE(mode))
            return
        target.mkdir(0o700)
        for name, (child, link) in self._found(inode, late).items():
            if link:
                (target / name).symlink_to(link)
            else:
                self._restore(child, target / name, path / name, survives)

    def _found(self, inode: int, late: Late) -> dict[str, tuple[int, str]]:
        durable, last = self._names.get(inode, {}), self._listed(inode)
        if late is Late.REMOVALS:
            return {name: entry for name, entry in durable.items() if name in last}
        return last if late is Late.ALL else durable


def copy(source: Path, target: Path) -> Path:
    """Copy a state directory, its links as links."""
    shutil.copytree(source, target, symlinks=True)
    return target


_open = os.open
