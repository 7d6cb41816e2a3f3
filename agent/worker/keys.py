"""Which key is certified: the configured one, the present one, the one of an interrupted attempt, or a new one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.contract import Action
from agent.settings import RenewalKey
from agent.worker.plan import key_reference
from hsm.algorithms import KeyAlgorithm
from hsm.errors import KeyNotFound, KeyUnusable

if TYPE_CHECKING:
    from agent.contract import Job
    from agent.store.generations import Generation
    from agent.store.state import TransactionDirectory
    from hsm.keystore import Key
    from hsm.software import SoftwareKeyStore

_LOST: Final = (KeyNotFound, KeyUnusable)
"""A key that is gone for good. One that we merely may not read stays, for a person to look at."""


@dataclass(frozen=True, slots=True)
class ChosenKey:
    """The key to certify. ``file`` goes into the new generation; None when the key stays where it is."""

    key: Key
    file: Path | None
    made: bool = False
    """Whether it was made just now."""


def choose_key(
    job: Job, directory: TransactionDirectory, current: Generation | None, keys: SoftwareKeyStore
) -> ChosenKey:
    """Return the key for a new request; it is on disk when this returns.

    Raises:
        KeyStoreError: a key cannot be used, or a new one not be made.
        StateError: the disk does not let us.
    """
    wanted = KeyAlgorithm(job.identity.key.algorithm.value)
    found = opened_key(job, directory, current, keys)
    if found is not None and (found.file != directory.key_path or found.key.algorithm is wanted):
        return found
    # What an interrupted attempt left is damaged, or of an algorithm that the configuration no longer asks for.
    directory.clear()
    directory.prepare()
    return ChosenKey(keys.generate(wanted, directory.key_path), directory.key_path, made=True)


def opened_key(
    job: Job, directory: TransactionDirectory, current: Generation | None, keys: SoftwareKeyStore
) -> ChosenKey | None:
    """Return the key of the open request, of which there may be none; None when it is gone for good.

    Raises:
        KeyStoreError: it is there, but cannot be used now.
        StateError: the disk does not let us look.
    """
    if job.identity.key.existing is not None:
        return ChosenKey(keys.find(key_reference(job.identity.key.existing)), None)
    if job.action is Action.RENEW and job.identity.renewal.key is RenewalKey.SAME and current is not None:
        return ChosenKey(keys.find(current.key_reference), current.private_key)
    reference = directory.key_reference
    if reference is None:
        return None
    try:
        return ChosenKey(keys.find(reference), directory.key_path)
    except _LOST:
        return None
