"""Changes to files and directories that happen whole or not at all, and last once they are reported done.

Every change is built beside its place under a temporary name, made durable, moved into place by one rename, and the
directory is made durable too: a rename that only lives in memory is lost with the power. A reader, and the next
start, see the old content or the new one, never a part of either.

When a function returns, its change survives a power cut. When it raises, the place holds the old content; only if the
very last step failed (the fsync of the directory) may it show the new content, which may then be lost again.

What a crash leaves behind carries a temporary name (``.NAME.RANDOM.tmp``), which :func:`sweep` removes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from agent.errors import StateCorrupt
from agent.store.faults import reported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAXIMUM_SIZE: Final = 4 * 1024 * 1024
"""Octets that any file of ours may hold: a whole trust list and more."""

_CHUNK: Final = 65_536
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def write_file(path: Path, data: bytes, mode: int = 0o600, *, owner: int = -1, group: int = -1) -> None:
    """Put ``data`` at ``path``, replacing what was there; the umask does not weaken or widen ``mode``.

    ``owner`` and ``group`` are numbers, -1 leaves them as they are. Raise :class:`StateError`.
    """
    temporary = temporary_name(path)
    with reported("write", path):
        try:
            _write_new(temporary, data, mode, owner, group)
            os.replace(temporary, path)
        except BaseException:
            _discard(temporary)
            raise
        _fsync_directory(path.parent)


def write_files(files: Mapping[Path, bytes], mode: int, *, owner: int = -1, group: int = -1) -> None:
    """Put every file in its place as :func:`write_file` does, in their order, but none before all are written.

    Raise :class:`StateError`; no place has changed then unless one of the renames themselves failed.
    """
    ready: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            with reported("write", path):
                ready[path] = temporary_name(path)
                _write_new(ready[path], data, mode, owner, group)
        for path in files:
            with reported("write", path):
                os.replace(ready[path], path)
                del ready[path]
                _fsync_directory(path.parent)
    except BaseException:
        for temporary in ready.values():
            _discard(temporary)
        raise


def write_directory(path: Path, files: Mapping[str, bytes], links: Mapping[str, Path] | None = None) -> None:
    """Make the new directory ``path`` (0700) with these files (0600) in it, all of it or nothing.

    ``links`` names files whose content is durable already: they get one more name, and no second copy. Raise
    :class:`StateError`, also when a directory with something in it is there already.
    """
    temporary = temporary_name(path)
    with reported("write", path):
        try:
            os.mkdir(temporary, 0o700)
            with ExitStack() as written:
                # The journal of a file system is committed once for all that was written before the first of them.
                for one in [written.enter_context(_new(temporary / name, files[name], 0o600)) for name in files]:
                    os.fsync(one)
            for name, source in (links or {}).items():
                os.link(source, temporary / name, follow_symlinks=False)
            _fsync_directory(temporary)
            os.rename(temporary, path)
        except BaseException:
            _discard(temporary)
            raise
        _fsync_directory(path.parent)


def switch_link(link: Path, target: str) -> None:
    """Make the symbolic link ``link`` point to ``target`` (kept as it is given). Raise :class:`StateError`."""
    temporary = temporary_name(link)
    with reported("switch", link):
        try:
            os.symlink(target, temporary)
            os.replace(temporary, link)
        except BaseException:
            _discard(temporary)
            raise
        _fsync_directory(link.parent)


def make_directory(path: Path, mode: int = 0o700, *, found_durable: bool = False) -> None:
    """Make sure that ``path`` is a directory, durably; its parent must exist. Raise :class:`StateError`.

    An existing directory keeps its mode. Its parent is synced all the same: whoever made it may have been cut off
    before he could. ``found_durable``: it is known that he was not.
    """
    with reported("create", path):
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise
            if found_durable:
                return
        _fsync_directory(path.parent)


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raise :class:`StateError`."""
    with reported("sync", path):
        _fsync_directory(path)


def read_bounded(path: Path, cap: int = MAXIMUM_SIZE) -> bytes:
    """Read a whole file of at most ``cap`` octets; links are not followed.

    Raise :class:`StateCorrupt` when it is larger or not a file, :class:`StateError` when it cannot be read.
    """
    with reported("read", path):
        return _read(path, cap)


def read_if_present(path: Path | str, cap: int = MAXIMUM_SIZE) -> bytes | None:
    """Read like :func:`read_bounded`, but give None when there is no such file.

    A text does for ``path``: a look at an identity reads a dozen files, and making paths took as long as reading them.
    """
    with reported("read", path):
        try:
            return _read(path, cap)
        except FileNotFoundError:
            return None


def remove_tree(path: Path, *, swept: bool = False) -> None:
    """Remove a directory and all that is in it durably; one that is gone already is no error.

    It loses its name first: nobody ever finds half a directory under it. ``swept``: a power cut may leave what was in
    it, for :func:`sweep`, until its parent is synced again. Raise :class:`StateError`.
    """
    with reported("remove", path):
        doomed = temporary_name(path)
        try:
            os.rename(path, doomed)
        except FileNotFoundError:
            return
        _fsync_directory(path.parent)
        _delete(doomed)
        if not swept:
            _fsync_directory(path.parent)


def temporary_name(path: Path) -> Path:
    """Give an unpredictable name beside ``path`` that :func:`sweep` knows as temporary."""
    return path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")


def is_temporary(name: str) -> bool:
    """Tell whether a file name is one of :func:`temporary_name`."""
    return name.startswith(".") and name.endswith(".tmp")


def sweep(directory: Path) -> tuple[str, ...]:
    """Remove what a crash left in ``directory`` under temporary names, and return those names.

    Only who alone may write there calls this; those who write without asking him hold :func:`sweeping_held_off`,
    and nothing is removed meanwhile. Raise :class:`StateError`.
    """
    with reported("clean up", directory), _opened_directory(directory) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return ()
        left = tuple(sorted(name for name in os.listdir(directory) if is_temporary(name)))
        for name in left:
            _delete(directory / name)
        if left:
            os.fsync(descriptor)
        return left


@contextmanager
def sweeping_held_off(directory: Path) -> Iterator[None]:
    """Keep :func:`sweep` from taking the temporary files of this block for left-overs. Raise :class:`StateError`."""
    with reported("open", directory):
        descriptor = os.open(directory, _DIRECTORY)
    try:
        with reported("lock", directory):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _write_new(path: Path, data: bytes, mode: int, owner: int = -1, group: int = -1) -> None:
    with _new(path, data, mode, owner, group) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _new(path: Path, data: bytes, mode: int, owner: int = -1, group: int = -1) -> Iterator[int]:
    """Write a new file, and give its descriptor."""
    descriptor = os.open(path, _NEW_FILE, 0o600)
    try:
        if not _belongs(os.fstat(descriptor), owner, group):
            os.fchown(descriptor, owner, group)
        os.fchmod(descriptor, mode)
        rest = memoryview(data)
        while rest:
            written = os.write(descriptor, rest)  # may take less than it is given
            if not written:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            rest = rest[written:]
        yield descriptor
    finally:
        os.close(descriptor)


def _belongs(status: os.stat_result, owner: int, group: int) -> bool:
    """Tell whether a file has its owner already: in a directory with the setgid bit that takes no system call."""
    return owner in {-1, status.st_uid} and group in {-1, status.st_gid}


def _read(path: Path | str, cap: int) -> bytes:
    descriptor = os.open(path, _OLD_FILE)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StateCorrupt(
                f"{path} is not a file", remedy="somebody put something else in its place: look at it and move it away"
            )
        # A buffer as large as the cap takes longer to get than a small file to read.
        first = os.read(descriptor, min(status.st_size, cap) + 1)
        if len(first) == status.st_size <= cap:
            return first
        chunks = [first]
        room = cap + 1 - len(first)
        while room and (chunk := os.read(descriptor, min(room, _CHUNK))):
            chunks.append(chunk)
            room -= len(chunk)
    finally:
        os.close(descriptor)
    if not room:
        raise StateCorrupt(
            f"{path} holds more than {cap} octets, which we never write", remedy="look at it and move it away"
        )
    return b"".join(chunks)


@contextmanager
def _opened_directory(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _fsync_directory(path: Path) -> None:
    with _opened_directory(path) as descriptor:
        os.fsync(descriptor)


def _delete(path: Path | str, inside: int | None = None) -> None:
    """Remove a file, a link (not what it points to) or a directory with all that is in it.

    Each directory is gone through by its descriptor (``inside``: that of the one that holds ``path``): where others may
    write, a link that one of them puts in its place meanwhile leads nowhere.
    """
    if not stat.S_ISDIR(os.stat(path, dir_fd=inside, follow_symlinks=False).st_mode):
        os.unlink(path, dir_fd=inside)
        return
    descriptor = os.open(path, _DIRECTORY | os.O_NOFOLLOW, dir_fd=inside)
    try:
        for name in os.listdir(descriptor):
            _delete(name, descriptor)
    finally:
        os.close(descriptor)
    os.rmdir(path, dir_fd=inside)


def _discard(path: Path) -> None:
    """Remove what a failed change built, as far as it can be: its first error is the one to report."""
    with suppress(OSError):
        _delete(path)
