"""Tables for people: a column is as wide as what is in it, numbers to the right, and a goal beside its figure."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return ``rows`` below ``heads``: the first column to the left, the others to the right."""
    widths = [max(len(one) for one in column) for column in zip(heads, *rows, strict=True)]
    lines = []
    for first, *others in (heads, *rows):
        cells = [first.ljust(widths[0]), *(one.rjust(width) for one, width in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def verdict(what: str, found: float, goal: float, unit: str, *, at_least: bool = False) -> str:
    """Return a line that says whether ``found`` reaches its goal: at most ``goal``, or at least."""
    met = found >= goal if at_least else found <= goal
    bound = "at least" if at_least else "at most"
    return f"{'met   ' if met else 'MISSED'}  {what}: {found:.2f} {unit}, goal {bound} {goal:g} {unit}"


def command_line() -> str:
    """Return the command that runs this benchmark, as one would type it."""
    return shlex.join(["python", *sys.argv])
