"""Which key is certified: the configured one, the present one, the one of an interrupted attempt, or a new one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.contract import Action
from agent.frozen import frozen
from agent.settings import SOFTWARE, RenewalKey
from agent.store.token_keys import TokenKeys
from agent.worker.originator import key_reference
from hsm import uri
from hsm.algorithms import KeyAlgorithm
from hsm.errors import KeyNotFound, KeyUnusable

if TYPE_CHECKING:
    from agent.contract import Job
    from agent.store.generations import Generation, IdentityStore
    from agent.store.state import TransactionDirectory
    from agent.worker.keyring import Keyring
    from hsm.keystore import Key

_LOST: Final = (KeyNotFound, KeyUnusable)
"""A key that is gone for good. One that we merely may not read stays, for a person to look at."""


@frozen
class ChosenKey:
    """The key to certify. ``file`` goes into the new generation; None when the key stays where it is."""

    key: Key
    file: Path | None
    made: bool = False
    """Whether it was made just now."""


def choose_key(job: Job, store: IdentityStore, current: Generation | None, keys: Keyring) -> ChosenKey:
    """Return the key for a new request; it is durable when this returns.

    Raises:
        ConfigurationError: it is on a token that is not configured.
        KeyStoreError: a key cannot be used, or a new one not be made.
        StateError: the disk does not let us.
    """
    settled = _settled_key(job, current, keys)
    if settled is not None:
        return settled
    wanted = KeyAlgorithm(job.identity.key.algorithm.value)
    left = _left_key(store.transaction, keys)
    if left is not None and left.key.algorithm is wanted and _is_in(left.key, job.identity.key.store, keys):
        return left
    # What an interrupted attempt left is damaged, or not what the configuration asks for any more.
    store.transaction.clear()
    store.transaction.prepare()
    if job.identity.key.store == SOFTWARE:
        path = store.transaction.key_path
        return ChosenKey(keys.generate(SOFTWARE, wanted, path), path, made=True)
    return ChosenKey(_made_on_token(job, store, keys, wanted), None, made=True)


def opened_key(
    job: Job, directory: TransactionDirectory, current: Generation | None, keys: Keyring
) -> ChosenKey | None:
    """Return the key of the open request, of which there may be none; None when it is gone for good.

    Raises:
        ConfigurationError: it is on a token that is not configured.
        KeyStoreError: it is there, but cannot be used now.
        StateError: the disk does not let us look.
    """
    return _settled_key(job, current, keys) or _left_key(directory, keys)


def _is_in(key: Key, store: str, keys: Keyring) -> bool:
    return keys.store_name(key.reference) == store


def _settled_key(job: Job, current: Generation | None, keys: Keyring) -> ChosenKey | None:
    """Return the key that is there already: one made elsewhere, or that of the certificate to renew."""
    if job.identity.key.existing is not None:
        return ChosenKey(keys.find(key_reference(job.identity.key.existing)), None)
    if job.action is Action.RENEW and job.identity.renewal.key is RenewalKey.SAME and current is not None:
        return ChosenKey(keys.find(current.key_reference), current.private_key)
    return None


def _left_key(directory: TransactionDirectory, keys: Keyring) -> ChosenKey | None:
    reference = directory.key_reference
    if reference is None:
        return None
    try:
        return ChosenKey(keys.find(reference), None if uri.is_token_key(reference) else directory.key_path)
    except _LOST:
        return None


def _made_on_token(job: Job, store: IdentityStore, keys: Keyring, algorithm: KeyAlgorithm) -> Key:
    """Make a key whose name is on disk before it is on the token: whoever comes after a crash finds it by that."""
    name = job.identity.key.store
    reference = keys.token(name).propose(job.name)
    TokenKeys(store.directory).add(reference)
    store.transaction.write_key_reference(reference)
    return keys.generate(name, algorithm, reference)
