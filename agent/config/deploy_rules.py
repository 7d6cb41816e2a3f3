"""The rules across keys about consumers (``deploy``)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from agent.config.rulebook import Rule
from agent.settings import DeployTarget, DirectoryTarget, FileNames, Layout, Switching

if TYPE_CHECKING:
    from agent.config.rulebook import Target


def _lacks_password(one: Target) -> bool:
    directory = one.own.directory
    return directory is not None and directory.layout == Layout.PKCS12 and directory.password is None


def _leads_outside(one: Target) -> bool:
    return one.own.directory is not None and not _are_inside(one.own.directory.names)


def _are_inside(names: FileNames) -> bool:
    """Tell whether file names stay below their directory, out of the way of ours, and apart from each other."""
    given = _given(names)
    parts = [part for name in given for part in name.split("/")]
    return len(set(given)) == len(given) and all(part and not part.startswith(".") for part in parts)


def _given(names: FileNames) -> list[str]:
    # One by one, and not by astuple(): what could not be read says so only when it is asked for.
    every: list[str | None] = [getattr(names, field.name) for field in dataclasses.fields(FileNames)]
    return [name for name in every if name is not None]


def _names_twice(one: Target) -> bool:
    connections = () if one.own.strongswan is None else one.own.strongswan.connections
    return len(set(connections)) < len(connections)


def _is_shared(one: Target) -> bool:
    """Tell whether another consumer's files would take the place of these, or the link that switches them would."""
    own = one.own.directory
    if own is None:
        return False
    return any(
        other is not one.own and other.directory is not None and not _keep_apart(one.name, own, name, other.directory)
        for name, other in one.directories.get(own.path, ())
    )


def _keep_apart(own_name: str, own: DirectoryTarget, name: str, other: DirectoryTarget) -> bool:
    """Tell whether two consumers can have one directory: each file is renamed by itself, and none has a name twice."""
    if not own.switching == other.switching == Switching.FILES:
        return False
    given, given_there = _given(own.names), _given(other.names)
    if given or given_there:
        return bool(given and given_there) and not set(given) & set(given_there)
    return own.layout == other.layout == Layout.SWANCTL and own_name != name  # where names hold that of the identity


MISTAKES: Final[tuple[Rule[DeployTarget], ...]] = (
    Rule(
        "hook.command",
        lambda one: one.own.hook is not None and not one.own.hook.command[0].startswith("/"),
        "must begin with the absolute path of a program: there is no shell and no PATH",
        "write it like [/usr/libexec/reload-ike]",
    ),
    Rule(
        "directory.password",
        _lacks_password,
        "is needed for the layout pkcs12",
        "name where it comes from, such as credential:p12-password",
    ),
    Rule(
        "directory.password",
        lambda one: one.own.directory is not None and one.own.directory.password == "prompt",  # noqa: S105
        "must not be `prompt`: files are written when nobody is there",
        "name a systemd credential or a file",
    ),
    Rule(
        "directory.names",
        _leads_outside,
        "must stay below the directory: relative, without `..` or a leading dot, and no name twice",
        "write them like tls.crt or certs/tls.crt",
    ),
    Rule(
        "directory.path",
        _is_shared,
        "is another consumer's too: each would take away what the other one has got",
        "give each a directory of its own, or both `switching: files` with other `names` (or the layout swanctl)",
    ),
    Rule("strongswan.connections", _names_twice, "must not name a connection twice", "remove one of the two"),
)
"""What is refused."""

WARNINGS: Final[tuple[Rule[DeployTarget], ...]] = (
    Rule(
        "hook.command",
        lambda one: one.own.hook is not None and one.own.hook.command[0].endswith("/systemctl"),
        "is not for the user enrolld, unless polkit lets it",
        "let a path unit reload the consumer, which needs no rights: see docs/deployment.md",
    ),
)
"""What is allowed, and probably not meant."""
