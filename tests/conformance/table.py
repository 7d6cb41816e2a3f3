"""What a row of docs/conformance.md is. Its tests are pytest's node ids; a test holds that each is collected."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tests.conformance.collected import names

UNIT: Final = "tests/unit"


class Status(StrEnum):
    """How far the agent does it. All but ``done`` say in a note what is missing, or what happens instead."""

    DONE = "done"
    PARTLY = "partly"
    NOT_DONE = "not done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One requirement in our own words, where it stands, and the tests that show it."""

    requirement: str
    source: str
    tests: tuple[str, ...]
    status: Status = Status.DONE
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """Rows under one heading. ``numbered`` rows are called by their number elsewhere."""

    title: str
    about: str
    rows: tuple[Row, ...]
    numbered: bool = False
    done_word: str = Status.DONE
    """What stands for ``done`` where the rows are things that must not happen."""


def done(requirement: str, source: str, *tests: tuple[str, ...]) -> Row:
    """Return a row for what the agent does."""
    return Row(requirement=requirement, source=source, tests=_flat(tests))


def partly(requirement: str, source: str, note: str, *tests: tuple[str, ...]) -> Row:
    """Return a row for what the agent does in part."""
    return Row(requirement=requirement, source=source, tests=_flat(tests), status=Status.PARTLY, note=note)


def not_done(requirement: str, source: str, note: str, *tests: tuple[str, ...]) -> Row:
    """Return a row for what the agent does not do; the tests show what happens instead."""
    return Row(requirement=requirement, source=source, tests=_flat(tests), status=Status.NOT_DONE, note=note)


def at(file: str, *tests: str) -> tuple[str, ...]:
    """Return node ids: ``at("cmp/test_trust", "a_name")`` is the test of that name in tests/unit/cmp."""
    folder, _, _ = file.partition("/")
    path = f"tests/{file}.py" if folder in {"interop", "fuzz"} else f"{UNIT}/{file}.py"
    return tuple(f"{path}::test_{one}" for one in tests)


def family(prefix: str, *files: str) -> tuple[str, ...]:
    """Return the node ids of all tests in ``files`` whose names begin with ``test_`` and ``prefix``."""
    return tuple(
        one
        for file in files
        for one in at(file, *(name.removeprefix("test_") for name in names(f"{UNIT}/{file}.py")))
        if one.partition("::")[2].startswith(f"test_{prefix}")
    )


def _flat(tests: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(one for some in tests for one in some)
