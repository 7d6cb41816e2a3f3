"""An open request that gets no answer of use, and clocks that are wrong meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.cmp.messages import BodyType
from agent.contract import Action, Verdict
from agent.overview import look
from agent.settings import BootstrapSettings, PollingSettings, VendorCertificateSettings
from agent.worker import resuming
from agent.worker.lifespan import Lifespan, can_ask_anew
from agent.worker.resuming import OpenRequest
from tests.unit.worker.desk import Desk

DAY = 86_400.0
FORGOTTEN = "unprotected-error=badRequest@pollReq"
"""How a CA that lost the transaction may answer, with nothing to protect its answer by."""


def lose_the_clock(desk: Desk) -> None:
    desk.clock = lambda: datetime(1970, 1, 1, tzinfo=UTC)


def set_the_clock(desk: Desk) -> None:
    desk.clock = lambda: datetime.now(UTC)


def is_open(desk: Desk) -> bool:
    return look(desk.job.state_directory, "ike").open_request is not None


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_a_request_begun_before_the_clock_was_set_is_not_fifty_years_old_after(slow_desk: Desk) -> None:
    lose_the_clock(slow_desk)
    assert slow_desk.do(patience=0).verdict is Verdict.WAITING
    set_the_clock(slow_desk)
    assert slow_desk.do(patience=3).verdict is Verdict.WAITING
    slow_desk.late += 10
    assert slow_desk.do().verdict is Verdict.ISSUED
    assert slow_desk.sent[0] == "pollReq"


def test_clocks_that_are_lost_or_ahead_on_the_way_make_no_request_older(slow_desk: Desk) -> None:
    slow_desk.late = 365 * DAY
    assert slow_desk.do(patience=0).verdict is Verdict.WAITING
    opened = resuming.load(slow_desk.store.transaction)
    assert isinstance(opened, OpenRequest)
    slow_desk.late = 0
    lose_the_clock(slow_desk)
    assert Lifespan.of(opened, slow_desk.environment()) == Lifespan(opened.started_at, dated=True)
    set_the_clock(slow_desk)
    corrected = Lifespan.of(opened, slow_desk.environment())
    assert corrected.dated
    assert abs(corrected.started_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_such_a_request_grows_old_from_then_on(slow_desk: Desk) -> None:
    slow_desk.configure(polling=PollingSettings(give_up_after=5 * DAY))
    lose_the_clock(slow_desk)
    assert slow_desk.do(patience=0).verdict is Verdict.WAITING
    set_the_clock(slow_desk)
    assert slow_desk.do(patience=3).verdict is Verdict.WAITING
    slow_desk.late += 6 * DAY
    outcome = slow_desk.do(patience=0)
    assert outcome.verdict is Verdict.REJECTED
    assert outcome.text == "the CA did not decide within 5 days; the request is given up"


# --- answers of no use ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [FORGOTTEN, "html@pollReq", "drop-before@pollReq"])
def test_a_renewal_that_the_ca_has_forgotten_is_given_up_while_another_one_can_be_made(
    slow_desk: Desk, fault: str
) -> None:
    assert slow_desk.do().verdict is Verdict.ISSUED
    before = slow_desk.credential()
    assert slow_desk.do(Action.RENEW, secret=None, patience=0).verdict is Verdict.WAITING
    slow_desk.ca.misbehave(fault)
    slow_desk.late += 10
    assert slow_desk.do(Action.RENEW, secret=None, patience=0).verdict in {Verdict.REFUSED, Verdict.UNREACHABLE}
    assert is_open(slow_desk), "once is no reason: anybody on the path can do that"
    current = slow_desk.current
    assert current is not None
    end = datetime.fromisoformat(str(current.description["not_after"]))
    slow_desk.late += min(slow_desk.job.authority.polling.give_up_after, (end - datetime.now(UTC)).total_seconds() / 2)
    outcome = slow_desk.do(Action.RENEW, secret=None, patience=0)
    assert outcome.verdict is Verdict.REJECTED
    assert "no usable answer came in time" in outcome.text
    assert outcome.text.endswith("the request is given up")
    assert not is_open(slow_desk)
    assert slow_desk.credential() == before
    slow_desk.ca.behave()
    assert slow_desk.do(Action.RENEW, secret=None).verdict is Verdict.ISSUED
    assert slow_desk.sent[0] == "kur"


def test_a_renewal_is_given_up_early_enough_for_another_one_before_the_certificate_ends(slow_desk: Desk) -> None:
    assert slow_desk.do().verdict is Verdict.ISSUED
    current = slow_desk.current
    assert current is not None
    end = datetime.fromisoformat(str(current.description["not_after"]))
    slow_desk.late += (end - datetime.now(UTC)).total_seconds() - 10 * DAY
    assert slow_desk.do(Action.RENEW, secret=None, patience=0).verdict is Verdict.WAITING
    slow_desk.ca.misbehave(FORGOTTEN)
    slow_desk.late += 4 * DAY
    assert slow_desk.do(Action.RENEW, secret=None, patience=0).verdict is Verdict.REFUSED
    slow_desk.late += 1.1 * DAY
    assert slow_desk.do(Action.RENEW, secret=None, patience=0).verdict is Verdict.REJECTED


def test_a_request_that_cost_a_one_time_secret_stays_open_and_the_way_out_is_named(slow_desk: Desk) -> None:
    """Its certificate may lie there: the secret works once."""
    assert slow_desk.do(patience=0).verdict is Verdict.WAITING
    slow_desk.ca.misbehave(FORGOTTEN)
    slow_desk.late += 400 * DAY
    outcome = slow_desk.do(patience=0)
    assert outcome.verdict is Verdict.REFUSED
    assert is_open(slow_desk)
    assert "'enrollctl enroll ike --start-over'" in outcome.remedy
    slow_desk.ca.behave()
    slow_desk.late = 10
    assert slow_desk.do().verdict is Verdict.ISSUED
    requests = [one.type for done in slow_desk.ca.record().transactions[-1:] for one in done.messages]
    assert requests.count(BodyType.IR) == 1


@pytest.mark.parametrize("action", [Action.ENROLL, Action.RENEW])
def test_whoever_has_the_vendors_certificate_can_always_ask_anew(desk: Desk, action: Action) -> None:
    vendor = BootstrapSettings(
        vendor_certificate=VendorCertificateSettings(certificate=Path("/vendor.pem"), key="/vendor.key")
    )
    by_secret, identity = replace(desk.job, action=action), desk.job.identity
    assert not can_ask_anew(by_secret, valid=False)
    assert can_ask_anew(replace(by_secret, identity=replace(identity, bootstrap=vendor)), valid=False)
    recovering = replace(by_secret, identity=replace(identity, recovery=vendor))
    assert can_ask_anew(recovering, valid=False) == (action is Action.RENEW)
    assert can_ask_anew(by_secret, valid=True) == (action is Action.RENEW)
