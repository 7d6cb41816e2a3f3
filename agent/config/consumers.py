"""Whether the daemon may reach the consumers that a configuration names: sockets, directories, commands.

It is asked for the user the daemon runs as, from the modes and owners alone: whoever checks the configuration is often
root, who may do anything. Access control lists are not looked at, so this only ever warns.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.config.findings import Notice
from agent.frozen import frozen
from agent.settings import DirectoryTarget, HookTarget, StrongswanTarget

if TYPE_CHECKING:
    from agent.settings import Settings

DAEMON: Final = "enrolld"
"""The user of enrolld.service."""

_READ, _WRITE, _ENTER = 4, 2, 1


@frozen
class User:
    """Somebody who wants to reach something."""

    name: str
    uid: int
    groups: frozenset[int]

    def may(self, path: Path, wanted: int) -> bool:
        """Tell whether modes and owners let this user do ``wanted`` (rwx as 4, 2, 1), and come there.

        Raises:
            OSError: it is not there, or cannot be looked at.
        """
        return self._has(path, wanted) and all(self._has(one, _ENTER) for one in path.absolute().parents)

    def _has(self, path: Path, wanted: int) -> bool:
        status = path.stat()
        mode = stat.S_IMODE(status.st_mode)
        if self.uid == 0:
            return True
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid in self.groups else 0
        return (mode >> shift) & wanted == wanted


def daemon_user() -> User:
    """Return the user the daemon runs as: ``enrolld`` where there is one and we are root, else whoever we are."""
    uid = os.geteuid()
    try:
        entry = pwd.getpwnam(DAEMON) if uid == 0 else pwd.getpwuid(uid)
    except KeyError:
        return User(str(uid), uid, frozenset({os.getegid(), *os.getgroups()}))
    groups = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return User(entry.pw_name, entry.pw_uid, groups if uid == 0 else groups | {os.getegid(), *os.getgroups()})


def check_consumers(settings: Settings, user: User | None = None) -> tuple[Notice, ...]:
    """Return which consumers ``user`` (the daemon's) could not reach now."""
    user = user or daemon_user()
    return tuple(
        Notice(("identities", name, "deploy", index, kind, key), text, remedy)
        for name, identity in settings.identities.items()
        for index, target in enumerate(identity.deploy)
        for kind, key, text, remedy in _troubles(target.chosen, user)
    )


def _troubles(
    target: StrongswanTarget | DirectoryTarget | HookTarget, user: User
) -> Iterator[tuple[str, str, str, str]]:
    """Yield section, key, text and remedy of what is in the way."""
    match target:
        case StrongswanTarget(vici=vici):
            if trouble := _unreachable(Path(vici), _READ | _WRITE, user):
                remedy = "start strongSwan, and give the user the socket's group (`charon-systemd.group`)"
                yield "strongswan", "vici", f"{vici} {trouble}", f"{remedy}: see docs/deployment.md"
        case DirectoryTarget(path=path, group=group):
            if trouble := _unreachable(path, _READ | _WRITE | _ENTER, user):
                yield "directory", "path", f"{path} {trouble}", "make it and let the user write: see docs/deployment.md"
            if group is not None and user.uid and not _is_member(user, group):
                text = f"user {user.name} is no member of group {group}"
                yield "directory", "group", text, f"SupplementaryGroups={group} in the unit, or usermod"
        case HookTarget(command=command):
            if trouble := _unreachable(Path(command[0]), _ENTER, user):
                yield "hook", "command", f"{command[0]} {trouble}", "put it there, and make it executable"


def _unreachable(path: Path, wanted: int, user: User) -> str:
    try:
        return "" if user.may(path, wanted) else f"is not for user {user.name}"
    except (FileNotFoundError, NotADirectoryError):
        return "is not there"
    except OSError as error:
        return f"cannot be looked at: {(error.strerror or str(error)).lower()}"


def _is_member(user: User, group: str) -> bool:
    try:
        return (int(group) if group.isdigit() else grp.getgrnam(group).gr_gid) in user.groups
    except KeyError:
        return False
