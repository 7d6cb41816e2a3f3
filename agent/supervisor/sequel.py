"""What follows from the end of a job: it is told, written down, and decides when the next one is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from agent.contract import Action, Verdict
from agent.events import Event
from agent.overview import look
from agent.supervisor import schedule
from agent.supervisor.ending import note_and_warn
from agent.supervisor.history import note_failure, note_plan
from agent.supervisor.kept import REQUESTS, Owed, kind
from agent.supervisor.schedule import RETRY
from agent.supervisor.words import span_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.contract import Job, Outcome
    from agent.overview import Overview
    from agent.supervisor.clocks import Calendar
    from agent.supervisor.kept import Kept
    from agent.supervisor.loop import Loop
    from agent.supervisor.telling import Teller

_EVENTS: Final = {Verdict.CRASHED: Event.WORKER_DIED, Verdict.TIMED_OUT: Event.WORKER_HUNG}


class Desk(Protocol):
    """Who looks at identities and waits for them."""

    changed: bool
    """Whether something that people see has changed."""

    def wake(self, name: str) -> None:
        """Look at ``name``, and try at once."""

    def look_soon(self, name: str) -> None:
        """Look at ``name`` in the next turn of the loop."""

    def wait(self, kept: Kept, seconds: float, action: Action | None, seen: Overview | None = None) -> None:
        """Look at ``kept`` again after so many seconds, for ``action``."""


class Sequel:
    """What comes after a job."""

    def __init__(
        self, desk: Desk, loop: Loop, calendar: Calendar, teller: Teller, uniform: Callable[[], float]
    ) -> None:
        """``desk`` does the waiting; ``uniform`` draws numbers in [0, 1) that spread attempts."""
        self._desk = desk
        self._loop = loop
        self._calendar = calendar
        self._teller = teller
        self._uniform = uniform

    def follow_up(self, kept: Kept, job: Job, outcome: Outcome, *, ours: bool) -> None:
        """Tell and write down what follows from ``outcome``. ``ours``: the worker has not written it itself.

        Raise :class:`agent.errors.StateError` when the disk does not let us: then it is owed (:meth:`pay`).
        """
        self._desk.changed = True
        if ours:
            self._tell_failure(job, outcome)
        elif outcome.verdict is Verdict.BUSY:
            self._teller.tell(Event.ORPHAN, _fields(job), holder=outcome.text)
        kept.count(job.action, outcome.verdict)
        kept.owed = Owed(job, outcome, unwritten=ours and job.action in REQUESTS)
        self.pay(kept)

    def pay(self, kept: Kept) -> None:
        """Write down what is owed, and wait for what is next. Raise :class:`agent.errors.StateError`."""
        if kept.owed is None:
            return
        job, outcome = kept.owed.job, kept.owed.outcome
        if kept.owed.unwritten:
            note_failure(job.state_directory, kept.name, outcome, self._calendar.now())
            kept.owed = replace(kept.owed, unwritten=False)
        seen, now = self._look_after(kept, job, outcome)
        note_and_warn(kept, self._teller, job.state_directory, job.identity, seen, now)
        self._plan(kept, job, outcome, seen, now)
        kept.owed, kept.trouble = None, ""

    def _look_after(self, kept: Kept, job: Job, outcome: Outcome) -> tuple[Overview, datetime]:
        """Look at what a job has left. What a CA has issued just now tells a machine without a clock the time."""
        now = self._calendar.now()
        seen = look(job.state_directory, kept.name, job.identity, now=now)
        if (
            outcome.verdict is Verdict.ISSUED
            and seen.not_before is not None
            and self._calendar.learn(datetime.fromisoformat(seen.not_before))
        ):
            now = self._calendar.now()
            seen = look(job.state_directory, kept.name, job.identity, now=now)
        kept.state, kept.not_after, kept.usable = seen.state, seen.not_after, seen.usable
        return seen, now

    def _plan(self, kept: Kept, job: Job, outcome: Outcome, seen: Overview, now: datetime) -> None:
        """Decide when the next job of this kind is, and write that down where the disk does not say so already."""
        rule = RETRY[outcome.verdict]
        action, next_action = job.action, rule.next_action
        kept.by_person = rule.by_person
        if rule.failed and _ended_meanwhile(job, seen, now):
            action, next_action, kept.by_person = Action.ENROLL, schedule.ENROLL_ANEW, False
            wait = schedule.start_over(uniform=self._uniform())
        else:
            wait = self._pause(kept, job, outcome, seen, now)
        if kept.by_person and kept.woken:
            self._desk.wake(kept.name)
            return
        kept.held[kind(action)] = self._loop.now() + wait
        if not (action in REQUESTS and rule.waits):
            self._desk.look_soon(kept.name)
            return
        if rule.failed:
            at = now + timedelta(seconds=wait)
            note_plan(job.state_directory, kept.name, next_action, at)
            fields = {"NEXT_ACTION": next_action, "NEXT_ACTION_AT": at.isoformat(timespec="seconds")}
            self._teller.tell(Event.PLANNED, _fields(job) | fields, action=next_action, wait=span_words(wait))
            seen = look(job.state_directory, kept.name, job.identity, now=now)
        self._desk.wait(kept, wait, action, seen)

    def _pause(self, kept: Kept, job: Job, outcome: Outcome, seen: Overview, now: datetime) -> float:
        """Return the seconds to the next job of this kind."""
        rule, asked = RETRY[outcome.verdict], outcome.retry_after
        if not rule.waits:
            return self._gap(kept, job.action, seen, now)
        if not rule.failed:
            longest = job.authority.polling.maximum
            return schedule.poll(kept.times(job.action), uniform=self._uniform(), asked=asked, longest=longest)
        # Consumers are here and quick to ask; that others failed before them says nothing.
        times = 1 if job.action is Action.DEPLOY else kept.times(job.action)
        return schedule.pause(seen, outcome.verdict, now, times=times, uniform=self._uniform(), asked=asked)

    def _gap(self, kept: Kept, done: Action, seen: Overview, now: datetime) -> float:
        """Return the seconds to the next job of its kind after one that is ``done`` well: none, if it changed anything.

        When the same is due again, two clocks disagree, or a CA issues what has ended already; that must not go on and
        on.
        """
        following = schedule.decide(seen, now, may_deploy=done is Action.DEPLOY)
        if following.action is None or following.wait > 0 or kind(following.action) != kind(done):
            kept.in_vain = 0
            return 0.0
        kept.in_vain += 1
        return schedule.gap(seen, done, now, times=kept.in_vain, uniform=self._uniform())

    def _tell_failure(self, job: Job, outcome: Outcome) -> None:
        """Report an outcome that no worker could report."""
        event = _EVENTS.get(outcome.verdict, Event.FAILED)
        if RETRY[outcome.verdict].by_person:
            event = Event.NEEDS_PERSON
        fields = {"VERDICT": outcome.verdict.value, "REMEDY": outcome.remedy}
        words = {"verdict": outcome.verdict.replace("-", " "), "reason": outcome.text}
        self._teller.tell(event, _fields(job) | fields, **words)


def _ended_meanwhile(job: Job, seen: Overview, now: datetime) -> bool:
    """Tell whether what ``job`` was to renew has ended, so that another request is next."""
    return job.action is Action.RENEW and schedule.decide(seen, now, may_deploy=False).action is Action.ENROLL


def _fields(job: Job) -> dict[str, str]:
    return {"IDENTITY": job.name, "AUTHORITY": job.identity.authority}
