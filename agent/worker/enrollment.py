"""One job: whether anything is to be done, with which key, and whether an interrupted request goes on.

From there on :mod:`agent.worker.course` exchanges the messages.
"""

from __future__ import annotations

import importlib
from dataclasses import field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from agent.cmp.certificates import Facts, load, read
from agent.cmp.states import State
from agent.cmp.transaction import Transaction
from agent.contract import Action, Job, Outcome, Verdict
from agent.errors import NoCertificate, StateCorrupt, StateError
from agent.events import Event, sentence
from agent.frozen import frozen
from agent.net.http import CmpClient
from agent.settings import SOFTWARE
from agent.store.credential import REVOKED
from agent.store.generations import Generation, IdentityStore
from agent.worker import resuming, verdicts
from agent.worker.course import Course, Tools
from agent.worker.environment import Environment
from agent.worker.installing import install
from agent.worker.keyring import Keyring
from agent.worker.keys import ChosenKey, choose_key, opened_key
from agent.worker.plan import Plan, make_plan
from agent.worker.record import record
from agent.worker.resuming import LostRequest, OpenRequest
from agent.worker.retiring import retire
from agent.worker.words import certificate_fields, certificate_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.worker.reporting import Reporter


def perform(
    job: Job,
    secret: bytes | None,
    reporter: Reporter,
    environment: Environment | None = None,
    *,
    pins: Mapping[str, bytes] | None = None,
    passwords: Mapping[str, bytes] | None = None,
) -> Outcome:
    """Do ``job`` and return how it ended; every error of ours becomes an outcome with its remedy.

    ``secret`` is the one-time secret, ``pins`` those of the job's tokens by their names, ``passwords`` those for
    consumers by where they come from.
    """
    environment = environment or Environment()
    store = IdentityStore(job.state_directory, job.name)
    deploy = partial(_deploy, handed=Handed(pins or {}, passwords or {}))
    keys = Keyring.of(job, pins)
    work = _Work(job, secret, keys, reporter, environment, store)
    try:
        with store.lock():
            counts = job.action not in _WITHOUT_RECORD
            try:
                if job.action is Action.DEPLOY:
                    outcome = deploy(job, store, reporter, environment)
                elif job.action in _OTHER_JOBS:
                    outcome = _other(job, store, keys, reporter, environment)
                else:
                    outcome = work.run()
            except verdicts.REPORTED as error:
                outcome = verdicts.outcome_of(error, by_secret=secret is not None)
                counts = counts and not isinstance(error, NoCertificate)
            if counts:
                _record(store, job, outcome, reporter, environment.now(), secret=secret)
            installed = outcome.verdict in _INSTALLED
            if installed and job.identity.deploy:
                outcome = _with_deployment(
                    outcome, lambda: deploy(replace(job, again=False), store, reporter, environment)
                )
            if installed or job.action is Action.DEPLOY:
                retire(store, keys, reporter, environment.judging_time, touch=installed)
    except verdicts.REPORTED as error:
        outcome = verdicts.outcome_of(error, by_secret=secret is not None)
    if outcome.verdict not in _NO_FAILURE:
        reporter.tell(
            Event.FAILED,
            outcome.fields | {"VERDICT": outcome.verdict.value, "REMEDY": outcome.remedy},
            verdict=outcome.verdict.replace("-", " "),
            reason=outcome.text,
        )
    return outcome


_WITHOUT_RECORD: Final = frozenset({Action.DEPLOY, Action.RETIRE, Action.TEMPLATE})
"""Jobs that say nothing about the next attempt; what was deployed has a record of its own."""
_INSTALLED: Final = frozenset({Verdict.ISSUED, Verdict.UNCHANGED})
_NO_FAILURE: Final = _INSTALLED | {Verdict.DONE, Verdict.WAITING, Verdict.DEPLOYING}
"""Whatever else there is to tell has been told; DEPLOYING by an event for each consumer."""

_OTHER_JOBS: Final = {
    Action.REVOKE: ("agent.worker.revocation", "revoke"),
    Action.REFRESH: ("agent.worker.refreshing", "refresh"),
    Action.RETIRE: ("agent.worker.retiring", "retire_keys"),
}
"""Jobs that ask for no certificate: the module and its function, imported only for such a job."""


def _other(job: Job, store: IdentityStore, keys: Keyring, reporter: Reporter, environment: Environment) -> Outcome:
    module, function = _OTHER_JOBS[job.action]
    outcome: Outcome = getattr(importlib.import_module(module), function)(job, store, keys, reporter, environment)
    return outcome


@frozen
class Handed:
    """What consumers need of what the worker inherited; nothing of it shows where this is printed."""

    pins: Mapping[str, bytes] = field(repr=False)
    passwords: Mapping[str, bytes] = field(repr=False)


def _deploy(job: Job, store: IdentityStore, reporter: Reporter, environment: Environment, *, handed: Handed) -> Outcome:
    from agent.worker.deployment import deploy  # noqa: PLC0415 - loaded only where there are consumers

    return deploy(job, store, reporter, environment, pins=handed.pins, passwords=handed.passwords)


def _with_deployment(outcome: Outcome, deploy: Callable[[], Outcome]) -> Outcome:
    """Bring what is installed to its consumers; return ``outcome``, unless one of them does not use it yet."""
    try:
        deployment = deploy()
    except verdicts.REPORTED as error:
        deployment = verdicts.outcome_of(error, by_secret=False)
    if deployment.verdict is Verdict.DONE:
        return outcome
    return replace(deployment, text=f"{outcome.text}; but {deployment.text}", fields=outcome.fields)


def _record(
    store: IdentityStore, job: Job, outcome: Outcome, reporter: Reporter, now: datetime, *, secret: bytes | None
) -> None:
    """Write the history; that it cannot be written changes nothing about how the job ended."""
    try:
        record(store, job, outcome, now, secret=secret)
    except StateError as error:
        if outcome.verdict is not Verdict.FAILED:  # which tells of the disk itself
            reporter.tell(Event.NOTE, {"REMEDY": error.remedy}, note=f"the history is not up to date: {error}")


class _Work:
    def __init__(
        self,
        job: Job,
        secret: bytes | None,
        keys: Keyring,
        reporter: Reporter,
        environment: Environment,
        store: IdentityStore,
    ) -> None:
        self._job = job
        self._secret = secret
        self._reporter = reporter
        self._tell = reporter.tell
        self._environment = environment
        self._store = store
        self._keys = keys
        self._key: ChosenKey

    def run(self) -> Outcome:
        """Go on with the open request, or start one."""
        keeps_open = self._job.action is not Action.TEMPLATE and not self._job.abandon
        opened = resuming.load(self._store.transaction) if keeps_open else None
        if isinstance(opened, OpenRequest) and self._environment.clock_trusted:
            opened = resuming.judged_in_time(opened, self._environment.judging_time)
        if isinstance(opened, OpenRequest):
            # What was begun is finished first, be it an enrollment or a renewal.
            self._job = replace(self._job, action=opened.action)
            generation = opened.find_generation(self._store)
            if generation is not None and (opened.memory.state is State.CONFIRMED or generation.confirmed):
                return install(
                    self._job,
                    self._store,
                    self._keys,
                    generation,
                    self._reporter,
                    now=self._environment.judging_time,
                    confirmed=True,
                )
        current = self._current()
        if not isinstance(opened, OpenRequest) and self._job.action is Action.ENROLL and not self._job.again:
            facts = read(load(current.certificate)) if current else None
            if current and facts and self._in_force(facts) and REVOKED not in current.marks:
                return self._unchanged(facts)
        plan = self._plan(current)
        if self._job.action is Action.TEMPLATE:
            from agent.worker.templating import show  # noqa: PLC0415 - a person asks for it, now and then

            return show(self._job, plan, self._reporter, self._environment)
        opened = self._take_key(opened, current)
        if opened is None and self._job.authority.request_template:
            from agent.worker.templating import fitted  # noqa: PLC0415 - few CAs have one

            plan = fitted(self._job, plan, self._key.key, self._reporter, self._environment)
        transaction = Transaction(
            plan.wanted(self._key.key),
            plan.originator,
            plan.rules,
            plan.expectation(self._key.key, self._environment.judging_time),
            random=self._environment.random,
            clock_trusted=self._environment.clock_trusted,
            learning=plan.learning,
            memory=opened.memory if opened else None,
        )
        self._reporter.remember(CMP_TRANSACTION_ID=transaction.transaction_id.hex())
        bound = opened.url if opened else None
        with CmpClient(self._urls(), self._job.authority.http, stick_to=bound) as client:
            tools = Tools(
                store=self._store,
                keys=self._keys,
                client=client,
                environment=self._environment,
                reporter=self._reporter,
            )
            course = Course(self._job, transaction, self._key, tools, opened)
            self._announce(plan, opened)
            return course.run()

    def _urls(self) -> tuple[str, ...]:
        """Return the addresses to try; after a failed attempt another one comes first.

        A server that answers, but not with CMP, is bound to the attempt; the next attempt must get past it.
        """
        urls = self._job.authority.urls
        first = self._store.state.load().attempts % len(urls)
        return urls[first:] + urls[:first]

    def _plan(self, current: Generation | None) -> Plan:
        return make_plan(
            self._job,
            secret=self._secret,
            current=current,
            keys=self._keys,
            salt=self._environment.random(self._job.authority.mac.salt_length),
            clock_trusted=self._environment.clock_trusted,
        )

    def _in_force(self, facts: Facts) -> bool:
        """Tell whether a certificate can be used; that a clock which lost its time calls it too young is no reason."""
        now = self._environment.judging_time
        return (facts.not_before <= now or not self._environment.clock_trusted) and now < facts.not_after

    def _current(self) -> Generation | None:
        try:
            return self._store.current
        except StateCorrupt as error:
            if self._job.action is Action.RENEW:
                raise
            self._tell(Event.NOTE, note=f"the installed credential is damaged and is replaced: {error}")
            return None

    def _take_key(self, opened: OpenRequest | LostRequest | None, current: Generation | None) -> OpenRequest | None:
        """Find or make the key; return the open request if it can go on with its key."""
        directory = self._store.transaction
        if isinstance(opened, OpenRequest):
            key = opened_key(self._job, directory, current, self._keys)
            if key is not None:
                self._key = key
                return opened
            opened = LostRequest("its key is gone")
        if opened is not None and opened.reason:
            self._tell(Event.SNAPSHOT_LOST, reason=opened.reason)
        if self._job.abandon:
            directory.clear()
        retire(self._store, self._keys, self._reporter, self._environment.judging_time)
        self._key = choose_key(self._job, self._store, current, self._keys)
        if self._key.made:
            self._tell(Event.KEY_MADE, algorithm=self._job.identity.key.algorithm.value, place=self._place)
        return None

    @property
    def _place(self) -> str:
        name = self._job.identity.key.store
        return "in software" if name == SOFTWARE else f"on the token {name}"

    def _announce(self, plan: Plan, opened: OpenRequest | None) -> None:
        if plan.warning:
            self._tell(Event.NOTE, note=plan.warning)
        if opened:
            started = f"{opened.started_at:%Y-%m-%d %H:%M} UTC"
            self._tell(Event.RESUMED, started=started, state=opened.memory.state.value)
            return
        self._tell(
            Event.STARTED,
            {"CMP_MESSAGE": plan.type.label},
            authority=self._job.identity.authority,
            message=plan.type.label,
            subject=self._job.identity.subject,
        )

    def _unchanged(self, facts: Facts) -> Outcome:
        words = certificate_words(facts)
        self._tell(Event.UNCHANGED, certificate_fields(facts), **words)
        return Outcome(
            verdict=Verdict.UNCHANGED,
            text=sentence(Event.UNCHANGED, words),
            fields=certificate_fields(facts),
        )
