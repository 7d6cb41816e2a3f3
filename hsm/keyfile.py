"""Files that hold private keys: names, rights, durable writing, careful reading. Knows nothing of cryptography.

A key file of ours is there whole or not at all, whatever instant the power fails: it is written beside its place
under a temporary name (``.NAME.RANDOM.tmp``), made durable, and then given its name by a hard link, which, unlike a
rename, never replaces a key that is there already.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from hsm.errors import (
    KeyExists,
    KeyNotFound,
    KeyPermissions,
    KeyStoreError,
    KeyStoreUnwritable,
    KeyUnusable,
)

MAXIMUM_SIZE: Final = 65_536
"""Octets; an RSA-4096 key takes 3300 as PEM, so there is room for a file that holds certificates too."""

_GROUP_AND_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

_REMEDIES: Final[dict[int, str]] = {
    errno.ENOSPC: "free space (df -h {directory}) or inodes (df -i {directory}) on that file system, then try again",
    errno.EDQUOT: "raise the disk quota of user {user}, then try again",
    errno.EROFS: "remount the file system of {directory} writable; it is often read-only after disk errors: see "
    "'journalctl -k'",
    errno.EACCES: "let user {user} write to {directory}: see 'ls -ld {directory}'",
    errno.EPERM: "see 'ls -ld {directory}' and 'lsattr -d {directory}'; the file system must have hard links",
    errno.ENOENT: "create {directory}, or mount the file system it belongs to",
    errno.ENOTDIR: "something on the path {directory} is not a directory: move it away",
    errno.EIO: "the disk reports errors: see 'journalctl -k', and replace it",
    errno.EFBIG: "raise the file size limit of this process (LimitFSIZE=, ulimit -f)",
    errno.EOPNOTSUPP: "keep keys on a file system with hard links and fsync: ext4, xfs, btrfs, f2fs, ubifs, tmpfs",
}
_OTHER_REMEDY: Final = "see 'journalctl -k' for what the disk reports, then try again"


def reference_of(path: str | os.PathLike[str]) -> str:
    """Name a file by its ``file:`` URI (RFC 8089); a relative path is taken from the working directory."""
    return Path(path).absolute().as_uri()


def path_of(reference: str) -> Path:
    """Give the path a ``file:`` URI names. Raise :class:`KeyNotFound` for anything else."""
    try:
        parts = urlsplit(reference)
    except ValueError:
        parts = urlsplit("")
    path = unquote_to_bytes(parts.path)
    ours = parts.scheme == "file" and parts.netloc in {"", "localhost"} and not parts.query and not parts.fragment
    if not ours or not path.startswith(b"/") or b"\0" in path:
        raise KeyNotFound(
            f"{reference!a} does not name a key file",
            remedy="give a file: URI with an absolute path, as in file:///etc/ike/factory.key",
        )
    return Path(os.fsdecode(path))


def read(path: Path, *, ours: bool) -> bytes:
    """Read a key file whole.

    A file of ours must be a plain file with no rights for anybody but its owner. A file made elsewhere may be reached
    by a symbolic link and be readable by its group, but not by everybody. Raise :class:`KeyNotFound`,
    :class:`KeyPermissions` or :class:`KeyUnusable`.
    """
    # O_NONBLOCK: opening a FIFO must not wait for a writer.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (os.O_NOFOLLOW if ours else 0)
    try:
        descriptor = os.open(path, flags)
        try:
            _check_status(os.fstat(descriptor), path, ours=ours)
            return _read_all(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unreadable(error, path) from error


def write_new(path: Path, data: bytes) -> None:
    """Write a new key file, readable by its owner alone; name and content are durable when this returns.

    After an error nothing is left behind. Raise :class:`KeyExists` or :class:`KeyStoreUnwritable`.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    named = False
    try:
        try:
            _write_durably(temporary, data)
            os.link(temporary, path, follow_symlinks=False)
            named = True
            temporary.unlink()
            _fsync_directory(path.parent)
        except BaseException:
            for left in (temporary, path) if named else (temporary,):
                with suppress(OSError):  # the first error is the one to report
                    left.unlink()
            raise
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise _unwritable(error, "write", path) from error


def demand_free(path: Path) -> None:
    """Raise :class:`KeyExists` when something is at ``path``: no time is spent on a key that has no place."""
    if os.path.lexists(path):
        raise _exists(path)


def remove(path: Path) -> None:
    """Remove a key file durably; one that is gone already is no error. Raise :class:`KeyStoreUnwritable`.

    The blocks are not overwritten first. Flash writes elsewhere and keeps the old block until it is erased, and a
    journal may hold a copy, so overwriting wears the flash and only looks safe. The key of a retired certificate
    is protected by the rights of its directory before and by nothing but time after.
    """
    try:
        path.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            _fsync_directory(path.parent)
    except OSError as error:
        raise _unwritable(error, "remove", path) from error


def _check_status(status: os.stat_result, path: Path, *, ours: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyUnusable(f"{path} is not a file", remedy="name the file that holds the private key")
    if status.st_size > MAXIMUM_SIZE:
        raise KeyUnusable(
            f"{path} holds {status.st_size} octets, more than the {MAXIMUM_SIZE} of any key file",
            remedy="name a file that holds the private key and nothing else",
        )
    if ours and status.st_mode & _GROUP_AND_OTHERS:
        raise KeyPermissions(
            f"the private key {path} is open to more than its owner (mode {stat.S_IMODE(status.st_mode):04o})",
            remedy=f"run 'chmod 600 {shlex.quote(str(path))}', and replace the key if somebody may have read it",
        )
    if status.st_mode & stat.S_IRWXO:
        raise KeyPermissions(
            f"the private key {path} is open to everybody (mode {stat.S_IMODE(status.st_mode):04o})",
            remedy=f"run 'chmod o= {shlex.quote(str(path))}', and replace the key if somebody may have read it",
        )


def _read_all(descriptor: int) -> bytes:
    chunks = []
    room = MAXIMUM_SIZE
    while room and (chunk := os.read(descriptor, room)):
        chunks.append(chunk)
        room -= len(chunk)
    return b"".join(chunks)


def _write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # whatever the umask is
        rest = memoryview(data)
        while rest:
            written = os.write(descriptor, rest)
            if not written:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            rest = rest[written:]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exists(path: Path) -> KeyExists:
    return KeyExists(f"there is a key at {path} already", remedy="use that key, or destroy it first")


def _unreadable(error: OSError, path: Path) -> KeyStoreError:
    reason = _reason(error)
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return KeyNotFound(f"there is no key at {path}", remedy="check the path, and whether its disk is mounted")
        case errno.EACCES | errno.EPERM:
            return KeyPermissions(
                f"the private key {path} may not be read by user {os.geteuid()}: {reason}",
                remedy=f"give user {os.geteuid()} the right to read it: see 'namei -l {shlex.quote(str(path))}'",
            )
        case errno.ELOOP:
            return KeyUnusable(
                f"{path} is a symbolic link, which a key file of ours never is",
                remedy="find out who put it there before anything else is done",
            )
        case _:
            return KeyUnusable(f"cannot read {path}: {reason}", remedy=_remedy(error, path))


def _unwritable(error: OSError, doing: str, path: Path) -> KeyStoreUnwritable:
    return KeyStoreUnwritable(
        f"cannot {doing} the private key {path}: {_reason(error)}",
        remedy=_remedy(error, path),
    )


def _reason(error: OSError) -> str:
    code = error.errno or 0
    return f"{os.strerror(code)} ({errno.errorcode.get(code, code)})"


def _remedy(error: OSError, path: Path) -> str:
    template = _REMEDIES.get(error.errno or 0, _OTHER_REMEDY)
    return template.format(directory=shlex.quote(str(path.parent)), user=os.geteuid())
