"""The course of one request: message by message to an outcome, each step durable before the next effect.

snapshot -> send -> receive -> verify -> snapshot -> generation -> snapshot -> certConf -> pkiConf -> mark the
generation -> switch ``current`` -> clear the transaction. A worker that dies after any arrow is followed by one that
reads the snapshot, and the mark, and goes on there.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from agent.cmp import failures
from agent.cmp.certificates import load, read
from agent.cmp.errors import MalformedMessage, ProtectionError, Rejected, RemoteError, WrongMac, defect
from agent.cmp.profiles import PROFILES
from agent.cmp.states import State
from agent.cmp.transaction import (
    Answered,
    Challenged,
    Concluded,
    Declined,
    Issued,
    Transaction,
    Unacceptable,
    Undecided,
)
from agent.contract import Job, Outcome, Verdict
from agent.digest import sha256_hex
from agent.errors import StateCorrupt, StateError, TransportError
from agent.events import Event
from agent.frozen import frozen
from agent.settings import AnchorSource
from agent.store.generations import Credential, Generation, IdentityStore
from agent.worker import resuming
from agent.worker.conversation import Conversation, OutOfPatience
from agent.worker.installing import install
from agent.worker.lifespan import Lifespan, can_ask_anew
from agent.worker.room import Room, needed
from agent.worker.words import about, certificate_fields, certificate_words, short_wait

if TYPE_CHECKING:
    from agent.cmp.acceptance import Objection
    from agent.cmp.transaction import Event as CmpEvent
    from agent.net.http import CmpClient
    from agent.worker.environment import Environment
    from agent.worker.keyring import Keyring
    from agent.worker.keys import ChosenKey
    from agent.worker.reporting import Reporter
    from agent.worker.resuming import OpenRequest

_SAME_KEY: Final = frozenset({failures.RetryClass.RETRY_LATER, failures.RetryClass.NEW_TRANSACTION})
"""What a "no" must be for the next attempt to use the same key; after any other one a new key is made."""
_CONFIRMING: Final = frozenset({State.CONFIRMING, State.CONFIRM_POLLING, State.CONFIRM_WAITING})
_UNDECIDED: Final = frozenset({State.POLLING, State.PROVING})
_MAY_BRING_IT: Final = frozenset({State.REQUESTED, State.POLLING, State.PROVING})
"""States in which a message is out that a certificate may answer."""
_MESSAGES: Final = {
    State.CHALLENGED: "popdecr",
    State.ISSUED: "certConf",
    State.CONFIRMING: "certConf",
    State.REFUSING: "certConf (rejecting)",
    State.REFUSAL_SENT: "certConf (rejecting)",
}
"""What is sent in each state, for people; in the others it is the request itself, or a pollReq."""


@frozen(kw_only=True)
class Tools:
    """What a course works with."""

    store: IdentityStore
    """Its lock is held."""
    keys: Keyring
    client: CmpClient
    environment: Environment
    reporter: Reporter


class Course:
    """Drives ``transaction``, whose key is ``key``, to its end; ``opened`` is where an interrupted one stood."""

    def __init__(
        self, job: Job, transaction: Transaction, key: ChosenKey, tools: Tools, opened: OpenRequest | None
    ) -> None:
        """Take up the thread; nothing is sent yet."""
        self._job = job
        self._transaction = transaction
        self._key = key
        self._store = tools.store
        self._keys = tools.keys
        self._client = tools.client
        self._room = Room(tools.store.transaction)
        self._environment = tools.environment
        self._reporter = tools.reporter
        self._tell = tools.reporter.tell
        self._conversation = Conversation(
            transaction, tools.client, job, tools.environment, tools.reporter, save=self._save
        )
        self._lifespan = Lifespan.of(opened, self._environment)
        self._generation = opened.find_generation(self._store) if opened else None
        self._told_before = opened is not None and opened.may_be_confirmed
        """Whether certConf may have gone out before this worker was started."""
        self._objection: Objection | None = None

    def run(self) -> Outcome:
        """Exchange messages until the job is over, or there is nothing to do but wait.

        Raises:
            RemoteError, TransportError: no acceptable answer came; the request stays open.
            StateError: the disk does not let us; what is on it holds.
        """
        if self._transaction.state is State.READY and self._environment.interrupted():
            return Outcome(
                verdict=Verdict.FAILED, text="interrupted before anything was sent", remedy="Run the command again."
            )
        try:
            ended = self._take_up()
            while ended is None:
                ended = self._step()
        except OutOfPatience as wait:
            return self._left_open(wait)
        finally:
            with suppress(StateError):
                self._room.give_back()
        return ended

    def _take_up(self) -> Outcome | None:
        """Act again on the last event before an interruption, as far as no message is needed for that."""
        match self._transaction.state:
            case State.ISSUED:
                return self._handle(self._transaction.issued(self._environment.judging_time))
            case State.CONFIRMED:
                return self._install()
            case State.DISPUTED:
                return self._disputed(str(self._transaction.snapshot()["refusal"]) or "it answered with an error")
        return None

    def _step(self) -> Outcome | None:
        label = _MESSAGES.get(self._transaction.state, self._transaction.request)
        try:
            event = self._conversation.exchange(label)
        except (TransportError, RemoteError) as error:
            return self._unanswered(error)
        return self._handle(event)

    def _unanswered(self, error: TransportError | RemoteError) -> Outcome:
        """Decide what a missing or unusable answer means: nearly always that the request stays open.

        But a certificate that was accepted must not stay unused for ever because the CA forgot the transaction, nor
        one that was refused be in the way of the next request. While the credential in use is valid there is time: an
        answer without proof, which anybody on the path can send, does not end a renewal that the CA may have granted.
        What a CA that forgot it never answers well is given up in time, where another request can be made.
        """
        state = self._transaction.state
        if state is State.REFUSAL_SENT:
            self._tell(Event.NOTE, note=f"the CA may not know that its certificate is refused: {error}")
            return self._refused()
        lasting = isinstance(error, RemoteError) and not isinstance(error, Rejected)
        if state in _CONFIRMING and self._told_before and (self._too_old or (lasting and self._nothing_better())):
            return self._disputed(str(error))
        if state in _UNDECIDED and self._hopeless:
            if can_ask_anew(self._job, valid=not self._nothing_better()):
                return self._given_up(
                    f"no usable answer came in time, and the last attempt failed: {error}", error.remedy
                )
            error.remedy += (
                f" If the CA has lost the request, run 'enrollctl enroll {self._job.name} --start-over'; it may need a "
                "new secret."
            )
        if state is not State.REQUESTED and isinstance(error, RemoteError):
            error = _in_the_middle(error)
        if state is State.REQUESTED and isinstance(error, RemoteError):
            self._give_up()  # a request without an answer is not taken up again; the next attempt makes a new one
        raise error

    def _give_up(self) -> None:
        if PROFILES[self._job.authority.profile.value].sends_error:
            self._conversation.give_up()

    def _handle(self, event: CmpEvent) -> Outcome | None:
        """Act on what the CA said; return the outcome if the job is over."""
        match event:
            case Undecided():
                return self._undecided()
            case Challenged():
                return None
            case Issued():
                return self._keep(event)
            case Unacceptable():
                return self._refuse(event)
            case Declined():
                return self._declined(event)
            case Concluded():
                return self._install() if self._transaction.state is State.CONFIRMED else self._refused()
            case Answered():
                raise defect("a certificate request was answered like a question")

    # --- undecided ----------------------------------------------------------------------------------------------

    def _undecided(self) -> Outcome | None:
        """Give up after the configured time; until then the next exchange waits."""
        if not self._too_old:
            return None
        limit = short_wait(self._job.authority.polling.give_up_after)
        if self._transaction.state is State.CONFIRM_WAITING:
            self._told_before = True
            return self._disputed(f"it did not answer within {limit}")
        return self._given_up(
            f"the CA did not decide within {limit}",
            "Ask the CA's operator to decide on new requests; the next attempt makes one.",
        )

    def _given_up(self, why: str, remedy: str) -> Outcome:
        self._give_up()
        self._store.transaction.clear()
        return Outcome(verdict=Verdict.REJECTED, text=f"{why}; the request is given up", remedy=remedy)

    @property
    def _too_old(self) -> bool:
        return self._lifespan.exceeds(self._job.authority.polling.give_up_after, self._environment)

    @property
    def _hopeless(self) -> bool:
        """Whether a request that gets no usable answer has waited for one long enough."""
        try:
            limit = self._lifespan.hopeless_after(self._job, self._store.current)
        except (StateCorrupt, MalformedMessage):
            return self._too_old
        return self._lifespan.exceeds(limit, self._environment)

    def _left_open(self, wait: OutOfPatience) -> Outcome:
        why = "interrupted" if wait.interrupted else "the CA has not decided yet"
        again = f"'enrollctl enroll {self._job.name}'"
        return Outcome(
            verdict=Verdict.WAITING,
            text=f"{why}; the request stays open",
            remedy=f"Ask again in {short_wait(wait.seconds)} with {again}; nothing is lost.",
            retry_after=wait.seconds,
        )

    # --- granted ------------------------------------------------------------------------------------------------

    def _keep(self, issued: Issued) -> Outcome | None:
        """Make the new credential durable before anybody is told that we have it."""
        facts = read(load(issued.certificate))
        if self._generation is None:
            self._generation = self._store.add(
                Credential(
                    certificate=issued.certificate,
                    chain=issued.chain,
                    trust_anchors=issued.anchors,
                    private_key=self._key.file,
                    key_reference=None if self._key.file else self._key.key.reference,
                    description=about(facts, self._job, self._transaction.transaction_id),
                )
            )
            self._tell_what_was_learned()
        self._tell(Event.VERIFIED, certificate_fields(facts), **certificate_words(facts))
        if issued.confirm:
            return None  # the snapshot before certConf names the generation
        self._transaction.excuse()
        self._save()
        return self._install()

    def _tell_what_was_learned(self) -> None:
        """Say which roots are trusted from now on, and what that rests on: a person must be able to compare."""
        anchors = self._job.authority.enrollment_anchors
        proven = "in caPubs, protected by the one-time secret"
        if anchors.source is AnchorSource.EXTRA_CERTS:
            proven = "along with the answer, and its key is pinned" if anchors.root_pins else ""
        for facts in map(read, map(load, self._transaction.learned)):
            pin = sha256_hex(facts.spki)
            event = Event.ROOT_LEARNED if proven else Event.ROOT_TAKEN_ON_TRUST
            self._tell(event, subject=facts.who, pin=pin, how=proven)

    def _install(self) -> Outcome:
        if self._generation is None:
            raise StateCorrupt(
                "the certificate was confirmed, but it is not on disk",
                remedy=f"Run 'enrollctl enroll {self._job.name} --start-over'; it may need a new secret.",
            )
        return self._bring_into_use(self._generation, confirmed=True)

    def _bring_into_use(self, generation: Generation, *, confirmed: bool) -> Outcome:
        now = self._environment.judging_time
        return install(self._job, self._store, self._keys, generation, self._reporter, now=now, confirmed=confirmed)

    # --- no -----------------------------------------------------------------------------------------------------

    def _refuse(self, event: Unacceptable) -> Outcome | None:
        self._tell(Event.UNACCEPTABLE, {"REMEDY": event.objection.remedy}, objection=event.objection.text)
        self._objection = event.objection
        if event.confirm:
            return None
        self._transaction.excuse()
        return self._refused()

    def _refused(self) -> Outcome:
        objection = self._objection
        why = objection.text if objection else str(self._transaction.snapshot()["refusal"])
        self._store.transaction.clear()
        return Outcome(
            verdict=Verdict.REFUSED,
            text=f"the CA issued a certificate that is refused: {why}",
            remedy=objection.remedy if objection else "Give the CA's operator this message, then enroll again.",
        )

    def _declined(self, event: Declined) -> Outcome:
        state = self._transaction.state
        said = failures.describe(event.status, event.failures, event.text)
        if state is State.REFUSED:
            return self._refused()
        if state is State.DISPUTED:
            return self._disputed(said)
        if failures.retry_class(event.failures) not in _SAME_KEY:
            self._store.transaction.clear()
        names = ",".join(failures.failure_names(event.failures))
        return Outcome(
            verdict=Verdict.REJECTED,
            text=said,
            remedy=failures.remedy(event.failures),
            fields={"CMP_STATUS": failures.PKIStatus.REJECTION.label, "CMP_FAIL_INFO": names},
        )

    def _disputed(self, said: str) -> Outcome:
        """Decide about a genuine certificate whose confirmation the CA answered with an error.

        When certConf may have gone out before (restart, lost pkiConf), the CA has most likely confirmed it and
        forgotten the transaction: with nothing better installed, it is used, since the alternative is a site off the
        air and a spent secret. Otherwise the CA said a clear no, and the credential in use stays in use.
        """
        generation = self._generation
        if generation is not None and self._told_before and self._nothing_better():
            serial = f"{read(load(generation.certificate)).certificate.serial_number:x}"
            self._tell(Event.UNCONFIRMED, {"CERTIFICATE_SERIAL": serial}, serial=serial, reason=said)
            return self._bring_into_use(generation, confirmed=False)
        self._store.transaction.clear()
        return Outcome(
            verdict=Verdict.REJECTED,
            text=f"the CA did not accept our confirmation of the new certificate: {said}",
            remedy="Ask the CA's operator whether the certificate is active; the one in use stays in use.",
        )

    def _nothing_better(self) -> bool:
        try:
            current = self._store.current
            # The new one itself, if a worker was cut off after it brought it into use, is nothing better.
            if current is None or current == self._generation:
                return True
            return read(load(current.certificate)).not_after <= self._environment.judging_time
        except (StateCorrupt, MalformedMessage):
            return True

    # --- durable ------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        """Write the snapshot: before a message leaves with room held for its answer, afterwards into that room."""
        if self._transaction.state in _MAY_BRING_IT:
            self._room.hold(needed(self._transaction, self._key))
        else:
            self._room.give_back()
        resuming.save(
            self._store.transaction,
            self._transaction,
            action=self._job.action,
            url=self._client.url,
            lifespan=self._lifespan,
            generation=self._generation.number if self._generation else None,
            told_before=self._told_before,
        )


def _in_the_middle(error: RemoteError) -> RemoteError:
    """Return ``error`` for an answer after the first: both sides have proven the secret, so it is not what is wrong."""
    error.claimed = frozenset()
    if not isinstance(error, WrongMac):
        return error
    remedy = "Try again; if it repeats, see what lies between here and the CA and changes messages."
    return ProtectionError(str(error), remedy=remedy, hint=error.hint)
