"""What an identity needs next, decided from what its directory says; the effects are in ``agent.supervisor.main``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from agent.contract import Action, Job, Verdict
from agent.overview import look
from agent.policy import backoff, refresh
from agent.settings import RenewalMethod

if TYPE_CHECKING:
    from agent.overview import Overview

_DUE: Final = frozenset({"due", "expiring"})
_PERSON: Final = frozenset(
    {Verdict.NEEDS_SECRET, Verdict.NEEDS_PIN, Verdict.NEEDS_TOKEN, Verdict.MISCONFIGURED, Verdict.REJECTED}
)
"""After these only a person or the operator can change anything: tried again seldom."""
_REQUESTS: Final = frozenset({Action.ENROLL, Action.RENEW, Action.TEMPLATE})
_LOOK_AGAIN: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Next:
    """Do ``action`` after ``wait`` seconds; None: look again then."""

    action: Action | None
    wait: float


def decide(seen: Overview, now: datetime) -> Next:
    """Return what is next for an identity: go on with what is open, renew what is due, enroll what has nothing.

    A revoked certificate is left alone: somebody wanted it gone. A consumer that is to get the credential, or to be
    asked whether it still has it, comes first: that is quick and local, and its next time is written down before.
    While nothing else is due, the authority is asked now and then what changed.
    """
    if seen.deploy_at is not None and _until(seen.deploy_at, now) <= 0.0:
        return Next(Action.DEPLOY, 0.0)
    following = _decide(seen, now)
    if seen.deploy_at is None or following.wait <= _until(seen.deploy_at, now):
        return following
    return Next(Action.DEPLOY, _until(seen.deploy_at, now))


def _decide(seen: Overview, now: datetime) -> Next:
    if seen.open_request is not None:
        return Next(Action(seen.open_request), _until(seen.next_action_at, now))
    if seen.state == "revoked":
        return Next(None, _LOOK_AGAIN)
    if seen.state in _DUE:
        return Next(Action.RENEW, 0.0)
    if seen.usable:
        planned = None if seen.refresh_at is None else datetime.fromisoformat(seen.refresh_at)
        asking = refresh.wait(planned, now)
        if asking == 0.0:
            return Next(Action.REFRESH, 0.0)
        waits = (max(_until(seen.next_action_at, now), 1.0), _LOOK_AGAIN, asking or _LOOK_AGAIN)
        return Next(None, min(waits))
    return Next(Action.ENROLL, 0.0)


def pause(seen: Overview, verdict: Verdict, now: datetime, *, uniform: float, asked: float | None) -> float:
    """Return the seconds to wait after a job that ended with ``verdict``; ``uniform`` is random in [0, 1).

    Renewal is hurried as the end of the certificate nears (``agent.policy.backoff``).
    """
    if verdict in {Verdict.ISSUED, Verdict.UNCHANGED, Verdict.DONE, Verdict.DEPLOYING}:
        return 1.0
    if verdict is Verdict.WAITING:
        return backoff.delay(1, uniform=0.0, pace=backoff.POLLING, server_says=asked)
    life = None if seen.not_after is None else _until(seen.not_after, now)
    pace = backoff.RENEWAL if seen.usable else backoff.ENROLLMENT
    pace = backoff.REJECTED if verdict in _PERSON else pace
    return backoff.delay(max(seen.attempts, 1), uniform=uniform, pace=pace, remaining_life=life, server_says=asked)


def needs_secret(job: Job) -> bool:
    """Tell whether the worker will need the one-time secret: it is read, or a person asked, only then."""
    if job.identity.bootstrap.shared_secret is None or job.action not in _REQUESTS:
        return False
    seen = look(job.state_directory, job.name)
    if job.action is Action.TEMPLATE:
        return not seen.usable
    if seen.open_request is not None and not job.abandon:
        return _by_bootstrap(Action(seen.open_request), job) and seen.open_state != "installing"
    return _by_bootstrap(job.action, job) and (job.action is Action.RENEW or job.again or not seen.usable)


def _by_bootstrap(action: Action, job: Job) -> bool:
    """Tell whether the bootstrap credential vouches for a request: the first one, and renewals that are made alike."""
    return action is Action.ENROLL or job.identity.renewal.method is RenewalMethod.ENROLL


def _until(moment: str | None, now: datetime) -> float:
    return 0.0 if moment is None else max((datetime.fromisoformat(moment) - now).total_seconds(), 0.0)
