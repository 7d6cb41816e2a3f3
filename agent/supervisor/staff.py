"""Who does the work: starts a worker for a job on the loop, and calls back with its outcome."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from agent.contract import Action, Job, Outcome, Progress, Verdict
from agent.frozen import frozen
from agent.supervisor import forks
from agent.supervisor.children import COMMAND, Child
from agent.supervisor.forks import ForkServer
from agent.supervisor.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.supervisor.loop import Loop
    from agent.supervisor.secrets import Secrets

FAREWELL: Final = 60.0
"""Seconds that a worker has for the message under way when the daemon ends; systemd's own patience is 90."""

MANY: Final = 3
"""Jobs that wait at once from which on workers are forked: one process more to load, and each costs a tenth."""
_AGAIN: Final = 600.0
"""Seconds until a process that forks is tried again that could not be loaded, or was killed."""


@frozen
class Work:
    """A job that is being done."""

    action: Action
    tokens: frozenset[str]
    """The tokens that it may use."""
    ask_to_end: Callable[[], None]
    """Let it finish the message under way; called again, it is killed."""


class Staff:
    """Starts workers on a loop: each by exec, or, while many jobs wait, forked from one that has loaded everything."""

    def __init__(
        self, loop: Loop, *, command: tuple[str, ...] = COMMAND, forking: tuple[str, ...] = forks.COMMAND
    ) -> None:
        """``command`` starts a worker, ``forking`` what forks them."""
        self._loop = loop
        self._command = command
        self._forking = forking
        self._server: ForkServer | None = None
        self._no_server_before = -math.inf
        self.address_space: int | None = None
        """Octets of memory that a worker may address."""

    def ready_for(self, waiting: int, then: Callable[[], None]) -> bool:
        """Tell whether a job may be started now, ``waiting`` so many of them.

        Where many wait, what forks workers is loaded first, which takes as long as to start one worker: ``then`` is
        called when it is, or if it cannot be.
        """
        if self._server is not None:
            return self._server.ready
        if waiting < MANY or self._loop.now() < self._no_server_before:
            return True
        try:
            server = ForkServer(then, address_space=self.address_space, command=self._forking)
        except OSError:
            return True  # the start of the first worker meets the same, and tells

        def over() -> None:
            server.close()
            if not server.ready or server.process.status:  # it was killed, for want of memory perhaps
                self._no_server_before = self._loop.now() + _AGAIN  # what it said of that stands in the journal
            if self._server is server:
                self._server = None
                then()

        self._server = server
        Watch(self._loop, server, over)
        return False

    def close(self) -> None:
        """Let nothing be forked any more."""
        self._dismiss()

    def _dismiss(self, *, at_once: bool = False) -> None:
        if self._server is not None:
            self._server.dismiss(at_once=at_once)
            self._server = None

    def _server_for(self, job: Job) -> ForkServer | None:
        """Return what forks a worker for ``job``. The libraries of tokens are made for programs, and get one each."""
        if self._server is not None and self._server.address_space != self.address_space:
            self._dismiss()
        server = self._server
        return None if server is None or not server.ready or job.tokens else server

    def _child(self, job: Job, secrets: Secrets, heard: Callable[[Progress], None], deadline: float) -> Child:
        """Return a worker for ``job``: forked, or, where that cannot be done, started by exec."""

        def of(server: ForkServer | None) -> Child:
            limit, command = self.address_space, self._command
            return Child(job, secrets, heard, deadline=deadline, address_space=limit, command=command, server=server)

        if (server := self._server_for(job)) is not None:
            try:
                return of(server)
            except ConnectionError:  # it has just ended, having had nothing to do, or was killed
                self._dismiss(at_once=True)
                self._no_server_before = self._loop.now() + _AGAIN
            except OSError:
                pass  # if it is not the job, which may be too large, the start of a program meets the same, and tells
        return of(None)

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
            child = self._child(job, secrets, heard, deadline)
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
