"""What a CA that takes its time does: for certificates, certConf, revocations and questions (RFC 9483 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from agent.cmp import messages
from agent.cmp.bodies import PollRequest
from agent.cmp.events import Answered, Concluded, Declined, Issued, Undecided
from agent.cmp.messages import BodyType
from agent.cmp.request import Originator
from agent.cmp.states import State
from agent.labca import LabCa, Misbehaviour
from agent.labca.records import CertificateStatus
from agent.labca.settings import Nonce, WaitingForm
from tests.unit.cmp.device import (
    DELAYED,
    NOW,
    Device,
    by_vendor,
    enrolled,
    lab,
    question,
    revocation,
    rewritten,
)
from tests.unit.cmp.stages import PROTECTIONS, REQUESTS


@pytest.mark.parametrize("nonce", list(Nonce))
@pytest.mark.parametrize("form", list(WaitingForm))
@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.label)
def test_a_request_under_consideration_is_polled_for(kind: BodyType, form: WaitingForm, nonce: Nonce) -> None:
    device = Device(lab(polls=2, check_after=77, waiting_form=form, nonce_after_polling=nonce), kind)
    device.run()
    assert [type(event) for event in device.events] == [Undecided, Undecided, Undecided, Issued, Concluded]
    assert [event.check_after for event in device.events if isinstance(event, Undecided)] == [0, 77, 77]
    assert isinstance(device.events[0], Undecided)
    assert device.events[0].reason == "the request is being considered"
    polls = [messages.parse(octets).body() for octets in device.sent[1:4]]
    number = -1 if form is WaitingForm.ERROR or kind is BodyType.P10CR else 0
    assert polls == [PollRequest((number,))] * 3
    assert device.certificate.status is CertificateStatus.CONFIRMED


@PROTECTIONS
@pytest.mark.parametrize("nonce", list(Nonce))
def test_the_answer_to_certconf_can_be_delayed_too(nonce: Nonce, originator: Callable[[LabCa], Originator]) -> None:
    ca = lab(polls=1, delayed=frozenset({BodyType.CERTCONF}), nonce_after_polling=nonce)
    device = Device(ca, by=originator(ca))
    device.run()
    assert device.state is State.CONFIRMED
    assert device.heard_by_ca() == ["ir", "certConf", "pollReq", "pollReq"]


def test_answers_to_revocations_and_questions_can_be_delayed_too() -> None:
    ca = lab()
    device = enrolled(ca)
    slow = lab(polls=1, delayed=DELAYED)
    asking = question(slow)
    assert isinstance(asking.run(), Answered)
    assert asking.heard_by_ca() == ["genm", "pollReq", "pollReq"]
    ca._office.settings = slow.settings
    revoking = revocation(device)
    assert isinstance(revoking.run(), Answered)
    assert revoking.heard_by_ca() == ["rr", "pollReq", "pollReq"]


def test_certificates_that_came_earlier_need_not_come_again() -> None:
    ca = lab(polls=1, repeat_extra_certs=False)
    device = Device(ca, by=by_vendor(ca))
    device.run()
    assert device.state is State.CONFIRMED
    bare = [messages.parse(one.octets) for one in ca.record().messages if one.sent][-1]
    assert (bare.type, bare.extra_certs) == (BodyType.PKICONF, ())


def test_a_bare_pkiconf_is_verified_with_the_signer_kept_from_before() -> None:
    ca = lab()
    device = Device(ca, by=by_vendor(ca))
    device.exchange()
    device.exchange(rewritten(ca, sender_kid=None, extra_certs=()))
    assert device.state is State.CONFIRMED


def test_a_signer_who_does_not_say_who_he_is_can_still_prove_it() -> None:
    ca = lab()
    device = Device(ca, by=by_vendor(ca))
    device.exchange(rewritten(ca, sender=messages.NULL_DN, sender_kid=None))
    assert device.state is State.ISSUED


def test_when_to_ask_again_is_the_callers_decision_and_is_remembered() -> None:
    device = Device(lab(polls=1))
    device.exchange()
    assert device.transaction.check_at is None
    device.transaction.wait_until(NOW + timedelta(hours=1))
    device.restart()
    assert device.transaction.check_at == NOW + timedelta(hours=1)


def test_waiting_said_again_is_taken_as_a_pollrep_without_a_time() -> None:
    ca = lab(polls=9)
    device = Device(ca)
    device.exchange()
    waiting = messages.parse(ca.record().messages[-1].octets).body()
    again = device.exchange(rewritten(ca, body=waiting))
    assert isinstance(again, Undecided)
    assert again.check_after is None
    assert device.state is State.WAITING


@pytest.mark.parametrize("failure", ["systemUnavail", "systemFailure", "timeNotAvailable", "badTime"])
def test_a_failure_of_the_moment_does_not_end_a_wait_of_days(failure: str) -> None:
    ca = lab(polls=1)
    device = Device(ca)
    device.exchange()
    ca.misbehave(Misbehaviour.REJECT, failure, on=BodyType.POLLREQ, times=1)
    undecided = device.exchange()
    assert isinstance(undecided, Undecided)
    assert failure.lower() in undecided.reason.lower() or "refused by misbehaviour" in undecided.reason
    device.run()
    assert device.state is State.CONFIRMED
    assert len(ca.record().certificates) == 1


def test_a_failure_of_the_moment_that_answers_the_request_itself_ends_it() -> None:
    """With the nonce of the delayed request (RFC 9483 4.4) it is the final answer, not one to the poll."""
    ca = lab(polls=1)
    device = Device(ca)
    device.exchange()
    first = messages.parse(device.sent[0]).header.sender_nonce
    ca.misbehave(Misbehaviour.REJECT, "systemFailure", on=BodyType.POLLREQ)
    assert isinstance(device.exchange(rewritten(ca, recip_nonce=first)), Declined)
    assert device.state is State.REJECTED


def test_any_other_error_ends_polling() -> None:
    ca = lab(polls=1)
    device = Device(ca)
    device.exchange()
    ca.misbehave(Misbehaviour.REJECT, "badRequest", on=BodyType.POLLREQ)
    assert isinstance(device.exchange(), Declined)
    assert device.state is State.REJECTED
