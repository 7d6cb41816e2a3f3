"""Whatever comes in whatever order, a device trusts only what its CA issued for its own key, and only once."""

from __future__ import annotations

import contextlib
import random
from datetime import timedelta
from typing import Final

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.cmp import der, messages
from agent.cmp.bodies import ErrorMessage, PkiConf, StatusInfo
from agent.cmp.certificates import load, read
from agent.cmp.errors import LocalError, MalformedMessage, RemoteError
from agent.cmp.events import Issued
from agent.cmp.failures import PKIStatus
from agent.cmp.messages import BodyType
from agent.cmp.protection import Kind
from agent.cmp.states import ENDED, State
from agent.cmp.trust import MODERN, build_path
from agent.labca import ConnectionDropped, Misbehaviour
from agent.labca.records import CertificateStatus
from agent.labca.settings import Nonce, WaitingForm
from tests.unit.cmp.device import DELAYED, Device, enrolled, lab
from tests.unit.cmp.stages import originator

_SENDABLE: Final = frozenset(State) - ENDED - {State.REQUESTED}
_AWAITING: Final = frozenset(
    {State.REQUESTED, State.POLLING, State.CONFIRMING, State.CONFIRM_POLLING, State.REFUSAL_SENT}
)
_HAVING: Final = frozenset(
    {State.ISSUED, State.CONFIRMING, State.CONFIRM_WAITING, State.CONFIRM_POLLING, State.CONFIRMED, State.DISPUTED}
)
"""States in which a certificate was found good."""
_CERTIFICATE_FAULTS: Final = st.sampled_from(
    [
        Misbehaviour.WRONG_KEY,
        Misbehaviour.WRONG_SUBJECT,
        Misbehaviour.WRONG_ALTERNATIVE_NAME,
        Misbehaviour.CA_CERTIFICATE,
        Misbehaviour.EXPIRED,
        Misbehaviour.NOT_YET_VALID,
        Misbehaviour.UNKNOWN_ISSUER,
    ]
)
_MESSAGE_FAULTS: Final = st.sampled_from(
    [
        Misbehaviour.WRONG_RECIP_NONCE,
        Misbehaviour.NO_RECIP_NONCE,
        Misbehaviour.WRONG_TRANSACTION_ID,
        Misbehaviour.NO_SENDER_NONCE,
        Misbehaviour.BAD_PROTECTION,
        Misbehaviour.UNPROTECTED,
        Misbehaviour.UNPROTECTED_ERROR,
        Misbehaviour.UNAUTHORISED_SIGNER,
        Misbehaviour.STRANGE_SIGNER,
        Misbehaviour.WRONG_CERT_REQ_ID,
        Misbehaviour.WRONG_BODY,
        Misbehaviour.TRUNCATED,
        Misbehaviour.OTHER_TRANSACTION,
        Misbehaviour.DROP_AFTER,
    ]
)


_REFUSALS: Final = st.builds(
    "reject={}@{}*1".format,
    st.sampled_from(["systemUnavail", "badTime", "badRequest", "certConfirmed", "badCertId"]),
    st.sampled_from(["pollReq", "certConf"]),
)
_SEEDS: Final = st.integers(0, 2**32)
"""Messages differ from run to run, so what is drawn must not depend on them."""


def spoilt(answers: list[bytes], chance: random.Random) -> bytes:
    """Return one of ``answers`` with something wrong, or a mixture of two."""
    one, other = chance.choice(answers), chance.choice(answers)
    try:
        parts, others = der.values(one), der.values(other)
    except MalformedMessage:  # the CA itself cut it off
        parts = others = []
    if parts and chance.random() < 0.5:
        return der.wrap(der.SEQUENCE, *mixed(parts, others, chance))
    at, to = sorted(chance.randrange(len(one)) for _ in range(2))
    changes = (
        one[:at] + bytes((one[at] ^ 1 << chance.randrange(8),)) + one[at + 1 :],
        one[:at],
        one[:at] + one[to:],
        one[:to] + one[at:],
        one[:at] + other[at:],
    )
    return chance.choice(changes)


def mixed(parts: list[bytes], others: list[bytes], chance: random.Random) -> list[bytes]:
    """Return the parts of a message with one replaced, dropped or repeated, or all in another order."""
    place = chance.randrange(min(len(parts), len(others)))
    before, after = parts[:place], parts[place + 1 :]
    changes = (
        [*before, others[place], *after],
        [*before, *after],
        [*before, parts[place], parts[place], *after],
        chance.sample(parts, len(parts)),
    )
    return chance.choice(changes)


class Enrollment(RuleBasedStateMachine):
    """A device, its CA, another device of the same CA, and somebody on the way who has heard everything."""

    @initialize(
        kind=st.sampled_from([BodyType.IR, BodyType.CR, BodyType.P10CR]),
        protection=st.sampled_from(Kind),
        polls=st.integers(0, 2),
        form=st.sampled_from(WaitingForm),
        nonce=st.sampled_from(Nonce),
        implicit=st.booleans(),
    )
    def begin(
        self, *, kind: BodyType, protection: Kind, polls: int, form: WaitingForm, nonce: Nonce, implicit: bool
    ) -> None:
        self.ca = lab(
            polls=polls, waiting_form=form, nonce_after_polling=nonce, implicit_confirm=implicit, delayed=DELAYED
        )
        self.other = enrolled(self.ca)
        self.kind, self.implicit = kind, implicit
        self.device = Device(self.ca, kind, by=originator(self.ca, protection), implicit_confirmation=implicit)
        self.answers = [one.octets for one in self.ca.record().messages if one.sent]
        self.pending: bytes | None = None
        """The true answer to the last message, while nobody delivered it."""
        self.send(heard=True)

    @property
    def pending_is_whole(self) -> bool:
        """Whether the CA did not cut its answer off."""
        try:
            messages.parse(self.pending or b"")
        except MalformedMessage:
            return False
        return True

    # --- the device and its CA ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.device.state in _SENDABLE)
    @rule(heard=st.booleans())
    def send(self, *, heard: bool) -> None:
        """Send what is due, be it again; the CA may not hear it."""
        if self.device.state is State.ISSUED and self.implicit:
            return
        octets = self.device.send()
        self.pending = None
        if heard:
            with contextlib.suppress(ConnectionDropped):
                self.pending = self.ca.answer(octets, self.device.now)
                self.answers.append(self.pending)

    @precondition(lambda self: self.device.state in _SENDABLE)
    @rule(times=st.integers(1, 4))
    def go_on(self, times: int) -> None:
        """Exchange some messages without anybody on the way."""
        for _ in range(times):
            if self.device.state in _SENDABLE:
                self.send(heard=True)
            if self.pending is not None:
                self.deliver()

    @precondition(lambda self: self.pending is None and self.device.state in ENDED | {State.REQUESTED})
    @rule()
    def start_over(self) -> None:
        """Begin a new transaction with the same key, as one does when the answer to the request is lost."""
        device = self.device
        self.device = Device(
            self.ca, self.kind, by=device.originator, key=device.key, implicit_confirmation=self.implicit
        )
        self.device.now = device.now
        self.send(heard=True)

    @precondition(lambda self: self.pending is not None)
    @rule()
    def deliver(self) -> None:
        """Deliver what the CA answered."""
        self.hear(self.pending or b"")
        self.pending = None

    @precondition(lambda self: self.device.state in {State.ISSUED, State.REFUSING})
    @rule()
    def excuse(self) -> None:
        """Do without certConf, which is possible only where that was granted."""
        granted = self.device.transaction.snapshot()["implicit_confirmation"]
        try:
            self.device.transaction.excuse()
        except LocalError:
            assert not granted
        else:
            assert granted

    @rule(seconds=st.sampled_from([0, 1, 60, 300, 86_400]))
    def restart(self, seconds: int) -> None:
        """Lose power for a while."""
        self.device.restart(now=self.device.now + timedelta(seconds=seconds))

    @precondition(lambda self: self.device.state is State.ISSUED)
    @rule()
    def take_up(self) -> None:
        """Go on after a restart with a certificate that is had; its validity may be over by now."""
        event = self.device.transaction.issued(self.device.now)
        assert isinstance(event, Issued) == (self.device.state is State.ISSUED)

    @rule(fault=_CERTIFICATE_FAULTS | _MESSAGE_FAULTS | _REFUSALS)
    def misbehave(self, fault: Misbehaviour | str) -> None:
        """Let the CA do something wrong when it can next."""
        self.ca.misbehave(f"{fault}*1" if isinstance(fault, Misbehaviour) else fault)

    # --- somebody on the way ------------------------------------------------------------------------------------------

    @rule(seed=_SEEDS)
    def replay(self, seed: int) -> None:
        """Deliver anything that was ever said; it may be the true answer, a little late."""
        self.hear(random.Random(seed).choice(self.answers))  # noqa: S311

    @rule(seed=_SEEDS)
    def change(self, seed: int) -> None:
        """Deliver a changed answer."""
        self.hear(spoilt(self.answers, random.Random(seed)))  # noqa: S311

    @precondition(lambda self: self.pending is not None)
    @rule(seed=_SEEDS)
    def change_the_true_answer(self, seed: int) -> None:
        """Deliver the answer that is awaited, changed."""
        self.hear(spoilt([self.pending or b""], random.Random(seed)))  # noqa: S311

    @precondition(lambda self: self.pending_is_whole)
    @rule(confirm=st.booleans())
    def forge(self, *, confirm: bool) -> None:
        """Answer in the CA's place: the right header, the wrong protection."""
        message = messages.parse(self.pending or b"")
        body = PkiConf() if confirm else ErrorMessage(StatusInfo(status=PKIStatus.REJECTION))
        octets = messages.build(
            message.header, body, protect=lambda _: message.protection or b"", extra_certs=message.extra_certs
        )
        before = self.device.transaction.snapshot()
        self.hear(octets)
        if message.type is not body.type:
            assert self.device.transaction.snapshot() == before

    @precondition(lambda self: self.pending_is_whole)
    @rule()
    def strip(self) -> None:
        """Take away what is not protected."""
        parts = der.values(self.pending or b"")
        self.hear(der.wrap(der.SEQUENCE, *parts[:3]))

    def hear(self, octets: bytes) -> None:
        """Deliver octets: they are taken, or refused without a trace."""
        before = self.device.transaction.snapshot()
        try:
            self.device.hear(octets)
        except RemoteError:
            assert self.device.transaction.snapshot() == before
        else:
            assert State(before["state"]) in _AWAITING

    # --- what holds always --------------------------------------------------------------------------------------------

    @invariant()
    def at_most_one_certificate_is_issued(self) -> None:
        mine = [
            one for one in self.ca.record().certificates if one.transaction_id == self.device.transaction.transaction_id
        ]
        assert len(mine) <= 1

    @invariant()
    def what_is_had_was_issued_by_the_ca_for_our_key(self) -> None:
        if self.device.state not in _HAVING:
            return
        octets = self.device.transaction.certificate
        assert octets == self.device.certificate.octets
        facts = read(load(octets))
        assert facts.spki == self.device.key.public_key
        pki = self.ca.pki
        build_path(
            facts.certificate,
            intermediates=(pki.issuing.loaded,),
            anchors=(pki.root.loaded,),
            at=facts.not_before,
            rules=MODERN,
        )

    @invariant()
    def both_sides_agree_at_the_end(self) -> None:
        state = self.device.state
        if state is State.CONFIRMED:
            assert self.implicit or "certConf" in self.device.heard_by_ca()
        if state is State.REFUSED and not self.implicit:
            assert self.device.certificate.status is not CertificateStatus.CONFIRMED

    @invariant()
    def nothing_is_learned(self) -> None:
        assert self.device.transaction.snapshot()["learned"] == []


TestEnrollment = Enrollment.TestCase
TestEnrollment.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
