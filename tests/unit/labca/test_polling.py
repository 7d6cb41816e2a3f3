from __future__ import annotations

from datetime import timedelta

import pytest

from agent.cmp.bodies import General, Pkcs10, PollRequest, PollResponse
from agent.cmp.failures import PKIFailureInfo, PKIStatus
from agent.cmp.messages import BodyType, Message
from agent.labca.records import CertificateStatus, TransactionState
from agent.labca.settings import Nonce, WaitingForm
from tests.unit.labca.entity import Entity, certificate_in, csr, failures_in, lab, response_in, status_in


def poll_in(answer: Message) -> tuple[int, int]:
    """Return certReqId and checkAfter of a pollRep."""
    body = answer.body()
    assert isinstance(body, PollResponse)
    return body.polls[0].cert_req_id, body.polls[0].check_after


def test_a_request_waits_for_as_many_polls_as_configured_and_is_then_issued() -> None:
    ca = lab(polls=2, check_after=7)
    entity = Entity(ca)
    got = entity.ask(entity.request())
    assert got.type is BodyType.IP
    assert status_in(got).status == PKIStatus.WAITING
    assert response_in(got).certificate is None
    first = entity.nonce
    for _ in range(2):
        got = entity.poll()
        assert poll_in(got) == (0, 7)
        assert got.header.recip_nonce == entity.nonce
    assert ca.record().certificates == ()
    got = entity.poll()
    assert got.header.recip_nonce == first
    assert entity.ask(entity.confirm(certificate_in(got))).type is BodyType.PKICONF
    assert ca.record().transactions[0].state is TransactionState.CONFIRMED


def test_the_last_answer_can_repeat_the_nonce_of_the_last_message_instead() -> None:
    entity = Entity(lab(polls=1, nonce_after_polling=Nonce.LAST))
    entity.ask(entity.request())
    entity.poll()
    assert entity.poll().header.recip_nonce == entity.nonce


def test_a_request_waits_until_its_time_has_come() -> None:
    entity = Entity(lab(poll_delay=timedelta(days=7)))
    entity.ask(entity.request())
    entity.now += timedelta(days=7, seconds=-1)
    assert poll_in(entity.poll()) == (0, 1)
    entity.now += timedelta(seconds=1)
    assert certificate_in(entity.poll())


def test_pkcs10_is_polled_for_with_the_number_of_its_answer() -> None:
    entity = Entity(lab(polls=1))
    assert response_in(entity.ask(Pkcs10(csr(entity.key)))).cert_req_id == -1
    assert failures_in(entity.poll(0)) == ("badRequest",)
    assert poll_in(entity.poll(-1)) == (-1, 1)
    got = entity.poll(-1)
    assert got.type is BodyType.CP
    assert certificate_in(got)


def test_waiting_can_be_said_with_an_error_and_is_then_about_the_whole_message() -> None:
    entity = Entity(lab(polls=1, waiting_form=WaitingForm.ERROR))
    got = entity.ask(entity.request())
    assert got.type is BodyType.ERROR
    assert status_in(got).status == PKIStatus.WAITING
    assert poll_in(entity.poll(-1)) == (-1, 1)
    assert entity.poll(-1).type is BodyType.IP


def test_certconf_rr_and_genm_can_be_delayed_as_whole_messages() -> None:
    ca = lab(polls=1, delayed=frozenset({BodyType.CERTCONF, BodyType.GENM}))
    entity = Entity(ca)
    certificate = certificate_in(entity.ask(entity.request()))
    for body, final in ((entity.confirm(certificate), BodyType.PKICONF), (General(BodyType.GENM, ()), BodyType.GENP)):
        got = entity.ask(body, **({} if final is BodyType.PKICONF else {"recip_nonce": None}))
        assert (got.type, status_in(got).status) == (BodyType.ERROR, PKIStatus.WAITING)
        first = entity.nonce
        assert poll_in(entity.poll(-1)) == (-1, 1)
        got = entity.poll(-1)
        assert (got.type, got.header.recip_nonce) == (final, first)
        entity.begin()
    assert ca.record().certificates[0].status is CertificateStatus.CONFIRMED


def test_approval_by_hand_lets_one_request_through_and_decline_refuses_another() -> None:
    ca = lab(manual_approval=True)
    entity, other = Entity(ca), Entity(ca)
    for one in (entity, other):
        one.ask(one.request())
        assert poll_in(one.poll()) == (0, 1)
    assert ca.approve(entity.transaction_id) == 1
    assert certificate_in(entity.poll())
    assert ca.decline(failure=PKIFailureInfo.BAD_CERT_TEMPLATE) == 1
    got = other.poll()
    assert got.type is BodyType.IP
    assert failures_in(got) == ("badCertTemplate",)
    assert got.header.recip_nonce != other.nonce
    assert ca.approve() == 0


def test_who_approves_all_leaves_alone_what_is_decided_and_waits_for_its_asker() -> None:
    ca = lab(manual_approval=True)
    entity, other = Entity(ca), Entity(ca)
    entity.ask(entity.request())
    assert ca.approve() == 1
    other.ask(other.request())
    assert ca.decline(failure=PKIFailureInfo.BAD_CERT_TEMPLATE) == 1
    assert ca.approve() == 0
    assert certificate_in(entity.poll())
    assert failures_in(other.poll()) == ("badCertTemplate",)


def test_a_request_that_can_never_be_granted_is_refused_at_once() -> None:
    entity = Entity(lab(polls=3))
    assert failures_in(entity.ask(entity.request(serial_number=1))) == ("badCertTemplate",)
    assert failures_in(entity.poll()) == ("badRequest",)


def test_a_poll_whose_answer_was_lost_can_be_repeated_in_its_octets_or_anew() -> None:
    entity = Entity(lab(polls=2))
    entity.ask(entity.request())
    octets = entity.message(PollRequest((0,)))
    assert entity.ca.answer(octets) == entity.ca.answer(octets)
    heard = entity.heard  # the answer to the request: neither pollRep arrived
    assert poll_in(entity.ask(PollRequest((0,)), recip_nonce=heard)) == (0, 1)
    assert certificate_in(entity.poll())


def test_an_older_nonce_is_no_longer_accepted_once_a_newer_one_came_back() -> None:
    entity = Entity(lab(polls=3))
    entity.ask(entity.request())
    heard = entity.heard
    entity.poll()
    entity.poll()
    assert failures_in(entity.ask(PollRequest((0,)), recip_nonce=heard)) == ("badRecipientNonce",)


@pytest.mark.parametrize("numbers", [(), (1,), (0, 0), (-1,)])
def test_a_poll_must_ask_for_what_is_waited_for(numbers: tuple[int, ...]) -> None:
    entity = Entity(lab(polls=1))
    entity.ask(entity.request())
    assert failures_in(entity.ask(PollRequest(numbers))) in {("badRequest",), ("badDataFormat",)}
