"""What a fleet is put through, as a table; each is run with the same number of agents for three years."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.simulation.world import DAY, HOUR, YEAR, Limit, Outage, PowerCut, Rollover, World

_WINDOW: Final = 0.616 * YEAR
"""When a fleet that was turned up in one night begins to renew; it takes 18 days."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """``slug`` names its picture; ``story`` tells an operator what happens."""

    slug: str
    story: str
    world: World


SCENARIOS: Final = (
    Scenario("steady", "every site is turned up within a year", World(rollout=YEAR)),
    Scenario("roll-out", "all sites are turned up in one night of 8 h", World()),
    Scenario(
        "outage-hour",
        "as above, and the CA is down for 1 h of that night",
        World(outages=(Outage(4 * HOUR, 5 * HOUR),)),
    ),
    Scenario(
        "outage-day",
        "one night's roll-out; the CA is down for a day while everybody renews",
        World(outages=(Outage(_WINDOW + 9 * DAY, _WINDOW + 10 * DAY),)),
    ),
    Scenario(
        "outage-weeks",
        "one night's roll-out; the CA is down for 2 weeks while everybody renews",
        World(outages=(Outage(_WINDOW + 2 * DAY, _WINDOW + 16 * DAY),)),
    ),
    Scenario(
        "outage-to-the-end",
        "certificates of 90 days; the CA goes down while everybody renews, until 1 h before the first one expires",
        World(outages=(Outage(60 * DAY, 90 * DAY - HOUR),), life=90 * DAY),
    ),
    Scenario(
        "rate-limit",
        "one night's roll-out; the CA serves 2 requests a second and answers the others 503, Retry-After 120",
        World(limit=Limit(per_second=2, retry_after=120.0)),
    ),
    Scenario(
        "power-cut",
        "one night's roll-out; a tenth of the sites loses power for 3 days while everybody renews, and all are back "
        "within a minute",
        World(power_cut=PowerCut(_WINDOW + 8 * DAY, _WINDOW + 11 * DAY, share=0.1)),
    ),
    Scenario(
        "root-rollover",
        "one night's roll-out; the root ends after two years and no certificate outlives it; its successor is "
        "announced 120 days before, and the CA issues below it from 30 days before",
        World(rollover=Rollover(announced=2 * YEAR - 120 * DAY, switched=2 * YEAR - 30 * DAY, ends=2 * YEAR)),
    ),
)
