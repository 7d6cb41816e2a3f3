from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.policy import clock
from agent.policy.clock import ClockState, Sample, Step, StepKind

BUILT = datetime(2025, 6, 1, tzinfo=UTC)
NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
GOOD = NOW - timedelta(days=1)
YEAR = timedelta(days=365)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)

moments = st.datetimes(timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("now", "last_good", "synchronised", "expected"),
    [
        pytest.param(NOW, GOOD, True, ClockState.TRUSTED, id="synchronised"),
        pytest.param(NOW, GOOD, None, ClockState.TRUSTED, id="possible, and nobody says more"),
        pytest.param(NOW, GOOD, False, ClockState.UNSYNCHRONISED, id="possible, but not confirmed"),
        pytest.param(EPOCH, None, False, ClockState.UNTRUSTED_PAST, id="no battery"),
        pytest.param(EPOCH, GOOD, True, ClockState.UNTRUSTED_PAST, id="a time server that says 1970"),
        pytest.param(BUILT + YEAR / 12, GOOD, None, ClockState.UNTRUSTED_PAST, id="before the last good time"),
        pytest.param(GOOD - timedelta(minutes=4), GOOD, None, ClockState.TRUSTED, id="drift of minutes"),
        pytest.param(BUILT - timedelta(minutes=4), None, None, ClockState.TRUSTED, id="just built"),
        pytest.param(NOW, NOW + 50 * YEAR, True, ClockState.TRUSTED, id="right again after a wrong time server"),
        pytest.param(NOW, NOW + 50 * YEAR, False, ClockState.UNTRUSTED_PAST, id="in doubt after a wrong time server"),
        pytest.param(BUILT + 9 * YEAR, None, None, ClockState.TRUSTED, id="nine years on a shelf"),
        pytest.param(BUILT + 11 * YEAR, None, None, ClockState.UNTRUSTED_LEAP, id="garbage in the clock chip"),
        pytest.param(BUILT + 11 * YEAR, BUILT + 9 * YEAR, None, ClockState.TRUSTED, id="eleven years of service"),
        pytest.param(BUILT + 11 * YEAR, None, True, ClockState.TRUSTED, id="eleven years on a shelf, then confirmed"),
    ],
)
def test_what_a_reading_is_worth(
    now: datetime, last_good: datetime | None, *, synchronised: bool | None, expected: ClockState
) -> None:
    assert clock.assess(now, build_time=BUILT, last_good=last_good, synchronised=synchronised) is expected


@given(now=moments, built=moments, good=st.none() | moments, synchronised=st.sampled_from([None, False, True]))
def test_every_reading_of_every_clock_has_a_state(
    now: datetime, built: datetime, good: datetime | None, *, synchronised: bool | None
) -> None:
    state = clock.assess(now, build_time=built, last_good=good, synchronised=synchronised)
    if now < built - timedelta(minutes=5):
        assert state is ClockState.UNTRUSTED_PAST
    elif synchronised:
        assert state is ClockState.TRUSTED
    elif synchronised is False:
        assert state is not ClockState.TRUSTED


def test_while_the_clock_reads_1970_a_certificate_is_judged_by_the_last_good_time() -> None:
    assert clock.at_least(BUILT, last_good=GOOD) == GOOD
    assert clock.at_least(BUILT, last_good=BUILT - YEAR) == BUILT
    assert clock.at_least(BUILT) == BUILT


@pytest.mark.parametrize("state", ClockState)
def test_a_device_waits_for_its_clock_but_not_for_ever(state: ClockState) -> None:
    assert clock.may_act(state, waited=0) is (state is ClockState.TRUSTED)
    assert clock.may_act(state, waited=clock.PATIENCE - 1) is (state is ClockState.TRUSTED)
    assert clock.may_act(state, waited=clock.PATIENCE)


@given(stored=moments, now=moments, maximum=st.timedeltas(timedelta(0), timedelta.max))
def test_a_stored_deadline_never_blocks_for_longer_than_the_maximum(
    stored: datetime, now: datetime, maximum: timedelta
) -> None:
    clamped = clock.clamp_deadline(stored, now, maximum)
    assert clamped - now <= maximum
    assert clamped <= stored


def test_a_deadline_stamped_by_a_wrong_clock_comes_within_the_maximum() -> None:
    assert clock.clamp_deadline(LAST, NOW, timedelta(days=1)) == NOW + timedelta(days=1)
    assert clock.clamp_deadline(FIRST, NOW, timedelta(days=1)) == FIRST


def sample(wall: float, monotonic: float, boottime: float) -> Sample:
    return Sample(wall=NOW + timedelta(seconds=wall), monotonic=monotonic, boottime=boottime)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(sample(60, 60, 60), (), id="nothing"),
        pytest.param(sample(60.03, 60, 60), (), id="slewing"),
        pytest.param(sample(3660, 60, 60), (Step(kind=StepKind.FORWARD, amount=3600),), id="set forward or VM paused"),
        pytest.param(sample(-3540, 60, 60), (Step(kind=StepKind.BACKWARD, amount=3600),), id="set back"),
        pytest.param(sample(3660, 60, 3660), (Step(kind=StepKind.SUSPEND, amount=3600),), id="suspended"),
        pytest.param(
            sample(60, 60, 3660),
            (Step(kind=StepKind.SUSPEND, amount=3600), Step(kind=StepKind.BACKWARD, amount=3600)),
            id="suspended, and the clock chip stood still",
        ),
    ],
)
def test_steps_and_suspend_are_told_apart(after: Sample, expected: tuple[Step, ...]) -> None:
    assert clock.steps(sample(0, 0, 0), after) == expected


@given(
    elapsed=st.floats(0, 60),
    suspended=st.floats(0, 1e8),
    stepped=st.floats(-1e9, 1e9),
)
def test_every_step_is_found_with_its_amount(elapsed: float, suspended: float, stepped: float) -> None:
    slept = elapsed + suspended
    found = {step.kind: step.amount for step in clock.steps(sample(0, 0, 0), sample(slept + stepped, elapsed, slept))}
    assert found.get(StepKind.SUSPEND, 0) == pytest.approx(suspended if suspended > 2 else 0, abs=2.01)
    signed = found.get(StepKind.FORWARD, 0) - found.get(StepKind.BACKWARD, 0)
    assert signed == pytest.approx(stepped, abs=2.01)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [([], 60), ([3600], 60), ([30, 3600], 30), ([0.0001], 0.001), ([0], 0), ([-1e9, 30], 0)],
    ids=str,
)
def test_sleep_lasts_to_the_earliest_deadline_or_one_slice(seconds: list[float], expected: float) -> None:
    deadlines = [NOW + timedelta(seconds=second) for second in seconds]
    assert clock.next_wake(NOW, deadlines) == expected


@given(now=moments, deadlines=st.lists(moments, max_size=5))
def test_whoever_sleeps_that_long_is_never_early(now: datetime, deadlines: list[datetime]) -> None:
    nap = clock.next_wake(now, deadlines)
    assert 0 <= nap <= 60
    if nap < 60:
        # The arithmetic of dates is exact to a microsecond, the nap to a millisecond.
        assert min(deadlines) - now <= timedelta(seconds=nap, microseconds=1)


@settings(max_examples=30)
@given(
    deadline=st.floats(0, 7200),
    stepped_at=st.floats(0, 7200),
    stepped=st.floats(-7200, 7200),
    suspended=st.floats(0, 7200),
)
def test_a_deadline_is_met_within_a_minute_of_awake_time_whatever_happens_to_the_clock(
    deadline: float, stepped_at: float, stepped: float, suspended: float
) -> None:
    """Sleep in slices, as the daemon does, while the machine is suspended and its clock set in one of them."""
    due = NOW + timedelta(seconds=deadline)
    monotonic, offset, naps, late = 0.0, 0.0, 0, 0.0
    while (wall := NOW + timedelta(seconds=monotonic + offset)) < due:
        nap = clock.next_wake(wall, [due])
        naps += 1
        if monotonic <= stepped_at < monotonic + nap:
            offset += suspended + stepped
            late = monotonic + nap - stepped_at
        monotonic += nap
        assert naps <= monotonic / 60 + 3
    overdue = (wall - due).total_seconds()
    assert overdue <= 0.002 or (late <= 60 and overdue <= suspended + max(stepped, 0) + 60)
