"""JSON documents as they lie on disk: readable by a person, versioned, and never trusted to be what we wrote.

A document of a newer version (an older enrolld was installed over a newer one) is no damage. One rule holds for all:
reading changes nothing. What is a record only (history, deployment, clock) is begun anew, and the newer one kept beside
it by whoever writes (``agent.store.aside``). What a credential or a request rests on is left as it is, and an error
says which version it takes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, TypeAlias

from agent.errors import StateCorrupt, StateNewer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"
"""What JSON can hold. NaN and the infinities are not among it."""

VERSION: Final = 1
_LAST: Final = 1_000_000
"""No version of ours has such a number."""


def encode(document: Mapping[str, JSON], *, indent: int | None = 2) -> bytes:
    """Write a document, sorted and indented, with our version in it; without ``indent`` on one line, ten times as fast.

    Raise :class:`ValueError` or :class:`TypeError` when JSON cannot hold it: a defect of the caller.
    """
    text = json.dumps({**document, "version": VERSION}, indent=indent, sort_keys=True, allow_nan=False)
    return text.encode("ascii") + b"\n"


def decode(data: bytes, path: Path | str, *, remedy: str) -> dict[str, JSON]:
    """Read a document of our version.

    Raises:
        StateNewer: it is of a later one.
        StateCorrupt: it is anything else; this says ``remedy``.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        what = "is empty" if not data.strip() else "is not JSON"
        raise StateCorrupt(f"{path} {what}: it was cut short or changed", remedy=remedy) from error
    if not isinstance(document, dict):
        raise StateCorrupt(f"{path} is JSON, but no object", remedy=remedy)
    version = document.get("version")
    refuse_newer(version, VERSION, path)
    if version != VERSION or isinstance(version, bool):
        raise StateCorrupt(f"{path} has version {version!r}, which there never was: it was changed", remedy=remedy)
    return document


def refuse_newer(version: object, known: int, path: Path | str) -> None:
    """Raise :class:`StateNewer` when ``version`` comes after the one that is ``known``."""
    if isinstance(version, int) and known < version < _LAST:
        raise StateNewer(
            f"{path} has version {version}, and this enrolld knows {known}: a newer one wrote it",
            remedy="Install the enrolld that wrote it, or a newer one; this one leaves it as it is.",
            version=version,
        )


def section(document: Mapping[str, JSON], name: str, path: Path | str, *, remedy: str) -> dict[str, JSON]:
    """Give the object a document holds under ``name``. Raise :class:`StateCorrupt` with ``remedy``."""
    value = document.get(name)
    if isinstance(value, dict):
        return value
    raise StateCorrupt(f"{path} has no object {name!r}", remedy=remedy)
