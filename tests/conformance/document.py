"""docs/conformance.md from the rows."""

from __future__ import annotations

from collections import Counter
from typing import Final

from tests.conformance import backhaul, field, lightweight, refusals, ts33310
from tests.conformance.collected import ROOT
from tests.conformance.table import Chapter, Row, Status

DOCUMENT: Final = ROOT / "docs" / "conformance.md"

CHAPTERS: Final[tuple[Chapter, ...]] = (
    *lightweight.CHAPTERS,
    *ts33310.CHAPTERS,
    *backhaul.CHAPTERS,
    *field.CHAPTERS,
    *refusals.CHAPTERS,
)

_ABOUT: Final = """\
What the specifications ask of an end entity, whether the agent does it, and which tests show it.

Written by `python -m tests.conformance` from the tables in `tests/conformance`; do not edit. `make test` runs every
test named here, and fails when a row names none, names one that does not exist, or when this file is not what the
tables say. To run the tests of a row: `.venv/bin/pytest NODE-ID...`. Which messages, algorithms and key sizes each
profile allows stands in [protocol.md](protocol.md); which peers were tried, in [interop.md](interop.md)."""


def document() -> str:
    """Return the text of the file."""
    rows = [row for chapter in CHAPTERS for row in chapter.rows]
    counted = Counter(row.status for row in rows)
    summary = ", ".join(f"{counted[status]} {status}" for status in Status)
    parts = ["# Conformance", _ABOUT, f"{len(rows)} requirements: {summary}."]
    for chapter in CHAPTERS:
        parts += [f"## {chapter.title}", chapter.about, _table(chapter)]
    return "\n\n".join(parts) + "\n"


def _table(chapter: Chapter) -> str:
    head = ("requirement", "source", "status", "shown by")
    lines = [head, tuple("---" for _ in head), *(_cells(row, chapter.done_word) for row in chapter.rows)]
    if chapter.numbered:
        numbers = ["#", "---", *map(str, range(1, len(chapter.rows) + 1))]
        lines = [(number, *line) for number, line in zip(numbers, lines, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row, done_word: str) -> tuple[str, ...]:
    status = f"{row.status}: {row.note}" if row.note else done_word
    return row.requirement, row.source, status, "<br>".join(f"`{one}`" for one in row.tests)
