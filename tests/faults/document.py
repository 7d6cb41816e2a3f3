"""docs/faults.md from the results of all cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.faults.kinds import KINDS
from tests.faults.matrix import CELLS, STEPS, Cell, Result, run

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "faults.md"

_ABOUT: Final = """\
What becomes of an enrollment and of a renewal when something breaks, step by step. Written by `python -m tests.faults`
(some minutes); do not edit. `make test` runs a part of the cells again, and fails when one does not come out as it
stands here, or when a row is missing.

Each cell has a lab CA and a device of its own, in network and mount namespaces, with a proxy in between. The fault
begins at its step and lasts for two attempts; then it ends, and the device attempts again until the certificate is
installed. What the daemon would have waited between attempts is computed by its own policy and not waited for."""

_COLUMNS: Final = """\
- **while it lasts**: how the attempts ended that were made meanwhile ([the words](protocol.md)). `issued`: the fault
  was ridden out.
- **after**: attempts from the end of the fault to the new certificate. 0: it was installed already.
- **wait**: the longest time in seconds that the daemon lets pass before that attempt, so the fault is over for at most
  this long before the device notices. Longest after a "no" and after answers that are not acceptable: asking faster
  would not change them.
- **took**: seconds that attempt took, measured.
- **issued**: certificates that the CA made. One is wanted. Where the answer that brings a certificate is lost again and
  again, each attempt costs the CA one, which was never confirmed and lapses there.
- **lost**: in force at the CA, and the device does not have it.
- **twice**: in force at the CA beside the one in use.
- **confirmed**: whether the CA counts the certificate in use as confirmed."""

_UNCONFIRMED: Final = """\
`confirmed` is no in few cells, and for a reason. Where the database was rolled back after pkiConf, the CA has forgotten
what it issued; the device cannot know. Where certConf itself arrives cut short every time and nothing better is
installed, the device uses the certificate it verified, and says so (event `unconfirmed`): the alternative is a site off
the air. In every cell the credential of before stayed in use, whole, until the new one took over."""


def run_all(place: Path) -> dict[str, Result]:
    """Run every cell and return what came of it, by the cell's id."""
    return {name: run(cell, place) for name, cell in CELLS.items()}


def facts(cell: Cell, result: Result) -> tuple[str, ...]:
    """Return the part of a row that comes out the same every time."""
    return (
        cell.kind.name,
        cell.step.name,
        ", ".join(result.during),
        str(result.after),
        f"{result.longest_wait:g}",
        str(result.issued),
        str(result.lost),
        str(result.doubled),
        "yes" if result.known else "no",
    )


def rows(text: str) -> dict[str, tuple[str, ...]]:
    """Return the rows of a document by the ids of their cells, without what was measured."""
    found = {}
    for line in text.partition("## Every cell")[2].splitlines():
        cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
        if len(cells) == len(_HEAD) and cells[0] in {kind.name for kind in KINDS}:
            found[f"{cells[0]}@{cells[1]}"] = cells[:-1]
    return found


_HEAD: Final = ("fault", "step", "while it lasts", "after", "wait", "issued", "lost", "twice", "confirmed", "took")


def document(results: dict[str, Result]) -> str:
    """Return the text of the file."""
    kinds = [("fault", "what happens"), ("---", "---"), *((kind.name, kind.about) for kind in KINDS)]
    return "\n\n".join([
        "# Faults",
        _ABOUT,
        _summary(results),
        "## Attempts from the end of the fault to the certificate",
        "0: the fault was ridden out, or the device had recovered while it lasted. -: it cannot happen there.",
        _table(_overview(results)),
        "## The faults",
        _table(kinds),
        "## Every cell",
        _COLUMNS,
        _UNCONFIRMED,
        _table([_HEAD, ("---",) * len(_HEAD), *_details(results)]),
    ]) + "\n"  # fmt: skip


def _summary(results: dict[str, Result]) -> str:
    every = list(results.values())
    ridden = [one for one in every if one.during == ("issued",)]
    slowest = max(one.seconds for one in every)
    return (
        f"**{len(every)} cells, {len(every)} recoveries**: {len(ridden)} faults were ridden out in the first attempt, "
        f"and no device needed more than {max(one.after for one in every)} attempt after the end of a fault (the "
        f"slowest took {slowest:g} s). Certificates issued: {sum(one.issued for one in every)}; lost: "
        f"{sum(one.lost for one in every)}; in force twice: {sum(one.doubled for one in every)}."
    )


def _overview(results: dict[str, Result]) -> list[tuple[str, ...]]:
    lines = [("", *(step.name for step in STEPS)), ("---",) * (len(STEPS) + 1)]
    for kind in KINDS:
        ids = [f"{kind.name}@{step.name}" for step in STEPS]
        lines.append((kind.name, *(str(results[one].after) if one in results else "-" for one in ids)))
    return lines


def _details(results: dict[str, Result]) -> list[tuple[str, ...]]:
    return [(*facts(CELLS[name], result), f"{result.seconds:.2f}") for name, result in results.items()]


def _table(lines: Sequence[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
