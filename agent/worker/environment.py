"""The effects of a job that tests replace: clocks, sleep and randomness, and the wish of others that it should end."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import FrameType
from typing import Final

from agent import RELEASED
from agent.frozen import frozen
from agent.policy import clock

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@frozen
class Environment:
    """Wall clock (aware UTC), a clock that never jumps, sleep, randomness, and whether the job should end early."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[int], bytes] = os.urandom
    interrupted: Callable[[], bool] = lambda: False
    known_time: datetime | None = None
    """A time that has passed for sure; a clock that shows an earlier one cannot be right."""

    @property
    def clock_trusted(self) -> bool:
        """Whether the wall clock can be right."""
        return clock.assess(self.now(), build_time=RELEASED, last_good=self.known_time) is clock.ClockState.TRUSTED

    @property
    def judging_time(self) -> datetime:
        """The time to judge by: the earliest it can be when the clock is not to be trusted."""
        return self.now() if self.clock_trusted else clock.at_least(RELEASED, last_good=self.known_time)


class Interruption:
    """SIGTERM or SIGINT asks the job to end where nothing gets lost; a second one ends it at once.

    A certificate that is on its way here is waited for, kept and confirmed: the one-time secret that it cost cannot
    be used again. That nobody reads ``output`` any more, a pipe, asks the same: whoever started the worker is gone.
    """

    def __init__(self, output: int) -> None:
        """Take over both signals."""
        self._heard = False
        self._reader, self._writer = os.pipe()
        self._poll = select.poll()
        self._poll.register(self._reader, select.POLLIN)
        self._poll.register(output, 0)  # nothing but POLLERR
        for number in _SIGNALS:
            signal.signal(number, self._hear)

    def heard(self) -> bool:
        """Whether the job should end early."""
        return self._heard

    def sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until somebody asks the job to end."""
        if self._poll.poll(math.ceil(seconds * 1000)):
            self._heard = True

    def _hear(self, _: int, __: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        self._heard = True
        os.write(self._writer, b"!")  # so that a sleep that begins just now ends too
