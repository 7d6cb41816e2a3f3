"""The one loop of the daemon: descriptors to wait for, moments to wait for, and nothing else.

Moments are seconds on ``CLOCK_BOOTTIME``, which no one sets and which goes on in suspend. The wait itself stands still
in suspend, so none is longer than a slice (``agent.policy.clock``). What can wait for the end of the slice is made to:
a thousand identities cost no more wake-ups than one.
"""

from __future__ import annotations

import heapq
import itertools
import math
import selectors
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from agent.policy.clock import SLICE
from agent.supervisor.clocks import boottime

if TYPE_CHECKING:
    from collections.abc import Callable

_FEW = 1024
"""Moments that are kept although some of them were given up: sorting these out is not worth while."""
LEISURE = 600.0
"""Seconds: whoever waits longer than this is served at the end of a slice, at most a tenth late."""


class HasDescriptor(Protocol):
    """What ``selectors`` takes beside a number."""

    def fileno(self) -> int:
        """Return the descriptor."""


@dataclass(slots=True, order=True)
class Timer:
    """A moment at which something is called, unless it is given up before."""

    at: float
    number: int
    call: Callable[[], None] | None = field(compare=False)

    def cancel(self) -> None:
        """Give it up."""
        self.call = None


class Loop:
    """Calls what was registered when its time has come, one at a time, until :meth:`end`."""

    def __init__(self, *, slice_: float = SLICE, clock: Callable[[], float] = boottime) -> None:
        """Wake up every ``slice_`` seconds at the least; ``clock`` gives the seconds that moments are in."""
        self._clock = clock
        self._slice = slice_
        self._tick_at = clock() + slice_
        self._selector = selectors.DefaultSelector()
        self._exact: list[Timer] = []
        self._leisurely: list[Timer] = []
        self._many = {id(one): _FEW for one in (self._exact, self._leisurely)}
        self._numbers = itertools.count()
        self._ended = False
        self.turns = 0
        """How often it woke up."""
        self.each_turn: list[Callable[[], None]] = []
        """Called at the end of every turn, and so once a slice at the least."""

    def now(self) -> float:
        """Return the moment that it is."""
        return self._clock()

    def watch(
        self, source: int | HasDescriptor, ready: Callable[[], object], *, read: bool = True, write: bool = False
    ) -> None:
        """Call ``ready`` whenever ``source`` can be read, written, or either, until it returns False."""
        events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        if source in self._selector.get_map():
            self._selector.modify(source, events, ready)
        else:
            self._selector.register(source, events, ready)

    def forget(self, source: int | HasDescriptor) -> None:
        """Wait no longer for ``source``; to be called before it is closed."""
        if source in self._selector.get_map():
            self._selector.unregister(source)

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call ``call`` once, ``seconds`` from now."""
        timer = Timer(self._clock() + max(seconds, 0.0), next(self._numbers), call)
        timers = self._leisurely if seconds >= LEISURE else self._exact
        heapq.heappush(timers, timer)
        if len(timers) > self._many[id(timers)]:
            self._sort_out(timers)
        return timer

    def _sort_out(self, timers: list[Timer]) -> None:
        """Drop those that were given up: each reload in a storm gives up all of them, hours before their moment."""
        timers[:] = [one for one in timers if one.call is not None]
        heapq.heapify(timers)
        self._many[id(timers)] = max(2 * len(timers), _FEW)

    def end(self) -> None:
        """Let :meth:`run` return after this turn."""
        self._ended = True

    def run(self) -> None:
        """Wait and call until :meth:`end`, which may have been called before."""
        while not self._ended:
            self.turn()
        self._ended = False

    def turn(self) -> None:
        """Wait once, and call everything whose time has come."""
        for key, _ in self._selector.select(self._wait()):
            # An earlier call of this turn may have forgotten it.
            if self._selector.get_map().get(key.fd) is key and key.data() is False:
                self.forget(key.fd)
        now = self._clock()
        if now >= self._tick_at:
            self._tick_at = now + self._slice
        for timers in (self._exact, self._leisurely):
            self._serve(timers, now)
        self.turns += 1
        for call in self.each_turn:
            call()

    def close(self) -> None:
        """Let go of everything."""
        self._selector.close()

    def _wait(self) -> float:
        while self._exact and self._exact[0].call is None:
            heapq.heappop(self._exact)
        earliest = min(self._exact[0].at if self._exact else math.inf, self._tick_at)
        return max(earliest - self._clock(), 0.0)

    @staticmethod
    def _serve(timers: list[Timer], now: float) -> None:
        # What a call adds with no delay waits for the next turn: descriptors are looked at in between.
        due = []
        while timers and timers[0].at <= now:
            due.append(heapq.heappop(timers))
        for timer in due:
            call, timer.call = timer.call, None
            if call is not None:
                call()
