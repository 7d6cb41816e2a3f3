"""Asking an authority what changed: its CA certificates and a new root (genm, RFC 9483 4.3.1 and 4.3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from agent.cmp import algorithms, der, failures, profiles, root_update
from agent.cmp.bodies import General
from agent.cmp.certificates import Facts, load, read
from agent.cmp.errors import CmpError, MalformedMessage, UntrustedPeer
from agent.cmp.messages import MAXIMUM_CERTIFICATES, Info
from agent.cmp.request import Inquiry
from agent.cmp.transaction import Answered, Declined, Transaction
from agent.contract import Outcome, Verdict
from agent.errors import ConfigurationError
from agent.events import Event, sentence
from agent.net.http import CmpClient
from agent.store.authorities import AuthorityStore
from agent.worker.conversation import Conversation, OutOfPatience
from agent.worker.plan import by_current, peer_rules, recipient
from agent.worker.words import day, short_wait
from hsm.software import SoftwareKeyStore

if TYPE_CHECKING:
    from cryptography import x509

    from agent.contract import Job
    from agent.store.generations import IdentityStore
    from agent.worker.environment import Environment
    from agent.worker.reporting import Reporter


class _Declined(Exception):
    def __init__(self, event: Declined) -> None:
        super().__init__(failures.describe(event.status, event.failures, event.text))
        self.failures = event.failures


def refresh(job: Job, store: IdentityStore, reporter: Reporter, environment: Environment) -> Outcome:
    """Ask the authority of ``job`` with the certificate in use; the lock of ``store`` is held.

    CA certificates are kept as they come and trusted for nothing. A new root is trusted beside the old one if the old
    one vouches for it; otherwise nothing changes and a person is told.

    Raises:
        ConfigurationError: there is no certificate to ask with.
        RemoteError, TransportError: no acceptable answer.
        StateError: the disk does not let us.
    """
    if store.current is None:
        raise ConfigurationError(
            f"{job.name} has no certificate to ask with", remedy=f"Run 'enrollctl enroll {job.name}' first."
        )
    desk = _Desk(job, store, reporter, environment)
    authority = AuthorityStore(job.state_directory, job.identity.authority)
    try:
        with authority.lock():
            certificates = desk.ca_certificates()
            authority.save_ca_certificates(certificates)
            added = desk.follow_roots(authority)
    except OutOfPatience as wait:
        return Outcome(
            verdict=Verdict.WAITING,
            text="the CA has not answered yet",
            remedy=f"Run the same command again in {short_wait(wait.seconds)}.",
            retry_after=wait.seconds,
        )
    except _Declined as declined:
        return Outcome(verdict=Verdict.REJECTED, text=str(declined), remedy=failures.remedy(declined.failures))
    words = {"authority": job.identity.authority, "certificates": str(len(certificates)), "roots": str(added)}
    reporter.tell(Event.REFRESHED, None, **words)
    return Outcome(verdict=Verdict.DONE, text=sentence(Event.REFRESHED, words))


class _Desk:
    """Asks one question after another, each in a transaction of its own, over one connection if the server lets us."""

    def __init__(self, job: Job, store: IdentityStore, reporter: Reporter, environment: Environment) -> None:
        current = store.current
        assert current is not None  # noqa: S101 - refresh() looked
        self._job = job
        self._reporter = reporter
        self._environment = environment
        self._algorithms = profiles.PROFILES[job.authority.profile.value].algorithms
        self._originator = by_current(job, current, SoftwareKeyStore(job.state_directory))
        self._rules = peer_rules(job, current)
        self._recipient = recipient(job, load(current.certificate))

    def ca_certificates(self) -> tuple[bytes, ...]:
        """Return the CA certificates the CA has; () for none. Damaged ones are left out."""
        answer = self._ask(Info.CA_CERTS, None, Info.CA_CERTS)
        if answer is None:
            return ()
        elements = der.children(answer)
        if len(elements) > MAXIMUM_CERTIFICATES:
            raise der.malformed(f"it lists more than {MAXIMUM_CERTIFICATES} certificates")
        found = []
        for element in elements:
            octets = answer[element.start : element.end]
            try:
                load(octets)
            except MalformedMessage:
                continue
            found.append(octets)
        return tuple(found)

    def follow_roots(self, authority: AuthorityStore) -> int:
        """Ask for the successor of every root we trust; keep those their predecessor vouches for; return how many."""
        added = 0
        known = {_der(one) for one in self._rules.anchors}
        for anchor in self._rules.anchors:
            facts = read(anchor)
            if not facts.self_issued:
                continue
            answer = self._ask(Info.ROOT_CA_CERT, _der(anchor), Info.ROOT_CA_KEY_UPDATE)
            if answer is None:
                continue
            new = self._judge(answer, facts)
            if new is not None and new not in known:
                authority.add_trust_anchor(new)
                known.add(new)
                added += 1
        return added

    def _judge(self, answer: bytes, old: Facts) -> bytes | None:
        try:
            new = root_update.accept(
                root_update.decode(answer),
                old.certificate,
                now=self._environment.judging_time,
                rules=self._algorithms,
            )
        except UntrustedPeer as error:
            self._reporter.tell(Event.ROOT_REFUSED, {"REMEDY": error.remedy}, reason=str(error))
            return None
        facts = read(new)
        self._reporter.tell(Event.ROOT_ADDED, subject=facts.who, old=old.who, not_after=day(facts.not_after))
        return facts.octets

    def _ask(self, question: Info, value: bytes | None, expected: Info) -> bytes | None:
        """Return the DER value of the one answer; None when it has none."""
        body = self._exchange(Inquiry(info_type=question.value, value=value, recipient=self._recipient))
        answers = [one for one in body.infos if one.type == expected.value]
        if len(answers) != 1:
            raise CmpError(
                f"the CA does not answer the question {question.name.lower().replace('_', ' ')}",
                remedy="It may not offer this; ask its operator. Everything stays as it is.",
            )
        value = answers[0].value
        return None if value in {None, algorithms.NULL} else value

    def _exchange(self, inquiry: Inquiry) -> General:
        job = self._job
        transaction = Transaction(
            inquiry,
            self._originator,
            self._rules,
            random=self._environment.random,
            clock_trusted=self._environment.clock_trusted,
        )
        self._reporter.remember(CMP_TRANSACTION_ID=transaction.transaction_id.hex())
        with CmpClient(job.authority.urls, job.authority.http) as client:
            conversation = Conversation(transaction, client, job, self._environment, self._reporter)
            while True:
                event = conversation.exchange("genm")
                if isinstance(event, Declined):
                    raise _Declined(event)
                if isinstance(event, Answered) and isinstance(event.body, General):
                    return event.body


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
