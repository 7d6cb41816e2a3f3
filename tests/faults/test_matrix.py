"""A part of the matrix, held against docs/faults.md; ``python -m tests.faults`` runs all of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.faults.__main__ import ROOT, command
from tests.faults.document import DOCUMENT, facts, rows
from tests.faults.kinds import KINDS
from tests.faults.matrix import CELLS, Result

STEPS = {"ir sent", "ip received", "certConf sent", "pkiConf of kur received"}
SLOW = {"black-holed", "slow drip", "20 % loss"} | {kind.name for kind in KINDS if kind.faked_clock}
"""Seconds each: at one step only."""
CHOSEN = [
    name
    for name, cell in CELLS.items()
    if (cell.step.name in STEPS and cell.kind.name not in SLOW) or cell.step.name == "ip received"
]


@pytest.fixture(scope="module")
def world() -> Iterator[subprocess.Popen[str]]:
    """Give a process in namespaces of its own that runs cells."""
    with subprocess.Popen(
        command("--cells"), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.parametrize("name", CHOSEN)
def test_a_device_recovers_as_the_document_says(world: subprocess.Popen[str], name: str) -> None:
    assert world.stdin is not None
    assert world.stdout is not None
    world.stdin.write(f"{name}\n")
    world.stdin.flush()
    said = json.loads(world.stdout.readline())
    assert "trouble" not in said, said["trouble"]
    result = Result(**said["result"] | {"during": tuple(said["result"]["during"])})
    assert result.kept
    assert facts(CELLS[name], result) == rows(DOCUMENT.read_text())[name]


def test_the_document_has_a_row_for_every_cell() -> None:
    assert list(rows(DOCUMENT.read_text())) == list(CELLS)


def test_no_certificate_was_lost_or_is_in_force_twice() -> None:
    for name, row in rows(DOCUMENT.read_text()).items():
        lost, doubled = row[6:8]
        assert (lost, doubled) == ("0", "0"), name
