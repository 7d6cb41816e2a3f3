"""The end of keys on tokens: of requests that came to nothing at once, of superseded credentials after a while.

Only keys that were written down before we made them are destroyed (:mod:`agent.store.token_keys`), never one that is
merely found on a token: another machine may use the same token.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.contract import Outcome, Verdict
from agent.errors import ConfigurationError, StateError
from agent.events import Event
from agent.frozen import frozen
from agent.store.deployment import oldest_in_use
from agent.store.token_keys import KEY_DESTROYED, SUPERSEDED, TokenKeys
from hsm.errors import KeyStoreError

if TYPE_CHECKING:
    from agent.contract import Job
    from agent.store.generations import Generation, IdentityStore
    from agent.worker.environment import Environment
    from agent.worker.keyring import Keyring
    from agent.worker.reporting import Reporter


_LATER: Final = timedelta(days=1)
"""When what could not be done is tried again, and when a consumer that lags behind is looked at again."""


@frozen
class _Old:
    """A key that is not needed any more, or will not be: ``at`` is when it may go."""

    reference: str
    generations: tuple[Generation, ...]
    at: datetime


def retire(store: IdentityStore, keys: Keyring, reporter: Reporter, now: datetime, *, touch: bool = True) -> None:
    """Destroy the keys on tokens that nobody needs any more; write down when to look again.

    A key is needed while the open request or the credential in use has it, while a consumer still uses its credential,
    and until ``retire-after`` of its token has passed since it was superseded. What cannot be done now, for want of
    its token, is a matter for a job of its own. Without ``touch`` no token is asked: only the plan is made.
    """
    try:
        _look_through(store, keys, reporter, now, touch=touch)
    except (StateError, KeyStoreError, ConfigurationError) as error:
        reporter.tell(Event.NOTE, {"REMEDY": error.remedy}, note=f"old keys stay on their token for now: {error}")


def retire_keys(job: Job, store: IdentityStore, keys: Keyring, reporter: Reporter, environment: Environment) -> Outcome:
    """Destroy the keys whose time has come, on whichever token they are, and whatever the identity uses today.

    It never fails for the identity, whose certificate is good: a token that is not there is asked again in a day.
    """
    now = environment.judging_time
    ledger = TokenKeys(store.directory)
    before = ledger.load()
    for reference in before:
        if not _is_configured(keys, reference):
            ledger.remove(reference)
            note = f"the key {reference} is left on its token, which is no longer configured for {job.name}"
            reporter.tell(Event.NOTE, {"REMEDY": "Remove it with pkcs11-tool if nobody needs it."}, note=note)
    retire(store, keys, reporter, now)
    left = ledger.load()
    return Outcome(
        verdict=Verdict.DONE, text=f"{len(before) - len(left)} old keys are off our hands, {len(left)} keys are left"
    )


def _look_through(store: IdentityStore, keys: Keyring, reporter: Reporter, now: datetime, *, touch: bool) -> None:
    ledger = TokenKeys(store.directory)
    made = ledger.load()
    if not made:
        ledger.plan(None)
        return
    old_ones = _old(store, keys, made, now, ledger.retire_at())
    due = [one for one in old_ones if one.at <= now and touch and _is_configured(keys, one.reference)]
    left = [one.at for one in old_ones if one not in due]
    if due:
        ledger.plan(now + _LATER)  # should the token not be there, or its module end this process
    for old in due:
        keys.token(keys.store_name(old.reference)).destroy(old.reference)
        for one in old.generations:
            store.mark(one, KEY_DESTROYED, now.isoformat())
        ledger.remove(old.reference)
        reporter.tell(Event.KEY_DESTROYED, {"KEY": old.reference}, key=old.reference)
    ledger.plan(min(left, default=None))


def _old(
    store: IdentityStore, keys: Keyring, made: tuple[str, ...], now: datetime, planned: datetime | None
) -> list[_Old]:
    """Return the keys that are not needed, and when they may go; the first look begins their grace."""
    current = store.current
    by_key: dict[str, list[Generation]] = {one: [] for one in made}
    for generation in store.generations:
        if generation.key_reference in by_key:
            by_key[generation.key_reference].append(generation)
    needed = {store.transaction.key_reference, current.key_reference if current else None}
    newest = current.number if current else 0
    oldest = oldest_in_use(store)
    limit = min(newest, newest if oldest is None else oldest)
    found = []
    for reference, generations in by_key.items():
        if reference in needed or any(one.number >= newest for one in generations):
            continue
        if any(one.number >= limit for one in generations):
            at = now + _LATER  # a consumer has not let go of it
        elif _is_configured(keys, reference):
            grace = _grace(keys, reference)
            at = max((_superseded(store, one, now) + grace for one in generations), default=now)
        else:
            # Whoever has its token knows its grace; he is called at once for a key that he has not seen.
            seen = all(isinstance(one.marks.get(SUPERSEDED), str) for one in generations)
            for one in generations:
                _superseded(store, one, now)
            at = planned if planned is not None and seen else now
        found.append(_Old(reference, tuple(generations), at))
    return found


def _is_configured(keys: Keyring, reference: str) -> bool:
    """Tell whether the token of a key is at hand in this job; a job that is about another token has not all of them."""
    try:
        return keys.store_name(reference) in keys.tokens
    except (ConfigurationError, KeyStoreError):
        return False


def _superseded(store: IdentityStore, generation: Generation, now: datetime) -> datetime:
    """Return when ``generation`` was superseded; that is now when nobody has looked before, or by a clock ahead."""
    since = generation.marks.get(SUPERSEDED)
    if isinstance(since, str) and (moment := datetime.fromisoformat(since)) <= now:
        return moment
    store.mark(generation, SUPERSEDED, now.isoformat())
    return now


def in_grace(generation: Generation, keys: Keyring, now: datetime) -> bool:
    """Tell whether the key of a superseded generation stays on its token for now, so that there is a way back to it."""
    try:
        marks = generation.marks
        since = marks.get(SUPERSEDED)
        if not isinstance(since, str) or KEY_DESTROYED in marks:
            return False
        reference = generation.key_reference
        if not _is_configured(keys, reference):
            return False
    except StateError:
        return False
    return now < datetime.fromisoformat(since) + _grace(keys, reference)


def _grace(keys: Keyring, reference: str) -> timedelta:
    return timedelta(seconds=keys.tokens[keys.store_name(reference)].retire_after)
