"""A fleet of agents on a simulated clock, deciding by the very functions that the daemon decides by.

Every agent jumps from one request to the next; nothing happens between two of them. Times are seconds since the start
of the simulation. What is simulated is when requests reach the CA, not the messages in them.

Agents only ever meet at a CA that limits the rate: there they act in the order of time, out of one heap. Otherwise
each lives its three years alone, one after another, which is twice as fast and comes to the same.
"""

from __future__ import annotations

import heapq
import random
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from agent.policy import backoff, refresh, renewal
from tests.simulation.world import HOUR, YEAR, World

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_TRANSACTION: Final = 1.0
"""Seconds from the request to the installed certificate, or to the failure."""
_EARLIEST: Final = 1 - 1 / 3 - renewal.JITTER
"""The share of its life after which the policy renews a certificate at the earliest, and at the latest."""
_LATEST: Final = 1 - 1 / 3
_WARNED: Final = (1 + _LATEST) / 2
"""Half of what is set aside for renewal has passed without one: a person is told (``RenewalPlan.warn_at``)."""
_ROUNDING: Final = 1e-6


class Load:
    """What the CA sees, counted as it comes, in whatever order: every second, and every hour."""

    def __init__(self, seconds: float) -> None:
        """Nothing has been seen in the ``seconds`` to come."""
        self.hours = array("l", [0]) * (int(seconds // HOUR) + 1)
        self.total = 0
        self.peak = 0
        """Transactions in the busiest second."""
        self._seconds = memoryview(bytearray(2 * (int(seconds) + 1))).cast("H")

    def count(self, moment: float) -> int:
        """Count a transaction; return how many there were in this second already."""
        second = int(moment)
        before = self._seconds[second]
        self._seconds[second] = before + 1
        if before >= self.peak:
            self.peak = before + 1
        self.total += 1
        self.hours[second // 3600] += 1
        return before

    def __reduce__(self) -> tuple[object, ...]:
        """Leave the seconds behind, 180 MiB, when results go to another process."""
        return _counted, (self.hours, self.total, self.peak)


def _counted(hours: array[int], total: int, peak: int) -> Load:
    load = Load(0)
    load.hours, load.total, load.peak = hours, total, peak
    return load


@dataclass(slots=True)
class Result:
    """What came of it."""

    agents: int
    load: Load
    seconds: float
    issued: int = 0
    renewed: int = 0
    expired: int = 0
    """How many certificates ended before there was a new one."""
    refused: int = 0
    """How many certificates an agent would not have, because it did not know their root."""
    early: int = 0
    """Renewals before the policy's window, which is a twentieth of a certificate's life."""
    late: int = 0
    """And after it."""
    warned: int = 0
    """Those so late that a person was told."""
    least_lived: float = 1.0
    """The smallest share of its life after which a certificate was replaced."""
    most_lived: float = 0.0
    settled_at: float = 0.0
    """When the last agent had its first certificate."""

    @property
    def mean(self) -> float:
        """Transactions a second, over the whole time."""
        return self.load.total / self.seconds

    def count_renewal(self, lived: float) -> None:
        """Count one that was asked for after the share ``lived`` of a certificate's life."""
        self.renewed += 1
        self.early += lived < _EARLIEST - _ROUNDING
        self.late += lived > _LATEST + _ROUNDING
        self.warned += lived >= _WARNED
        self.least_lived = min(self.least_lived, lived)
        self.most_lived = max(self.most_lived, lived)


@dataclass(slots=True)
class _Agent:
    """One device. ``end`` is when its certificate ends; None without one. ``at``: when it renews next."""

    name: str
    without_power: bool
    issued: float = 0.0
    end: float | None = None
    failures: int = 0
    at: float = 0.0
    ask_at: float = float("inf")
    """When it asks the CA what changed."""
    knows_new_root: bool = False


def live(world: World, agents: int, *, seed: int = 1) -> Result:
    """Let ``agents`` live through ``world``; the same ``seed`` brings the same numbers."""
    draw = random.Random(seed).random  # noqa: S311 - jitter, not a secret
    seconds = world.years * YEAR
    life = _Life(world, Result(agents, Load(seconds), seconds), draw)
    affected = int(world.power_cut.share * agents) if world.power_cut else 0
    fleet = [_Agent(f"enb-{number}", without_power=number < affected) for number in range(agents)]
    starts = [draw() * world.rollout for _ in fleet]
    if world.limit is None:
        for agent, moment in zip(fleet, starts, strict=True):
            while moment < seconds:
                moment = life.act(agent, moment)  # noqa: PLW2901 - it goes on from there
    else:
        heap = [(moment, number) for number, moment in enumerate(starts)]
        heapq.heapify(heap)
        while heap[0][0] < seconds:
            moment, number = heap[0]
            heapq.heapreplace(heap, (life.act(fleet[number], moment), number))
    life.result.expired += sum(1 for agent in fleet if agent.end is not None and agent.end < seconds)
    return life.result


class _Life:
    """What one agent does at a moment, and when it acts next."""

    def __init__(self, world: World, result: Result, draw: Callable[[], float]) -> None:
        self._world = world
        self._outages = world.outages
        self._limit = world.limit
        self._cut = world.power_cut
        self._rollover = world.rollover
        self.result = result
        self._count = result.load.count
        self._draw = draw

    def act(self, agent: _Agent, now: float) -> float:
        """Do what is due; return when the next thing is."""
        cut = self._cut
        if cut is not None and agent.without_power and cut.begin <= now < cut.end:
            return cut.end + self._draw() * cut.within
        if now >= agent.ask_at:
            self._ask_what_changed(agent, now)
        else:
            agent.at = self._request(agent, now)
        return min(agent.at, agent.ask_at)

    def _request(self, agent: _Agent, now: float) -> float:
        """Ask the CA for a certificate; return when this agent asks again."""
        crowd = self._count(now)
        done = now + _TRANSACTION
        for outage in self._outages:
            if outage.begin <= now < outage.end:
                return done + self._pause(agent, done, None)
        if self._limit is not None and crowd >= self._limit.per_second:
            return done + self._pause(agent, done, self._limit.retry_after)
        end = done + self._world.life
        rollover = self._rollover
        if rollover is not None:
            if now < rollover.switched:
                end = min(end, rollover.ends)
            elif not agent.knows_new_root:
                self.result.refused += 1
                return done + self._pause(agent, done, None, refused=True)
            if agent.end is None:
                agent.ask_at = _refresh(agent, max(done, rollover.announced - refresh.EVERY))
        return self._take(agent, now, done, end)

    def _take(self, agent: _Agent, now: float, done: float, end: float) -> float:
        """Use the certificate that came, up to ``end``; return when it is due."""
        result = self.result
        if agent.end is None:
            result.settled_at = max(result.settled_at, done)
        else:
            result.count_renewal((now - agent.issued) / (agent.end - agent.issued))
            result.expired += done > agent.end
        result.issued += 1
        agent.failures, agent.issued, agent.end = 0, done, end
        issued = _START + timedelta(seconds=done)
        not_after = issued + timedelta(seconds=end - done)
        due = renewal.due(issued, not_after, device=agent.name, last_issuance=issued)
        return done + (due - issued).total_seconds()

    def _pause(self, agent: _Agent, now: float, asked: float | None, *, refused: bool = False) -> float:
        """Return how long to wait after one more failure: no certificate, or one that was ``refused``."""
        agent.failures += 1
        left = None if agent.end is None else agent.end - now
        pace = backoff.RENEWAL if left is not None and left > 0 else backoff.ENROLLMENT
        return backoff.delay(
            agent.failures,
            uniform=self._draw(),
            pace=backoff.REJECTED if refused else pace,
            remaining_life=left,
            server_says=asked,
        )

    def _ask_what_changed(self, agent: _Agent, now: float) -> None:
        """Ask for the CA's certificates and for the successor of its root, two transactions."""
        assert self._rollover is not None
        self._count(now)
        self._count(now)
        agent.knows_new_root |= now >= self._rollover.announced
        agent.ask_at = float("inf") if now >= self._rollover.ends else _refresh(agent, now + _TRANSACTION)


def _refresh(agent: _Agent, now: float) -> float:
    moment = _START + timedelta(seconds=now)
    planned = refresh.after_success(moment, every=refresh.EVERY, device=agent.name, ends=None)
    assert planned is not None
    return now + (planned - moment).total_seconds()
