"""Room for the answer: held while a message is out, enough for the largest one, and given back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.cmp import sizes
from agent.contract import Verdict
from tests.unit.store.samples import ROOT
from tests.unit.store.test_real_disks import NAMESPACE, may_mount
from tests.unit.worker.desk import Desk
from tests.unit.worker.small_disk import CASES


def room(desk: Desk) -> Path:
    return desk.store.transaction.path / "room"


def at_sent(desk: Desk, act: Callable[[], None]) -> None:
    """Act whenever a message is about to leave."""
    desk.on_event = lambda event: act() if event == "sent" else None


@pytest.mark.skipif(not may_mount(), reason="nobody may mount anything here")
@pytest.mark.parametrize("case", CASES)
def test_the_largest_answer_is_kept_on_a_disk_that_fills_up_while_it_is_awaited(tmp_path: Path, case: str) -> None:
    command = [*NAMESPACE, sys.executable, "-m", "tests.unit.worker.small_disk", case, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_room_is_held_only_while_a_message_is_out_that_a_certificate_may_answer(slow_desk: Desk) -> None:
    held: list[int] = []
    at_sent(slow_desk, lambda: held.append(room(slow_desk).stat().st_blocks * 512 if room(slow_desk).exists() else 0))
    slow_desk.do(patience=0)
    assert not room(slow_desk).exists(), "who waits for a week does not take the disk away"
    assert slow_desk.do().verdict is Verdict.ISSUED
    *before, certconf = held
    assert len(before) == 4
    assert min(before) > 2 * sizes.largest_snapshot(0)
    assert certconf == 0


@pytest.mark.parametrize("fault", ["drop-before", "reject=badPOP", "truncated"])
def test_room_is_given_back_when_no_answer_comes_that_could_be_used(desk: Desk, fault: str) -> None:
    desk.ca.misbehave(fault)
    assert desk.do().verdict is not Verdict.ISSUED
    assert not room(desk).exists()


def test_room_that_a_killed_worker_left_is_given_back(slow_desk: Desk) -> None:
    slow_desk.do(patience=0)
    room(slow_desk).write_bytes(b"left")
    slow_desk.do(patience=0)
    assert not room(slow_desk).exists()
