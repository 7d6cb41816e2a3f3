"""What is kept of a record that this version cannot read, when another one takes its place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.errors import StateCorrupt, StateNewer
from agent.store import atomic
from agent.store.faults import reported

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def keep_unread(path: Path, read: Callable[[bytes, Path], object]) -> None:
    """Rename what is at ``path`` if ``read`` refuses it; to be called before a new record is written.

    It becomes ``NAME.version-2`` if a newer version wrote it, or ``NAME.damaged``; an earlier one of that name is
    replaced. Raise :class:`agent.errors.StateError`.
    """
    try:
        data = atomic.read_if_present(path)
        if data is not None:
            read(data, path)
    except StateNewer as error:
        _rename(path, newer_name(path.name, error))
    except StateCorrupt:
        _rename(path, f"{path.name}.damaged")


def newer_name(name: str, error: StateNewer) -> str:
    """Return what a record of a newer version is called once another one has taken its place."""
    return f"{name}.version-{error.version}"


def _rename(path: Path, name: str) -> None:
    with reported("put aside", path):
        os.replace(path, path.with_name(name))
