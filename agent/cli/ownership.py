"""Working as the user whose directory it is: what root writes among the daemon's files, the daemon could not change."""

from __future__ import annotations

import os
import pwd
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ROOT: Final = 0


def owner_of(directory: Path | str) -> tuple[int, int] | None:
    """Return the user and group that we have to be in ``directory``; None where we are who we have to be."""
    status = os.stat(directory) if os.geteuid() == _ROOT and os.path.isdir(directory) else None
    return None if status is None or status.st_uid == _ROOT else (status.st_uid, status.st_gid)


@contextmanager
def acting_as_owner(directory: Path | str) -> Iterator[None]:
    """Be the user that owns ``directory``, where we are root and he is not; a program started meanwhile stays him.

    The saved user stays root, which is the way back for us alone: exec takes it away. Our groups are kept beside his,
    since consumers (the socket of charon) may be open to root's group only.

    Raises:
        AgentError: he may not run the Python that we run on.
    """
    owner = owner_of(directory)
    if owner is None:
        yield
        return
    user, group_there = owner
    groups, group = os.getgroups(), os.getegid()
    os.setgroups(sorted({*groups, *_groups_of(user, group_there)}))
    os.setresgid(group_there, group_there, group)
    os.setresuid(user, user, _ROOT)
    try:
        yield
    except PermissionError as error:
        if error.filename != sys.executable:
            raise
        raise AgentError(
            f"the owner of {directory} may not run {sys.executable}: {error.strerror}",
            remedy="Install enrolld where every user may read it, as below /opt.",
        ) from error
    finally:
        os.setresuid(_ROOT, _ROOT, _ROOT)
        os.setresgid(group, group, group)
        os.setgroups(groups)


def _groups_of(user: int, group: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(user).pw_name, group)
    except KeyError:  # a number without a name
        return [group]
