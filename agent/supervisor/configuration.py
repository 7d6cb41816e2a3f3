"""The configuration as the daemon holds it: read by a process beside it, one identity unpacked at a time."""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from agent import structure
from agent.errors import ConfigurationError
from agent.settings import IdentitySettings, Settings
from agent.supervisor.process import Process

if TYPE_CHECKING:
    from pathlib import Path

COMMAND: Final = (sys.executable, "-I", "-m", "agent.config")
PATIENCE: Final = 60.0
"""Seconds until a reader of the file counts as hanging: a disk or a network file system that does not answer."""
_LARGEST: Final = 16 * 1_048_576


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings whose identities are kept as the JSON they came in, an eighth of their size as objects."""

    common: Settings
    """Everything but the identities."""
    identities: dict[str, bytes]
    warnings: tuple[str, ...] = ()

    def settings_of(self, name: str) -> Settings:
        """Return the settings with the one identity ``name``."""
        identity = structure.from_json(IdentitySettings, json.loads(self.identities[name]))
        return replace(self.common, identities={name: identity})


class Reading:
    """A configuration file that is being read by another process."""

    def __init__(self, path: Path, command: tuple[str, ...] = COMMAND) -> None:
        """Start to read the file at ``path``. Raise :class:`OSError` when no process can be started."""
        self._path = path
        self._said: list[bytes] = []
        self._size = 0
        self._ends_at = time.monotonic() + PATIENCE
        self.process = Process((*command, str(path)))

    @property
    def over(self) -> bool:
        """Whether it can be finished: the process has ended, or was made to."""
        return self.process.poll() is not None

    def hear(self) -> bool:
        """Take what the process has said; return whether more may come."""
        while octets := self.process.read():
            self._size += len(octets)
            if self._size > _LARGEST:
                self.process.signal(signal.SIGKILL)
            else:
                self._said.append(octets)
        return octets is None

    def hurry(self, now: float) -> float:
        """End it when it takes too long; return the seconds until then. ``now`` is on the monotonic clock."""
        if now >= self._ends_at:
            self.process.signal(signal.SIGKILL)
        return max(self._ends_at - now, 0.0)

    def finish(self) -> Configuration:
        """Return what was read, and let go of the process.

        Raises:
            ConfigurationError: the file cannot be used, or not be read.
        """
        self.hear()
        self.process.close()
        try:
            return parse(b"".join(self._said))
        except (ValueError, TypeError, KeyError, IndexError, structure.StructureError) as error:
            raise ConfigurationError(
                f"{self._path} could not be read: its reader ended with status {self.process.status}",
                remedy=f"Run 'enrollctl --config {self._path} config check'; if that finds nothing, report a defect.",
            ) from error


def parse(octets: bytes) -> Configuration:
    """Return the configuration that ``python -m agent.config`` printed.

    Raises:
        ConfigurationError: it refused the file.
        ValueError, TypeError, KeyError, IndexError, StructureError: this is something else.
    """
    first, *rest = octets.splitlines()
    document: Any = json.loads(first)
    if "refused" in document:
        refused = document["refused"]
        raise ConfigurationError(
            refused["text"], remedy=refused["remedy"], mistakes=tuple(str(one) for one in refused["mistakes"])
        )
    identities = {}
    for line in rest:
        name, settings = json.loads(line)
        identities[str(name)] = json.dumps(settings, separators=(",", ":")).encode("ascii")
    common = structure.from_json(Settings, document["settings"])
    return Configuration(common, identities, tuple(document["warnings"]))
