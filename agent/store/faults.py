"""What the operating system refuses, as a :class:`StateError` that says what a person does about it."""

from __future__ import annotations

import errno
import os
import shlex
from pathlib import Path
from typing import Final

from agent.errors import StateError

_FULL: Final = "free space (df -h {directory}) or inodes (df -i {directory}) on that file system"
_IN_THE_WAY: Final = "something that is not ours lies at {path}: look at it with 'ls -la {directory}' and move it away"
_OPEN_FILES: Final = "raise the limit of open files (LimitNOFILE=, ulimit -n), and report it: enrolld needs few"
_LOCAL_DISK: Final = "keep the state directory on a local file system, as ext4, xfs, btrfs, f2fs or ubifs"

REMEDIES: Final[dict[int, str]] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "raise the disk quota of user {user}, or free space within it",
    errno.EFBIG: "raise the file size limit of this process (LimitFSIZE=, ulimit -f)",
    errno.EROFS: "remount the file system of {directory} writable; it is often read-only after disk errors: see "
    "'journalctl -k'. Where it is for enrolld only, it was replaced while enrolld ran: 'systemctl restart enrolld'",
    errno.EIO: "the disk reports errors: see 'journalctl -k', and replace it",
    errno.EACCES: "run the command with sudo; if enrolld itself says this (user {user}), {directory} must belong to "
    "it: see 'ls -la {directory}'",
    errno.EPERM: "see 'ls -la {directory}' and 'lsattr -d {directory}': another owner, or marked immutable",
    errno.ENOENT: "the directory {directory} is gone: mount the file system it belongs to, or restore it",
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOTEMPTY: _IN_THE_WAY,
    errno.ELOOP: _IN_THE_WAY,
    errno.ENAMETOOLONG: "choose a shorter state-directory or a shorter name for the identity",
    errno.EXDEV: "keep the whole state directory on one file system: nothing below it may be a mount point",
    errno.EBUSY: "keep the whole state directory on one file system: nothing below it may be a mount point",
    errno.EMFILE: _OPEN_FILES,
    errno.ENFILE: _OPEN_FILES,
    errno.ENOMEM: "free memory, or raise the limit: worker-memory, under daemon in the configuration, or MemoryMax=",
    errno.ESTALE: "mount the file system of {directory} again",
    errno.ENOLCK: _LOCAL_DISK,
    errno.EINVAL: _LOCAL_DISK,
    errno.EOPNOTSUPP: _LOCAL_DISK,
}
"""What to do, by errno; ``{path}``, ``{directory}`` (the one that holds it) and ``{user}`` are filled in."""

OTHER_REMEDY: Final = "see 'journalctl -k' for what the disk reports, then try again"


def state_error(error: OSError, doing: str, path: Path | str) -> StateError:
    """Say in one sentence what could not be done to ``path``, with the remedy for this errno."""
    path = Path(path)
    code = error.errno if error.errno is not None else 0
    name = errno.errorcode.get(code, str(code))
    remedy = REMEDIES.get(code, OTHER_REMEDY).format(
        path=shlex.quote(str(path)), directory=shlex.quote(str(path.parent)), user=os.geteuid()
    )
    return StateError(f"cannot {doing} {path}: {os.strerror(code)} ({name})", remedy=remedy)


class reported:  # noqa: N801 - read as a verb: with reported("write", path)
    """Turn an ``OSError`` of the block into the :class:`StateError` "cannot ``doing`` ``path``: ...".

    A class and not a generator: a job enters a hundred such blocks.
    """

    __slots__ = ("_doing", "_path")

    def __init__(self, doing: str, path: Path | str) -> None:
        """Name what is done to what."""
        self._doing = doing
        self._path = path

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Raise in its place what people understand."""
        if isinstance(error, OSError):
            raise state_error(error, self._doing, self._path) from error
