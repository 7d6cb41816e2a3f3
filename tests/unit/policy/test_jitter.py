from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.policy.jitter import fraction

FLEET = [f"enb-{number:05d}.ran.operator.example" for number in range(10_000)]


def chi_square(counts: Counter[int], bins: int) -> float:
    expected = sum(counts.values()) / bins
    return sum((counts[index] - expected) ** 2 / expected for index in range(bins))


@pytest.mark.parametrize(
    ("device", "purpose", "expected"),
    [
        ("enb-4711", "renewal", 0.5554319890127956),
        ("enb-4711", "floor", 0.945150221614715),
        ("", "renewal", 0.9230272835207572),
        ("\N{HANGUL SYLLABLE GI}지국-7", "renewal", 0.7705891497415047),
    ],
)
def test_the_numbers_stay_the_same_for_ever(device: str, purpose: str, expected: float) -> None:
    assert fraction(device, purpose) == expected


def test_numbered_devices_are_spread_evenly() -> None:
    counts = Counter(int(fraction(device, "renewal") * 100) for device in FLEET)
    # 99 degrees of freedom: of a thousand even distributions one is above 149 and one below 61.
    assert 61 < chi_square(counts, 100) < 149


def test_purposes_of_one_device_are_independent() -> None:
    counts = Counter(
        int(fraction(device, "renewal") * 10) * 10 + int(fraction(device, "floor") * 10) for device in FLEET
    )
    assert 61 < chi_square(counts, 100) < 149


@given(device=st.text(st.characters()), purpose=st.text(st.characters(codec="ascii"), min_size=1, max_size=64))
def test_any_name_gives_a_fraction(device: str, purpose: str) -> None:
    assert 0 <= fraction(device, purpose) < 1


def test_a_name_that_is_no_utf_8_is_a_name_too() -> None:
    assert 0 <= fraction(b"enb-\xff".decode(errors="surrogateescape"), "renewal") < 1


def test_a_purpose_longer_than_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="64"):
        fraction("enb-4711", "x" * 65)


def test_the_policies_do_not_load_openssl() -> None:
    program = (
        "import sys; from agent.policy import backoff, clock, jitter, renewal; "
        "print([name for name in ('_hashlib', '_ssl', 'random') if name in sys.modules])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
