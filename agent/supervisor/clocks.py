"""The clocks of this machine, and the time that is remembered over a power cut."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent import RELEASED
from agent.errors import StateCorrupt, StateNewer
from agent.policy import clock
from agent.policy.clock import ClockState, Sample
from agent.store import aside, atomic, documents

if TYPE_CHECKING:
    from collections.abc import Callable

SYNCHRONISED: Final = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd makes this file once a server has set the clock; other time services leave no such word."""
_WORTH_WRITING: Final = 3600.0
"""Seconds by which the time remembered may be behind: one small write an hour, and flash lives long."""


def boottime() -> float:
    """Return the seconds since the start of the machine, those asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def sample() -> Sample:
    """Read three clocks together."""
    return Sample(wall=datetime.now(UTC), monotonic=time.monotonic(), boottime=boottime())


def synchronised() -> bool | None:
    """Tell whether a time server has set the clock; None when nobody says."""
    return True if SYNCHRONISED.exists() else None


class ClockFile:
    """``clock.json``: the last time known to be good, so that a machine without a battery is not fooled by 1970."""

    def __init__(self, state_directory: Path) -> None:
        """Read it. Raise :class:`agent.errors.StateError` when the disk does not let us."""
        self._path = state_directory / "clock.json"
        self.last_good: datetime | None = None
        try:
            data = atomic.read_if_present(self._path)
            if data is not None:
                self.last_good = _last_good(data, self._path)
        except (StateCorrupt, StateNewer):
            return  # the build date remains; the file is written anew

    def remember(self, now: datetime) -> None:
        """Write down a time that is trusted. Raise :class:`agent.errors.StateError` when the disk does not let us."""
        if self.last_good is None or abs((now - self.last_good).total_seconds()) >= _WORTH_WRITING:
            aside.keep_unread(self._path, _last_good)
            atomic.write_file(self._path, documents.encode({"last_good": now.isoformat()}))
            self.last_good = now


def _last_good(data: bytes, path: Path) -> datetime:
    remedy = "Nothing needs to be done: it is written anew."
    document = documents.decode(data, path, remedy=remedy)
    try:
        return datetime.fromisoformat(str(document.get("last_good"))).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise StateCorrupt(f"{path} holds no time", remedy=remedy) from error


class Calendar:
    """What time it is, as far as that can be known."""

    def __init__(self, read: Callable[[], Sample] = sample, known: Callable[[], bool | None] = synchronised) -> None:
        """Read the clocks with ``read``; ``known`` is the system's word on whether the wall clock was set."""
        self._read = read
        self._known = known
        self._before = read()
        self._started = self._before.boottime
        self.last_good: datetime | None = None

    def wall(self) -> datetime:
        """Return what the wall clock shows, right or wrong."""
        return self._read().wall

    @property
    def waited(self) -> float:
        """Seconds since the start."""
        return self._read().boottime - self._started

    def state(self) -> ClockState:
        """Return what the wall clock is worth."""
        return clock.assess(
            self._read().wall, build_time=RELEASED, last_good=self.last_good, synchronised=self._known()
        )

    def now(self) -> datetime:
        """Return the time to judge by: the earliest it can be where the wall clock cannot be right."""
        return self.known_time or self._read().wall

    @property
    def known_time(self) -> datetime | None:
        """A time that has passed for sure, where the wall clock cannot be right; None where it may be."""
        if self.state() in {ClockState.TRUSTED, ClockState.UNSYNCHRONISED}:
            return None
        return clock.at_least(RELEASED, last_good=self.last_good)

    def learn(self, moment: datetime) -> bool:
        """Take it from a CA that ``moment`` has passed; return whether that is news: the wall clock is not believed."""
        known = self.known_time
        if known is None or moment <= known:
            return False
        self.last_good = moment
        return True

    def steps(self) -> tuple[clock.Step, ...]:
        """Return what happened to the clock since this was asked last."""
        before, self._before = self._before, self._read()
        return clock.steps(before, self._before)


def calendar_of(state_directory: Path) -> Calendar:
    """Return a calendar that knows what was remembered there. Raise :class:`agent.errors.StateError`."""
    calendar = Calendar()
    calendar.last_good = ClockFile(state_directory).last_good
    return calendar
