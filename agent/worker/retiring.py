"""The end of keys on tokens: of requests that came to nothing at once, of superseded credentials after a while.

Only keys that were written down before we made them are destroyed (:mod:`agent.store.token_keys`), never one that is
merely found on a token: another machine may use the same token.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from agent.errors import ConfigurationError, StateError
from agent.events import Event
from agent.store.deployment import oldest_in_use
from agent.store.token_keys import KEY_DESTROYED, SUPERSEDED, TokenKeys
from hsm.errors import KeyStoreError

if TYPE_CHECKING:
    from agent.store.generations import Generation, IdentityStore
    from agent.worker.keyring import Keyring
    from agent.worker.reporting import Reporter


def retire(store: IdentityStore, keys: Keyring, reporter: Reporter, now: datetime) -> None:
    """Destroy the keys on tokens that nobody needs any more; what cannot be done now is done another time.

    A key is needed while the open request or the credential in use has it, while a consumer still uses its credential,
    and until ``retire-after`` of its token has passed since it was superseded.
    """
    try:
        made = TokenKeys(store.directory).load()
        if not made:
            return
        for reference, generations in _unneeded(store, keys, made, now):
            keys.token(keys.store_name(reference)).destroy(reference)
            for one in generations:
                store.mark(one, KEY_DESTROYED, now.isoformat())
            TokenKeys(store.directory).remove(reference)
            reporter.tell(Event.KEY_DESTROYED, {"KEY": reference}, key=reference)
    except (StateError, KeyStoreError, ConfigurationError) as error:
        reporter.tell(Event.NOTE, {"REMEDY": error.remedy}, note=f"old keys stay on their token for now: {error}")


def _unneeded(
    store: IdentityStore, keys: Keyring, made: tuple[str, ...], now: datetime
) -> list[tuple[str, list[Generation]]]:
    current = store.current
    opened = store.transaction.key_reference
    by_key: dict[str, list[Generation]] = {one: [] for one in made}
    for generation in store.generations:
        if generation.key_reference in by_key:
            by_key[generation.key_reference].append(generation)
    needed = {opened, current.key_reference if current else None}
    oldest = oldest_in_use(store)
    limit = min(current.number if current else 0, oldest if oldest is not None else current.number if current else 0)
    doomed = []
    for reference, generations in by_key.items():
        if reference in needed or any(one.number >= limit for one in generations):
            continue
        grace = _grace(keys, reference)
        if grace is not None and all(_is_over(store, one, grace, now) for one in generations):
            doomed.append((reference, generations))
    return doomed


def _grace(keys: Keyring, reference: str) -> timedelta | None:
    """Return how long a key stays when it is superseded; None where its token is not at hand in this job."""
    try:
        return timedelta(seconds=keys.tokens[keys.store_name(reference)].retire_after)
    except (ConfigurationError, KeyStoreError):
        return None


def _is_over(store: IdentityStore, generation: Generation, grace: timedelta, now: datetime) -> bool:
    """Tell whether ``grace`` has passed since ``generation`` was superseded; the first look begins it."""
    since = generation.marks.get(SUPERSEDED)
    if not isinstance(since, str):
        store.mark(generation, SUPERSEDED, now.isoformat())
        return grace <= timedelta(0)
    return now - datetime.fromisoformat(since) >= grace
