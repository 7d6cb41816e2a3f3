"""A worker's desk without the worker's process: jobs against the lab CA over HTTP, with what they told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent.contract import Action, Job, Outcome
from agent.events import EVENTS, Event
from agent.labca import LabCa
from agent.settings import AuthoritySettings, BootstrapSettings, IdentitySettings, MacSettings, SharedSecretSettings
from agent.store.generations import Generation, IdentityStore
from agent.worker.enrollment import perform
from agent.worker.environment import Environment
from agent.worker.reporting import Reporter

SECRET = b"one-time-secret"
SUBJECT = "CN=enb-4711,O=Operator"


class Died(BaseException):
    """The worker died here: nothing after this point happened."""


class Ear(Reporter):
    """A reporter that also acts on what it is told, before it is passed on."""

    def __init__(self, descriptor: int, on_event: Callable[[str], None]) -> None:
        super().__init__(descriptor, {"IDENTITY": "ike"})
        self._on_event = on_event

    def tell(self, event: Event, fields: Any = None, **words: str) -> None:
        missing = EVENTS[event].fields - (self._fields | (fields or {})).keys()
        assert not missing, f"{event} is reported without {missing}"
        self._on_event(event.value)
        super().tell(event, fields, **words)


@dataclass
class Desk:
    """One identity at one CA. Sleeping takes no time here, but is written down, and the clock goes on by it."""

    ca: LabCa
    job: Job
    slept: list[float] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    """Progress of the last job."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    known_time: datetime | None = None
    late: float = 0.0
    """Seconds by which the clock is ahead of the real one."""
    interrupted: bool = False
    on_event: Callable[[str], None] = lambda _: None
    on_sleep: Callable[[], None] = lambda: None

    def do(self, action: Action = Action.ENROLL, *, secret: bytes | None = SECRET, **changes: Any) -> Outcome:
        """Do a job and return how it ended."""
        descriptor = os.memfd_create("told")
        with os.fdopen(descriptor, "rb") as told:
            try:
                return perform(
                    replace(self.job, action=action, **changes),
                    secret,
                    Ear(descriptor, self.on_event),
                    self.environment(),
                )
            finally:
                told.seek(0)
                self.told = [json.loads(line)["progress"] for line in told]

    def environment(self) -> Environment:
        def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            self.late += seconds
            self.on_sleep()

        return Environment(
            now=lambda: self.clock() + timedelta(seconds=self.late),
            monotonic=lambda: self.late,
            sleep=sleep,
            interrupted=lambda: self.interrupted,
            known_time=self.known_time,
        )

    @property
    def events(self) -> list[str]:
        return [one["event"] for one in self.told]

    @property
    def texts(self) -> str:
        return "\n".join(one["text"] for one in self.told)

    @property
    def sent(self) -> list[str]:
        """The messages that were sent."""
        return [one["fields"]["CMP_MESSAGE"] for one in self.told if one["event"] == "sent"]

    @property
    def store(self) -> IdentityStore:
        return IdentityStore(self.job.state_directory, "ike")

    @property
    def current(self) -> Generation | None:
        """The credential in use."""
        return self.store.current

    def enrolled(self) -> bool:
        """Whether any credential is in use."""
        return self.current is not None

    def credential(self) -> dict[str, bytes]:
        """The credential in use, byte for byte."""
        current = self.store.current
        assert current is not None
        return {path.name: path.read_bytes() for path in current.path.iterdir()}

    def configure(self, *, identity: dict[str, Any] | None = None, **authority: Any) -> None:
        """Change settings of the authority, or of the identity."""
        self.job = replace(
            self.job,
            authority=replace(self.job.authority, **authority),
            identity=replace(self.job.identity, **(identity or {})),
        )


def desk_at(ca: LabCa, root: Path, state: Path) -> Desk:
    """Return a desk with a state directory of its own."""
    state.mkdir(mode=0o700)
    identity = IdentitySettings(
        authority="lab",
        subject=SUBJECT,
        alternative_names=("dns:enb-4711.example",),
        bootstrap=BootstrapSettings(shared_secret=SharedSecretSettings(reference="enb", secret="prompt")),
    )
    job = Job(
        action=Action.ENROLL,
        name="ike",
        identity=identity,
        authority=AuthoritySettings(urls=(ca.url,), trust_anchors=(root,), mac=MacSettings(iterations=100)),
        state_directory=state,
        patience=60,
    )
    return Desk(ca, job)
