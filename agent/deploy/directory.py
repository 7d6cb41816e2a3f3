"""Files for a consumer: with the names, mode and owner it wants, switched together, untouched when nothing changed.

With ``switching: link`` the directory looks like this, and one rename of ``.current`` switches everything at once::

    /etc/ike/
        .current -> .000003.5f1c09a2          the number of the generation, and a random mark
        .000003.5f1c09a2/certificate.pem ...  the files
        certificate.pem -> .current/certificate.pem

With ``switching: files`` each file is renamed into place in the order of ``agent.deploy.layouts``. A consumer that
reads in between sees a new key beside an old certificate; for those that cannot follow links.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import stat
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from agent import units
from agent.deploy import foreign, layouts
from agent.errors import ConsumerRefused, ConsumerUnavailable, DeployError, StateError
from agent.settings import Layout, Switching
from agent.store import atomic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.deploy.material import Material
    from agent.deploy.target import Change, Hands
    from agent.settings import DirectoryTarget

CURRENT: Final = ".current"
_OURS: Final = re.compile(r"\.[0-9]{6,18}\.[0-9a-f]{8}")
_HALF_MADE: Final = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.tmp")
"""What :func:`agent.store.atomic.temporary_name` makes."""
_READ_BITS: Final = 0o444


class Directory:
    """A directory with the credential in it."""

    def __init__(self, settings: DirectoryTarget, hands: Hands) -> None:
        """Keep what is wanted; nothing is touched yet."""
        self._settings = settings
        self._hands = hands
        self._path = settings.path
        self._mode = units.file_mode(settings.mode)

    def deploy(self, change: Change) -> str:
        """Write what differs and switch; read it back. See :class:`agent.deploy.target.Target`."""
        with self._explained():
            for name in self._names(change.new) | self._earlier_names(change):
                foreign.demand_own_way(self._path, name)
            if self.live(change.new):
                self._tidy(change)
                return f"the files in {self._path} are as they should be"
            wanted = self._wanted(change.new)
            if self._settings.switching is Switching.LINK:
                self._switch(wanted, change.new.number)
            else:
                self._replace(wanted, change.previous)
            self._tidy(change)
            if not self.live(change.new):
                raise ConsumerRefused(
                    f"{self._path} does not hold what was just written to it",
                    remedy=f"Something else writes there: see 'ls -la {shlex.quote(str(self._path))}'.",
                )
        return f"{len(wanted)} files are in {self._path}"

    def live(self, material: Material) -> bool:
        """Tell whether every file is there, with its content, mode and owner."""
        with self._explained():
            if not self._path.is_dir():
                return False
            wanted = layouts.files(material, self._settings, self._hands.identity)
            owner, group = self._owner(), self._group()
            same = all(self._held(name, owner, group) == content for name, content in wanted.items())
            return same and (self._settings.layout is not Layout.PKCS12 or self._has_pkcs12(material, owner, group))

    def _held(self, name: str, owner: int, group: int) -> bytes | None:
        """Return what the file holds; None unless it is there, in its way, with the mode and owner wanted."""
        if self._links(name) is not (self._settings.switching is Switching.LINK):
            return None
        found = foreign.read(self._path / name)
        if found is None:
            return None
        status, octets = found
        fits = (
            stat.S_IMODE(status.st_mode) == self._mode and owner in {-1, status.st_uid} and group in {-1, status.st_gid}
        )
        return octets if fits else None

    def _links(self, name: str) -> bool:
        path = self._path / name
        return path.is_symlink() and str(path.readlink()) == _through_current(name)

    def _has_pkcs12(self, material: Material, owner: int, group: int) -> bool:
        held = self._held(self._pkcs12_name, owner, group)
        return held is not None and layouts.pkcs12_fits(held, material, self._password())

    def _wanted(self, material: Material) -> dict[str, bytes]:
        wanted = layouts.files(material, self._settings, self._hands.identity)
        if self._settings.layout is Layout.PKCS12:
            wanted[self._pkcs12_name] = layouts.pkcs12_file(material, self._password(), self._hands.identity)
        return wanted

    @property
    def _pkcs12_name(self) -> str:
        (part,) = (one for one in layouts.PARTS[Layout.PKCS12] if one.key == "pkcs12")
        return layouts.name_of(part, self._settings, self._hands.identity)

    def _password(self) -> bytes:
        source = self._settings.password
        assert source is not None  # noqa: S101 - a rule of the configuration demands it
        return self._hands.read_secret(source)

    # ---- switching by one link

    def _switch(self, wanted: dict[str, bytes], number: int) -> None:
        home = self._path / f".{number:06d}.{os.urandom(4).hex()}"
        building = atomic.temporary_name(home)
        self._make(building)
        for name, content in wanted.items():
            for parent in reversed(PurePosixPath(name).parents[:-1]):
                if not (building / parent).is_dir():
                    self._make(building / parent)
            atomic.write_file(building / name, content, self._mode, owner=self._owner(), group=self._group())
        building.rename(home)
        atomic.fsync_directory(self._path)
        atomic.switch_link(self._path / CURRENT, home.name)
        for name in wanted:
            if not self._links(name):
                self._make_parents(name)
                atomic.switch_link(self._path / name, _through_current(name))

    def _make(self, directory: Path) -> None:
        """Make a directory that whoever may read the files may enter.

        Its mode is given at once: setting it afterwards would take away the setgid bit that it inherits.
        """
        readers = self._mode & _READ_BITS
        umask = os.umask(0)
        try:
            directory.mkdir(mode=0o700 | readers | readers >> 2)
        finally:
            os.umask(umask)
        status, owner, group = directory.stat(), self._owner(), self._group()
        if owner not in {-1, status.st_uid} or group not in {-1, status.st_gid}:
            os.chown(directory, owner, group)

    # ---- switching file by file

    def _replace(self, wanted: dict[str, bytes], previous: Material | None) -> None:
        """Rename each file into place when all are written: a full disk is met before anything has changed."""
        owner, group = self._owner(), self._group()
        for name in wanted:
            self._make_parents(name)
        changed = {name: content for name, content in wanted.items() if self._held(name, owner, group) != content}
        files = {self._path / name: content for name, content in changed.items()}
        try:
            atomic.write_files(files, self._mode, owner=owner, group=group)
        except BaseException:
            if previous is not None:
                with suppress(StateError, OSError, DeployError):  # the first error is the one to report
                    self._replace(self._wanted(previous), None)
            raise

    def _names(self, material: Material) -> set[str]:
        names = set(layouts.files(material, self._settings, self._hands.identity))
        return names | {self._pkcs12_name} if self._settings.layout is Layout.PKCS12 else names

    def _earlier_names(self, change: Change) -> set[str]:
        earlier = [one for one in (change.previous, *change.retired) if one is not None]
        return {name for one in earlier for name in self._names(one)}

    def _tidy(self, change: Change) -> None:
        """Remove what the new credential does not have, and what a crash left; nothing that is not ours."""
        names = self._names(change.new)
        for name in sorted(self._earlier_names(change) - names):
            (self._path / name).unlink(missing_ok=True)
        kept = str((self._path / CURRENT).readlink()) if self._settings.switching is Switching.LINK else ""
        ours = {CURRENT, *(PurePosixPath(name).name for name in names)}
        folders = {self._path, *((self._path / name).parent for name in names)}
        for entry in [one for folder in folders for one in folder.iterdir()]:
            half_made = _HALF_MADE.fullmatch(entry.name)
            left = half_made["name"] if half_made else entry.name
            if (half_made and left in ours) or (_OURS.fullmatch(left) and left != kept):
                _remove(entry)
        if not kept:
            (self._path / CURRENT).unlink(missing_ok=True)

    # ---- owners and parents

    def _make_parents(self, name: str) -> None:
        parent = self._path / PurePosixPath(name).parent
        if not parent.is_dir():
            atomic.make_directory(parent, 0o750)

    def _owner(self) -> int:
        name = self._settings.owner
        if name is None:
            return -1
        try:
            return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
        except KeyError:
            raise ConsumerUnavailable(
                f"there is no user {name} on this machine", remedy="Make it, or correct `owner` in the configuration."
            ) from None

    def _group(self) -> int:
        name = self._settings.group
        if name is None:
            return -1
        try:
            return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
        except KeyError:
            raise ConsumerUnavailable(
                f"there is no group {name} on this machine", remedy="Make it, or correct `group` in the configuration."
            ) from None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the operating system refuses into a sentence with its remedy."""
        try:
            if not self._path.is_dir():
                raise ConsumerUnavailable(
                    f"there is no directory {self._path}",
                    remedy=f"Make it for its consumer: install -d -m 2770 -o root -g {_user()} "
                    f"{shlex.quote(str(self._path))}; see docs/deployment.md.",
                )
            yield
        except StateError as error:
            cause = error.__cause__
            if isinstance(cause, PermissionError):
                raise ConsumerUnavailable(str(error), remedy=self._rights_remedy()) from error
            raise ConsumerUnavailable(str(error), remedy=error.remedy) from error
        except PermissionError as error:
            raise ConsumerUnavailable(f"{error.strerror}: {error.filename}", remedy=self._rights_remedy()) from error
        except OSError as error:
            raise ConsumerUnavailable(
                f"{self._path} cannot be used: {error.strerror}",
                remedy="See 'journalctl -k' for what the disk reports.",
            ) from error

    def _rights_remedy(self) -> str:
        giving = " Leave `owner` out: only root gives files away." if self._settings.owner and os.geteuid() else ""
        group = f" and a member of group {self._settings.group}" if self._settings.group else ""
        return f"Let user {_user()} write to {shlex.quote(str(self._path))}{group}; see docs/deployment.md.{giving}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        atomic.remove_tree(path)
    else:
        path.unlink()


def _through_current(name: str) -> str:
    return "../" * name.count("/") + f"{CURRENT}/{name}"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
