"""The configuration as the daemon holds it: one identity unpacked at a time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent import structure
from agent.errors import ConfigurationError
from agent.frozen import frozen
from agent.settings import IdentitySettings, Settings

if TYPE_CHECKING:
    from agent.supervisor.reading import Reading


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


def finish(reading: Reading) -> Configuration:
    """Return what ``reading``, which is over, has found.

    Raises:
        ConfigurationError: the file cannot be used, or not be read.
    """
    said = reading.close()
    try:
        return parse(said)
    except (ValueError, TypeError, KeyError, structure.StructureError) as error:
        raise ConfigurationError(
            f"{reading.path} could not be read: its reader ended with status {reading.process.status}",
            remedy=f"Run 'enrollctl --config {reading.path} config check'; if that finds nothing, report a defect.",
        ) from error


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
