"""One transaction from start to end, sans-I/O: a certificate request with its polling and confirmation, rr or genm.

Use it so, with time as an argument everywhere (aware datetimes in UTC)::

    octets = transaction.send(now)       # builds what the state calls for and moves on
    save(transaction.snapshot())         # before the octets leave
    event = transaction.receive(answer, now)

``receive`` applies the checks of RFC 9483 3.5 in their order and changes nothing unless the whole answer is good: an
answer that is not raises, and the transaction stands where it stood. A snapshot holds no secret and no key.

The parts: :mod:`states` is the table of what can happen, :mod:`memory` what is remembered, :mod:`composition` what we
send, :mod:`envelope` and :mod:`peer` whether an answer may be read at all, :mod:`interpretation` what it means.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.cmp import composition, envelope, interpretation, learning, material, messages, peer, revocation
from agent.cmp.acceptance import Objection
from agent.cmp.certificates import load, read
from agent.cmp.envelope import NONCE_LENGTH
from agent.cmp.errors import LocalError, ProtocolViolation, Rejected, RemoteError, StandingUnknown, defect
from agent.cmp.events import Answered, Challenged, Concluded, Declined, Event, Issued, Unacceptable, Undecided
from agent.cmp.interpretation import Answer
from agent.cmp.memory import Memory, freeze
from agent.cmp.possession import PopMethod
from agent.cmp.request import Wanted
from agent.cmp.revocation import Checking
from agent.cmp.sizes import MAXIMUM_CERTIFICATE, MAXIMUM_CERTIFICATES, MAXIMUM_LEARNED, largest_snapshot
from agent.cmp.states import State, Trigger, step
from agent.cmp.terms import Learning, Source, Terms
from agent.cmp.trust import MAXIMUM_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from agent.cmp.acceptance import Expectation
    from agent.cmp.messages import Message
    from agent.cmp.peer import PeerRules
    from agent.cmp.request import Originator, Request

__all__ = [
    "NONCE_LENGTH",
    "Answered",
    "Challenged",
    "Concluded",
    "Declined",
    "Event",
    "Issued",
    "Learning",
    "Source",
    "Transaction",
    "Unacceptable",
    "Undecided",
]

_STARTS_A_WAIT = frozenset(
    {
        State.READY,
        State.CHALLENGED,
        State.PROVING,
        State.ISSUED,
        State.REFUSING,
        State.CONFIRMING,
        State.REFUSAL_SENT,
    }
)
"""States in which a request, popdecr or certConf is sent: its answer may come after polling, with its nonce."""


class Transaction:
    """The client's side of one certificate request. See the module's text for its use."""

    def __init__(
        self,
        wanted: Request,
        originator: Originator,
        rules: PeerRules,
        expectation: Expectation | None = None,
        *,
        random: Callable[[int], bytes],
        clock_trusted: bool = True,
        learning: Learning | None = None,
        memory: Memory | None = None,
    ) -> None:
        """Take what is wanted, who asks, who may answer and (for a certificate) what is acceptable.

        ``learning`` accepts trust anchors where there are none. ``memory`` resumes an earlier transaction;
        ``random(n)`` returns n unpredictable octets.

        Raises:
            LocalError: when ``random`` does not do so.
        """
        self._terms = Terms(
            wanted=wanted,
            originator=originator,
            rules=rules,
            expectation=expectation,
            clock_trusted=clock_trusted,
            learning=learning,
        )
        self._random = random
        self._memory = memory or Memory(
            type=wanted.type,
            transaction_id=self._fresh(),
            implicit_asked=wanted.implicit_confirmation,
            awaits_challenge=isinstance(wanted, Wanted) and wanted.proof is PopMethod.CHALLENGE,
        )

    @property
    def state(self) -> State:
        """Where the transaction stands."""
        return self._memory.state

    @property
    def request(self) -> str:
        """The name of the request that opens it, for people: ir, kur and so on."""
        return self._memory.type.label

    @property
    def transaction_id(self) -> bytes:
        """The transactionID, for logs and for the CA's operator."""
        return self._memory.transaction_id

    @property
    def check_at(self) -> datetime | None:
        """When to ask again, in state waiting."""
        return self._memory.check_at

    @property
    def learned(self) -> tuple[bytes, ...]:
        """The trust anchors it learned from answers, DER; they are to be kept with the certificate."""
        return self._memory.learned

    @property
    def certificate(self) -> bytes:
        """The certificate that came, DER; b"" before."""
        return self._memory.certificate

    @property
    def largest_snapshot(self) -> int:
        """Octets that its snapshot can take as JSON once the answer to the last message is in and accepted."""
        return largest_snapshot(len(self._memory.last_message))

    @property
    def largest_credential(self) -> tuple[int, ...]:
        """Octets, each, of the certificates that :class:`Issued` can hold: it, its chain, the anchors."""
        learned = (MAXIMUM_LEARNED // MAXIMUM_CERTIFICATES,) * MAXIMUM_CERTIFICATES
        anchors = map(len, material.der_of(self._terms.rules.anchors))
        return (*(MAXIMUM_CERTIFICATE,) * (MAXIMUM_DEPTH - 1), *anchors, *learned)

    def snapshot(self) -> dict[str, Any]:
        """Return everything ``memory.recall`` needs, as JSON values; no secrets."""
        return freeze(self._memory)

    def wait_until(self, moment: datetime) -> None:
        """Set when to ask again: the caller bounds the CA's checkAfter by policy."""
        self._memory = replace(self._memory, check_at=moment)

    def use_lists(self, lists: Iterable[bytes]) -> None:
        """Take the CRLs that could be had for a :class:`StandingUnknown`; nobody asks for more in this transaction."""
        rules = self._terms.rules
        checking = replace(rules.revocation, lists=revocation.load_all(lists), complete=True)
        self._terms = replace(self._terms, rules=replace(rules, revocation=checking))

    def send(self, now: datetime) -> bytes:
        """Build the message that the state calls for, and move on. Save the snapshot before it leaves.

        Where a pollReq or certConf got no answer, the very same octets are given again for some minutes: a CA that
        processed them already can recognise them.

        Raises:
            LocalError: when nothing is to be sent in this state, or the message cannot be built.
        """
        memory, clock_trusted = self._memory, self._terms.clock_trusted
        following = step(memory.state, Trigger.SEND)
        if composition.repeats(memory, now, clock_trusted=clock_trusted):
            return memory.last_message
        return self._compose(memory, following, now)

    def give_up(self, now: datetime) -> bytes:
        """Build the error message that tells the CA not to go on with the request, and move on.

        For CAs that want to know (profile ``backhaul``); RFC 9483 3.6.1 has an end entity just fall silent. A pkiconf
        answers it. Whether one comes or not, the request is over for us: there is nothing to save or to repeat.

        Raises:
            LocalError: when there is no request to give up, or a certificate came (certConf refuses it).
        """
        giving_up = replace(self._memory, state=step(self.state, Trigger.GIVE_UP))
        return self._compose(giving_up, giving_up.state, now)

    def receive(self, octets: bytes, now: datetime) -> Event:
        """Check an answer (RFC 9483 3.5, in order) and say what it means.

        Raises:
            RemoteError: when it is not acceptable; everything is as before, ``hint`` holds what the peer claims.
                :class:`StandingUnknown` among them asks for CRLs (:meth:`use_lists`); :class:`Rejected` is well
                protected: the CA cannot take our certConf at this moment.
        """
        message = messages.parse(octets)
        try:
            return self._receive(message, now)
        except (Rejected, StandingUnknown):
            raise
        except RemoteError as error:
            claim = peer.claim(message)
            error.hint, error.claimed = error.hint or claim.text, claim.failures
            raise

    def issued(self, now: datetime) -> Issued | Unacceptable:
        """Return again the event of a transaction that was interrupted in state ``issued``.

        What is acceptable may have changed meanwhile: the certificate expired, the configuration wants another name.
        Then the certificate is refused after all.

        Raises:
            RemoteError: the certificate is not valid *yet*. It was when it came, so the clock went back: set it.
            LocalError: when the transaction is in another state.
        """
        memory = self._memory
        if memory.state is not State.ISSUED:
            raise defect(f"there is no certificate to go on with in a transaction that is {memory.state}")
        verdict = interpretation.examine(memory, self._terms, now)
        if isinstance(verdict, Objection) and now < read(load(memory.certificate)).not_before:
            raise ProtocolViolation(
                f"the certificate was good when it came and is not any more: {verdict.text}",
                remedy="Set this machine's clock: it went back since.",
            )
        event, trigger, changed = interpretation.issued(memory, self._terms, verdict)
        if trigger is Trigger.UNACCEPTABLE:
            self._memory = replace(changed, state=step(memory.state, trigger))
        return event

    def excuse(self) -> None:
        """Note that no certConf is due, since implicit confirmation was granted.

        Raises:
            LocalError: when it was not, or there is no certificate.
        """
        following = step(self.state, Trigger.EXCUSED)
        if not self._memory.implicit_confirmation:
            raise defect("the CA awaits that the certificate is confirmed or refused")
        self._memory = replace(self._memory, state=following)

    def _receive(self, message: Message, now: datetime) -> Event:
        memory, terms = self._memory, self._terms
        envelope.check_header(message, memory, terms.rules.quirks)
        brought = learning.provisional(message, memory, terms)
        proof = peer.verify(
            message,
            ours=terms.originator.kind,
            secret=terms.originator.secret,
            # Nobody opens connections for a root that is not trusted yet: there is time with the next answer.
            rules=replace(terms.rules, revocation=Checking()) if brought else terms.rules,
            anchors=(*interpretation.anchors(memory, terms), *brought),
            known=memory.peer_certificates,
            now=now,
            clock_trusted=terms.clock_trusted,
            addressed=terms.wanted.recipient,
        )
        envelope.check_nonces(message, memory, terms.rules.quirks)
        answer = Answer(
            message=message,
            body=message.body(),
            proof=proof,
            now=now,
            notes=(*proof.notes, *envelope.remarks(message, memory, now, clock_trusted=terms.clock_trusted)),
        )
        remembered = replace(
            memory,
            peer_nonce=message.header.sender_nonce or b"",
            peer_name=message.header.sender,
            peer_certificates=material.merged(
                material.der_of(proof.path[:-1]), message.extra_certs, memory.peer_certificates
            ),
            learned=learning.bound(proof, memory, brought),
        )
        meaning = interpretation.interpret(answer, remembered, terms)
        self._memory = replace(meaning.memory, state=step(memory.state, meaning.trigger))
        return meaning.event

    def _compose(self, memory: Memory, following: State, now: datetime) -> bytes:
        nonce = self._fresh()
        octets, pvno = composition.message(memory, self._terms, nonce, now)
        self._memory = replace(
            memory,
            state=following,
            last_nonce=nonce,
            delayed_nonce=nonce if memory.state in _STARTS_A_WAIT else memory.delayed_nonce,
            last_message=octets,
            last_pvno=pvno,
            sent_at=now if self._terms.clock_trusted else None,
        )
        return octets

    def _fresh(self) -> bytes:
        """Return a new transactionID or nonce; a source of randomness that fails must end everything."""
        octets = self._random(NONCE_LENGTH)
        if len(octets) != NONCE_LENGTH:
            raise LocalError(
                f"the source of randomness gave {len(octets)} octets instead of {NONCE_LENGTH}",
                remedy="This is a defect of enrolld or of this machine; nothing was sent.",
            )
        return octets
