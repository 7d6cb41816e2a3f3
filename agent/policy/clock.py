"""What a clock reading is worth, what happened to the clock, and how long to sleep.

Three facts of the field. Many boards have no battery for their clock: after a power cut it reads 1970, or the date
the firmware was built, until a time server answers, and the time server may be behind the very tunnel the
certificate is for. Clocks are set while we run, both ways. And timers stop while a machine is suspended or a virtual
machine is paused. So no reading is believed without a look, no deadline is believed for ever, and no sleep is long.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from agent.frozen import frozen

SLICE = 60.0
"""Seconds of the longest sleep: a step or a suspend is noticed within a minute, for one wake-up a minute."""

PATIENCE = 180.0
"""Seconds to wait after the start for a clock we do not trust. A time server that can be reached has answered by
then; one that cannot will not, because it waits for our tunnel."""

_BACKWARD_TOLERANCE = timedelta(minutes=5)
"""A cheap clock chip is off by minutes after weeks; that is drift and no reason to doubt the date."""

_LEAP = timedelta(days=3653)
"""Ten years without being switched on: more than any spare part waits on a shelf, less than the garbage that a
clock chip with a dead battery reads (2080, 2099, 2106)."""

_STEP_TOLERANCE = 2.0
"""Seconds in a slice. Less is ordinary slewing (the kernel's is 0.03 s a minute). A faster one is reported as a step,
which does no harm: all that follows is another look at the deadlines."""


class ClockState(StrEnum):
    """What the wall clock is worth."""

    TRUSTED = "trusted"
    """Decide by it and store deadlines by it; a reading is worth remembering as last known good."""
    UNSYNCHRONISED = "unsynchronised"
    """Not impossible, but the system says that no time source has confirmed it: it may be behind."""
    UNTRUSTED_PAST = "untrusted-past"
    """Impossible: earlier than the build of this software or the last time known to be good."""
    UNTRUSTED_LEAP = "untrusted-leap"
    """Implausible: more than ten years after both."""


def assess(
    now: datetime, *, build_time: datetime, last_good: datetime | None = None, synchronised: bool | None = None
) -> ClockState:
    """Return what the reading ``now`` is worth.

    ``last_good`` is what was trusted last, or taken last from a response whose protection verified: the later event
    replaces the earlier one even if its date is earlier, so that a date that was wrong does not stay.
    ``synchronised`` is the system's word on whether a time source has set the clock; None if it does not say, and then
    a possible date is trusted, or a machine without a time service would never be.

    A synchronised clock is believed against ``last_good``: one wrong time server in the past must not make a device
    doubt the right time for ever. It is not believed below ``build_time``, which cannot be wrong.
    """
    if now < build_time - _BACKWARD_TOLERANCE:
        return ClockState.UNTRUSTED_PAST
    if synchronised:
        return ClockState.TRUSTED
    if last_good is not None and now < last_good - _BACKWARD_TOLERANCE:
        return ClockState.UNTRUSTED_PAST
    if now - at_least(build_time, last_good=last_good) > _LEAP:
        return ClockState.UNTRUSTED_LEAP
    return ClockState.TRUSTED if synchronised is None else ClockState.UNSYNCHRONISED


def at_least(build_time: datetime, *, last_good: datetime | None = None) -> datetime:
    """Return the time it is at the least: what to judge a certificate by while the clock is untrusted, past or leap."""
    return build_time if last_good is None else max(build_time, last_good)


def may_act(state: ClockState, *, waited: float) -> bool:
    """Whether to start requests: at once with a trusted clock, after :data:`PATIENCE` seconds with any other.

    ``waited`` is measured on a monotonic clock. Waiting for ever is wrong: the tunnel may be what reaches the time
    server. Whatever is decided early is looked at again when the clock becomes trusted.
    """
    return state is ClockState.TRUSTED or waited >= PATIENCE


def clamp_deadline(stored: datetime, now: datetime, maximum: timedelta) -> datetime:
    """Return a stored deadline, moved to at most ``maximum`` from ``now``; one in the past stays as it is.

    A deadline written under a wrong clock could block work for years. Clamp once, when it is read from disk or
    after a step of the clock, and keep the result: clamped at every look it would move along with ``now`` for ever.
    """
    return stored if stored - now <= maximum else now + maximum


@frozen(kw_only=True)
class Sample:
    """Three clocks read together."""

    wall: datetime
    monotonic: float
    """CLOCK_MONOTONIC in seconds: stands still in suspend."""
    boottime: float
    """CLOCK_BOOTTIME in seconds: goes on in suspend. Both stand still while a virtual machine is paused."""


class StepKind(StrEnum):
    """What happened to the clock between two samples."""

    FORWARD = "forward"
    BACKWARD = "backward"
    SUSPEND = "suspend"


@frozen(kw_only=True)
class Step:
    """One thing that happened between two samples; ``amount`` in seconds is positive."""

    kind: StepKind
    amount: float


def steps(before: Sample, after: Sample, *, tolerance: float = _STEP_TOLERANCE) -> tuple[Step, ...]:
    """Return what happened to the clock between two samples, suspend first; usually nothing.

    Suspend is what boottime counted and monotonic did not. A step is what the wall clock moved beyond boottime; a
    virtual machine that was paused shows as a step forward once its clock is put right. After any step compare every
    deadline with the new time and compute plans again; after a suspend also expect broken connections.
    """
    elapsed = after.boottime - before.boottime
    suspended = elapsed - (after.monotonic - before.monotonic)
    stepped = (after.wall - before.wall).total_seconds() - elapsed
    found = []
    if suspended > tolerance:
        found.append(Step(kind=StepKind.SUSPEND, amount=suspended))
    if abs(stepped) > tolerance:
        found.append(Step(kind=StepKind.FORWARD if stepped > 0 else StepKind.BACKWARD, amount=abs(stepped)))
    return tuple(found)


def next_wake(now: datetime, deadlines: Iterable[datetime], longest: float = SLICE) -> float:
    """Return the seconds to sleep: to the earliest deadline, but no longer than ``longest``, and 0 if one has passed.

    Pass only deadlines whose work is still to do: one that has passed and stays makes a busy loop.
    Rounded up to a millisecond, the grain of poll(2): waking a moment early would mean a second wake-up.
    """
    earliest = min(deadlines, default=None)
    if earliest is None:
        return longest
    left = (earliest - now).total_seconds()
    return min(max(math.ceil(left * 1000) / 1000, 0.0), longest)
