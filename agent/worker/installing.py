"""Bring a new generation into use: mark it, switch ``current`` to it, close the transaction, remove the oldest ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.cmp.certificates import load, read
from agent.contract import Outcome, Verdict
from agent.errors import StateError
from agent.events import Event, sentence
from agent.store.credential import CONFIRMED
from agent.worker.words import certificate_fields, certificate_words

if TYPE_CHECKING:
    from agent.store.generations import Generation, IdentityStore
    from agent.worker.reporting import Reporter

KEPT_GENERATIONS: Final = 3


def install(store: IdentityStore, generation: Generation, reporter: Reporter, *, confirmed: bool) -> Outcome:
    """Switch to ``generation``; after a crash anywhere in here the same call is the way on.

    ``confirmed``: the CA knows that we accepted the certificate.

    Raises:
        StateError: when the disk does not let us; the credential in use is the old one or the new one, whole.
    """
    if confirmed:
        store.mark(generation, CONFIRMED, value=True)
    store.switch(generation)
    store.transaction.clear()
    try:
        store.prune(keep=KEPT_GENERATIONS)
    except StateError as error:  # the new credential is in use all the same
        reporter.tell(Event.NOTE, {"REMEDY": error.remedy}, note=f"old credentials could not be removed: {error}")
    facts = read(load(generation.certificate))
    words, fields = certificate_words(facts), certificate_fields(facts)
    reporter.tell(Event.INSTALLED, fields, **words)
    return Outcome(
        verdict=Verdict.ISSUED,
        text=sentence(Event.INSTALLED, words),
        fields=fields | {"PATH": str(generation.path)},
    )
