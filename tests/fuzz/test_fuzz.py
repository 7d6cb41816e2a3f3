"""Some hundred inputs for each target, and every one that once was a finding. ``make fuzz`` takes longer."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import watch
from tests.fuzz.__main__ import NOTHING
from tests.fuzz.mutation import der_mutator
from tests.fuzz.targets import TARGETS, Target, tidy_up

INPUTS = 300
"""So many and not so many seconds: a busy machine tries no less."""
REGRESSIONS = Path(__file__).parent / "regressions"


@pytest.fixture(scope="module", autouse=True)
def _leaves_nothing() -> Iterator[None]:
    yield
    tidy_up()


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """Fuzz all targets; give the lines that were said, and the folder with logs and findings."""
    folder = tmp_path_factory.mktemp("fuzz")
    scratch = tmp_path_factory.mktemp("scratch")
    command = [sys.executable, "-m", "tests.fuzz", "--inputs", str(INPUTS), "--folder", str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=280, env={**os.environ, "TMPDIR": str(scratch)}
    )
    assert list(scratch.iterdir()) == [], "it left something behind"
    return [*done.stdout.splitlines(), done.stderr[-2000:]], folder


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found(fuzzed: tuple[list[str], Path], name: str) -> None:
    lines, folder = fuzzed
    log = folder / f"{name}.log"
    assert f"{name}: {NOTHING}" in lines, log.read_text() if log.exists() else lines


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_what_was_found_once_stays_mended(target: Target) -> None:
    found = [b"", *(file.read_bytes() for file in sorted((REGRESSIONS / target.name).glob("*")))]
    for octets in found:
        watch.tolerate(target, octets)
        watch.examine(target, octets)


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_the_seeds_are_read_far_enough_to_be_worth_mutating(target: Target) -> None:
    seeds = target.seeds()
    assert seeds
    read = 0
    for octets in seeds:
        try:
            target.read(octets)
            read += 1
        except target.errors:
            pass
    assert read or target.name in {"http", "credential", "challenge"}, "these have no good input on their own"


def test_an_error_that_is_not_ours_and_a_costly_input_are_findings() -> None:
    hoard = Target(name="hoard", read=lambda _: bytearray(2 * watch.OCTETS), errors=(), seeds=list)
    with pytest.raises(watch.TooCostly, match="MiB"):
        watch.examine(hoard, b"")
    wrong = Target(name="wrong", read=lambda octets: octets[3], errors=(ValueError,), seeds=list)
    with pytest.raises(IndexError):
        watch.examine(wrong, b"")


def test_a_mutated_input_is_mostly_canonical_der() -> None:
    seed = max(TARGETS["message"].seeds(), key=len)
    mutants = {der_mutator(seed, 100_000, number) for number in range(200)}
    assert len(mutants) > 150, "different seeds give different inputs"
    assert der_mutator(seed, 100_000, 1) == der_mutator(seed, 100_000, 1)
    good = sum(_is_der(one) for one in mutants)
    assert good > len(mutants) / 4
    assert der_mutator(random.Random(1).randbytes(50), 20, 1) != b""  # noqa: S311 - any octets


def _is_der(octets: bytes) -> bool:
    try:
        TARGETS["der"].read(octets)
    except TARGETS["der"].errors:
        return False
    return True
