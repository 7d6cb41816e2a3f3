"""Whose turn it is: gives workers to those who need one, the most urgent first, and one at a time on a token."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from agent.contract import Action, Job, Outcome, Verdict, vouching
from agent.errors import AgentError, MachineError, PinError, SecretError
from agent.overview import look
from agent.store.generations import IdentityStore
from agent.supervisor import schedule
from agent.supervisor.jobs import deployment_work, job_for, longest_work
from agent.supervisor.kept import REQUESTS
from agent.supervisor.secrets import Secrets, gather

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.overview import Overview
    from agent.supervisor.clocks import Calendar
    from agent.supervisor.configuration import Configuration
    from agent.supervisor.kept import Kept
    from agent.supervisor.staff import Staff
    from agent.supervisor.telling import Teller

_FIRST: Final = (False, "")
"""More urgent than anything that the schedule says."""
_RECORDED_HERE: Final = frozenset({Verdict.CRASHED, Verdict.TIMED_OUT})
"""Verdicts that the worker could not write into the history itself."""
_WITHOUT_SECRETS: Final = (
    (PinError, Verdict.NEEDS_PIN),
    (SecretError, Verdict.NEEDS_SECRET),
    (MachineError, Verdict.FAILED),
)
"""How a job ends whose secrets are not to be had; the first that fits counts."""


class Office(Protocol):
    """Who decides what is needed, and hears what came of it."""

    @property
    def configuration(self) -> Configuration:
        """What is looked after."""

    def settle(self, kept: Kept, job: Job, outcome: Outcome, *, ours: bool) -> None:
        """Hear how a job ended. ``ours``: the worker has not written it down itself."""

    def postpone(self, kept: Kept, action: Action) -> None:
        """Hear that the secret for a job is one that was refused."""

    def fail(self, kept: Kept, error: Exception) -> None:
        """Hear that a job cannot even be begun."""

    def tell(self, name: str, action: Action | None, outcome: Outcome) -> None:
        """Tell whoever asked for a job how it ended; None: for any job of ``name``."""


class Roster:
    """Who needs a worker, and who has one."""

    def __init__(
        self, office: Office, identities: dict[str, Kept], calendar: Calendar, teller: Teller, staff: Staff
    ) -> None:
        """``identities`` are those of ``office``; ``staff`` starts workers."""
        self._office = office
        self._identities = identities
        self._calendar = calendar
        self._teller = teller
        self._staff = staff
        self._waiting: dict[str, tuple[tuple[bool, str], Action]] = {}
        """Who needs a worker now, with its urgency."""
        self._gathering = False
        self._filling = False
        self._more = False
        """Whether somebody may have to be served whom :meth:`_fill` has passed already."""
        self._barred: dict[str, frozenset[str]] = {}
        """Who of them found a token in use, with all it needs: it is not looked at again before these are free."""

    @property
    def running(self) -> int:
        """How many workers run."""
        return sum(one.work is not None for one in self._identities.values())

    def waits(self, name: str) -> bool:
        """Tell whether ``name`` waits for a worker."""
        return name in self._waiting

    def at_work(self, kept: Kept) -> Action | None:
        """Return the job that runs, or that a person ordered and that waits for a worker."""
        if kept.work is not None:
            return kept.work.action
        return self._waiting[kept.name][1] if kept.ordered and kept.name in self._waiting else None

    def want(self, kept: Kept, urgency: tuple[bool, str], action: Action) -> None:
        """Have ``action`` done when it is its turn."""
        self._barred.pop(kept.name, None)
        self._waiting[kept.name] = urgency, action
        self.fill()

    def withdraw(self, kept: Kept) -> None:
        """Let it wait for no worker: what it needs is decided anew."""
        self._waiting.pop(kept.name, None)

    def order(self, kept: Kept, action: Action, *, again: bool) -> None:
        """Have ``action`` done next, because a person said so."""
        kept.ordered, kept.again = True, again
        self.want(kept, _FIRST, action)

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Serve nobody in this block: how many need a worker is known at its end."""
        self._gathering = True
        try:
            yield
        finally:
            self._gathering = False
        self.fill()

    def drop(self, kept: Kept, error: Exception) -> None:
        """Have nothing done for it, because of ``error``; whoever waits for the outcome of a job gets this one.

        A job that runs goes on, and its outcome is still to come.
        """
        self._waiting.pop(kept.name, None)
        kept.ordered = kept.again = False
        if kept.work is None:
            outcome = Outcome(verdict=Verdict.FAILED, text=str(error), remedy=getattr(error, "remedy", "Report it."))
            self._office.tell(kept.name, None, outcome)

    def fill(self) -> None:
        """Give workers to those who need one, the most urgent first.

        A job that ends before it has begun calls this from within: who is next has his turn when that is over.
        """
        if self._gathering:
            return
        if self._filling:
            self._more = True
            return
        self._filling = self._more = True
        try:
            while self._more:
                self._more = False
                self._fill()
        finally:
            self._filling = False

    def _fill(self) -> None:
        running, used = self._under_way()
        most = self._office.configuration.common.daemon.workers
        # Whoever was barred needs a token, and with that a program of his own: nothing is loaded for his sake.
        may_be_forked = self._waiting.keys() - self._barred.keys()
        if running >= most or not self._staff.ready_for(len(may_be_forked), self.fill):
            return
        for name, (_, action) in sorted(self._waiting.items(), key=lambda one: one[1][0]):
            if running >= most:
                return
            if name not in self._waiting or not used.isdisjoint(self._barred.get(name, ())):
                continue
            kept = self._identities[name]
            try:
                self._start(kept, action, used)
            except Exception as error:  # noqa: BLE001 - one identity must not take the others down with it
                self._office.fail(kept, error)
            running, used = self._under_way()

    def _under_way(self) -> tuple[int, frozenset[str]]:
        """Return how many workers run, and which tokens they use."""
        works = [one.work for one in self._identities.values() if one.work is not None]
        return len(works), frozenset[str]().union(*(one.tokens for one in works))

    def _start(self, kept: Kept, action: Action, used: frozenset[str]) -> None:
        settings = self._office.configuration.settings_of(kept.name)
        again = kept.again if kept.ordered else not kept.usable
        job = job_for(settings, kept.name, action, calendar=self._calendar, again=again)
        if not used.isdisjoint(job.tokens):
            self._barred[kept.name] = frozenset(job.tokens)
            return  # it stays in the queue: one job at a time on a token
        try:
            secrets = gather(job, ask=None)
        except (SecretError, MachineError) as error:
            verdict = next(verdict for kind, verdict in _WITHOUT_SECRETS if isinstance(error, kind))
            self._off_the_queue(kept)
            self._office.settle(kept, job, Outcome(verdict=verdict, text=str(error), remedy=error.remedy), ours=True)
            return
        if not kept.ordered and _refused(kept, job, secrets):  # a person may have that tried again
            self._off_the_queue(kept)
            self._office.postpone(kept, action)
            return
        now = self._calendar.now()
        seen = look(job.state_directory, job.name, job.identity, now=now)
        longest = schedule.deadline(seen, now, longest_work(job.authority) + deployment_work(job.identity))
        self._off_the_queue(kept)

        def done(outcome: Outcome) -> None:
            kept.work = None
            if secrets.pins and action is not Action.RETIRE:  # which has PINs of other tokens
                kept.refused_pins = _hash(secrets) if outcome.verdict is Verdict.NEEDS_PIN else None
            self._office.settle(kept, job, outcome, ours=_is_unrecorded(job, outcome, seen))
            self.fill()

        kept.work = self._staff.start(job, secrets, self._teller.repeat, done, deadline=longest)

    def _off_the_queue(self, kept: Kept) -> None:
        """It has its turn."""
        del self._waiting[kept.name]
        kept.ordered = kept.again = kept.hurried = kept.woken = False


def _is_unrecorded(job: Job, outcome: Outcome, before: Overview) -> bool:
    """Tell whether a failed request is missing in the history: its worker died, or could only just say why it ended."""
    if outcome.verdict in _RECORDED_HERE:
        return True
    if job.action not in REQUESTS or outcome.verdict is Verdict.BUSY or not schedule.RETRY[outcome.verdict].failed:
        return False
    if job.action is Action.RENEW and before.generation is None:
        return False  # there was nothing to renew, which hides nothing of why there is no certificate
    try:
        after = look(job.state_directory, job.name, job.identity)
    except AgentError:
        return False  # whoever follows up meets the same, and tells
    return (after.attempts, after.failed_at) == (before.attempts, before.failed_at)


def _refused(kept: Kept, job: Job, secrets: Secrets) -> bool:
    """Tell whether what ``job`` would be done with was refused before.

    A CA may lock a reference and a token its PIN after a few attempts. Of the one-time secret the disk knows.
    """
    if secrets.shared is not None:
        refusal = IdentityStore(job.state_directory, job.name).state.load().refused_secret
        if refusal is not None and refusal.fits(secrets.shared, vouching(job)):
            return True
    return bool(secrets.pins) and kept.refused_pins == _hash(secrets)


def _hash(secrets: Secrets) -> int:
    """Return a number that changes when the PINs do; it leads back to nothing."""
    return hash(tuple(sorted(secrets.pins.items())))
