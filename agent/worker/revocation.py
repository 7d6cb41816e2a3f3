"""Asking the CA to revoke our own certificate (rr, RFC 9483 4.2), signed with its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.cmp import failures
from agent.cmp.certificates import load, read
from agent.cmp.reasons import REVOCATION_REASONS
from agent.cmp.request import Revocation
from agent.cmp.transaction import Answered, Declined, Transaction
from agent.contract import Outcome, Verdict
from agent.errors import ConfigurationError, NoCertificate
from agent.events import Event, sentence
from agent.net.http import CmpClient
from agent.store.credential import REVOKED
from agent.worker.conversation import Conversation, OutOfPatience
from agent.worker.originator import by_current
from agent.worker.plan import peer_rules, recipient
from agent.worker.words import certificate_fields, certificate_words

if TYPE_CHECKING:
    from agent.cmp.transaction import Event as CmpEvent
    from agent.contract import Job
    from agent.store.generations import Generation, IdentityStore
    from agent.worker.environment import Environment
    from agent.worker.keyring import Keyring
    from agent.worker.reporting import Reporter


def revoke(job: Job, store: IdentityStore, keys: Keyring, reporter: Reporter, environment: Environment) -> Outcome:
    """Revoke the certificate in use; the lock of ``store`` is held. Nothing is removed from the disk.

    Raises:
        ConfigurationError: no such reason; ``NoCertificate``: there is none.
        RemoteError, TransportError: no acceptable answer; ask again.
    """
    current = store.current
    if current is None:
        raise NoCertificate("there is no certificate", remedy="There is nothing to revoke.")
    if job.reason not in REVOCATION_REASONS:
        raise ConfigurationError(
            f"{job.reason!r} is no reason for a revocation", remedy=f"Choose one of {', '.join(REVOCATION_REASONS)}."
        )
    facts = read(load(current.certificate))
    transaction = Transaction(
        Revocation(
            issuer=facts.issuer.public_bytes(),
            serial_number=facts.certificate.serial_number,
            reason=REVOCATION_REASONS[job.reason],
            recipient=recipient(job, facts.certificate),
            certificate_profile=job.authority.certificate_profile,
        ),
        by_current(job, current, keys),
        peer_rules(job, current),
        random=environment.random,
        clock_trusted=environment.clock_trusted,
    )
    reporter.remember(CMP_TRANSACTION_ID=transaction.transaction_id.hex())
    with CmpClient(job.authority.urls, job.authority.http) as client:
        conversation = Conversation(transaction, client, job, environment, reporter)
        event: CmpEvent | None = None
        try:
            while not isinstance(event, Answered | Declined):
                event = conversation.exchange("rr")
        except OutOfPatience as wait:
            return wait.outcome("the CA has not decided about the revocation yet")
    if isinstance(event, Declined):
        said = failures.describe(event.status, event.failures, event.text)
        return Outcome(verdict=Verdict.REJECTED, text=said, remedy=failures.remedy(event.failures))
    return _revoked(job, store, current, reporter, environment)


def _revoked(
    job: Job, store: IdentityStore, current: Generation, reporter: Reporter, environment: Environment
) -> Outcome:
    store.mark(current, REVOKED, environment.now().isoformat())
    facts = read(load(current.certificate))
    words = certificate_words(facts) | {"reason": job.reason}
    reporter.tell(Event.REVOKED, certificate_fields(facts), **words)
    return Outcome(verdict=Verdict.DONE, text=sentence(Event.REVOKED, words), fields=certificate_fields(facts))
