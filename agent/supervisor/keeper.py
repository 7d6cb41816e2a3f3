"""Looking after identities: who needs what, whose turn it is, what came of it. The only state that counts is on disk.

For each identity: look at its directory, decide (``agent.supervisor.schedule``), wait, start a worker, write down what
follows from its verdict, look again. At most so many workers run at a time, and one on a token.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.contract import Action, Job, Outcome, Verdict
from agent.errors import AgentError, ConfigurationError, ControlError, PinError, SecretError
from agent.events import Event
from agent.overview import Overview, look
from agent.policy import clock
from agent.policy.renewal import CertificateState
from agent.supervisor import chance, schedule
from agent.supervisor.history import note_failure, note_plan, note_situation
from agent.supervisor.jobs import demand_state_directory, deployment_work, job_for, longest_work
from agent.supervisor.schedule import RETRY
from agent.supervisor.secrets import Secrets, gather
from agent.supervisor.words import span_words, step_words, way_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.settings import IdentitySettings, Settings
    from agent.supervisor.clocks import Calendar
    from agent.supervisor.configuration import Configuration
    from agent.supervisor.loop import Loop, Timer
    from agent.supervisor.staff import Staff, Work
    from agent.supervisor.telling import Teller

_AT_A_TIME: Final = 16
"""Directories looked at in one turn of the loop, so that signals and the watchdog do not wait for a thousand."""
_AFTER_TROUBLE: Final = 60.0
"""Seconds until a directory that could not be read is looked at again."""
UNREADABLE: Final = "unreadable"
_AFTER_DEFECT: Final = 3600.0
_SECRETS: Final = frozenset({Verdict.NEEDS_SECRET, Verdict.NEEDS_PIN})
_RECORDED_HERE: Final = frozenset({Verdict.CRASHED, Verdict.TIMED_OUT})
"""Verdicts that the worker could not write into the history itself."""
_FIRST: Final = (False, "")
"""More urgent than anything that the schedule says."""
_EVENTS: Final = {Verdict.CRASHED: Event.WORKER_DIED, Verdict.TIMED_OUT: Event.WORKER_HUNG}
_REQUESTS: Final = frozenset({Action.ENROLL, Action.RENEW})
"""Jobs whose history is the identity's; the others have a plan of their own, which the worker writes."""


@dataclass(slots=True)
class Kept:
    """One identity as the daemon remembers it; all of it can be had from disk again."""

    name: str
    state: str = ""
    """The word of its :class:`agent.overview.Overview`, or ``unreadable``, or ``needs-clock``."""
    not_after: str | None = None
    usable: bool = False
    timer: Timer | None = None
    next_action: str | None = None
    next_at: datetime | None = None
    work: Work | None = None
    held: dict[str, float] = field(default_factory=dict)
    """By kind of job (:func:`_kind`), the moment of the loop's clock before which there is none."""
    by_person: bool = False
    """Whether it waits for a person."""
    hurried: bool = False
    """Whether the time on disk for its next request does not count: a person may have done what it waited for."""
    ordered: bool = False
    """Whether a person asked for the job that waits for a worker."""
    again: bool = False
    """Whether he wants it although the certificate is good."""
    refused: int | None = None
    """What the secrets hashed to that were refused: they are not tried again before they change."""
    verdict: Verdict | None = None
    """How the last request ended."""
    alike: int = 0
    """How many requests in a row ended so."""
    in_vain: int = 0
    """How many jobs in a row ended well and changed nothing."""
    warned: tuple[str, str] | None = None
    """The last warning of an end: its event, and the end."""
    trouble: str = ""
    """Why its directory could not be read, so that it is told once."""


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
        self._staff = staff
        self._uniform = uniform
        self._configuration: Configuration | None = None
        self._unseen: deque[str] = deque()
        self._looking = False
        self._waiting: dict[str, tuple[tuple[bool, str], Action]] = {}
        """Who needs a worker now, with its urgency."""
        self._stopping = False
        self.identities: dict[str, Kept] = {}
        self.changed = True
        """Set whenever something that people see has changed; whoever shows it clears it."""
        self.on_settled: list[Callable[[str, Action, Outcome], None]] = []
        """Called with the name of the identity, the job and its outcome after each job."""

    @property
    def configuration(self) -> Configuration:
        """What is looked after."""
        assert self._configuration is not None  # noqa: S101 - nothing happens before take()
        return self._configuration

    def take(self, configuration: Configuration) -> None:
        """Look after what ``configuration`` names from now on. Running jobs go on with what they were given."""
        self._configuration = configuration
        for name in self.identities.keys() - configuration.identities.keys():
            kept = self.identities[name]
            gone = ConfigurationError(f"{name} is no longer configured", remedy="Nothing, if that was meant.")
            self._give_up_order(kept, gone)
            if kept.timer is not None:
                kept.timer.cancel()
            if kept.work is None:
                del self.identities[name]
        for name in configuration.identities:
            kept = self.identities.setdefault(name, Kept(name))
            if kept.by_person:
                self.wake(name)
            else:
                self._look_soon(name)

    def wake(self, name: str) -> None:
        """What ``name`` waited for may have come: look, and try at once. Only a secret that was refused stays here."""
        kept = self.identities[name]
        kept.by_person = False
        kept.hurried = True
        kept.held.clear()
        self._look_soon(name)

    def wake_all(self) -> None:
        """As :meth:`wake`, for all of them."""
        for name in self.configuration.identities:
            self.wake(name)

    def order(self, name: str, action: Action, *, again: bool) -> None:
        """Do ``action`` now, because a person said so; if a job of ``name`` runs, that one is it."""
        kept = self.identities[name]
        if kept.work is not None or self._stopping:
            return
        if kept.timer is not None:
            kept.timer.cancel()
        kept.held.clear()
        if action in _REQUESTS:
            kept.refused = None
        kept.ordered, kept.again = True, again
        self._waiting[name] = _FIRST, action
        self._fill()

    def at_work(self, name: str) -> Action | None:
        """Return the job of ``name`` that runs, or that a person ordered and that waits for a worker."""
        kept = self.identities[name]
        if kept.work is not None:
            return kept.work.action
        return self._waiting[name][1] if kept.ordered and name in self._waiting else None

    def clock_stepped(self, steps: tuple[clock.Step, ...]) -> None:
        """The clock was set, or the machine slept: every date is compared anew."""
        self._teller.tell(Event.CLOCK_STEPPED, how=step_words(steps))
        for name in self.configuration.identities:
            self._look_soon(name)

    def stop(self) -> None:
        """Start nothing more, and ask every worker to end; asked a second time, they are killed."""
        self._stopping = True
        ending = ControlError("enrolld is ending", remedy="Run the command again once it runs.")
        for kept in self.identities.values():
            self._give_up_order(kept, ending)
            if kept.work is not None:
                kept.work.ask_to_end()

    def look_at(self, name: str) -> Overview:
        """Return what the directory of ``name`` says; that it cannot be read is a state, too."""
        settings = self.configuration.settings_of(name)
        try:
            return look(settings.state_directory, name, settings.identities[name], now=self._calendar.now())
        except AgentError as error:
            return Overview(name=name, state=UNREADABLE, last_error=str(error), remedy=error.remedy)

    def look_at_all(self) -> Iterator[Overview]:
        """Return what every directory says."""
        return map(self.look_at, self.configuration.identities)

    @property
    def stopping(self) -> bool:
        """Whether nothing is started any more."""
        return self._stopping

    @property
    def running(self) -> int:
        """How many workers run."""
        return sum(one.work is not None for one in self.identities.values())

    # --- looking ------------------------------------------------------------------------------------------------------

    def _look_soon(self, name: str) -> None:
        self._unseen.append(name)
        if not self._looking:
            self._looking = True
            self._loop.after(0, self._look_on)

    def _look_on(self) -> None:
        for _ in range(min(_AT_A_TIME, len(self._unseen))):
            self._consider(self._unseen.popleft())
        self._looking = bool(self._unseen)
        if self._looking:
            self._loop.after(0, self._look_on)

    def _consider(self, name: str, waited_for: Action | None = None) -> None:
        """Look at ``name`` and do what is next, or wait for it. The wait for ``waited_for`` is over."""
        kept = self.identities.get(name)
        if kept is None or kept.work is not None or self._stopping or name not in self.configuration.identities:
            return
        if kept.ordered:
            return  # what a person wants is in the queue already
        try:
            self._decide(kept, waited_for)
        except AgentError as error:
            self._report_trouble(kept, error)
            self._wait(kept, _AFTER_TROUBLE, None)
        except Exception as error:  # noqa: BLE001 - one identity must not take the others down with it
            self._report_defect(kept, error)

    def _decide(self, kept: Kept, waited_for: Action | None) -> None:
        seen, now, settings = self._look(kept)
        following = schedule.decide(seen, now, may_deploy=self._held(kept, Action.DEPLOY) <= 0)
        self._note(kept, settings.state_directory, settings.identities[kept.name], seen, now)
        at_once = waited_for is following.action or (kept.hurried and following.action in _REQUESTS)
        if following.action is None:
            kept.hurried = False
            self._wait(kept, following.wait, None, seen)
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
            self._wait(kept, wait, following.action, seen)
            return
        self._waiting[kept.name] = schedule.urgency(seen), following.action
        self._fill()

    def _note(self, kept: Kept, directory: Path, identity: IdentitySettings, seen: Overview, now: datetime) -> None:
        """Write down a new situation; say once, early and apart from the renewal, that the certificate (has) ended."""
        if not note_situation(directory, seen, now) or seen.not_after is None:
            return
        ends = datetime.fromisoformat(seen.not_after)
        fields = {
            "IDENTITY": seen.name,
            "AUTHORITY": identity.authority,
            "CERTIFICATE_SERIAL": seen.serial or "",
            "CERTIFICATE_NOT_AFTER": seen.not_after,
        }
        words = {"not_after": f"{ends:%Y-%m-%d %H:%M} UTC"}
        if seen.state == CertificateState.EXPIRING:
            event = Event.EXPIRING
            words["left"] = span_words((ends - now).total_seconds())
        elif ends <= now and (seen.state == CertificateState.EXPIRED or seen.open_request is not None):
            event = Event.EXPIRED
            words["way_back"], fields["REMEDY"] = way_out(identity)
        else:
            return
        # A request that is opened and comes to nothing makes it look new.
        if kept.warned != (event, seen.not_after):
            kept.warned = event, seen.not_after
            self._teller.tell(event, fields, **words)

    def _held(self, kept: Kept, action: Action) -> float:
        """Return the seconds for which a job of this kind is held back."""
        return kept.held.get(_kind(action), 0.0) - self._loop.now()

    def _look(self, kept: Kept) -> tuple[Overview, datetime, Settings]:
        settings = self.configuration.settings_of(kept.name)
        now = self._calendar.now()
        demand_state_directory(settings.state_directory)
        seen = look(settings.state_directory, kept.name, settings.identities[kept.name], now=now)
        kept.trouble = ""
        if (kept.state, kept.not_after) != (seen.state, seen.not_after):
            self.changed = True
        kept.state, kept.not_after, kept.usable = seen.state, seen.not_after, seen.usable
        return seen, now, settings

    def _wait(self, kept: Kept, seconds: float, action: Action | None, seen: Overview | None = None) -> None:
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
        self._wait(kept, clock.PATIENCE - waited, None)
        return False

    # --- working ------------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Give workers to those who need one, the most urgent first."""
        for name, (_, action) in sorted(self._waiting.items(), key=lambda one: one[1][0]):
            if self.running >= self.configuration.common.daemon.workers:
                return
            if name not in self._waiting:
                continue  # a worker could not be started, and its place was given on meanwhile
            kept = self.identities[name]
            try:
                self._start(kept, action)
            except AgentError as error:
                self._report_trouble(kept, error)
                self._wait(kept, _AFTER_TROUBLE, None)
            except Exception as error:  # noqa: BLE001 - as above
                self._report_defect(kept, error)

    def _start(self, kept: Kept, action: Action) -> None:
        settings = self.configuration.settings_of(kept.name)
        now = self._calendar.now()
        job = job_for(settings, kept.name, action, now=now, again=kept.again if kept.ordered else not kept.usable)
        if any(one.work is not None and one.work.tokens & job.tokens.keys() for one in self.identities.values()):
            return  # it stays in the queue: one job at a time on a token
        try:
            secrets = gather(job, ask=None)
        except SecretError as error:
            verdict = Verdict.NEEDS_PIN if isinstance(error, PinError) else Verdict.NEEDS_SECRET
            self._off_the_queue(kept)
            self._settle(kept, job, Outcome(verdict=verdict, text=str(error), remedy=error.remedy), ours=True)
            return
        digest = _digest(secrets, self.configuration.identities[kept.name])
        if digest is not None and digest == kept.refused:
            self._off_the_queue(kept)
            self._postpone(kept, action)
            return
        seen, now, _ = self._look(kept)
        longest = schedule.deadline(seen, now, longest_work(job.authority) + deployment_work(job.identity))
        self._off_the_queue(kept)

        def done(outcome: Outcome) -> None:
            kept.work = None
            if digest is not None:  # a job that needs no secret says nothing of it
                kept.refused = digest if outcome.verdict in _SECRETS else None
            self._settle(kept, job, outcome, ours=outcome.verdict in _RECORDED_HERE)
            self._fill()

        kept.work = self._staff.start(job, secrets, self._teller.repeat, done, deadline=longest)
        self.changed = True

    def _off_the_queue(self, kept: Kept) -> None:
        """It has its turn. What fails before that is told to whoever ordered the job (:meth:`_give_up_order`)."""
        del self._waiting[kept.name]
        kept.ordered = kept.again = kept.hurried = False

    def _postpone(self, kept: Kept, action: Action) -> None:
        """Wait on: the secret that was refused has not changed."""
        wait = schedule.PERSON.cap
        kept.by_person = True
        kept.held[_kind(action)] = self._loop.now() + wait
        self._wait(kept, wait, action)

    def _settle(self, kept: Kept, job: Job, outcome: Outcome, *, ours: bool) -> None:
        """Write down what follows from ``outcome`` and wait for it. ``ours``: the worker has not written it itself."""
        try:
            self._follow_up(kept, job, outcome, ours=ours)
        except AgentError as error:
            self._report_trouble(kept, error)
            self._wait(kept, _AFTER_TROUBLE, None)
        except Exception as error:  # noqa: BLE001 - as above
            self._report_defect(kept, error)
        for call in self.on_settled:
            call(kept.name, job.action, outcome)
        if kept.name not in self.configuration.identities and kept.work is None:
            self.identities.pop(kept.name, None)

    def _follow_up(self, kept: Kept, job: Job, outcome: Outcome, *, ours: bool) -> None:
        rule = RETRY[outcome.verdict]
        directory = job.state_directory
        now = self._calendar.now()
        self.changed = True
        asks = job.action in _REQUESTS
        if ours:
            self._tell_failure(job, outcome)
            if asks:
                note_failure(directory, kept.name, outcome, now)
        elif outcome.verdict is Verdict.BUSY:
            self._teller.tell(Event.ORPHAN, _fields(job), holder=outcome.text)
        seen = look(directory, kept.name, job.identity, now=now)
        kept.state, kept.not_after, kept.usable = seen.state, seen.not_after, seen.usable
        self._note(kept, directory, job.identity, seen, now)
        kept.by_person = rule.by_person
        if asks:
            kept.alike = kept.alike + 1 if kept.verdict is outcome.verdict else 1
            kept.verdict = outcome.verdict
        wait = self._pause(kept, job, outcome, seen, now)
        kept.held[_kind(job.action)] = self._loop.now() + wait
        if not (asks and rule.waits):
            self._look_soon(kept.name)
            return
        if rule.failed:
            at = now + timedelta(seconds=wait)
            note_plan(directory, kept.name, rule.next_action, at)
            fields = {"NEXT_ACTION": rule.next_action, "NEXT_ACTION_AT": at.isoformat(timespec="seconds")}
            self._teller.tell(Event.PLANNED, _fields(job) | fields, action=rule.next_action, wait=span_words(wait))
            seen = look(directory, kept.name, job.identity, now=now)
        self._wait(kept, wait, job.action, seen)

    def _pause(self, kept: Kept, job: Job, outcome: Outcome, seen: Overview, now: datetime) -> float:
        """Return the seconds to the next job of this kind."""
        rule, asked = RETRY[outcome.verdict], outcome.retry_after
        if not rule.waits:
            return self._gap(kept, job.action, seen, now)
        if not rule.failed:
            longest = job.authority.polling.maximum
            return schedule.poll(kept.alike, uniform=self._uniform(), asked=asked, longest=longest)
        times = kept.alike if job.action in _REQUESTS else 1
        return schedule.pause(seen, outcome.verdict, now, times=times, uniform=self._uniform(), asked=asked)

    def _gap(self, kept: Kept, done: Action, seen: Overview, now: datetime) -> float:
        """Return the seconds to the next job of its kind after one that is ``done`` well: none, if it changed anything.

        When the same is due again, two clocks disagree, or a CA issues what has ended already; that must not go on and
        on.
        """
        following = schedule.decide(seen, now, may_deploy=done is Action.DEPLOY)
        if following.action is None or following.wait > 0 or _kind(following.action) != _kind(done):
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

    # --- trouble ------------------------------------------------------------------------------------------------------

    def _report_trouble(self, kept: Kept, error: AgentError) -> None:
        """Tell once that the disk does not let us."""
        self._give_up_order(kept, error)
        if kept.trouble != str(error):
            kept.trouble = str(error)
            kept.state = UNREADABLE
            self.changed = True
            self._teller.tell(Event.STATE_TROUBLE, {"IDENTITY": kept.name, "REMEDY": error.remedy}, reason=str(error))

    def _give_up_order(self, kept: Kept, error: Exception) -> None:
        """Tell whoever asked for a job that it cannot even begin."""
        _, action = self._waiting.pop(kept.name, (_FIRST, None))
        if kept.ordered and action is not None:
            kept.ordered = kept.again = False
            outcome = Outcome(verdict=Verdict.FAILED, text=str(error), remedy=getattr(error, "remedy", "Report it."))
            for call in self.on_settled:
                call(kept.name, action, outcome)

    def _report_defect(self, kept: Kept, error: Exception) -> None:
        self._give_up_order(kept, error)
        import traceback  # noqa: PLC0415 - a defect is rare, and it is large

        traceback.print_exc()
        self._teller.tell(Event.DEFECT, {"IDENTITY": kept.name}, reason=f"{type(error).__name__}: {error}")
        kept.state = "defect"
        self._wait(kept, _AFTER_DEFECT, None)


def _kind(action: Action) -> str:
    """Return what is held back together: whatever asks for a certificate, and each of the others."""
    return "request" if action in _REQUESTS else action.value


def _fields(job: Job) -> dict[str, str]:
    return {"IDENTITY": job.name, "AUTHORITY": job.identity.authority}


def _digest(secrets: Secrets, settings: bytes) -> int | None:
    """Return a number that changes when the secrets do; None when there are none. It leads back to nothing.

    A one-time secret goes with a reference: it counts as another one under other ``settings``. A PIN does not.
    """
    if secrets.shared is None and not secrets.pins:
        return None
    shared = None if secrets.shared is None else (secrets.shared, settings)
    return hash((shared, *sorted(secrets.pins.items())))
