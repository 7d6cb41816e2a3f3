"""The daemon: one loop, the identities it keeps alive, and what tells it to read again or to end."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Final

from agent.errors import AgentError, ConfigurationError
from agent.events import Event
from agent.policy.clock import SLICE, ClockState
from agent.supervisor import metrics
from agent.supervisor.clocks import Calendar, ClockFile
from agent.supervisor.configuration import Configuration, begin, finish
from agent.supervisor.control import Control
from agent.supervisor.keeper import Keeper
from agent.supervisor.loop import Loop
from agent.supervisor.notify import Notifier
from agent.supervisor.plugging import Plugging
from agent.supervisor.signals import caught
from agent.supervisor.staff import Staff
from agent.supervisor.summary import summary
from agent.supervisor.telling import Teller
from agent.supervisor.watching import Watch

if TYPE_CHECKING:
    from pathlib import Path

    from agent.overview import Overview
    from agent.supervisor.reading import Reading

_SIGNAL_OCTETS: Final = 64
_MEBIBYTE: Final = 1 << 20
_REMEMBER_AGAIN: Final = 3600.0
"""Seconds until the time is written down again that could not be: no disk is full for ever."""
_METRICS_DELAY: Final = 2.0
"""Seconds that changes are gathered before the file of figures is written."""
_METRICS_AGAIN: Final = 60.0
"""Seconds until it is written again where it could not be."""
_AT_A_TIME: Final = 16
"""Identities that are looked at for it in one turn of the loop."""


class Daemon:
    """Looks after everything in a configuration file until it is told to end."""

    def __init__(self, path: Path, reading: Reading) -> None:
        """Keep the file's ``path``; it is being read already (``reading``), while the rest was imported."""
        self._path = path
        self._reading: Reading | None = reading
        self._read_again = False
        self._started = False
        self._code = 0
        self._refused = ""
        """Why the file that was read last is not in use."""
        self._unheard = ""
        """Why there is no control socket where the file says."""
        self.notifier = Notifier()
        self.loop = Loop(slice_=min(SLICE, self.notifier.watchdog_interval or SLICE))
        self.calendar = Calendar()
        self.teller = Teller()
        self.staff = Staff(self.loop)
        self.keeper = Keeper(self.loop, self.calendar, self.teller, self.staff)
        self.plugging = Plugging(self.loop, self.keeper, self.teller)
        self._clock_file: ClockFile | None = None
        self._remember_at = 0.0
        self._forgetful = False
        """Whether the time could not be written down the last time."""
        self._alive_at = 0.0
        self._control: Control | None = None
        self._metrics_again = False
        """Whether the figures will be written anew, for what has changed so far."""
        self._metrics_begun = False
        self._metrics_lost = False
        """Whether they could not be written the last time."""

    def run(self) -> int:
        """Return 0 after SIGTERM or SIGINT, 2 for a configuration that cannot be used at the start."""
        with caught(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            self.loop.watch(signals, lambda: self._signalled(signals))
            self._await_reading()
            self.loop.each_turn.append(self._after_turn)
            self.loop.run()
        if self._started:
            self.teller.tell(Event.ENDING)
        if self._control is not None:
            self._control.close()
        self.loop.close()
        return self._code

    def reload(self) -> None:
        """Read the configuration again. Running jobs go on; a file that cannot be used changes nothing."""
        if self.keeper.stopping:
            return
        if self._reading is not None:
            self._read_again = True
            return
        self.notifier.reloading()
        try:
            self._reading = begin(self._path)
        except ConfigurationError as error:
            self._refuse(error)
        else:
            self._await_reading()

    def stop(self) -> None:
        """End as soon as no worker runs any more."""
        self.notifier.stopping("waiting for the jobs under way" if self.keeper.running else "ending")
        self.keeper.stop()
        self.staff.close()
        if self._reading is not None:
            self._reading.end(time.monotonic())  # nobody needs what it finds
            self._reading_watch.hurry()
        self._stopping()

    def _stopping(self) -> None:
        if self.keeper.running or self._reading is not None:
            self.loop.after(0.1, self._stopping)
        else:
            self.loop.end()

    def _signalled(self, signals: IO[bytes]) -> None:
        for number in signals.read(_SIGNAL_OCTETS) or b"":
            (self.reload if number == signal.SIGHUP else self.stop)()

    # --- the configuration --------------------------------------------------------------------------------------------

    def _await_reading(self) -> None:
        assert self._reading is not None  # noqa: S101 - it was started just now
        self._reading_watch = Watch(self.loop, self._reading, self._configured)

    def _configured(self) -> None:
        reading, self._reading = self._reading, None
        assert reading is not None  # noqa: S101 - it has called us
        if self.keeper.stopping:
            reading.close()
            return
        try:
            configuration = finish(reading)
            clock_file = ClockFile(configuration.common.state_directory)
        except AgentError as error:
            self._refuse(error)
        else:
            self._take(configuration, clock_file)
        if self._read_again:
            self._read_again = False
            self.reload()

    def _take(self, configuration: Configuration, clock_file: ClockFile) -> None:
        for one in configuration.warnings:
            self.teller.say(f"warning: {one}")
        self._refused = ""
        self._clock_file = clock_file
        self._remember_at = 0.0
        self.calendar.last_good = clock_file.last_good
        self.staff.address_space = configuration.common.daemon.worker_memory * _MEBIBYTE
        self.keeper.take(configuration)
        self.plugging.take(tokens=bool(configuration.common.tokens))
        self._open_control(configuration.common.runtime_directory)
        self.teller.tell(Event.RELOADED if self._started else Event.READY, identities=_counted(configuration))
        self._started = True
        self.notifier.ready(self._status())

    def _open_control(self, directory: Path) -> None:
        """Listen for commands; the certificates are looked after all the same where that cannot be done."""
        self._unheard = ""
        try:
            if self._control is None:
                self._control = Control(self.loop, self.keeper, self.teller, directory, self.reload)
            elif self._control.directory != directory:
                self._control.move(directory)
        except OSError as error:
            self._unheard = f"there is no control socket in {directory}: {error.strerror or error}"
            remedy = f"See that {directory} is there and ours, and that no other enrolld runs"
            if self._control is not None:
                self._unheard += f"; the one in {self._control.directory} is still in use"
                remedy += ", and that the unit lets it write there (RuntimeDirectory=)"
            remedy += "; then run 'systemctl restart enrolld'."
            self.teller.tell(Event.NOTE, {"REMEDY": remedy}, note=self._unheard)

    def _metrics_in(self, seconds: float) -> None:
        if not self._metrics_again:
            self._metrics_again = True
            self.loop.after(seconds, self._begin_metrics)

    def _begin_metrics(self) -> None:
        """Look at everybody for the figures, and look again a while later: a burst of changes is one write."""
        self._metrics_again = False
        if self._metrics_begun:
            self._metrics_in(_METRICS_DELAY)
            return
        self._metrics_begun = True
        self._go_on_with_metrics(list(self.keeper.configuration.identities), [])

    def _go_on_with_metrics(self, left: list[str], seen: list[Overview]) -> None:
        """Look at some more: signals, clients and the watchdog do not wait for a thousand. Write it all at the end."""
        known = self.keeper.configuration.identities  # a reload may have dropped some of them meanwhile
        seen += [self.keeper.look_at(name) for name in left[:_AT_A_TIME] if name in known]
        if left[_AT_A_TIME:]:
            self.loop.after(0, lambda: self._go_on_with_metrics(left[_AT_A_TIME:], seen))
            return
        self._metrics_begun = False
        path = self.keeper.configuration.common.daemon.metrics
        if path is not None:
            self._write_metrics(path, seen)

    def _write_metrics(self, path: Path, seen: list[Overview]) -> None:
        try:
            metrics.write(path, metrics.text(seen))
        except AgentError as error:
            if not self._metrics_lost:
                self.teller.tell(Event.NOTE, {"REMEDY": error.remedy}, note=f"the figures are not up to date: {error}")
            self._metrics_lost = True
            self._metrics_in(_METRICS_AGAIN)
        else:
            self._metrics_lost = False

    def _refuse(self, error: AgentError) -> None:
        mistakes = getattr(error, "mistakes", ())
        for mistake in mistakes:
            self.teller.say(str(mistake))
        if not self._started:
            self.teller.tell(Event.UNUSABLE, {"REMEDY": error.remedy}, reason=str(error))
            self.notifier.status(f"the configuration cannot be used: {error}")
            self._code = 2
            self.loop.end()
            return
        self._refused = f"the configuration was refused at {datetime.now(UTC):%H:%M} UTC, the one before is in use"
        fields = {"REMEDY": error.remedy} | ({"MISTAKES": "\n".join(mistakes)} if mistakes else {})
        self.teller.tell(Event.RELOAD_REFUSED, fields, reason=str(error))
        self.notifier.ready(self._status())

    # --- every turn ---------------------------------------------------------------------------------------------------

    def _after_turn(self) -> None:
        if not self._started:
            return
        steps = self.calendar.steps()
        if steps:
            self.keeper.clock_stepped(steps)
        self._remember_time()
        if self.keeper.changed:
            self.keeper.changed = False
            self.notifier.status(self._status())
            if self.keeper.configuration.common.daemon.metrics is not None:
                self._metrics_in(_METRICS_DELAY)
        interval = self.notifier.watchdog_interval
        if interval is not None and self.loop.now() >= self._alive_at:
            self._alive_at = self.loop.now() + interval / 2
            self.notifier.alive()

    def _remember_time(self) -> None:
        """Keep the time over a power cut: of the wall clock where it is right, else what a CA has taught us."""
        trusted = self.calendar.state() is ClockState.TRUSTED
        moment = self.calendar.wall() if trusted else self.calendar.last_good
        if self._clock_file is None or moment is None or self.loop.now() < self._remember_at:
            return
        try:
            self._clock_file.remember(moment)
        except AgentError as error:
            self._remember_at = self.loop.now() + _REMEMBER_AGAIN
            if not self._forgetful:
                self.teller.tell(Event.NOTE, {"REMEDY": error.remedy}, note=f"the time cannot be remembered: {error}")
            self._forgetful = True
            return
        self._forgetful = False
        if trusted:
            self.calendar.last_good = self._clock_file.last_good

    def _status(self) -> str:
        status = summary(self.keeper.identities.values(), self.calendar.now())
        return "; ".join(one for one in (status, self._refused, self._unheard) if one)


def _counted(configuration: Configuration, most: int = 5) -> str:
    names = list(configuration.identities)
    if not names:
        return "no identity: none is configured"
    return ", ".join(names) if len(names) <= most else f"{len(names)} identities"
