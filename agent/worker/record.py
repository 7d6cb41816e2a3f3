"""What a job leaves in ``state.json``: the history that people and the schedule read."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypedDict

from agent.contract import Action, Job, Outcome, Verdict, vouching
from agent.overview import renewal_plan
from agent.policy import refresh
from agent.store.refusal import RefusedSecret
from agent.store.state import LastError

if TYPE_CHECKING:
    from agent.store.generations import IdentityStore
    from agent.store.state import IdentityState

CRL_ENDS: Final = "CRL_NEXT_UPDATE"
"""Field of the outcome of a refresh: when the first CRL at hand ends (ISO 8601)."""


class _Rhythm(TypedDict):
    every: float | None
    device: str


_GOOD = frozenset({Verdict.ISSUED, Verdict.UNCHANGED})


def record(store: IdentityStore, job: Job, outcome: Outcome, now: datetime, *, secret: bytes | None) -> None:
    """Write how ``outcome`` changes the history of the identity; ``secret`` is what the job was done with.

    A revocation that did not come about changes nothing: the certificate is as good as before, and whoever wanted it
    gone was told.

    Raises:
        StateError: when the disk does not let us.
    """
    if job.action is Action.REVOKE and outcome.verdict is not Verdict.DONE:
        return
    before = store.state.load()
    if job.action is Action.REFRESH:
        store.state.save(_after_refresh(before, job, outcome, now))
        return
    if outcome.verdict in _GOOD:
        last = now if outcome.verdict is Verdict.ISSUED else before.last_success
        after = replace(
            before,
            attempts=0,
            last_error=None,
            last_success=last,
            next_action="renew",
            next_action_at=_renewal_due(store, job, now, last),
            since=now if outcome.verdict is Verdict.ISSUED or before.since is None else before.since,
            refresh_at=before.refresh_at or refresh.after_success(now, **_rhythm(job), ends=None),
        )
    elif outcome.verdict is Verdict.DONE:
        after = replace(before, attempts=0, last_error=None, next_action=None, next_action_at=None)
    elif outcome.verdict is Verdict.WAITING:
        wait = timedelta(seconds=outcome.retry_after or 0)
        after = replace(before, last_error=None, next_action="ask the CA again", next_action_at=now + wait)
    else:
        error = LastError(text=outcome.text, remedy=outcome.remedy, verdict=outcome.verdict.value, at=now)
        after = replace(before, attempts=before.attempts + 1, last_error=error, next_action=None, next_action_at=None)
    if secret is not None:
        refused = outcome.verdict is Verdict.NEEDS_SECRET
        after = replace(after, refused_secret=RefusedSecret.of(secret, vouching(job)) if refused else None)
    store.state.save(after)


def note_beginning(store: IdentityStore, job: Job, now: datetime) -> None:
    """Write down when a refresh is tried next before it begins: a worker that dies in it is not started at once again.

    Raises:
        StateError: when the disk does not let us.
    """
    before = store.state.load()
    planned = refresh.after_failure(now, **_rhythm(job), failures=before.refresh_failures + 1)
    store.state.save(replace(before, refresh_at=planned))


def _after_refresh(before: IdentityState, job: Job, outcome: Outcome, now: datetime) -> IdentityState:
    """A refresh has a rhythm of its own: that it failed says nothing about the next renewal."""
    if outcome.verdict is Verdict.DONE:
        ends = outcome.fields.get(CRL_ENDS)
        planned = refresh.after_success(now, **_rhythm(job), ends=datetime.fromisoformat(ends) if ends else None)
        return replace(before, refresh_at=planned, refreshed_at=now, refresh_failures=0, refresh_error=None)
    failed = before.refresh_failures + (outcome.verdict is not Verdict.WAITING)
    planned = refresh.after_failure(now, **_rhythm(job), failures=failed)
    error = None if outcome.verdict is Verdict.WAITING else outcome.text
    return replace(before, refresh_at=planned, refresh_failures=failed, refresh_error=error)


def _rhythm(job: Job) -> _Rhythm:
    return {"every": job.authority.refresh_every, "device": f"{job.name} {job.identity.subject}"}


def _renewal_due(store: IdentityStore, job: Job, now: datetime, last_issuance: datetime | None) -> datetime | None:
    current = store.current
    if current is None:
        return None
    plan = renewal_plan(current.description, job.name, job.identity, now=now, last_issuance=last_issuance)
    return plan.due
