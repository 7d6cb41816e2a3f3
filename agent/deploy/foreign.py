"""A directory in which others write too: what they leave there is neither waited for, nor followed, nor read whole."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePosixPath
from typing import Final

from agent.errors import ConsumerUnavailable

_CAP: Final = 4 * 1024 * 1024
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Without blocking: opening a pipe must not wait for whoever writes into it."""
_NO_FILE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
"""Nothing is there, links lead in a circle, or it is a socket."""


def read(path: Path) -> tuple[os.stat_result, bytes] | None:
    """Return a file and what it holds; None where there is none, something else, or more than any file of ours.

    Raises:
        OSError: it may not be read.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        octets = file.read(_CAP + 1)
    return None if len(octets) > _CAP else (status, octets)


def demand_own_way(directory: Path, name: str) -> None:
    """Refuse a name below ``directory`` whose folders are links, unless root or we have made them.

    Raises:
        ConsumerUnavailable: whoever may write there would choose where our files go.
    """
    for folder in reversed(PurePosixPath(name).parents[:-1]):
        try:
            status = os.lstat(directory / folder)
        except FileNotFoundError:
            return
        if stat.S_ISLNK(status.st_mode) and status.st_uid not in {0, os.geteuid()}:
            raise ConsumerUnavailable(
                f"{directory / folder} is a link that user {status.st_uid} has put there",
                remedy="Find out why; then make a folder of it.",
            )
