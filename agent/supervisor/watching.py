"""A process of ours on the loop: heard while it runs, hurried when it takes too long, reported when it has ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.supervisor.forks import Forked
    from agent.supervisor.loop import Loop, Timer
    from agent.supervisor.process import Process


class Watchable(Protocol):
    """A worker (:class:`agent.supervisor.children.Child`), what forks them, or a reader of the configuration."""

    @property
    def process(self) -> Process | Forked:
        """What runs."""

    @property
    def over(self) -> bool:
        """Whether there is nothing more to wait for."""

    def hear(self) -> bool:
        """Take what it has said; return whether more may come."""

    def hurry(self, now: float) -> float:
        """Do what is due at ``now`` (monotonic); return the seconds until something is again."""


class Watch:
    """Calls ``done`` once, when ``child`` is over; from the loop, never while it is made."""

    def __init__(self, loop: Loop, child: Watchable, done: Callable[[], None]) -> None:
        """Register everything with ``loop``.

        The child may be over already. Whoever starts it has not even been told that it runs: ``done`` waits for the
        next turn of the loop, where the descriptor of its end says so.
        """
        self._loop = loop
        self._child = child
        self._done = done
        self._timer: Timer | None = None
        loop.watch(child.process.output, child.hear)
        loop.watch(child.process.exited, self._look)
        self._set_timer()

    def hurry(self) -> None:
        """Look at its deadline, which may have moved."""
        self._set_timer()
        self._look()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.after(self._child.hurry(time.monotonic()), self.hurry)

    def _look(self) -> None:
        if self._child.over:
            if self._timer is not None:
                self._timer.cancel()
            self._loop.forget(self._child.process.output)
            self._loop.forget(self._child.process.exited)
            done, self._done = self._done, _nothing
            done()


def _nothing() -> None:
    """It has been reported."""
