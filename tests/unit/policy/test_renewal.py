from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.policy import renewal
from agent.policy.jitter import fraction
from agent.policy.renewal import CertificateState, Reason

START = datetime(2025, 3, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
SECOND = timedelta(seconds=1)
DEVICE = "enb-4711"

moments = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
lives = st.integers(1, 20 * 365 * 86_400).map(lambda seconds: timedelta(seconds=seconds))
devices = st.text(max_size=8)
shares = st.floats(0, 1)


def share_lived(due: datetime, life: timedelta = YEAR, start: datetime = START) -> float:
    return (due - start) / life


@pytest.mark.parametrize(
    "life", [timedelta(minutes=2), timedelta(hours=1), timedelta(days=90), YEAR, 10 * YEAR], ids=str
)
def test_a_certificate_is_due_at_two_thirds_of_its_life_less_its_jitter(life: timedelta) -> None:
    due = renewal.due(START, START + life, device=DEVICE)
    assert share_lived(due, life) == pytest.approx(2 / 3 - 0.05 * fraction(DEVICE, "renewal"), abs=1e-6)


@pytest.mark.parametrize(
    ("at", "expected"), [(0.01, 2 / 3), (0.5, 2 / 3), (0.66, 2 / 3), (0.8, 0.8), (0.95, 0.95), (0.99, 0.95), (1, 0.95)]
)
def test_the_configured_share_holds_between_a_third_and_a_twentieth_before_the_end(at: float, expected: float) -> None:
    assert share_lived(renewal.due(START, START + YEAR, device=DEVICE, at=at, jitter=0)) == pytest.approx(expected)


def test_a_wide_jitter_still_uses_a_third_of_the_life() -> None:
    assert min(
        share_lived(renewal.due(START, START + YEAR, device=str(number), jitter=1)) for number in range(100)
    ) == pytest.approx(1 / 3)


@given(start=moments, life=lives, device=devices, at=shares, jitter=shares)
def test_due_lies_inside_the_life(start: datetime, life: timedelta, device: str, at: float, jitter: float) -> None:
    assert start < renewal.due(start, start + life, device=device, at=at, jitter=jitter) < start + life


@given(start=moments, life=lives, device=devices, at=shares, jitter=shares)
def test_jitter_only_makes_it_earlier(start: datetime, life: timedelta, device: str, at: float, jitter: float) -> None:
    plain = renewal.due(start, start + life, device=device, at=at, jitter=0)
    jittered = renewal.due(start, start + life, device=device, at=at, jitter=jitter)
    assert timedelta(0) <= plain - jittered <= life * jitter + SECOND


@given(start=moments, lives=st.tuples(lives, lives), device=devices, at=shares)
def test_a_longer_life_is_never_due_earlier(
    start: datetime, lives: tuple[timedelta, timedelta], device: str, at: float
) -> None:
    short, long = (renewal.due(start, start + life, device=device, at=at) for life in sorted(lives))
    assert short <= long


@given(start=moments, life=lives, device=devices, ats=st.tuples(shares, shares))
def test_a_larger_share_is_never_due_earlier(
    start: datetime, life: timedelta, device: str, ats: tuple[float, float]
) -> None:
    small, large = (renewal.due(start, start + life, device=device, at=at) for at in sorted(ats))
    assert small <= large


@given(start=moments, life=lives, device=devices, stamp=st.none() | moments, now=moments, streak=st.integers(0, 50))
def test_the_moments_of_a_plan_are_in_order(
    start: datetime, life: timedelta, device: str, stamp: datetime | None, now: datetime, streak: int
) -> None:
    plan = renewal.plan(start, start + life, now=now, device=device, last_issuance=stamp, streak=streak)
    natural = renewal.due(start, start + life, device=device, last_issuance=stamp if stamp and stamp <= now else None)
    assert natural <= plan.warn_at <= plan.not_after
    assert natural <= plan.latest <= plan.not_after
    assert plan.due == natural or plan.reason is Reason.HELD_BACK


def test_a_back_dated_certificate_is_judged_by_the_life_that_is_left() -> None:
    due = renewal.due(START - 9 * YEAR, START + YEAR, device=DEVICE, jitter=0, last_issuance=START)
    assert share_lived(due) == pytest.approx(2 / 3)


def test_a_back_dated_certificate_whose_issuance_is_unknown_is_judged_by_its_dates() -> None:
    due = renewal.due(START - 9 * YEAR, START + YEAR, device=DEVICE, jitter=0)
    assert due == START - 9 * YEAR + 10 * YEAR * 2 / 3


def test_a_certificate_issued_for_later_is_judged_from_its_beginning() -> None:
    due = renewal.due(START, START + YEAR, device=DEVICE, jitter=0, last_issuance=START - YEAR)
    assert share_lived(due) == pytest.approx(2 / 3)


def test_a_stamp_after_the_end_is_not_used() -> None:
    stamped = renewal.due(START, START + YEAR, device=DEVICE, last_issuance=START + 3 * YEAR)
    assert stamped == renewal.due(START, START + YEAR, device=DEVICE)


def test_a_stamp_from_the_future_neither_delays_nor_shortens_anything() -> None:
    known = {"now": START + timedelta(days=1), "device": DEVICE}
    stamped = renewal.plan(START, START + YEAR, last_issuance=START + YEAR - SECOND, streak=40, **known)  # type: ignore[arg-type]
    assert stamped == renewal.plan(START, START + YEAR, **known)  # type: ignore[arg-type]


@pytest.mark.parametrize("not_after", [START, START - SECOND, START - 10 * YEAR], ids=str)
def test_dates_that_make_no_sense_are_due_at_once_but_held_back(not_after: datetime) -> None:
    plan = renewal.plan(START, not_after, now=START, device=DEVICE, last_issuance=START)
    assert renewal.due(START, not_after, device=DEVICE) == not_after
    assert plan.due == START + timedelta(seconds=renewal.FLOOR)
    assert plan.reason is Reason.HELD_BACK


def test_a_certificate_without_an_end_is_never_due() -> None:
    end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    plan = renewal.plan(START, end, now=START, device=DEVICE, last_issuance=START, streak=3)
    assert plan.due == plan.warn_at == plan.latest == end
    assert plan.reason is Reason.NO_END
    assert plan.state(START + 1000 * YEAR) is CertificateState.VALID


@pytest.mark.parametrize(
    ("at", "reason"),
    [(0.5, Reason.THIRD_LEFT), (0.66, Reason.THIRD_LEFT), (0.8, Reason.SHARE), (1, Reason.LAST_CHANCE)],
)
def test_a_plan_says_why(at: float, reason: Reason) -> None:
    assert renewal.plan(START, START + YEAR, now=START, device=DEVICE, at=at).reason is reason


def test_each_state_holds_up_to_the_next_moment_of_the_plan() -> None:
    plan = renewal.plan(START, START + YEAR, now=START, device=DEVICE, last_issuance=START)
    assert [
        plan.state(moment)
        for moment in (
            START - SECOND,
            START,
            plan.due - SECOND,
            plan.due,
            plan.warn_at - SECOND,
            plan.warn_at,
            START + YEAR,
            START + YEAR + SECOND,
        )
    ] == ["not-yet-valid", "valid", "valid", "due", "due", "expiring", "expiring", "expired"]


def test_a_person_is_warned_when_half_of_the_time_for_renewal_has_passed() -> None:
    plan = renewal.plan(START, START + YEAR, now=START, device=DEVICE, jitter=0)
    assert share_lived(plan.warn_at) == pytest.approx(5 / 6)
    assert share_lived(plan.latest) == pytest.approx(19 / 20)


def test_a_certificate_held_back_still_warns_on_time() -> None:
    end = START + timedelta(seconds=6)
    plan = renewal.plan(START, end, now=START, device=DEVICE, last_issuance=START, streak=20)
    assert plan.due > end
    assert plan.state(plan.warn_at) is CertificateState.EXPIRING


def test_the_floor_grows_with_each_useless_issuance_and_stays_within_hours() -> None:
    floors = [renewal.floor(streak, DEVICE) for streak in range(200)]
    assert floors == sorted(floors)
    assert floors[0] == renewal.FLOOR
    assert floors[2] == 2 * floors[1] <= 30
    assert renewal.LONGEST_FLOOR <= floors[-1] == renewal.floor(10**9, DEVICE) < 1.5 * renewal.LONGEST_FLOOR


def test_a_fleet_with_bad_certificates_does_not_come_back_together() -> None:
    floors = {round(renewal.floor(20, f"enb-{number}")) for number in range(1000)}
    assert len(floors) > 900


@pytest.mark.parametrize(
    ("back_dated", "left", "expected"),
    [
        pytest.param(0, -100, 8, id="expired"),
        pytest.param(0, 0, 8, id="ends now"),
        pytest.param(0, 7, 8, id="seconds"),
        pytest.param(0, 8, 0, id="just enough"),
        pytest.param(3600, 120, 0, id="two minutes, back-dated by an hour"),
        pytest.param(365 * 86_400, 60, 8, id="a minute, back-dated by a year"),
        pytest.param(365 * 86_400, 30 * 86_400, 0, id="a month, back-dated by a year"),
        pytest.param(-3600, 3600 + 60, 0, id="valid in an hour"),
    ],
)
def test_only_a_certificate_with_next_to_no_life_left_counts_as_useless(
    back_dated: int, left: int, expected: int
) -> None:
    dates = (START - back_dated * SECOND, START + left * SECOND)
    assert renewal.next_streak(7, *dates, last_issuance=START) == expected


@given(left=st.integers(9, 3600), streak=st.integers(0, 50), device=devices)
def test_no_floor_ever_costs_a_certificate_with_nine_seconds_to_live(left: int, streak: int, device: str) -> None:
    end = START + left * SECOND
    due = renewal.due(START, end, device=device, last_issuance=START)
    streak = renewal.next_streak(streak, START, end, last_issuance=START)
    assert renewal.plan(START, end, now=START, device=device, last_issuance=START, streak=streak).due == due < end
