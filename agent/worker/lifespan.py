"""How old an open request is, by clocks that may be wrong."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from agent.frozen import frozen

if TYPE_CHECKING:
    from agent.worker.environment import Environment
    from agent.worker.resuming import OpenRequest


@frozen
class Lifespan:
    """When a request began; ``dated`` says whether a clock that can be right said so."""

    started_at: datetime
    dated: bool

    @classmethod
    def of(cls, opened: OpenRequest | None, environment: Environment) -> Lifespan:
        """Return that of a request: a new one, or one that was begun before.

        One that began while the clock had lost its time, 1970 often, dates from the first moment that is known: else it
        would be fifty years old as soon as a time server answers.
        """
        now, trusted = environment.judging_time, environment.clock_trusted
        if opened is None:
            return cls(now, trusted)
        if not trusted:
            return cls(opened.started_at, opened.dated)
        return cls(min(opened.started_at, now) if opened.dated else now, dated=True)

    def exceeds(self, limit: float, environment: Environment) -> bool:
        """Tell whether the request is older than ``limit`` seconds, as far as anybody knows."""
        if not self.dated or not environment.clock_trusted:
            return False
        return environment.now() - self.started_at > timedelta(seconds=limit)
