"""When a consumer is tried again, and when it is asked whether it still has the credential. All in seconds."""

from __future__ import annotations

from agent.policy.backoff import DEPLOYMENT, REJECTED, delay

LONGEST = 6 * 3600.0
"""No wait is longer; a moment further ahead was written by a clock that was wrong."""


def next_try(attempts: int, *, refused: bool, uniform: float, remaining_life: float | None) -> float:
    """Return the wait before the next attempt after ``attempts`` failures in a row, 1 for the first.

    Local trouble is over as soon as somebody starts the consumer or corrects a right, so that is tried again within
    minutes. ``refused``: only a person at the other end changes that; asking faster disturbs tunnels for nothing.
    """
    pace = REJECTED if refused else DEPLOYMENT
    return delay(attempts, uniform=uniform, pace=pace, remaining_life=remaining_life)
