"""Every credential of an identity, and the one in use: written whole, switched by one rename, rolled back as one.

::

    identities/<name>/
        lock                            held by whoever works on this identity
        current -> generations/000003   the one in use
        generations/000003/             see agent.store.credential
        transaction/                    only while a transaction is open, see agent.store.state
        state.json                      see agent.store.state

A generation is built under a temporary name and gets its number when all of it is durable. Numbers only grow. Whoever
writes holds the lock; reading needs none, as everything with a name is whole.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from agent.errors import ConfigurationError, StateCorrupt, StateError
from agent.store import atomic
from agent.store.credential import DOCUMENT, Credential, Generation
from agent.store.faults import reported
from agent.store.locking import exclusive_lock
from agent.store.state import StateFile, TransactionDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.store.documents import JSON

__all__ = ["IDENTITY_NAME", "Credential", "Generation", "IdentityStore"]

IDENTITY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
"""What an identity may be called, for ``fullmatch``: one part of a path, not hidden, the same in every locale."""

_NUMBER: Final = re.compile(r"[0-9]{6,18}", re.ASCII)
_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class IdentityStore:
    """What is kept on disk for one identity. Opening it touches nothing."""

    def __init__(self, state_directory: Path, name: str) -> None:
        """Keep where the identity ``name`` lives. Raise :class:`ConfigurationError` when it is no safe file name."""
        if not IDENTITY_NAME.fullmatch(name):
            raise ConfigurationError(
                f"{name!a} cannot be the name of an identity",
                remedy="use 1 to 64 letters, digits, dots, hyphens and underscores, with a letter or digit first",
            )
        self.name = name
        self.state_directory = state_directory
        self.directory = state_directory / "identities" / name
        self._generations = self.directory / "generations"
        self._current = self.directory / "current"
        self._locked = False
        self._transaction = TransactionDirectory(self.directory)

    @property
    def state(self) -> StateFile:
        """The record of attempts; it is written without the lock."""
        return StateFile(self.directory)

    @property
    def transaction(self) -> TransactionDirectory:
        """The open transaction, if there is one; it is written under the lock."""
        return self._transaction

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold this identity for the block; make its directories and remove what a crash left half done.

        Raise :class:`agent.errors.StateBusy` at once, with the number of the process that holds it, and
        :class:`agent.errors.StateError` when the disk does not let us.
        """
        self._demand_state_directory()
        settled = os.path.lexists(self._current)  # these directories were durable before there was a link
        atomic.make_directory(self.directory.parent, found_durable=settled)
        atomic.make_directory(self.directory, found_durable=settled)
        with exclusive_lock(self.directory / "lock", f"identity {self.name}"):
            atomic.make_directory(self._generations, found_durable=settled)
            for directory in (self.directory, self._generations, *(entry.path for entry in self.generations)):
                atomic.sweep(directory)
            self._transaction = TransactionDirectory(self.directory)  # another process may have had it meanwhile
            self._transaction.sweep()
            self._locked = True
            try:
                yield
            finally:
                self._locked = False

    @property
    def generations(self) -> tuple[Generation, ...]:
        """Every generation, oldest first. What is in them is checked when it is read, not here."""
        self._demand_state_directory()
        with reported("read", self._generations):
            try:
                names = os.listdir(self._generations)
            except FileNotFoundError:
                return ()
        numbers = sorted(number for name in names if (number := _number(name)) is not None)
        return tuple(self._generation(number) for number in numbers)

    @property
    def current(self) -> Generation | None:
        """The generation in use, checked whole; None when none was ever switched to.

        Raise :class:`agent.errors.StateCorrupt` when the link is not ours or leads nowhere, or a file is missing or
        changed; older generations are untouched then.
        """
        while (number := self._current_number()) is not None:
            generation = self._generation(number)
            try:
                generation.check()
            except StateCorrupt:
                if self._current_number() == number:
                    raise
                continue  # it was switched and pruned away while we read it
            return generation
        return None

    def add(self, credential: Credential) -> Generation:
        """Write a new generation, durably; it is not in use before :meth:`switch`.

        Raise :class:`agent.errors.StateError`: everything else is as it was, and there is no new generation, unless
        only the last fsync failed; then it may be there, and adding again makes another.
        """
        self._demand_lock()
        highest = max((generation.number for generation in self.generations), default=0)
        # The number a dangling link names is taken too: a new generation must not come into use by accident.
        generation = self._generation(max(highest, self._linked_number()) + 1)
        atomic.write_directory(generation.path, credential.files(), credential.links)
        generation.check()
        return generation

    def switch(self, generation: Generation) -> None:
        """Bring ``generation`` into use, forward or back, durably. A damaged one is refused (``StateCorrupt``)."""
        self._demand_lock()
        self._demand_mine(generation)
        generation.check()
        atomic.switch_link(self._current, f"generations/{generation.path.name}")

    def mark(self, generation: Generation, key: str, value: JSON) -> None:
        """Write ``key`` into the marks of ``generation``, durably; see :data:`agent.store.credential.CONFIRMED`."""
        self._demand_lock()
        self._demand_mine(generation)
        atomic.write_file(generation.path / DOCUMENT, generation.marked(key, value))

    def prunable(self, keep: int = 3) -> tuple[Generation, ...]:
        """Tell which generations :meth:`prune` would remove: who destroys token keys does so first.

        ``keep`` counts the current one and those before it; what is newer than the current one is never named, and
        nothing is when there is no current one. Two generations may name one key (renewal with the same key).
        """
        if keep < 1:
            raise ValueError("the current generation is always kept")
        generations = self.generations
        if len(generations) <= keep or (current := self.current) is None:
            return ()
        upto = [generation for generation in generations if generation.number <= current.number]
        return tuple(upto[:-keep])

    def prune(self, keep: int = 3) -> tuple[Generation, ...]:
        """Remove what :meth:`prunable` names, oldest first, durably; return what was removed.

        While the current generation is damaged nothing is removed (:class:`agent.errors.StateCorrupt`, where anything
        would be).
        """
        self._demand_lock()
        doomed = self.prunable(keep)
        for generation in doomed:
            atomic.remove_tree(generation.path)
        return doomed

    def _generation(self, number: int) -> Generation:
        return Generation(number, self._generations / f"{number:06d}")

    def _current_number(self) -> int | None:
        """Read the link; None when there is none."""
        self._demand_state_directory()
        with reported("read", self._current):
            try:
                target = os.readlink(self._current)
            except FileNotFoundError:
                return None
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                target = "no link"
        directory, _, name = target.partition("/")
        number = _number(name)
        if directory != "generations" or number is None:
            raise StateCorrupt(
                f"{self._current} should be a link to one of the generations and is {target!a}",
                remedy=f"run 'enrollctl rollback {self.name}' to choose a generation, which sets it right",
            )
        return number

    def _linked_number(self) -> int:
        try:
            return self._current_number() or 0
        except StateCorrupt:  # it names no generation, so it takes no number; switch() will replace it
            return 0

    def _demand_state_directory(self) -> None:
        """Refuse to take a disk that is not mounted for an identity that was never enrolled."""
        with reported("open", self.state_directory):
            status = os.stat(self.state_directory)
            if not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if status.st_mode & _OTHERS_MAY_WRITE:
            raise StateError(
                f"others than its owner may write to {self.state_directory} (mode {stat.S_IMODE(status.st_mode):04o})",
                remedy=f"find out who did, then run 'chmod go-w {shlex.quote(str(self.state_directory))}'",
            )

    def _demand_lock(self) -> None:
        if not self._locked:
            raise RuntimeError("an identity is written to only under its lock")

    def _demand_mine(self, generation: Generation) -> None:
        if generation.path.parent != self._generations:
            raise ValueError(f"{generation.path} is no generation of {self.name}")


def _number(name: str) -> int | None:
    if not _NUMBER.fullmatch(name):
        return None
    number = int(name)
    return number if f"{number:06d}" == name else None
