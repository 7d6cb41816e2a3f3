"""When to ask the authority again what changed: its CA certificates, the successor of its root, and its CRLs.

Nothing is broken by asking late: anchors are kept, and old and new roots overlap for months. So a fleet asks seldom and
never together; only a CRL that ends earlier brings the next time forward, and failures are followed up soon at first.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from agent.policy.jitter import fraction

EVERY = 7 * 86_400.0
"""Seconds. A hundred thousand stations and four messages each make less than one a second."""

_SPREAD = 0.2
"""The share of the interval by which a device may be early; the same for a device each time."""
_SOONEST = timedelta(hours=1)
"""However soon a CRL ends: CAs that publish every minute exist in laboratories only."""
_FIRST_RETRY = 900.0
_LARGEST_EXPONENT = 16


def after_success(now: datetime, *, every: float | None, device: str, ends: datetime | None) -> datetime | None:
    """Return when to ask again; ``every`` is in seconds, None for never. ``ends``: when the first CRL at hand does."""
    if every is None:
        return None
    planned = now + timedelta(seconds=every * (1 - _SPREAD * fraction(device, "refresh")))
    return planned if ends is None else min(planned, max(ends, now + _SOONEST))


def after_failure(now: datetime, *, every: float | None, device: str, failures: int) -> datetime | None:
    """Return when to try again after ``failures`` in a row, at least 1: soon, then later, never later than usual."""
    if every is None:
        return None
    wait = _FIRST_RETRY * 2 ** min(max(failures, 1) - 1, _LARGEST_EXPONENT)
    return now + timedelta(seconds=min(wait, every) * (1 - _SPREAD * fraction(device, "refresh")))


def wait(planned: datetime | None, now: datetime, *, every: float = EVERY) -> float | None:
    """Return the seconds until ``planned``, 0 when it is due; None: never.

    A date that a wrong clock wrote is not believed: nobody waits longer than the interval.
    """
    if planned is None:
        return None
    return min(max((planned - now).total_seconds(), 0.0), every)
