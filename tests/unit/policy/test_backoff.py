from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.policy import backoff
from agent.policy.backoff import DEPLOYMENT, ENROLLMENT, POLLING, REJECTED, RENEWAL, Pace, delay

PACES = [RENEWAL, ENROLLMENT, REJECTED, POLLING, DEPLOYMENT]
YEAR = 365 * 86_400.0
ALMOST_ONE = math.nextafter(1, 0)

paces = st.sampled_from(PACES)
uniforms = st.floats(0, 1, exclude_max=True)
attempts = st.integers(-1, 10**30)
lives = st.none() | st.floats(-YEAR, 20 * YEAR)
words = st.none() | st.floats() | st.integers(-(10**400), 10**400)


@given(attempt=attempts, uniform=uniforms, pace=paces, life=lives, word=words)
def test_every_wait_is_within_the_bounds(
    attempt: int, uniform: float, pace: Pace, life: float | None, word: float | None
) -> None:
    wait = delay(attempt, uniform=uniform, pace=pace, remaining_life=life, server_says=word)
    assert pace.minimum <= wait <= pace.maximum
    if word is None:
        assert wait <= pace.cap


@given(attempt=attempts, uniform=uniforms, pace=paces, life=st.floats(0.001, 20 * YEAR), word=words)
def test_no_wait_costs_the_certificate(
    attempt: int, uniform: float, pace: Pace, life: float, word: float | None
) -> None:
    share = 1 / 2 if word is not None and word > 0 else 1 / 8
    wait = delay(attempt, uniform=uniform, pace=pace, remaining_life=life, server_says=word)
    assert wait <= max(life * share, pace.minimum)


@pytest.mark.parametrize(("attempt", "ceiling"), [(0, 10), (1, 10), (2, 20), (5, 160), (12, 20_480), (13, 21_600)])
def test_the_ceiling_doubles_up_to_the_cap(attempt: int, ceiling: float) -> None:
    assert delay(attempt, uniform=ALMOST_ONE) == pytest.approx(ceiling)
    assert delay(attempt, uniform=0.5) == pytest.approx(ceiling / 2)
    assert delay(attempt, uniform=0) == 1


@pytest.mark.parametrize("attempt", [1000, 10**9, 10**400])
def test_years_of_failures_do_not_overflow(attempt: int) -> None:
    assert delay(attempt, uniform=ALMOST_ONE) == pytest.approx(RENEWAL.cap)


@pytest.mark.parametrize("left", [86_400.0, 3600.0, 60.0])
def test_the_cap_shrinks_as_expiry_nears(left: float) -> None:
    assert delay(50, uniform=ALMOST_ONE, remaining_life=left) == pytest.approx(left / 8)


@pytest.mark.parametrize("left", [None, 0.0, -1.0, -YEAR])
def test_nothing_shrinks_where_there_is_nothing_to_lose(left: float | None) -> None:
    assert delay(50, uniform=ALMOST_ONE, remaining_life=left) == pytest.approx(RENEWAL.cap)


@pytest.mark.parametrize("word", [10.0, 600.0, 86_400 / 1.25])
def test_the_servers_word_is_obeyed_and_never_undercut(word: float) -> None:
    assert delay(1, uniform=0, server_says=word) == word
    assert word <= delay(1, uniform=ALMOST_ONE, server_says=word) <= 1.25 * word


@pytest.mark.parametrize("word", [YEAR, math.inf, 10**400])
def test_a_server_that_says_a_year_is_asked_again_within_a_day(word: float) -> None:
    assert delay(1, uniform=0.5, server_says=word) == 86_400


@pytest.mark.parametrize("word", [0, -1, -math.inf, math.nan])
def test_a_server_that_says_zero_leaves_the_wait_to_us(word: float) -> None:
    waits = [delay(attempt, uniform=0.5, pace=POLLING, server_says=word) for attempt in range(1, 10)]
    assert waits == [delay(attempt, uniform=0.5, pace=POLLING) for attempt in range(1, 10)]
    assert waits[0] == 1
    assert waits[-1] == POLLING.cap / 2


def test_a_server_that_says_a_second_every_time_is_asked_more_and_more_seldom() -> None:
    waits = [delay(attempt, uniform=0.5, pace=POLLING, server_says=1) for attempt in range(1, 10)]
    assert waits == sorted(waits)
    assert waits[0] == 1.125
    assert waits[-1] == POLLING.cap / 2


def test_the_servers_word_leaves_half_of_what_remains() -> None:
    assert delay(1, uniform=0.9, server_says=3600, remaining_life=3000) == 1500


def test_bounds_come_from_the_settings() -> None:
    pace = replace(POLLING, minimum=5, maximum=30)
    assert delay(1, uniform=0, pace=pace, server_says=1) == 5
    assert delay(1, uniform=0, pace=pace, server_says=100) == 30
    assert delay(99, uniform=ALMOST_ONE, pace=pace) == 30


@pytest.mark.parametrize("pace", PACES, ids=[name for name, value in vars(backoff).items() if isinstance(value, Pace)])
def test_every_pace_is_in_order(pace: Pace) -> None:
    assert 0 < pace.minimum <= pace.base <= pace.cap <= pace.maximum


@given(attempt=attempts, pace=paces, life=lives, word=words, pair=st.tuples(uniforms, uniforms))
def test_a_larger_draw_never_waits_less(
    attempt: int, pace: Pace, life: float | None, word: float | None, pair: tuple[float, float]
) -> None:
    small, large = (
        delay(attempt, uniform=uniform, pace=pace, remaining_life=life, server_says=word) for uniform in sorted(pair)
    )
    assert small <= large
