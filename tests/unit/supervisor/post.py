"""A keeper at its post on a simulated clock: real directories and decisions, but no process is started."""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

from agent import RELEASED, structure
from agent.contract import Action, Job, Outcome, Progress, Verdict, vouching
from agent.errors import StateError
from agent.events import Event, sentence
from agent.policy.clock import SLICE, Sample
from agent.settings import (
    AuthoritySettings,
    BootstrapSettings,
    DaemonSettings,
    IdentitySettings,
    Settings,
    SharedSecretSettings,
    TokenSettings,
)
from agent.store.generations import Credential, IdentityStore
from agent.store.refusal import RefusedSecret
from agent.store.state import IdentityState
from agent.store.token_keys import TokenKeys
from agent.supervisor.clocks import Calendar
from agent.supervisor.configuration import Configuration
from agent.supervisor.history import note_failure
from agent.supervisor.keeper import Keeper
from agent.supervisor.loop import Timer
from agent.supervisor.secrets import Secrets
from agent.supervisor.staff import Work

START: Final = RELEASED + timedelta(days=30)
HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
ISSUED: Final = Outcome(verdict=Verdict.ISSUED, text="installed")
_GOOD: Final = {Verdict.ISSUED, Verdict.UNCHANGED, Verdict.DONE}


class Loop:
    """A loop whose moments come when a test says so."""

    def __init__(self) -> None:
        self.moment = 0.0
        self._timers: list[Timer] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return self.moment

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer(self.moment + max(seconds, 0.0), next(self._numbers), call)
        heapq.heappush(self._timers, timer)
        return timer

    def forget_all(self) -> None:
        self._timers.clear()

    def serve_until(self, moment: float) -> None:
        while self._timers and self._timers[0].at <= moment:
            timer = heapq.heappop(self._timers)
            self.moment = max(self.moment, timer.at)
            call, timer.call = timer.call, None
            if call is not None:
                call()
        self.moment = max(self.moment, moment)


@dataclass
class Started:
    """A job that was started, when, and with which secrets."""

    at: float
    job: Job
    secrets: Secrets
    deadline: float
    done: Callable[[Outcome], None] | None


@dataclass
class Staff:
    """Workers that end as ``answers`` says, after ``takes`` seconds; what a worker writes is written then."""

    loop: Loop
    answers: Callable[[Job], Outcome]
    wall: Callable[[], datetime]
    takes: float = 1.0
    fails_to_start: int = 0
    life: float = 90 * DAY
    log: list[Started] = field(default_factory=list)
    ended_early: list[str] = field(default_factory=list)
    ready: bool = True
    prepared: tuple[int, Callable[[], None]] = (0, lambda: None)
    """How many jobs wait, as it was told last, and what to call when it is ready."""

    def ready_for(self, waiting: int, then: Callable[[], None]) -> bool:
        self.prepared = waiting, then
        return self.ready

    def start(
        self,
        job: Job,
        secrets: Secrets,
        _: Callable[[Progress], None],
        done: Callable[[Outcome], None],
        *,
        deadline: float,
    ) -> Work | None:
        assert job.name not in self.running, "two jobs at once for one identity"
        started = Started(self.loop.now(), job, secrets, deadline, done)
        self.log.append(started)
        if self.fails_to_start:
            self.fails_to_start -= 1
            started.done = None
            done(Outcome(verdict=Verdict.CRASHED, text="no worker could be started"))
            return None
        self.loop.after(self.takes, lambda: self.finish(started))
        return Work(job.action, frozenset(job.tokens), lambda: self.ended_early.append(job.name))

    def finish(self, started: Started) -> None:
        outcome = self.answers(started.job)
        try:
            self._write(started.job, outcome, started.secrets.shared)
        except StateError as error:
            outcome = Outcome(verdict=Verdict.FAILED, text=str(error), remedy=error.remedy)
        done, started.done = started.done, None
        assert done is not None
        done(outcome)

    @property
    def running(self) -> list[str]:
        return [one.job.name for one in self.log if one.done is not None]

    def _write(self, job: Job, outcome: Outcome, secret: bytes | None) -> None:
        """Write what the worker itself writes."""
        now = self.wall()
        file = IdentityStore(job.state_directory, job.name).state
        if secret is not None:
            refused = outcome.verdict is Verdict.NEEDS_SECRET
            mark = RefusedSecret.of(secret, vouching(job)) if refused else None
            file.save(replace(file.load(), refused_secret=mark))
        if job.action is Action.REFRESH:
            file.save(replace(file.load(), refresh_at=now + timedelta(hours=12), refreshed_at=now))
        elif job.action is Action.RETIRE:
            ledger = TokenKeys(IdentityStore(job.state_directory, job.name).directory)
            if outcome.verdict is Verdict.DONE:
                for one in ledger.load():
                    ledger.remove(one)
                ledger.plan(None)
        elif outcome.verdict is Verdict.ISSUED:
            begins = START + timedelta(seconds=self.loop.now() - 60)  # the CA knows what time it is
            install(job.state_directory, job.name, begins, self.life)
            file.save(replace(file.load(), attempts=0, last_error=None, last_success=now, next_action_at=None))
        elif outcome.verdict in {*_GOOD, Verdict.WAITING, Verdict.DEPLOYING}:
            file.save(replace(file.load(), attempts=0, last_error=None, next_action=None, next_action_at=None))
        elif outcome.verdict not in {Verdict.CRASHED, Verdict.TIMED_OUT, Verdict.BUSY}:
            note_failure(job.state_directory, job.name, outcome, now)


def install(state_directory: Path, name: str, begins: datetime, life: float) -> None:
    """Put a credential into use that is valid for ``life`` seconds; nobody here looks into the certificate."""
    description: dict[str, Any] = {
        "subject": f"CN={name}",
        "serial": "0a",
        "not_before": begins.isoformat(),
        "not_after": (begins + timedelta(seconds=life)).isoformat(),
    }
    store = IdentityStore(state_directory, name)
    with store.lock():
        credential = Credential(certificate=b"c", key_reference="pkcs11:object=x", description=description)
        store.switch(store.add(credential))
        store.prune()


class Post:
    """The keeper with everything around it."""

    def __init__(
        self,
        directory: Path,
        *names: str,
        wall: datetime = START,
        workers: int = 2,
        identity: Mapping[str, Any] | None = None,
        tokens: Mapping[str, str] | None = None,
        last_good: datetime | None = None,
    ) -> None:
        """``tokens``: which identity has its key on which token; ``identity``: further settings of all."""
        self.state = directory / "state"
        self.state.mkdir(mode=0o700, exist_ok=True)
        self.secret = directory / "secret"
        self.write_secret("geheim")
        self.loop = Loop()
        self._wall = wall
        self._set_at = 0.0
        self.asleep = 0.0
        self.told: list[tuple[str, Event, dict[str, str], str]] = []
        self.calendar = Calendar(self.sample, lambda: None)
        self.calendar.last_good = last_good
        self.answer: dict[str, Outcome] = {}
        self.staff = Staff(self.loop, lambda job: self.answer.get(job.name, ISSUED), lambda: self.wall)
        self.settled: list[tuple[str, Verdict]] = []
        self.keeper = self._keeper()
        self.configure(*names, workers=workers, identity=identity, tokens=tokens)

    def _keeper(self) -> Keeper:
        keeper = Keeper(
            cast("Any", self.loop), self.calendar, cast("Any", self), cast("Any", self.staff), uniform=lambda: 0.999
        )
        keeper.on_settled.append(lambda name, _, outcome: self.settled.append((name, outcome.verdict)))
        return keeper

    def configure(
        self,
        *names: str,
        workers: int = 2,
        identity: Mapping[str, Any] | None = None,
        tokens: Mapping[str, str] | None = None,
    ) -> None:
        """Have the keeper take a configuration of these identities."""
        tokens = tokens or {}
        pin = f"file:{self.secret}"
        common = Settings(
            state_directory=self.state,
            authorities={"ca": AuthoritySettings(urls=("http://127.0.0.1:9/",), trust_anchors=None)},
            identities={},
            tokens={one: TokenSettings(module=Path("/x.so"), label=one, pin=pin) for one in sorted({*tokens.values()})},
            daemon=DaemonSettings(workers=workers),
        )
        bootstrap = BootstrapSettings(shared_secret=SharedSecretSettings(reference="enb", secret=pin))
        identities = {}
        for name in names:
            settings = IdentitySettings(authority="ca", subject=f"CN={name}", bootstrap=bootstrap)
            if name in tokens:
                settings = replace(settings, key=replace(settings.key, store=tokens[name]))
            settings = replace(settings, **(identity or {}))
            identities[name] = json.dumps(structure.to_json(settings)).encode()
        self.keeper.take(Configuration(common, identities))

    def restart(self, *names: str) -> None:
        """Go on with a new keeper, which knows nothing but what is on disk."""
        self.loop.forget_all()
        self.keeper = self._keeper()
        self.configure(*names)

    def write_secret(self, text: str) -> None:
        self.secret.write_text(f"{text}\n")
        self.secret.chmod(0o600)

    # --- time ---------------------------------------------------------------------------------------------------------

    @property
    def wall(self) -> datetime:
        return self._wall + timedelta(seconds=self.loop.moment - self._set_at)

    def sample(self) -> Sample:
        moment = self.loop.moment
        return Sample(wall=self.wall, monotonic=moment - self.asleep, boottime=moment)

    def pass_(self, seconds: float) -> None:
        """Let time pass, and the clock be looked at every slice as the daemon does."""
        end = self.loop.moment + seconds
        while True:
            self.loop.serve_until(min(end, self.loop.moment + SLICE))
            self.look_at_clock()
            if self.loop.moment >= end:
                return

    def look_at_clock(self) -> None:
        steps = self.calendar.steps()
        if steps:
            self.keeper.clock_stepped(steps)
            self.loop.serve_until(self.loop.moment)

    def set_clock(self, wall: datetime) -> None:
        self._wall, self._set_at = wall, self.loop.moment
        self.look_at_clock()

    def sleep(self, seconds: float) -> None:
        """Suspend the machine: nothing is called, and the clocks but one go on."""
        self.asleep += seconds
        self.loop.moment += seconds
        self.loop.serve_until(self.loop.moment)
        self.look_at_clock()

    # --- what a test looks at -----------------------------------------------------------------------------------------

    def tell(self, event: Event, fields: Mapping[str, str] | None = None, /, **words: str) -> None:
        """Stand in for the teller: sentences are made as it makes them."""
        found = dict(fields or {})
        self.told.append((found.get("IDENTITY", ""), event, found, sentence(event, words)))

    def repeat(self, progress: Progress) -> None:
        raise AssertionError(progress)  # these workers report nothing

    def count(self, event: Event) -> int:
        return sum(one is event for _, one, _, _ in self.told)

    @property
    def jobs(self) -> list[tuple[str, str]]:
        return [(one.job.name, one.job.action.value) for one in self.staff.log]

    def on_disk(self, name: str = "ike") -> IdentityState:
        return IdentityStore(self.state, name).state.load()

    def next_in(self, name: str = "ike") -> float:
        """Return the seconds until the keeper does something of itself for an identity that has no job."""
        timer = self.keeper.identities[name].timer
        assert timer is not None
        assert timer.call is not None, "nothing would ever wake it"
        return timer.at - self.loop.moment


def ends(verdict: Verdict, **more: Any) -> Outcome:
    """Return an outcome with that verdict."""
    return Outcome(verdict=verdict, text=f"it is {verdict.value}", remedy="Mend it.", **more)
