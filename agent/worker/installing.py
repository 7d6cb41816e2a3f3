"""Bring a new generation into use: mark it, switch ``current`` to it, close the transaction, remove the oldest ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.cmp.certificates import load, read
from agent.contract import Outcome, Verdict
from agent.errors import StateError
from agent.events import Event, sentence
from agent.overview import renewal_plan
from agent.store.credential import CONFIRMED
from agent.store.deployment import oldest_in_use
from agent.worker.retiring import in_grace
from agent.worker.words import certificate_fields, certificate_words, next_step
from hsm import uri
from hsm.errors import KeyStoreUnwritable, UnsupportedAlgorithm

if TYPE_CHECKING:
    from datetime import datetime

    from agent.contract import Job
    from agent.store.generations import Generation, IdentityStore
    from agent.worker.keyring import Keyring
    from agent.worker.reporting import Reporter

KEPT_GENERATIONS: Final = 3


def install(
    job: Job,
    store: IdentityStore,
    keys: Keyring,
    generation: Generation,
    reporter: Reporter,
    *,
    now: datetime,
    confirmed: bool,
) -> Outcome:
    """Switch to ``generation``; after a crash anywhere in here the same call is the way on.

    A certificate whose key is on a token is stored beside it first: IKE daemons look for it there.

    ``now``: the time to judge by. ``confirmed``: the CA knows that we accepted the certificate.

    Raises:
        TokenError: the token is not there; the CA knows that we accepted the certificate, so nothing is lost.
        StateError: when the disk does not let us; the credential in use is the old one or the new one, whole.
    """
    if confirmed:
        store.mark(generation, CONFIRMED, value=True)
    put_beside_key(keys, generation, reporter)
    store.switch(generation)
    store.transaction.clear()
    try:
        store.prune(keep=_kept(store, keys, generation, now))
    except StateError as error:  # the new credential is in use all the same
        reporter.tell(Event.NOTE, {"REMEDY": error.remedy}, note=f"old credentials could not be removed: {error}")
    facts = read(load(generation.certificate))
    words, fields = certificate_words(facts), certificate_fields(facts)
    plan = renewal_plan(generation.description, job.name, job.identity, now=now, last_issuance=now)
    reporter.tell(Event.INSTALLED, fields | next_step("renew", plan.due), **words)
    return Outcome(
        verdict=Verdict.ISSUED,
        text=sentence(Event.INSTALLED, words),
        fields=fields | {"PATH": str(generation.path)},
    )


def put_beside_key(keys: Keyring, generation: Generation, reporter: Reporter) -> None:
    """Store the certificate beside a key of ours on a token; one that takes no certificates is no obstacle."""
    reference = generation.key_reference
    if not uri.is_token_key(reference) or not (uri.parse(reference).object or "").startswith(uri.OURS):
        return
    try:
        keys.token(keys.store_name(reference)).put_certificate(reference, generation.certificate)
    except (KeyStoreUnwritable, UnsupportedAlgorithm) as error:
        reporter.tell(Event.NOTE, {"REMEDY": error.remedy}, note=f"the certificate is on disk only: {error}")


def _kept(store: IdentityStore, keys: Keyring, generation: Generation, now: datetime) -> int:
    """Return how many generations stay, however many came after them.

    What a consumer uses must stay, and what has a key on a token whose time has not come.
    """
    oldest = oldest_in_use(store)
    present = [one for one in store.generations if one.number <= generation.number]
    needed = [
        one.number for one in present if (oldest is not None and one.number >= oldest) or in_grace(one, keys, now)
    ]
    first = min(needed, default=generation.number)
    return max(KEPT_GENERATIONS, len([one for one in present if one.number >= first]))
