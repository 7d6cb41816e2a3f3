from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import units


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("30s", 30),
        ("500ms", 0.5),
        ("5m", 300),
        ("24h", 86_400),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("10", 10),
        ("1.5s", 1.5),
        ("0s", 0),
    ],
)
def test_a_duration_is_in_seconds(text: str, amount: float) -> None:
    assert units.seconds(text) == amount


def test_percentages_and_modes_are_numbers() -> None:
    assert units.percent("66%") == 66
    assert units.share("66%") == 0.66
    assert units.share("12.5%") == 0.125
    assert units.file_mode("0640") == units.file_mode("640") == 0o640


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (units.seconds, "30 s"),
        (units.seconds, "s"),
        (units.seconds, "-1s"),
        (units.seconds, "1h30m"),
        (units.seconds, "30s\n"),
        (units.seconds, "٣s"),
        (units.seconds, "9" * 20),
        (units.percent, "66"),
        (units.percent, "%"),
        (units.percent, "1000%"),
        (units.share, "0.66"),
        (units.file_mode, "0800"),
        (units.file_mode, "04755"),
        (units.file_mode, "rw-r-----"),
    ],
)
def test_other_texts_are_refused(read: Callable[[str], float], text: str) -> None:
    with pytest.raises(ValueError, match="is not such an amount"):
        read(text)


@pytest.mark.parametrize(("amount", "text"), [(0, "0s"), (0.1, "0.1s"), (90, "90s"), (60, "1m"), (2_592_000, "30d")])
def test_a_duration_is_written_with_its_largest_unit(amount: float, text: str) -> None:
    assert units.duration_text(amount) == text


@given(st.integers(0, 999_999_999))
def test_a_written_duration_reads_back(amount: int) -> None:
    assert units.seconds(units.duration_text(amount)) == amount
