"""Years in the life of a device, on a simulated clock: the policies together, against CAs and clocks that misbehave."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.policy import backoff, renewal

START = datetime(2025, 1, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
YEAR = 365 * DAY
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Certificate:
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True)
class Busy:
    """No certificate, but the server's word when to come again."""

    retry_after: float


Authority = Callable[[datetime], Certificate | Busy | None]
"""What a CA answers at a moment of true time; None is silence."""


@dataclass
class Device:
    """One device that keeps one certificate alive with the policies, as the daemon does.

    ``time`` is true time, ``offset`` what the wall clock is ahead of it. ``steps`` are (true time, new offset) in
    order; each is noticed a minute late. The loop jumps from event to event.
    """

    authority: Authority
    seed: int = 0
    attempt_takes: timedelta = SECOND
    steps: list[tuple[datetime, timedelta]] = field(default_factory=list)
    time: datetime = START
    offset: timedelta = timedelta(0)
    certificate: Certificate | None = None
    stamp: datetime | None = None
    streak: int = 0
    failures: int = 0
    requests: list[datetime] = field(default_factory=list)
    issued: list[datetime] = field(default_factory=list)
    lapsed: timedelta = timedelta(0)

    @property
    def wall(self) -> datetime:
        return self.time + self.offset

    def live(self, until: datetime) -> Device:
        """Go on until a moment of true time; ``lapsed`` then says how long there was no valid certificate."""
        draw = random.Random(self.seed)  # noqa: S311 - jitter, not a secret
        retry_at = self.time
        steps = iter([*self.steps, (NEVER, timedelta(0))])
        stepped_at, new_offset = next(steps)
        while True:
            action_at = max(retry_at, self._due() - self.offset, self.time)
            if stepped_at <= min(action_at, until):
                self.time, self.offset = max(self.time, stepped_at + MINUTE), new_offset
                stepped_at, new_offset = next(steps)
                continue
            if action_at >= until:
                self._pass_time(until)
                return self
            self._pass_time(action_at)
            retry_at = self._attempt(draw)

    def _due(self) -> datetime:
        if self.certificate is None:
            return self.wall
        dates = (self.certificate.not_before, self.certificate.not_after)
        plan = renewal.plan(*dates, now=self.wall, device=str(self.seed), last_issuance=self.stamp, streak=self.streak)
        return plan.due

    def _pass_time(self, until: datetime) -> None:
        if self.certificate is not None:
            self.lapsed += max(until - max(self.time, self.certificate.not_after), timedelta(0))
        self.time = until

    def _attempt(self, draw: random.Random) -> datetime:
        self.requests.append(self.time)
        answer = self.authority(self.time)
        self._pass_time(self.time + self.attempt_takes)
        if isinstance(answer, Certificate) and answer.not_after > self.wall:
            self.certificate, self.stamp, self.failures = answer, self.wall, 0
            self.issued.append(self.time)
            dates = (answer.not_before, answer.not_after)
            self.streak = renewal.next_streak(self.streak, *dates, last_issuance=self.stamp)
            return self.time
        self.failures += 1
        left = (self.certificate.not_after - self.wall).total_seconds() if self.certificate else None
        wait = backoff.delay(
            self.failures,
            uniform=draw.random(),
            pace=backoff.REJECTED if isinstance(answer, Certificate) else backoff.RENEWAL,
            remaining_life=left,
            server_says=answer.retry_after if isinstance(answer, Busy) else None,
        )
        return self.time + timedelta(seconds=wait)


def plain(life: timedelta) -> Authority:
    return lambda now: Certificate(now, now + life)


def outage(begin: datetime, end: datetime, authority: Authority, during: Busy | None = None) -> Authority:
    return lambda now: during if begin <= now < end else authority(now)


def seconds(low: timedelta, high: timedelta) -> st.SearchStrategy[timedelta]:
    whole = st.integers(int(low.total_seconds()), int(high.total_seconds()))
    return whole.map(lambda number: timedelta(seconds=number))


seeds = st.integers(0, 2**32)


@settings(max_examples=30, deadline=None)
@given(life=seconds(2 * MINUTE, 10 * YEAR), seed=seeds)
def test_a_certificate_of_any_life_is_renewed_in_time_and_no_oftener_than_needed(life: timedelta, seed: int) -> None:
    device = Device(plain(life), seed).live(START + 10 * life)
    assert device.lapsed == timedelta(0)
    assert 10 / (2 / 3) - 1 <= len(device.issued) <= 10 / (2 / 3 - 0.05) + 1


def test_a_two_minute_certificate_is_renewed_three_times_in_a_row() -> None:
    device = Device(plain(2 * MINUTE), attempt_takes=10 * SECOND).live(START + 6 * MINUTE)
    assert len(device.issued) >= 4
    assert device.lapsed == timedelta(0)


def test_a_twenty_second_certificate_is_kept_alive() -> None:
    device = Device(plain(20 * SECOND)).live(START + HOUR)
    assert device.lapsed == timedelta(0)
    assert len(device.issued) < 3600 / 12


@settings(max_examples=30, deadline=None)
@given(
    terms=st.lists(st.tuples(seconds(MINUTE, YEAR), st.floats(0, 50)), min_size=1, max_size=20),
    seed=seeds,
)
def test_a_ca_that_shortens_and_back_dates_as_it_likes_gets_no_loop_and_costs_no_certificate(
    terms: list[tuple[timedelta, float]], seed: int
) -> None:
    answers = iter(terms)

    def authority(now: datetime) -> Certificate:
        left, lives_before = next(answers, (YEAR, 0))
        return Certificate(now - left * lives_before, now + left)

    device = Device(authority, seed).live(START + 3 * YEAR)
    assert device.lapsed == timedelta(0)
    assert len(device.requests) <= len(terms) + 6
    for earlier, later, (left, _) in zip(device.issued, device.issued[1:], terms, strict=False):
        assert later - earlier >= left / 3


@settings(max_examples=10, deadline=None)
@given(age=seconds(timedelta(0), 10 * YEAR), seed=seeds)
def test_a_ca_that_issues_expired_certificates_is_asked_a_few_times_a_day(age: timedelta, seed: int) -> None:
    device = Device(lambda now: Certificate(now - age - YEAR, now - age), seed).live(START + 100 * DAY)
    assert device.issued == []
    assert len(device.requests) < 100 * 12


@settings(max_examples=10, deadline=None)
@given(
    useless=st.tuples(seconds(timedelta(0), YEAR), seconds(2 * SECOND, 6 * SECOND))
    | st.tuples(st.just(YEAR), seconds(6 * SECOND, 3 * HOUR)),
    seed=seeds,
)
def test_a_ca_that_issues_useless_certificates_is_asked_four_times_a_day_and_believed_again_when_repaired(
    useless: tuple[timedelta, timedelta], seed: int
) -> None:
    repaired = START + 100 * DAY
    back_dated, left = useless

    def authority(now: datetime) -> Certificate:
        return Certificate(now, now + YEAR) if now >= repaired else Certificate(now - back_dated, now + left)

    device = Device(authority, seed).live(START + DAY)
    assert len(device.requests) <= 18
    device.live(repaired)
    assert len(device.requests) <= 18 + 4 * 100
    device.live(repaired + 2 * YEAR)
    first, *rest = [moment for moment in device.issued if moment >= repaired]
    assert first - repaired <= 9 * HOUR
    assert len(rest) <= 4


@settings(max_examples=10, deadline=None)
@given(life=seconds(DAY, 10 * YEAR), seed=seeds)
def test_a_ca_whose_own_end_cuts_every_certificate_is_asked_some_twenty_times(life: timedelta, seed: int) -> None:
    end = START + life
    device = Device(lambda now: Certificate(now, end), seed).live(end - 9 * SECOND)
    assert len(device.requests) <= 22


@settings(max_examples=30, deadline=None)
@given(
    life=seconds(6 * HOUR, 3 * YEAR),
    begins=st.floats(0.01, 0.6),
    takes=seconds(SECOND, 5 * MINUTE),
    says=st.none() | st.floats(0, 1e9),
    seed=seeds,
)
def test_an_outage_that_ends_an_hour_before_expiry_costs_nothing(
    life: timedelta, begins: float, takes: timedelta, says: float | None, seed: int
) -> None:
    ends = START + life - HOUR
    during = None if says is None else Busy(says)
    device = Device(outage(START + begins * life, ends, plain(life), during), seed, attempt_takes=takes)
    device.live(ends + 2 * life)
    assert device.lapsed == timedelta(0)
    assert len(device.requests) < 12_000


@pytest.mark.parametrize("seed", range(20))
def test_an_outage_that_ends_a_minute_before_expiry_costs_nothing_if_attempts_are_quick(seed: int) -> None:
    ends = START + YEAR - MINUTE
    device = Device(outage(START + DAY, ends, plain(YEAR)), seed).live(ends + DAY)
    assert device.lapsed == timedelta(0)
    assert ends <= device.issued[1] < ends + 15 * SECOND


def test_a_fleet_comes_back_over_hours_after_an_outage() -> None:
    """The outage ends with months to spare: nobody is in a hurry, and the CA is not hit by all at once."""
    ends = START + 250 * DAY
    returns = []
    for seed in range(200):
        device = Device(outage(START + DAY, ends, plain(YEAR)), seed).live(ends + DAY)
        assert len(device.issued) == 2
        returns.append(device.issued[1] - ends)
    assert max(returns) <= 6 * HOUR
    assert sum(moment < 10 * MINUTE for moment in returns) < 40


def wrong_clock(excursions: list[tuple[timedelta, timedelta]]) -> Iterator[tuple[datetime, timedelta]]:
    """Set the clock wrong every two months, by some offset for some time, and right again."""
    for number, (offset, lasts) in enumerate(excursions):
        begins = START + (1 + 60 * number) * DAY
        yield begins, offset
        yield begins + lasts, timedelta(0)


@settings(max_examples=30, deadline=None)
@given(
    excursions=st.lists(
        st.tuples(seconds(-50 * YEAR, 50 * YEAR) | seconds(-YEAR, YEAR), seconds(HOUR, 20 * DAY)), max_size=17
    ),
    life=st.sampled_from([90 * DAY, YEAR]),
    seed=seeds,
)
def test_a_clock_that_jumps_both_ways_costs_no_certificate_and_makes_no_loop(
    excursions: list[tuple[timedelta, timedelta]], life: timedelta, seed: int
) -> None:
    device = Device(plain(life), seed, steps=list(wrong_clock(excursions)))
    device.live(START + 3 * YEAR)
    wrong = sum((lasts for _, lasts in excursions), timedelta(0))
    assert device.lapsed == timedelta(0)
    # The regular ones; one or two for each change of the clock; and while it reads a time at which whatever the CA
    # issues is expired or nearly so, what back-off and floor allow.
    regular = 3 * YEAR / (life * 0.6) + 1
    assert len(device.requests) <= regular + len(excursions) * 24 + wrong / DAY * 12
