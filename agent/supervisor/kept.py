"""One identity as the daemon remembers it. All of it can be had from disk again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent.contract import Action

if TYPE_CHECKING:
    from datetime import datetime

    from agent.contract import Verdict
    from agent.supervisor.loop import Timer
    from agent.supervisor.staff import Work

REQUESTS: Final = frozenset({Action.ENROLL, Action.RENEW})
"""Jobs whose history is the identity's; the others have a plan of their own, which the worker writes."""
UNREADABLE: Final = "unreadable"


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

    def count(self, verdict: Verdict) -> None:
        """Take down how a request ended."""
        self.alike = self.alike + 1 if self.verdict is verdict else 1
        self.verdict = verdict


def kind(action: Action) -> str:
    """Return what is held back together: whatever asks for a certificate, and each of the others."""
    return "request" if action in REQUESTS else action.value
