"""What charon's messages say: of the tunnels of one connection, of CHILD SAs, of with whom a tunnel is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from agent.frozen import frozen

_KEPT_LINES: Final = 200
_UNANSWERED: Final = "establishing IKE_SA failed"


@frozen
class SpiChange:
    """CHILD SAs came or went, by the SPIs on which charon receives."""

    came: frozenset[int] = frozenset()
    went: frozenset[int] = frozenset()


@dataclass(slots=True)
class Watch:
    """What happened to the tunnels of one connection since the watch began."""

    connection: str
    before: frozenset[str]
    """Unique ids of the SAs that were there."""
    up: set[str] = field(default_factory=set)
    """New SAs that were authenticated by both sides."""
    failed: set[str] = field(default_factory=set)
    """New SAs that came to nothing."""
    lost: set[str] = field(default_factory=set)
    """SAs from before that ended."""
    broke_first: bool = False
    """An old SA ended before any new one was up: the tunnel was down in between."""
    lines: list[str] = field(default_factory=list)
    """What charon logged about it."""

    def note(self, event: str, message: dict[str, Any]) -> None:
        """Take one event of charon's."""
        if event == "log":
            self._note_line(message)
            return
        details = message.get(self.connection)
        if not isinstance(details, dict):
            return
        unique = text(details.get("uniqueid"))
        if text(message.get("up")) == "yes":
            self.up.add(unique)
        elif unique in self.before:
            self.lost.add(unique)
            self.broke_first = self.broke_first or not self.up
        elif unique not in self.up:
            self.failed.add(unique)

    def _note_line(self, message: dict[str, Any]) -> None:
        if text(message.get("ikesa-name")) != self.connection:
            return
        line, unique = text(message.get("msg")), text(message.get("ikesa-uniqueid"))
        self.lines.append(line)
        del self.lines[:-_KEPT_LINES]
        if _UNANSWERED in line and unique not in self.before:  # there is no event of an SA that nobody answered
            self.failed.add(unique)


def spis(*messages: Any) -> frozenset[int]:
    """Collect every ``spi-in`` of messages about CHILD SAs, whatever section it is in."""
    found: frozenset[int] = frozenset()
    for message in messages:
        for key, value in message.items():
            if isinstance(value, dict):
                found |= spis(value)
            elif key == "spi-in":
                found |= {int(value, 16)}
    return found


def purpose(details: dict[str, Any]) -> tuple[str, ...]:
    """Return with whom an IKE SA is and for what traffic; two of the same are one tunnel made twice."""
    children = details.get("child-sas", {}).values()
    selectors = (one for child in children for side in ("local-ts", "remote-ts") for one in child.get(side, ()))
    peer = (text(details.get(key)) for key in ("remote-id", "remote-host", "remote-port"))
    return *peer, *sorted(map(text, selectors))


def text(value: object) -> str:
    """Return a value of a message as text; empty for what is none."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
