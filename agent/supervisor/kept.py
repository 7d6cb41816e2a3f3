"""One identity as the daemon remembers it. All of it can be had from disk again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent.contract import Action
from agent.frozen import frozen

if TYPE_CHECKING:
    from datetime import datetime

    from agent.contract import Job, Outcome, Verdict
    from agent.supervisor.loop import Timer
    from agent.supervisor.staff import Work

REQUESTS: Final = frozenset({Action.ENROLL, Action.RENEW})
"""Jobs whose history is the identity's; the others have a plan of their own, which the worker writes."""
UNREADABLE: Final = "unreadable"


@frozen
class Owed:
    """What is still to be done after a job that has ended, because the disk did not let us."""

    job: Job
    outcome: Outcome
    unwritten: bool
    """Whether its failure is missing in the history."""


@dataclass(slots=True)
class Kept:
    """What is going on with one identity."""

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
    """By kind of job (:func:`kind`), the moment of the loop's clock before which there is none."""
    by_person: bool = False
    """Whether it waits for a person."""
    hurried: bool = False
    """Whether the time on disk for its next request does not count: a person may have done what it waited for."""
    woken: bool = False
    """Whether that was so while its job ran: what the job lacked may be there now."""
    ordered: bool = False
    """Whether a person asked for the job that waits for a worker."""
    again: bool = False
    """Whether he wants it although the certificate is good."""
    refused_pins: int | None = None
    """What the PINs hashed to that a token refused: no worker is started with them before they change."""
    owed: Owed | None = None
    """No job is started while what follows from the last one cannot be written down."""
    alike: dict[str, tuple[Verdict, int]] = field(default_factory=dict)
    """By kind of job, how the last one ended, and how many in a row did so."""
    in_vain: int = 0
    """How many jobs in a row ended well and changed nothing."""
    warned: tuple[str, str] | None = None
    """The last warning of an end: its event, and the end."""
    trouble: str = ""
    """Why its directory can be read or written no longer, so that it is told once."""
    remedy: str = ""
    """What a person does about that."""

    def count(self, action: Action, verdict: Verdict) -> None:
        """Take down how a job ended."""
        before, times = self.alike.get(kind(action), (None, 0))
        self.alike[kind(action)] = verdict, times + 1 if before is verdict else 1

    def times(self, action: Action) -> int:
        """Return how many jobs of this kind ended alike in a row."""
        return self.alike[kind(action)][1]


def kind(action: Action) -> str:
    """Return what is held back together: whatever asks for a certificate, and each of the others."""
    return "request" if action in REQUESTS else action.value
