"""What a job leaves in ``state.json``: the history that people and the schedule read."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from agent.contract import Job, Outcome, Verdict
from agent.overview import renewal_plan
from agent.store.state import LastError

if TYPE_CHECKING:
    from agent.store.generations import IdentityStore

_GOOD = frozenset({Verdict.ISSUED, Verdict.UNCHANGED})


def record(store: IdentityStore, job: Job, outcome: Outcome, now: datetime) -> None:
    """Write how ``outcome`` changes the history of the identity.

    Raises:
        StateError: when the disk does not let us.
    """
    before = store.state.load()
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
        )
    elif outcome.verdict is Verdict.DONE:
        after = replace(before, attempts=0, last_error=None, next_action=None, next_action_at=None)
    elif outcome.verdict is Verdict.WAITING:
        wait = timedelta(seconds=outcome.retry_after or 0)
        after = replace(before, last_error=None, next_action="ask the CA again", next_action_at=now + wait)
    else:
        error = LastError(text=outcome.text, remedy=outcome.remedy, verdict=outcome.verdict.value, at=now)
        after = replace(before, attempts=before.attempts + 1, last_error=error, next_action=None, next_action_at=None)
    store.state.save(after)


def _renewal_due(store: IdentityStore, job: Job, now: datetime, last_issuance: datetime | None) -> datetime | None:
    current = store.current
    if current is None:
        return None
    plan = renewal_plan(current.description, job.name, job.identity, now=now, last_issuance=last_issuance)
    return plan.due
