"""What is known of identities now: asked of enrolld where it runs, read from its files where it does not."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from agent import structure
from agent.errors import ControlError, NotPermitted
from agent.frozen import frozen
from agent.overview import Overview, look
from agent.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable


class Daemon(StrEnum):
    """How it is with enrolld, in words for people."""

    RUNS = "enrolld runs"
    CLOSED = "enrolld runs, and does not answer this user"
    SILENT = "enrolld runs, but does not answer"
    ABSENT = "enrolld does not run"
    ELSEWHERE = "enrolld does not run with this configuration"


REMEDIES: Final = {
    Daemon.RUNS: "",
    Daemon.CLOSED: "",
    Daemon.SILENT: "systemctl restart enrolld",
    Daemon.ABSENT: "systemctl start enrolld",
    Daemon.ELSEWHERE: "systemctl start enrolld, where this is the configuration of the service",
}
"""The command that mends it, where something has to be mended: nobody renews a certificate without enrolld."""


_SECONDS: Final = 3.0
"""How long enrolld may take to tell; its files tell the same."""


def words(daemon: Daemon) -> str:
    """Return how it is with enrolld and, where something has to be mended, how."""
    return f"{daemon}: {REMEDIES[daemon]}" if REMEDIES[daemon] else str(daemon)


@frozen(kw_only=True)
class Sight:
    """``seen``: one an identity, in the order asked for."""

    seen: tuple[Overview, ...]
    daemon: Daemon

    @property
    def kept(self) -> bool:
        """Whether enrolld keeps them: what is next it does by itself."""
        return self.daemon in {Daemon.RUNS, Daemon.CLOSED}


def see(settings: Settings, names: Iterable[str], now: datetime) -> Sight:
    """Return what is known of the identities ``names`` at ``now``.

    enrolld is believed about what it keeps in the same directory; of anything else the files tell.

    Raises:
        StateError: enrolld does not tell, and the files cannot be read.
    """
    daemon, told = _told(settings)
    seen = (
        told.get(name) or look(settings.state_directory, name, settings.identities[name], now=now) for name in names
    )
    return Sight(seen=tuple(seen), daemon=daemon)


def _told(settings: Settings) -> tuple[Daemon, dict[str, Overview]]:
    if not settings.runtime_directory.is_dir():
        # systemd removes the usual one with the service; where another one is missing, starting that may be no help.
        usual = next(one.default for one in fields(Settings) if one.name == "runtime_directory")
        return Daemon.ABSENT if settings.runtime_directory == usual else Daemon.ELSEWHERE, {}
    from agent.control_client import connect  # noqa: PLC0415 - sockets, only where somebody may listen

    try:
        client = connect(settings.runtime_directory)
        if client is None:
            return Daemon.ABSENT, {}
        with client:
            found = client.identities(patience=_SECONDS)
    except NotPermitted:
        return Daemon.CLOSED, {}
    except ControlError:
        return Daemon.SILENT, {}
    place = str(settings.state_directory)
    ours = (one for one in found if one.pop("state_directory", None) == place)
    return Daemon.RUNS, {one.name: one for one in map(_overview, ours) if one is not None}


def _overview(told: dict[str, Any]) -> Overview | None:
    """Return what enrolld said; None when it is of another version, and its files say it better."""
    try:
        return structure.from_json(Overview, _in_our_names(told))
    except structure.StructureError:
        return None


def _in_our_names(document: dict[str, Any]) -> dict[str, Any]:
    return {
        key.replace("_", "-"): [_in_our_names(one) for one in value] if isinstance(value, list) else value
        for key, value in document.items()
    }
