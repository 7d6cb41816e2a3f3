"""How old an open request is, by clocks that may be wrong, and when one that gets no usable answer is hopeless."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.cmp.certificates import load, read
from agent.contract import Action
from agent.frozen import frozen

if TYPE_CHECKING:
    from agent.contract import Job
    from agent.store.generations import Generation
    from agent.worker.environment import Environment
    from agent.worker.resuming import OpenRequest

_SHARE: Final = 2
"""Into how many parts the life that the certificate in use had left is cut: one for the request that gets no answer,
the rest for the one after it."""


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

    def hopeless_after(self, job: Job, current: Generation | None) -> float:
        """Return the seconds after which one that only gets answers of no use is not worth waiting for.

        A renewal must leave the next one enough of the life of the certificate in use.
        """
        limit = job.authority.polling.give_up_after
        if job.action is not Action.RENEW or current is None:
            return limit
        left = read(load(current.certificate)).not_after - self.started_at
        return min(limit, left.total_seconds() / _SHARE)


def can_ask_anew(job: Job, *, valid: bool) -> bool:
    """Tell whether a request that is given up can be followed by another one without anybody's help.

    ``valid``: the certificate in use is. A one-time secret may be spent: by the very certificate that nobody fetched.
    """
    if job.action is Action.RENEW and valid:
        return True
    identity = job.identity
    way = identity.recovery or identity.bootstrap if job.action is Action.RENEW else identity.bootstrap
    return way.vendor_certificate is not None
