"""Power cuts: a transaction goes on from its snapshot, and what got no answer is said again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from agent.cmp import messages
from agent.cmp.errors import LocalError, ProtocolViolation
from agent.cmp.events import Concluded, Declined, Issued, Unacceptable
from agent.cmp.messages import BodyType
from agent.cmp.request import Originator
from agent.cmp.states import ENDED, State
from agent.labca import LabCa, Misbehaviour
from agent.labca.records import CertificateStatus
from agent.labca.settings import WaitingForm
from tests.unit.cmp.device import (
    DELAYED,
    NOW,
    Device,
    enrolled,
    lab,
)
from tests.unit.cmp.stages import PROTECTIONS


@PROTECTIONS
@pytest.mark.parametrize("form", list(WaitingForm))
def test_a_restart_before_and_after_every_message_changes_nothing(
    form: WaitingForm, originator: Callable[[LabCa], Originator]
) -> None:
    ca = lab(polls=1, waiting_form=form, delayed=DELAYED)
    device = Device(ca, by=originator(ca))
    seen = set()
    while device.state not in ENDED:
        device.now += timedelta(seconds=1)
        octets = device.send()
        seen.add(device.state)
        device.restart()
        device.hear(ca.answer(octets, device.now))
        seen.add(device.state)
        device.restart()
    assert device.state is State.CONFIRMED
    assert seen == {
        State.REQUESTED,
        State.WAITING,
        State.POLLING,
        State.ISSUED,
        State.CONFIRMING,
        State.CONFIRM_WAITING,
        State.CONFIRM_POLLING,
        State.CONFIRMED,
    }
    assert len(ca.record().certificates) == len(ca.record().transactions) == 1


def test_a_restart_while_refusing_still_tells_the_ca() -> None:
    ca = lab()
    ca.misbehave(Misbehaviour.WRONG_KEY)
    device = Device(ca)
    device.exchange()
    device.restart()
    device.send()
    device.restart()
    device.exchange()
    assert device.sent[0] != device.sent[1] == device.sent[2]
    assert device.state is State.REFUSED
    assert device.certificate.status is CertificateStatus.REFUSED


def test_a_certificate_that_came_before_a_restart_is_examined_again() -> None:
    device = Device(lab())
    issued = device.exchange()
    device.restart()
    assert device.transaction.issued(NOW) == issued
    assert device.state is State.ISSUED
    device.run()
    assert device.certificate.status is CertificateStatus.CONFIRMED


def test_a_certificate_that_expired_before_it_was_confirmed_is_refused() -> None:
    device = Device(lab(validity=timedelta(hours=1)))
    device.exchange()
    device.restart(now=NOW + timedelta(hours=2))
    event = device.transaction.issued(device.now)
    assert isinstance(event, Unacceptable)
    assert event.objection.check == "validity"
    assert device.state is State.REFUSING
    device.exchange()
    assert device.certificate.status is CertificateStatus.REFUSED


def test_a_clock_that_went_back_does_not_cost_the_certificate() -> None:
    device = Device(lab())
    device.exchange()
    device.restart(now=NOW - timedelta(days=2))
    before = device.transaction.snapshot()
    with pytest.raises(ProtocolViolation, match="was good when it came") as caught:
        device.transaction.issued(device.now)
    assert "clock" in caught.value.remedy
    assert device.transaction.snapshot() == before
    assert isinstance(device.transaction.issued(NOW), Issued)


def test_only_a_transaction_that_has_a_certificate_can_give_it_again() -> None:
    with pytest.raises(LocalError):
        Device(lab()).transaction.issued(NOW)


def test_nothing_is_sent_while_the_answer_to_the_request_is_awaited_or_after_the_end() -> None:
    device = Device(lab())
    device.send()
    with pytest.raises(LocalError, match="requested cannot take send"):
        device.send()
    device = enrolled(lab())
    with pytest.raises(LocalError):
        device.send()


@pytest.mark.parametrize("state", [State.POLLING, State.CONFIRMING, State.CONFIRM_POLLING])
def test_a_message_without_an_answer_is_repeated_octet_by_octet_and_the_ca_repeats_its_answer(state: State) -> None:
    ca = lab(polls=1, delayed=DELAYED)
    device = Device(ca)
    while True:
        octets = device.send()
        answer = ca.answer(octets, device.now)
        if device.state is state:
            break
        device.hear(answer)
    device.restart()
    device.now += timedelta(minutes=4)
    assert device.send() == octets
    assert ca.answer(octets, device.now) == answer
    device.hear(answer)
    device.run()
    assert device.state is State.CONFIRMED
    assert len(ca.record().certificates) == 1


def test_a_refusal_without_an_answer_is_repeated_octet_by_octet() -> None:
    ca = lab()
    ca.misbehave(Misbehaviour.EXPIRED)
    device = Device(ca)
    device.exchange()
    octets = device.send()
    ca.answer(octets, NOW)
    device.restart()
    assert device.send() == octets
    device.exchange()
    assert device.state is State.REFUSED


@pytest.mark.parametrize("later", [timedelta(minutes=4, seconds=1), timedelta(days=3), timedelta(days=-3)])
def test_after_a_while_a_new_message_goes_out_so_that_the_ca_does_not_find_it_stale(later: timedelta) -> None:
    ca = lab(clock_tolerance=timedelta(minutes=5))
    device = Device(ca)
    device.exchange()
    old = device.send()
    device.restart(now=NOW + later)
    new = device.send()
    assert new != old
    header = messages.parse(new).header
    assert header.message_time == device.now
    assert header.sender_nonce != messages.parse(old).header.sender_nonce
    ca.answer(new, device.now)
    assert device.certificate.status is CertificateStatus.CONFIRMED


def test_a_message_without_time_does_not_age() -> None:
    device = Device(lab(), clock_trusted=False, expected={"clock_trusted": False})
    device.exchange()
    octets = device.send()
    device.restart(now=NOW + timedelta(days=1))
    assert device.send() == octets


def test_a_clock_that_is_not_trusted_any_more_cannot_tell_how_old_a_message_is() -> None:
    device = Device(lab())
    device.exchange()
    octets = device.send()
    device.restart(options={"clock_trusted": False})
    again = device.send()
    assert again != octets
    assert messages.parse(again).header.message_time is None


def test_certconf_that_was_processed_already_counts_as_confirmed() -> None:
    ca = lab()
    device = Device(ca)
    device.exchange()
    ca.answer(device.send(), device.now)
    device.restart(now=NOW + timedelta(hours=1))
    assert isinstance(device.exchange(), Concluded)
    assert device.state is State.CONFIRMED


def test_an_error_to_certconf_leaves_the_certificate_disputed() -> None:
    ca = lab()
    device = Device(ca)
    device.exchange()
    ca.misbehave(Misbehaviour.REJECT, "badCertId", on=BodyType.CERTCONF)
    assert isinstance(device.exchange(), Declined)
    assert device.state is State.DISPUTED
