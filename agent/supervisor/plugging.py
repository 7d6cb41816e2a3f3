"""What follows when a token is plugged in or pulled out: whoever waits for one is looked at again at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract import Verdict
from agent.errors import StateError
from agent.events import Event
from agent.store.generations import IdentityStore
from hsm import hotplug

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.supervisor.keeper import Keeper
    from agent.supervisor.loop import Loop, Timer
    from agent.supervisor.telling import Teller


class Plugging:
    """Hears of tokens as long as some are configured; without udev, attempts by the clock have to do."""

    def __init__(
        self,
        loop: Loop,
        keeper: Keeper,
        teller: Teller,
        *,
        monitor: Callable[[], hotplug.Monitor | None] = hotplug.monitor,
    ) -> None:
        """Nothing is listened to before :meth:`take`; ``monitor`` opens the way to udev."""
        self._loop = loop
        self._keeper = keeper
        self._teller = teller
        self._open = monitor
        self._monitor: hotplug.Monitor | None = None
        self._timer: Timer | None = None

    def take(self, *, tokens: bool) -> None:
        """Listen from now on if there are ``tokens``, and stop if there are none any more."""
        if tokens and self._monitor is None:
            self._monitor = self._open()
            if self._monitor is not None:
                self._loop.watch(self._monitor, self._heard)
        elif not tokens and self._monitor is not None:
            self._loop.forget(self._monitor)
            self._monitor = None

    def _heard(self) -> None:
        assert self._monitor is not None  # noqa: S101 - it is what called us
        for change in self._monitor.read():
            self._teller.tell(Event.TOKEN_ARRIVED if change.arrived else Event.TOKEN_GONE, device=change.what)
            if change.arrived:
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = self._loop.after(hotplug.QUIET, self._wake)

    def _wake(self) -> None:
        directory = self._keeper.configuration.common.state_directory
        for name in list(self._keeper.identities):
            if _lacks_token(directory, name):
                self._keeper.wake(name)


def _lacks_token(state_directory: Path, name: str) -> bool:
    """Tell whether the last attempt ended for want of a token; the disk knows, after a restart too."""
    try:
        last = IdentityStore(state_directory, name).state.load().last_error
    except StateError:
        return False  # it is looked at all the same, and then reported
    return last is not None and last.verdict == Verdict.NEEDS_TOKEN.value
