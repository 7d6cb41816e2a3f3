"""Bring the current generation to every consumer, and keep it there; go back as one where a consumer refuses it.

What each consumer confirmed is in ``deployment.json`` (``agent.store.deployment``). An attempt is written down before
it is made, so that one which kills the worker counts as failed and is not repeated without a pause.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent.contract import Outcome, Verdict
from agent.deploy.target import RENEWED, RESTORED, ROLLED_BACK, Change, Hands, open_target
from agent.errors import ConfigurationError, ConsumerRefused, DeployError, SecretError, StateCorrupt
from agent.events import Event
from agent.settings import OnFailure
from agent.store.deployment import DeploymentFile, labels
from agent.worker import consumer_secrets
from agent.worker.credentials import Credentials
from agent.worker.deployment_outcome import outcome
from agent.worker.deployment_times import Times
from agent.worker.installing import put_beside_key
from agent.worker.keyring import Keyring
from agent.worker.words import short_wait
from hsm.errors import KeyStoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract import Job
    from agent.deploy.target import Target
    from agent.settings import DeployTarget
    from agent.store.generations import Generation, IdentityStore
    from agent.worker.environment import Environment
    from agent.worker.reporting import Reporter

_FAILURES: Final = (DeployError, ConfigurationError, SecretError, KeyStoreError, StateCorrupt)


def deploy(
    job: Job,
    store: IdentityStore,
    reporter: Reporter,
    environment: Environment,
    *,
    pins: Mapping[str, bytes],
    passwords: Mapping[str, bytes],
) -> Outcome:
    """Bring the current generation to every consumer that lacks it, and ask the others whether they still have it.

    What is not due is left alone unless ``job.again``. ``pins`` are those of the job's tokens by their names,
    ``passwords`` those for consumers by where they come from. Raise :class:`agent.errors.StateError` for the disk.
    """
    current = store.current
    if current is None:
        return Outcome(verdict=Verdict.DONE, text="there is no certificate yet that could be deployed")
    if job.again:  # a person may have gone back
        _stand_beside(current, Keyring.of(job, pins), reporter)
    if not job.identity.deploy:
        return Outcome(verdict=Verdict.DONE, text="no consumer is configured")
    hands = consumer_secrets.hands(job, reporter, pins, passwords)
    keys = Keyring.of(job, pins)
    return _Deployment(job, store, reporter, environment, hands, keys).run(current)


def _stand_beside(generation: Generation, keys: Keyring, reporter: Reporter) -> None:
    """Have the certificate in use stand beside its key on a token; consumers that do not look there need not wait."""
    try:
        put_beside_key(keys, generation, reporter)
    except (KeyStoreError, ConfigurationError) as error:
        note = f"another certificate may stand beside the key on its token: {error}"
        reporter.tell(Event.NOTE, {"REMEDY": error.remedy}, note=note)


class _Refused(Exception):
    """A consumer said no, and its configuration asks for a rollback."""

    def __init__(self, label: str, error: DeployError, previous: Generation) -> None:
        super().__init__(str(error))
        self.label = label
        self.error = error
        self.previous = previous


class _Deployment:
    def __init__(
        self,
        job: Job,
        store: IdentityStore,
        reporter: Reporter,
        environment: Environment,
        hands: Hands,
        keys: Keyring,
    ) -> None:
        self._job = job
        self._reporter = reporter
        self._keys = keys
        self._store = store
        self._tell = reporter.tell
        self._environment = environment
        self._file = DeploymentFile(store.directory)
        self._labels = labels(job.identity.deploy)
        self._settings = dict(zip(self._labels, job.identity.deploy, strict=True))
        self._record = self._file.load().only(self._labels)
        self._credentials = Credentials(store, environment)
        self._times = Times(environment, job.identity.deploy_check)
        self._hands = hands

    def run(self, current: Generation) -> Outcome:
        """Do what is due; return DONE when every consumer uses the newest generation it is meant to use."""
        try:
            current = self._forward(current)
            self._pass(current, RENEWED)
        except _Refused as refused:
            self._roll_back(current, refused)
            current = refused.previous
        return outcome(self._record, self._labels, current.number, _serial(current), self._environment.now())

    # ---- one generation to everybody

    def _pass(self, generation: Generation, reason: str) -> None:
        """Bring ``generation`` to every consumer, in their order.

        A command runs only after all consumers before it have taken the credential, and again when one of them did.

        Raises:
            _Refused: a consumer with ``on-failure: rollback`` said no, and there is something to go back to.
        """
        changed = failed = False
        for label, settings in self._settings.items():
            is_hook = settings.hook is not None
            if is_hook and failed:
                continue
            has_it = self._record.of(label).generation == generation.number
            if has_it and not (is_hook and changed) and not self._due(label):
                failed = failed or bool(self._record.of(label).error)
                continue
            if not has_it and self._backing_off(label, generation):
                failed = True
                continue
            took = self._one(label, settings, generation, reason, again=is_hook and changed)
            changed, failed = changed or took is True, failed or took is None

    def _one(
        self, label: str, settings: DeployTarget, generation: Generation, reason: str, *, again: bool
    ) -> bool | None:
        """Bring ``generation`` to one consumer; tell whether anything changed there, None when it failed."""
        before = self._record.of(label)
        has_it = before.generation == generation.number
        attempts = before.attempts + 1 if before.trying == generation.number else 1
        try:
            new, target = self._credentials.material(generation), self._open(settings)
            if has_it and not again and target.live(new):
                following = self._times.after(self._job.identity.deploy_check)
                self._note(label, checked_at=self._times.now, attempts=0, error="", remedy="", next_at=following)
                return False
            self._begin(label, generation, attempts)
            change = Change(
                new=new,
                previous=self._credentials.before(generation, before.generation),
                retired=self._credentials.others(generation),
                reason=RESTORED if has_it and not again else reason,
            )
            proof = target.deploy(change)
        except _FAILURES as error:
            self._failed(label, settings, generation, attempts, error)
            return None
        self._succeeded(label, generation, proof)
        return True

    def _open(self, settings: DeployTarget) -> Target:
        return open_target(settings, self._hands)

    def _begin(self, label: str, generation: Generation, attempts: int) -> None:
        """Write down that this attempt failed, before it is made: it may take the worker with it."""
        wait = self._wait(attempts, refused=False)
        self._note(label, trying=generation.number, attempts=attempts, next_at=self._times.after(wait))

    def _succeeded(self, label: str, generation: Generation, proof: str) -> None:
        before = self._record.of(label)
        since = before.since if before.generation == generation.number else self._times.now
        self._note(
            label,
            generation=generation.number,
            since=since,
            proof=proof,
            checked_at=self._times.now,
            attempts=0,
            error="",
            remedy="",
            failed_at=None,
            next_at=self._times.after(self._job.identity.deploy_check),
        )
        self._tell(Event.DEPLOYED, _fields(label, generation), serial=_serial(generation), target=label, proof=proof)

    def _failed(
        self, label: str, settings: DeployTarget, generation: Generation, attempts: int, error: Exception
    ) -> None:
        """Write down why; raise :class:`_Refused` where everything is to go back."""
        refused = isinstance(error, ConsumerRefused)
        wait = self._wait(attempts, refused=refused and settings.hook is None)
        remedy = str(getattr(error, "remedy", ""))
        self._note(
            label,
            trying=generation.number,
            attempts=attempts,
            error=str(error),
            remedy=remedy,
            failed_at=self._times.now,
            next_at=self._times.after(wait),
        )
        previous = self._way_back(label, generation)
        if isinstance(error, ConsumerRefused) and settings.chosen.on_failure is OnFailure.ROLLBACK and previous:
            raise _Refused(label, error, previous)
        self._tell(
            Event.DEPLOY_FAILED,
            _fields(label, generation) | {"REMEDY": remedy},
            serial=_serial(generation),
            target=label,
            reason=str(error),
            wait=short_wait(wait),
        )

    # ---- back, and forward again

    def _way_back(self, label: str, generation: Generation) -> Generation | None:
        """Return what the consumer confirmed before ``generation``, if it is older and can still be used."""
        number = self._record.of(label).generation
        found = self._credentials.find(number)
        return (
            found
            if found is not None and found.number < generation.number and self._credentials.usable(found)
            else None
        )

    def _roll_back(self, generation: Generation, refused: _Refused) -> None:
        """Bring the previous generation back to everybody, and remember to try the refused one again."""
        number = max(generation.number, self._record.held_back or 0)
        attempts = self._record.held_attempts + 1 if self._record.held_back == number else 1
        wait = self._wait(attempts, refused=True)
        self._record = replace(
            self._record,
            held_back=number,
            held_by=refused.label,
            held_error=str(refused.error),
            held_remedy=refused.error.remedy,
            held_attempts=attempts,
            held_until=self._times.after(wait),
        )
        self._file.save(self._record)
        self._switch(refused.previous)
        self._tell(
            Event.ROLLED_BACK,
            _fields(refused.label, refused.previous) | {"REMEDY": refused.error.remedy},
            serial=_serial(refused.previous),
            target=refused.label,
            reason=str(refused.error),
            wait=short_wait(wait),
        )
        self._record = replace(
            self._record, targets={label: replace(one, next_at=None) for label, one in self._record.targets.items()}
        )
        self._pass(refused.previous, ROLLED_BACK)

    def _forward(self, current: Generation) -> Generation:
        """Try a generation again that was held back, if it is time; return the one that everybody is to have.

        Who refused it is asked first, and nobody else is disturbed while the answer is no. A command is the exception:
        it may need what the consumers before it got.
        """
        held = self._credentials.find(self._record.held_back)
        if held is None or held.number <= current.number or not self._credentials.usable(held):
            if self._record.held_back is not None:
                self._release()
            return current
        if self._credentials.usable(current) and not self._job.again and not self._times.past(self._record.held_until):
            return current
        label = self._record.held_by
        settings = self._settings.get(label)
        if settings is not None and settings.hook is None:
            took = self._one(label, settings, held, RENEWED, again=False)
            if took is None and self._credentials.usable(current):
                return current
        self._switch(held)
        self._release()
        return held

    def _switch(self, generation: Generation) -> None:
        self._store.switch(generation)
        _stand_beside(generation, self._keys, self._reporter)

    def _release(self) -> None:
        self._record = self._record.released()
        self._file.save(self._record)

    # ---- the record

    def _due(self, label: str) -> bool:
        return self._job.again or self._times.past(self._record.of(label).next_at)

    def _backing_off(self, label: str, generation: Generation) -> bool:
        one = self._record.of(label)
        return one.trying == generation.number and one.attempts > 0 and not self._due(label)

    def _wait(self, attempts: int, *, refused: bool) -> float:
        """Return the seconds until the next attempt; soon where a certificate in use is about to end."""
        end = self._credentials.first_end({one.generation for one in self._record.targets.values()})
        return self._times.wait(attempts, refused=refused, before=end)

    def _note(self, label: str, **changes: object) -> None:
        self._record = self._record.having(label, **changes)
        self._file.save(self._record)


def _fields(label: str, generation: Generation) -> dict[str, str]:
    return {"CONSUMER": label, "CERTIFICATE_SERIAL": _serial(generation)}


def _serial(generation: Generation) -> str:
    return str(generation.description.get("serial", "?"))
