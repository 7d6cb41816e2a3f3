"""Who does the work: starts a worker for a job on the loop, and calls back with its outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.contract import Action, Job, Outcome, Progress, Verdict
from agent.frozen import frozen
from agent.supervisor.children import COMMAND, Child
from agent.supervisor.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.supervisor.loop import Loop
    from agent.supervisor.secrets import Secrets

FAREWELL: Final = 60.0
"""Seconds that a worker has for the message under way when the daemon ends; systemd's own patience is 90."""


@frozen
class Work:
    """A job that is being done."""

    action: Action
    tokens: frozenset[str]
    """The tokens that it may use."""
    ask_to_end: Callable[[], None]
    """Let it finish the message under way; called again, it is killed."""


class Staff:
    """Starts workers on a loop."""

    def __init__(self, loop: Loop, *, command: tuple[str, ...] = COMMAND) -> None:
        """``command`` starts a worker."""
        self._loop = loop
        self._command = command
        self.address_space: int | None = None
        """Octets of memory that a worker may address."""

    def start(
        self,
        job: Job,
        secrets: Secrets,
        heard: Callable[[Progress], None],
        done: Callable[[Outcome], None],
        *,
        deadline: float,
    ) -> Work | None:
        """Start a worker for ``job``; ``heard`` gets its progress and ``done`` its outcome, once.

        None when it could not even be started: ``done`` was called then.
        """
        try:
            child = Child(
                job, secrets, heard, deadline=deadline, address_space=self.address_space, command=self._command
            )
        except OSError as error:
            done(
                Outcome(
                    verdict=Verdict.CRASHED,
                    text=f"no worker could be started: {error.strerror}",
                    remedy="Free memory, processes or open files; it is tried again.",
                )
            )
            return None

        def over() -> None:
            outcome = child.outcome()
            child.process.close()
            done(outcome)

        watch = Watch(self._loop, child, over)

        def ask_to_end() -> None:
            child.ask_to_end(within=FAREWELL)
            watch.hurry()

        return Work(job.action, frozenset(job.tokens), ask_to_end)
