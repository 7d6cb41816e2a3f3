from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from agent.policy import refresh

NOW = datetime(2027, 3, 1, tzinfo=UTC)
DAY = 86_400.0
INTERVALS = st.floats(3600, 400 * DAY)
DEVICES = st.text(min_size=1, max_size=20)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(INTERVALS, DEVICES, st.none() | MOMENTS)
def test_after_a_success_it_is_asked_within_the_interval_and_not_within_the_hour(
    every: float, device: str, ends: datetime | None
) -> None:
    planned = refresh.after_success(NOW, every=every, device=device, ends=ends)
    assert planned is not None
    wait = (planned - NOW).total_seconds()
    assert min(every * 0.8, 3600) - 1e-3 <= wait <= every + 1e-3
    if ends is not None:
        assert planned <= max(ends, NOW + timedelta(hours=1))


@given(INTERVALS, DEVICES, st.integers(-5, 1000))
def test_after_a_failure_it_is_tried_sooner_and_never_later_than_usual(
    every: float, device: str, failures: int
) -> None:
    planned = refresh.after_failure(NOW, every=every, device=device, failures=failures)
    assert planned is not None
    assert 0 < (planned - NOW).total_seconds() <= every + 1e-3


def test_failures_are_followed_up_soon_at_first() -> None:
    waits = [refresh.after_failure(NOW, every=7 * DAY, device="a", failures=number) for number in range(1, 12)]
    assert waits == sorted(waits, key=lambda one: one or NOW)
    assert waits[0] is not None
    assert waits[0] <= NOW + timedelta(minutes=15)
    assert waits[-1] is not None
    assert waits[-1] >= NOW + timedelta(days=5)


def test_a_fleet_does_not_ask_together() -> None:
    planned = {refresh.after_success(NOW, every=7 * DAY, device=f"enb-{one}", ends=None) for one in range(1000)}
    assert len(planned) == 1000
    assert (max(filter(None, planned)) - min(filter(None, planned))).total_seconds() > 1.3 * DAY


def test_never_is_never() -> None:
    assert refresh.after_success(NOW, every=None, device="a", ends=NOW) is None
    assert refresh.after_failure(NOW, every=None, device="a", failures=3) is None
    assert refresh.wait(None, NOW) is None


@given(MOMENTS, MOMENTS)
def test_a_date_that_a_wrong_clock_wrote_is_clamped(planned: datetime, now: datetime) -> None:
    wait = refresh.wait(planned, now)
    assert wait is not None
    assert 0 <= wait <= refresh.EVERY
    assert (wait == 0) == (planned <= now)
