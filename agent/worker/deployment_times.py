"""The times in the record of a deployment: written as they stand there, and read with suspicion."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.policy import deployment as policy
from agent.store.deployment import moment

if TYPE_CHECKING:
    from agent.worker.environment import Environment

_RANDOM_BITS: Final = 32


class Times:
    """Now, later, and when next."""

    def __init__(self, environment: Environment, check: float) -> None:
        """Keep the clock, and after how many seconds a consumer is asked again."""
        self._environment = environment
        self._check = check

    @property
    def now(self) -> str:
        """Now, as the record has it."""
        return moment(self._environment.now())

    def after(self, seconds: float) -> str:
        """Return the moment that many seconds from now."""
        return moment(self._environment.now() + timedelta(seconds=seconds))

    def past(self, at: str | None) -> bool:
        """Tell whether a time has come; one too far ahead was written by a clock that was wrong."""
        if at is None:
            return True
        left = self._left(datetime.fromisoformat(at))
        return left <= 0 or left > max(policy.LONGEST, self._check)

    def wait(self, attempts: int, *, refused: bool, before: datetime | None) -> float:
        """Return the seconds until the next attempt, in good time ``before`` what is in use ends."""
        uniform = int.from_bytes(self._environment.random(_RANDOM_BITS // 8)) / 2**_RANDOM_BITS
        life = None if before is None else self._left(before)
        return policy.next_try(attempts, refused=refused, uniform=uniform, remaining_life=life)

    def _left(self, at: datetime) -> float:
        return (at - self._environment.now()).total_seconds()
