"""Looking after identities: what each needs and when, and what follows from it. The only state that counts is on disk.

For each identity: look at its directory, decide (``agent.supervisor.schedule``), wait, have a worker do it
(``agent.supervisor.roster``), write down what follows from its verdict (``agent.supervisor.sequel``), look again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent import journal
from agent.contract import Action, Job, Outcome, Verdict
from agent.errors import AgentError, ConfigurationError, ControlError
from agent.events import Event
from agent.overview import Overview, look
from agent.policy import clock
from agent.supervisor import chance, schedule
from agent.supervisor.ending import note_and_warn
from agent.supervisor.jobs import demand_state_directory
from agent.supervisor.kept import REQUESTS, UNREADABLE, Kept, kind
from agent.supervisor.room import Room
from agent.supervisor.roster import Roster
from agent.supervisor.sequel import Sequel
from agent.supervisor.words import span_words, step_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.settings import Settings
    from agent.supervisor.clocks import Calendar
    from agent.supervisor.configuration import Configuration
    from agent.supervisor.loop import Loop
    from agent.supervisor.staff import Staff
    from agent.supervisor.telling import Teller

_AT_A_TIME: Final = 16
"""Directories looked at in one turn of the loop, so that signals and the watchdog do not wait for a thousand."""
_AFTER_TROUBLE: Final = 60.0
"""Seconds until a directory that could not be read is looked at again."""
_AFTER_DEFECT: Final = 3600.0


class Keeper:
    """Keeps every identity of a configuration alive, on a loop."""

    def __init__(
        self,
        loop: Loop,
        calendar: Calendar,
        teller: Teller,
        staff: Staff,
        *,
        uniform: Callable[[], float] = chance.uniform,
    ) -> None:
        """``staff`` starts workers; ``uniform`` draws numbers in [0, 1) that spread attempts."""
        self._loop = loop
        self._calendar = calendar
        self._teller = teller
        self._configuration: Configuration | None = None
        self._unseen: dict[str, None] = {}
        self._looking = False
        self.stopping = False
        """Whether nothing is started any more."""
        self.identities: dict[str, Kept] = {}
        self._roster = Roster(self, self.identities, calendar, teller, staff)
        self._sequel = Sequel(self, loop, calendar, teller, uniform)
        self._room = Room(loop, self._there_is_room)
        self.changed = True
        """Set whenever something that people see has changed; whoever shows it clears it."""
        self.on_settled: list[Callable[[str, Action | None, Outcome], None]] = []
        """Called with the name of the identity, the job and its outcome after each job; None: for any it may have."""

    @property
    def configuration(self) -> Configuration:
        """What is looked after."""
        assert self._configuration is not None  # noqa: S101 - nothing happens before take()
        return self._configuration

    @property
    def running(self) -> int:
        """How many workers run."""
        return self._roster.running

    def take(self, configuration: Configuration) -> None:
        """Look after what ``configuration`` names from now on. Running jobs go on with what they were given."""
        before, self._configuration = self._configuration, configuration
        moved = before is not None and before.common.state_directory != configuration.common.state_directory
        for name in self.identities.keys() - configuration.identities.keys():
            kept = self.identities[name]
            gone = ConfigurationError(f"{name} is no longer configured", remedy="Nothing, if that was meant.")
            self._roster.drop(kept, gone)
            if kept.timer is not None:
                kept.timer.cancel()
            if kept.work is None:
                del self.identities[name]
        for name in configuration.identities:
            kept = self.identities.setdefault(name, Kept(name))
            if moved:
                kept.owed = None  # what was to be written down belongs to the other directory
            if moved or kept.by_person or kept.work is not None:
                self.wake(name)
            else:
                self.look_soon(name)

    def wake(self, name: str) -> None:
        """What ``name`` waited for may have come: look, and try at once. Only a secret that was refused stays here."""
        kept = self.identities[name]
        if kept.work is not None:
            kept.woken = True
            return
        kept.by_person = False
        kept.hurried = True
        kept.held.clear()
        self.look_soon(name)

    def wake_all(self) -> None:
        """As :meth:`wake`, for all of them."""
        for name in self.configuration.identities:
            self.wake(name)

    def order(self, name: str, action: Action, *, again: bool) -> None:
        """Do ``action`` now, because a person said so; if a job of ``name`` runs, that one is it."""
        kept = self.identities[name]
        if kept.work is not None or self.stopping:
            return
        if kept.timer is not None:
            kept.timer.cancel()
        kept.held.clear()
        self._roster.order(kept, action, again=again)

    def at_work(self, name: str) -> Action | None:
        """Return the job of ``name`` that runs, or that a person ordered and that waits for a worker."""
        return self._roster.at_work(self.identities[name])

    def clock_stepped(self, steps: tuple[clock.Step, ...]) -> None:
        """The clock was set, or the machine slept: every date is compared anew."""
        self._teller.tell(Event.CLOCK_STEPPED, how=step_words(steps))
        for name in self.configuration.identities:
            self.look_soon(name)

    def stop(self) -> None:
        """Start nothing more, and ask every worker to end; asked a second time, they are killed."""
        self.stopping = True
        ending = ControlError("enrolld is ending", remedy="Run the command again once it runs.")
        for kept in self.identities.values():
            self._roster.drop(kept, ending)
            if kept.work is not None:
                kept.work.ask_to_end()

    def look_at(self, name: str) -> Overview:
        """Return what the directory of ``name`` says; that it cannot be read is a state, too."""
        settings = self.configuration.settings_of(name)
        try:
            return look(settings.state_directory, name, settings.identities[name], now=self._calendar.now())
        except Exception as error:  # noqa: BLE001 - who asks must not end the daemon
            return Overview(name=name, state=UNREADABLE, last_error=str(error), remedy=getattr(error, "remedy", None))

    def look_at_all(self) -> Iterator[Overview]:
        """Return what every directory says."""
        return map(self.look_at, self.configuration.identities)

    # --- looking ------------------------------------------------------------------------------------------------------

    def look_soon(self, name: str) -> None:
        """Look at ``name`` in the next turn of the loop."""
        self._unseen[name] = None
        if not self._looking:
            self._looking = True
            self._loop.after(0, self._look_on)

    def _look_on(self) -> None:
        with self._roster.gathering():
            for _ in range(min(_AT_A_TIME, len(self._unseen))):
                del self._unseen[name := next(iter(self._unseen))]
                self._consider(name)
        self._looking = bool(self._unseen)
        if self._looking:
            self._loop.after(0, self._look_on)

    def _consider(self, name: str, waited_for: Action | None = None) -> None:
        """Look at ``name`` and do what is next, or wait for it. The wait for ``waited_for`` is over."""
        kept = self.identities.get(name)
        if kept is None or kept.work is not None or self.stopping or name not in self.configuration.identities:
            return
        if kept.ordered:
            return  # what a person wants is in the queue already
        try:
            if kept.owed is not None:
                self._sequel.pay(kept)
                if not kept.hurried:
                    return
                kept.held.clear()
            self._decide(kept, waited_for)
        except Exception as error:  # noqa: BLE001 - one identity must not take the others down with it
            self.fail(kept, error)

    def _decide(self, kept: Kept, waited_for: Action | None) -> None:
        self._roster.withdraw(kept)
        first = not kept.state
        seen, now, settings = self._look(kept)
        kept.hurried |= first and schedule.may_be_mended(seen)
        following = schedule.decide(
            seen,
            now,
            may_deploy=self._held(kept, Action.DEPLOY) <= 0,
            may_retire=self._held(kept, Action.RETIRE) <= 0,
        )
        note_and_warn(kept, self._teller, settings.state_directory, settings.identities[kept.name], seen, now)
        kept.trouble = ""
        at_once = waited_for is following.action or (kept.hurried and following.action in REQUESTS)
        if following.action is None:
            kept.hurried = False
            self.wait(kept, following.wait, None, seen)
            return
        wait = self._held(kept, following.action)
        if wait <= 0 and not at_once:
            # Only who has not counted the seconds himself believes the disk: a clock that was wrong may have written
            # it, or be wrong now.
            wait = min(following.wait, schedule.longest_pause(seen))
        # Consumers are here: they get what is installed whatever the date is.
        if wait <= 0 and following.action is not Action.DEPLOY and not self._clock_allows(kept):
            return
        if wait > 0:
            self.wait(kept, wait, following.action, seen)
            return
        self._roster.want(kept, schedule.urgency(seen), following.action)
        again = schedule.while_queued(seen, now)
        if self._roster.waits(kept.name) and again is not None:
            self.wait(kept, again, following.action, seen)

    def _held(self, kept: Kept, action: Action) -> float:
        """Return the seconds for which a job of this kind is held back."""
        return kept.held.get(kind(action), 0.0) - self._loop.now()

    def _look(self, kept: Kept) -> tuple[Overview, datetime, Settings]:
        settings = self.configuration.settings_of(kept.name)
        now = self._calendar.now()
        demand_state_directory(settings.state_directory)
        seen = look(settings.state_directory, kept.name, settings.identities[kept.name], now=now)
        if (kept.state, kept.not_after) != (seen.state, seen.not_after):
            self.changed = True
        kept.state, kept.not_after, kept.usable = seen.state, seen.not_after, seen.usable
        return seen, now, settings

    def wait(self, kept: Kept, seconds: float, action: Action | None, seen: Overview | None = None) -> None:
        """Look at ``kept`` again after so many seconds, for ``action``; people are told what ``seen`` says is next."""
        if kept.timer is not None:
            kept.timer.cancel()
        kept.next_action = (seen.next_action if seen else None) or (action.value if action else None)
        kept.next_at = self._calendar.now() + timedelta(seconds=seconds)
        self.changed = True
        kept.timer = self._loop.after(seconds, lambda: self._consider(kept.name, action))

    def _clock_allows(self, kept: Kept) -> bool:
        """Tell whether requests may start; a clock that cannot be right is waited for, but not for ever."""
        state, waited = self._calendar.state(), self._calendar.waited
        if clock.may_act(state, waited=waited):
            return True
        if kept.state != "needs-clock":
            kept.state = "needs-clock"
            self._teller.tell(
                Event.CLOCK_DOUBTED,
                {"IDENTITY": kept.name},
                now=f"{self._calendar.wall():%Y-%m-%d %H:%M} UTC",
                waiting=f"; waiting up to {span_words(clock.PATIENCE)} for it to be set",
            )
        self.wait(kept, clock.PATIENCE - waited, None)
        return False

    # --- what follows -------------------------------------------------------------------------------------------------

    def settle(self, kept: Kept, job: Job, outcome: Outcome, *, ours: bool) -> None:
        """Write down what follows from ``outcome`` and wait for it. ``ours``: the worker has not written it itself."""
        try:
            self._sequel.follow_up(kept, job, outcome, ours=ours)
        except Exception as error:  # noqa: BLE001 - one identity must not take the others down with it
            self._tell_trouble(kept, error)
        self._room.note(kept.name, job.state_directory, failed=outcome.verdict is Verdict.FAILED)
        self.tell(kept.name, job.action, outcome)
        if kept.name not in self.configuration.identities and kept.work is None:
            self.identities.pop(kept.name, None)
        elif job.state_directory != self.configuration.common.state_directory:
            kept.owed = None  # it was moved by a reload meanwhile
            self.wake(kept.name)

    def postpone(self, kept: Kept, action: Action) -> None:
        """Wait on: the secret that was refused has not changed."""
        wait = schedule.PERSON.cap
        kept.by_person = True
        kept.held[kind(action)] = self._loop.now() + wait
        self.wait(kept, wait, action)

    def tell(self, name: str, action: Action | None, outcome: Outcome) -> None:
        """Tell whoever asked for a job how it ended; None: for any job of ``name``."""
        for call in self.on_settled:
            call(name, action, outcome)

    # --- trouble ------------------------------------------------------------------------------------------------------

    def fail(self, kept: Kept, error: Exception) -> None:
        """Nothing can be done for it because of ``error``: whoever waits for it is told, and we look again later."""
        self._roster.drop(kept, error)
        self._tell_trouble(kept, error)

    def _tell_trouble(self, kept: Kept, error: Exception) -> None:
        """Tell that the disk does not let us, once, or that there is a defect; look again later."""
        if not isinstance(error, AgentError):
            self._report_defect(kept, error)
            return
        if kept.trouble != str(error):
            kept.trouble, kept.remedy = str(error), error.remedy
            self.changed = True
            self._teller.tell(Event.STATE_TROUBLE, {"IDENTITY": kept.name, "REMEDY": error.remedy}, reason=str(error))
        if not self._is_readable(kept):
            kept.state = UNREADABLE
        self.wait(kept, _AFTER_TROUBLE, None)

    def _is_readable(self, kept: Kept) -> bool:
        """Tell whether it can be looked at, though nothing can be written; then that is how it is."""
        try:
            self._look(kept)
        except Exception:  # noqa: BLE001 - what is wrong is being told already
            return False
        return True

    def _there_is_room(self, name: str) -> None:
        """What failed for want of room may succeed now."""
        if name in self.configuration.identities and self.identities[name].work is None:
            self.wake(name)

    def _report_defect(self, kept: Kept, error: Exception) -> None:
        import traceback  # noqa: PLC0415 - a defect is rare, and it is large

        journal.say("".join(traceback.format_exception(error)))
        self._teller.tell(Event.DEFECT, {"IDENTITY": kept.name}, reason=f"{type(error).__name__}: {error}")
        kept.owed = None  # what it is that cannot be done is not known: the next job may be
        kept.state = "defect"
        self.wait(kept, _AFTER_DEFECT, None)
