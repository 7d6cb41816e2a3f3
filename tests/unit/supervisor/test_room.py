"""Whether there is room on a disk, and who is told once there is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.cmp.sizes import MAXIMUM_CERTIFICATE, MAXIMUM_LEARNED, largest_snapshot
from agent.cmp.trust import MAXIMUM_DEPTH
from agent.policy.clock import SLICE
from agent.supervisor.room import ENOUGH, Room, lacking
from agent.worker.room import needed
from tests.unit.supervisor.post import Loop

ON_A_SMALL_DISK = """
import os, sys
from pathlib import Path
from agent.supervisor.room import lacking
place = Path(sys.argv[1])
found = [lacking(place)]
(place / "filler").write_bytes(bytes(3 * 1024 * 1024))
found.append(lacking(place))
(place / "filler").unlink()
found.append(lacking(place))
for number in range(40):
    (place / str(number)).touch()
found.append(lacking(place))
print(found)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")
def test_a_small_disk_lacks_room_while_it_is_full_and_files_while_there_are_too_many(tmp_path: Path) -> None:
    mount = f'mount -t tmpfs -o size=4m,nr_inodes=64 tmpfs {tmp_path} && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[False, True, False, True]\n"


@pytest.mark.parametrize(
    ("octets", "files", "free", "expected"),
    [
        (ENOUGH, 100_000, 1000, False),
        (ENOUGH - 4096, 100_000, 1000, True),
        (ENOUGH, 100_000, 3, True),
        (ENOUGH, 0, 0, False),
    ],
    ids=["roomy", "full", "no inodes", "no table of inodes"],
)
def test_what_counts_as_room(
    monkeypatch: pytest.MonkeyPatch, octets: int, files: int, free: int, *, expected: bool
) -> None:
    found = SimpleNamespace(f_bavail=octets // 4096, f_frsize=4096, f_files=files, f_favail=free)
    monkeypatch.setattr("os.statvfs", lambda _: found)
    assert lacking(Path("/somewhere")) is expected


def test_a_directory_that_is_gone_is_no_full_one(tmp_path: Path) -> None:
    assert not lacking(tmp_path / "gone")


def test_the_disk_is_asked_once_a_slice_for_all_and_only_while_somebody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, asked, woken = True, [0], list[str]()

    def ask(_: Path) -> bool:
        asked[0] += 1
        return full

    monkeypatch.setattr("agent.supervisor.room.lacking", ask)
    loop = Loop()
    room = Room(cast("Any", loop), woken.append)
    for name in ("a", "b", "c"):
        room.note(name, tmp_path, failed=True)
    room.note("b", tmp_path, failed=False)
    asked[0] = 0
    loop.serve_until(10 * SLICE)
    assert (asked[0], woken) == (10, [])
    full = False
    loop.serve_until(11 * SLICE)
    assert woken == ["a", "c"]
    asked[0] = 0
    loop.serve_until(100 * SLICE)
    assert asked[0] == 0


def test_there_is_enough_where_a_worker_can_hold_room_for_the_largest_answer_to_any_request() -> None:
    transaction = SimpleNamespace(
        largest_snapshot=largest_snapshot(message=8192),
        largest_credential=(MAXIMUM_CERTIFICATE,) * (MAXIMUM_DEPTH + 2) + (MAXIMUM_LEARNED,),
    )
    key = SimpleNamespace(file=None)
    assert 3 / 4 * ENOUGH < needed(cast("Any", transaction), cast("Any", key)) < ENOUGH
