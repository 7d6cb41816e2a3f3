"""A program that cannot be watched is ended, and none takes a place after its end, whenever that comes."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.supervisor import reading
from agent.supervisor.loop import Loop
from agent.supervisor.process import Process
from agent.supervisor.watching import Watch

SLEEPS = ("/bin/sleep", "60")


def children() -> set[int]:
    """Return the processes that are ours, ended ones too."""
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def ended(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def until_ended(pid: int) -> None:
    end = time.monotonic() + 30
    while not ended(pid):
        assert time.monotonic() < end
        time.sleep(0.01)


LIMITED = """
import resource, signal
from agent.supervisor import reading
from agent.supervisor.loop import Loop
from agent.supervisor.process import Process
from agent.supervisor.watching import Watch
GIBIBYTE = 1 << 30
resource.setrlimit(resource.RLIMIT_AS, (4 * GIBIBYTE, 4 * GIBIBYTE))
for wanted in (8, 2):
    process = Process(("/bin/sleep", "60"), address_space=wanted * GIBIBYTE)
    print(*(one // GIBIBYTE for one in resource.prlimit(process.pid, resource.RLIMIT_AS)))
    process.signal(signal.SIGKILL)
"""


def test_a_limit_of_ours_that_is_lower_than_its_own_is_its_limit() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("4 4\n2 2\n", "")


def test_one_that_cannot_be_watched_and_limited_does_not_run_on() -> None:
    gc.collect()  # what other tests left open is closed now, not while we count
    before, descriptors = children(), os.listdir("/proc/self/fd")  # noqa: PTH208 - of a running process
    with pytest.raises(OverflowError):
        Process(SLEEPS, address_space=1 << 70)
    (left,) = children() - before
    until_ended(left)
    assert len(os.listdir("/proc/self/fd")) == len(descriptors)  # noqa: PTH208


def test_one_that_was_given_up_takes_no_place_once_it_has_ended() -> None:
    stubborn = Process(SLEEPS)
    stubborn.close()  # as one that hangs in the kernel, where no signal reaches it
    os.kill(stubborn.pid, signal.SIGKILL)
    until_ended(stubborn.pid)
    assert stubborn.pid in children()
    other = Process(SLEEPS)
    assert stubborn.pid not in children()
    other.signal(signal.SIGKILL)
    until_ended(other.pid)
    assert other.poll() == -signal.SIGKILL, "the end of the others is still theirs"
    other.close()


def test_a_reader_of_the_file_that_hears_no_signal_is_no_reason_to_be_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a network file system that went away: it waits in the kernel, for days.
    monkeypatch.setattr(reading, "PATIENCE", 0.1)
    deaf = reading.Reading(tmp_path / "60", command=("/bin/sh", "-c", "exec sleep 60"))
    monkeypatch.setattr(deaf.process, "signal", lambda _: None)
    loop = Loop()
    Watch(loop, deaf, lambda: None)
    end = time.monotonic() + 1
    loop.after(1, lambda: None)
    while time.monotonic() < end:
        loop.turn()
    assert loop.turns < 20
    loop.close()
    os.kill(deaf.process.pid, signal.SIGKILL)
    until_ended(deaf.process.pid)
    deaf.close()
