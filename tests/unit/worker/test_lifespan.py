"""How old an open request is, by clocks that are wrong meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agent.contract import Verdict
from agent.settings import PollingSettings
from agent.worker import resuming
from agent.worker.lifespan import Lifespan
from agent.worker.resuming import OpenRequest
from tests.unit.worker.desk import Desk

DAY = 86_400.0


def lose_the_clock(desk: Desk) -> None:
    desk.clock = lambda: datetime(1970, 1, 1, tzinfo=UTC)


def set_the_clock(desk: Desk) -> None:
    desk.clock = lambda: datetime.now(UTC)


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
