"""A fleet of agents on a simulated clock, deciding by the very functions that the daemon decides by.

Every agent is a due moment in one heap; nothing happens between two of them. Times are seconds since the start of the
simulation. What is simulated is when requests reach the CA, not the messages in them.
"""

from __future__ import annotations

import heapq
import random
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from agent.policy import backoff, renewal

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
YEAR: Final = 365 * DAY

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_TRANSACTION: Final = 1.0
"""Seconds from the request to the installed certificate, or to the failure."""
_NEVER: Final = float("inf")


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
class World:
    """What the fleet lives through. ``rollout`` is in how many seconds all sites are turned up, one after another."""

    rollout: float = 8 * HOUR
    life: float = YEAR
    outages: tuple[Outage, ...] = ()
    limit: Limit | None = None
    power_cut: PowerCut | None = None
    years: float = 3.0


@dataclass(slots=True)
class Load:
    """What the CA sees, counted as it comes: the busiest second, and every hour."""

    hours: array[int]
    total: int = 0
    peak: int = 0
    _second: int = -1
    _in_second: int = 0

    def count(self, moment: float) -> int:
        """Count a transaction; return how many there were in this second already."""
        second = int(moment)
        if second != self._second:
            self._second, self._in_second = second, 0
        before = self._in_second
        self._in_second += 1
        if self._in_second > self.peak:  # noqa: PLR1730 - half the time of max(), millions of times
            self.peak = self._in_second
        self.total += 1
        self.hours[int(moment // HOUR)] += 1
        return before


@dataclass(slots=True)
class Result:
    """What came of it. ``lived`` are the shares of a certificate's life after which it was replaced."""

    agents: int
    load: Load
    seconds: float
    issued: int = 0
    expired: int = 0
    """How many certificates ended before there was a new one."""
    lived: array[float] = field(default_factory=lambda: array("d"))
    settled_at: float = 0.0
    """When the last agent had its first certificate."""

    @property
    def mean(self) -> float:
        """Transactions a second, over the whole time."""
        return self.load.total / self.seconds

    @property
    def early(self) -> float:
        """The smallest share of its life that a certificate lived."""
        return min(self.lived, default=0.0)

    @property
    def late(self) -> float:
        """The largest share."""
        return max(self.lived, default=0.0)


@dataclass(slots=True)
class _Agent:
    """One device. ``end`` is when its certificate ends; None without one."""

    name: str
    failures: int = 0
    issued: float = 0.0
    end: float | None = None


def live(world: World, agents: int, *, seed: int = 1) -> Result:
    """Let ``agents`` live through ``world``; the same ``seed`` brings the same numbers."""
    draw = random.Random(seed).random  # noqa: S311 - jitter, not a secret
    seconds = world.years * YEAR
    result = Result(agents, Load(array("l", [0]) * (int(seconds // HOUR) + 1)), seconds)
    fleet = [_Agent(f"enb-{number}") for number in range(agents)]
    without_power = _without_power(world.power_cut, agents, draw)
    heap = [(draw() * world.rollout, number) for number in range(agents)]
    heapq.heapify(heap)
    while heap[0][0] < seconds:
        now, number = heap[0]
        agent = fleet[number]
        following = without_power(now, number)
        if following is None:
            following = _attempt(agent, world, now, draw, result)
        heapq.heapreplace(heap, (following, number))
    result.expired += sum(1 for agent in fleet if agent.end is not None and agent.end < seconds)
    return result


def _without_power(
    cut: PowerCut | None, agents: int, draw: Callable[[], float]
) -> Callable[[float, int], float | None]:
    """Return a function that says when an agent without power comes back; None for one that has it."""
    affected = int(cut.share * agents) if cut else 0

    def back_at(now: float, number: int) -> float | None:
        if cut is None or number >= affected or not cut.begin <= now < cut.end:
            return None
        return cut.end + draw() * cut.within

    return back_at


def _attempt(agent: _Agent, world: World, now: float, draw: Callable[[], float], result: Result) -> float:
    """Ask the CA for a certificate; return when this agent acts next."""
    crowd = result.load.count(now)
    done = now + _TRANSACTION
    for outage in world.outages:
        if outage.begin <= now < outage.end:
            return done + _pause(agent, done, draw, None)
    if world.limit is not None and crowd >= world.limit.per_second:
        return done + _pause(agent, done, draw, world.limit.retry_after)
    if agent.end is None:
        result.settled_at = done
    else:
        result.lived.append((done - agent.issued) / world.life)
        result.expired += done > agent.end
    result.issued += 1
    agent.failures, agent.issued, agent.end = 0, done, done + world.life
    issued = _START + timedelta(seconds=done)
    due = renewal.due(issued, issued + timedelta(seconds=world.life), device=agent.name, last_issuance=issued)
    return (due - _START).total_seconds()


def _pause(agent: _Agent, now: float, draw: Callable[[], float], asked: float | None) -> float:
    agent.failures += 1
    left = None if agent.end is None else agent.end - now
    pace = backoff.RENEWAL if left is not None and left > 0 else backoff.ENROLLMENT
    return backoff.delay(agent.failures, uniform=draw(), pace=pace, remaining_life=left, server_says=asked)
