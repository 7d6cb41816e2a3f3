"""The configuration as the daemon holds it: one identity unpacked at a time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agent import structure
from agent.errors import ConfigurationError
from agent.frozen import frozen
from agent.settings import IdentitySettings, Settings
from agent.supervisor import reading as readers
from agent.supervisor.reading import Reading

if TYPE_CHECKING:
    from pathlib import Path

MOST_HANGING: Final = 4
"""So many readers may hang before no other one is started: each takes a place among the processes."""


@frozen
class Configuration:
    """Settings whose identities are kept as the JSON they came in, a fraction of their size as objects."""

    common: Settings
    """Everything but the identities."""
    identities: dict[str, bytes]
    warnings: tuple[str, ...] = ()

    def settings_of(self, name: str) -> Settings:
        """Return the settings with the one identity ``name``."""
        identity = structure.from_json(IdentitySettings, json.loads(self.identities[name]))
        return replace(self.common, identities={name: identity})


def begin(path: Path) -> Reading:
    """Have the file at ``path`` read by a process of its own.

    Raises:
        ConfigurationError: it cannot be started, or too many hang that were started before.
    """
    hanging = readers.hanging()
    if hanging >= MOST_HANGING:
        raise ConfigurationError(
            f"{path} is not read: {hanging} processes hang that were to read it", remedy=_find_out(path)
        )
    try:
        return Reading(path)
    except OSError as error:
        raise ConfigurationError(
            f"no process could be started to read it: {error.strerror}",
            remedy="Free memory, processes or open files, and reload again.",
        ) from error


def finish(reading: Reading) -> Configuration:
    """Return what ``reading``, which is over, has found.

    Raises:
        ConfigurationError: the file cannot be used, or not be read.
    """
    said = reading.close()
    if reading.killed:
        raise ConfigurationError(
            f"{reading.path} could not be read within {readers.PATIENCE:.0f} seconds", remedy=_find_out(reading.path)
        )
    try:
        return parse(said)
    except (ValueError, TypeError, KeyError, structure.StructureError) as error:
        raise ConfigurationError(
            f"{reading.path} could not be read: its reader ended with status {reading.process.status}",
            remedy=f"Run 'enrollctl --config {reading.path} config check'; if that finds nothing, report a defect.",
        ) from error


def _find_out(path: Path) -> str:
    return (
        f"See 'journalctl -k' for why the disk or network file system of {path} does not answer; once it does, run "
        "'systemctl reload enrolld'."
    )


def parse(octets: bytes) -> Configuration:
    """Return the configuration that ``python -m agent.config`` printed.

    Raises:
        ConfigurationError: it refused the file.
        ValueError, TypeError, KeyError, StructureError: this is something else, or not all of it.
    """
    first, *lines, _ = octets.split(b"\n")  # what has no end is no line: more was to come
    document: Any = json.loads(first)
    if "refused" in document:
        refused = document["refused"]
        raise ConfigurationError(
            refused["text"], remedy=refused["remedy"], mistakes=tuple(str(one) for one in refused["mistakes"])
        )
    identities = dict(zip(document["names"], lines, strict=True))
    common = structure.from_json(Settings, document["settings"])
    return Configuration(common, identities, tuple(document["warnings"]))
