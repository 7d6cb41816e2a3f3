"""What a fleet can live through. Times are seconds since the start of the simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
YEAR: Final = 365 * DAY


@dataclass(frozen=True, slots=True)
class Outage:
    """The CA does not answer from ``begin`` to ``end``."""

    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Limit:
    """The CA's front end serves ``per_second`` transactions and answers the others 503 with ``retry_after``."""

    per_second: int
    retry_after: float


@dataclass(frozen=True, slots=True)
class PowerCut:
    """The first ``share`` of the fleet is without power from ``begin`` to ``end``, and back within ``within``."""

    begin: float
    end: float
    share: float
    within: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollover:
    """The root ends and is succeeded.

    Its successor is handed out to whoever asks from ``announced``. Up to ``switched`` the CA issues below the old
    root, and nothing outlives that: certificates end at ``ends`` at the latest. Then it issues below the new one, and
    who does not know that refuses what it gets. What changed is asked for from a week before ``announced`` to
    ``ends``; over the other years those questions would only be more of the same. The CA always answers meanwhile.
    """

    announced: float
    switched: float
    ends: float


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the fleet lives through. ``rollout`` is in how many seconds all sites are turned up, one after another."""

    rollout: float = 8 * HOUR
    life: float = YEAR
    outages: tuple[Outage, ...] = ()
    limit: Limit | None = None
    power_cut: PowerCut | None = None
    rollover: Rollover | None = None
    years: float = 3.0

    def __post_init__(self) -> None:
        """Refuse what is not simulated."""
        if self.rollover is not None and (self.outages or self.limit):
            raise ValueError("a rollover is simulated with a CA that answers everybody; take away outages and limit")
