"""The process that reads the configuration, where the disk does not answer."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from agent.errors import ConfigurationError
from agent.supervisor import configuration, reading
from agent.supervisor.configuration import MOST_HANGING, begin, finish
from agent.supervisor.daemon import Daemon
from agent.supervisor.reading import Reading

HANGS = ("/bin/sh", "-c", "exec tail --pid=$PPID -f /dev/null")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(reading, "PATIENCE", 0.1)
    monkeypatch.setattr(reading, "_AGAIN", 0.1)
    yield
    end_all()


def deaf(path: Path) -> Reading:
    """Return a reader that no signal reaches, as one that hangs in the kernel."""
    made = Reading(path, HANGS)
    cast("Any", made.process).signal = lambda _: None
    return made


def end_all() -> None:
    """Let the disk answer."""
    for process in reading._hanging:
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert reading.hanging() == 0


def given_up(one: Reading) -> ConfigurationError:
    now = time.monotonic()
    for _ in range(3):
        now += one.hurry(now)
    assert one.over
    with pytest.raises(ConfigurationError) as caught:
        finish(one)
    return caught.value


def test_one_that_is_killed_for_taking_too_long_says_so(tmp_path: Path) -> None:
    one = Reading(tmp_path / "file", HANGS)
    now = time.monotonic() + 1
    one.hurry(now)
    os.waitid(os.P_PID, one.process.pid, os.WEXITED | os.WNOWAIT)
    assert one.over
    with pytest.raises(ConfigurationError, match="could not be read within") as caught:
        finish(one)
    assert "journalctl -k" in caught.value.remedy
    assert reading.hanging() == 0


def test_those_that_hang_in_the_kernel_are_given_up_and_others_started_up_to_a_bound(tmp_path: Path) -> None:
    before = descriptors()
    for _ in range(MOST_HANGING):
        assert "could not be read within" in str(given_up(deaf(tmp_path)))
    with pytest.raises(ConfigurationError, match=f"{MOST_HANGING} processes hang") as caught:
        begin(tmp_path)
    assert "does not answer" in caught.value.remedy
    end_all()
    assert descriptors() == before
    given_up(deaf(tmp_path))


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def turned(ours: Daemon, until: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not until() and time.monotonic() < end:
        ours.loop.after(0.05, lambda: None)
        ours.loop.turn()
    assert until()


def test_a_reload_after_one_whose_reader_hangs_reads_the_file_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (path := tmp_path / "enrolld.yaml").write_text("state-directory: state\nauthorities: {}\nidentities: {}\n")
    ours = Daemon(path, cast("Any", None))
    ours._reading, ours._started = None, True
    told: list[str] = []
    ours.teller.listeners.append(lambda event, *_: told.append(event))
    taken: list[object] = []
    cast("Any", ours)._take = lambda configuration, _: taken.append(configuration)
    with monkeypatch.context() as hanging:
        hanging.setattr(configuration, "Reading", deaf)
        ours.reload()
        turned(ours, lambda: told == ["reload-refused"])
        for _ in range(MOST_HANGING - 1):
            ours.reload()
            turned(ours, lambda: ours._reading is None)
        ours.reload()
    assert told == ["reload-refused"] * (MOST_HANGING + 1)
    end_all()
    monkeypatch.setattr(reading, "PATIENCE", 60)
    ours.reload()
    turned(ours, lambda: bool(taken))
    ours.loop.close()


def test_the_end_does_not_wait_for_one_that_hangs(tmp_path: Path) -> None:
    ours = Daemon(tmp_path, deaf(tmp_path))
    cast("Any", ours._reading)._ends_at = time.monotonic() + 600
    ours._await_reading()
    ours.stop()
    turned(ours, lambda: ours._reading is None)
    turned(ours, lambda: ours.loop._ended)
    ours.loop.close()
