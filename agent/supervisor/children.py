"""Start a worker, hear what it says, and say how it ended: crash, hang and rubbish included."""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING, Final

from agent import structure
from agent.contract import VERDICTS, Job, Outcome, Progress, Verdict
from agent.supervisor.hearing import Hearing
from agent.supervisor.process import Process
from agent.supervisor.signals import caught

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from agent.settings import TokenSettings
    from agent.supervisor.early import Early
    from agent.supervisor.forks import Forked, ForkServer
    from agent.supervisor.secrets import Secrets

COMMAND: Final = (sys.executable, "-I", "-m", "agent.worker")
INTERRUPTED: Final = "interrupted"
"""The event of a :class:`Progress` of our own: we were asked to end, and the worker still has something to finish."""

_GRACE: Final = 5.0
"""Seconds between SIGTERM and SIGKILL."""
_SIGNAL_OCTETS: Final = 64
_READS_AT_A_TIME: Final = 4
"""How often its output is read before others have their turn. What a dead worker left in the pipe is read by one."""
_MEBIBYTE: Final = 1 << 20
_LACKING_MEMORY: Final = frozenset({-signal.SIGABRT, -signal.SIGKILL, 1})
"""How a worker ends that can no longer say that it lacks memory: a library gives up, the kernel ends it, or Python
finds none to report even that."""


def run_worker(
    job: Job,
    secrets: Secrets,
    heard: Callable[[Progress], None],
    *,
    deadline: float,
    command: tuple[str, ...] = COMMAND,
    early: Early | None = None,
) -> Outcome:
    """Run a worker for ``job``, or let ``early`` do it, and return how that ended; ``heard`` gets each progress.

    This is for whoever has nothing else to do meanwhile. SIGINT and SIGTERM ask the worker to end: it finishes what is
    under way and leaves an open request on disk. A second one kills it.
    """
    with ExitStack() as stack:
        child = Child(job, secrets, heard, deadline=deadline, command=command, early=early)
        stack.callback(child.close)
        selector = stack.enter_context(selectors.DefaultSelector())
        signals = stack.enter_context(caught(signal.SIGINT, signal.SIGTERM))
        selector.register(signals, selectors.EVENT_READ, lambda: _interrupt(child, signals))
        selector.register(child.process.output, selectors.EVENT_READ, child.hear)
        selector.register(child.process.exited, selectors.EVENT_READ)
        while not child.over:
            for key, _ in selector.select(child.hurry(time.monotonic())):
                if key.data is not None and key.data() is False:
                    selector.unregister(key.fileobj)
        return child.outcome()


def _interrupt(child: Child, signals: IO[bytes]) -> None:
    for _ in signals.read(_SIGNAL_OCTETS) or b"":
        child.ask_to_end()


class Child:
    """A running worker, seen through its output and its end: it may end before its output does, or the other way."""

    def __init__(
        self,
        job: Job,
        secrets: Secrets,
        heard: Callable[[Progress], None],
        *,
        deadline: float,
        address_space: int | None = None,
        command: tuple[str, ...] = COMMAND,
        server: ForkServer | None = None,
        early: Early | None = None,
    ) -> None:
        """Start it with ``command``, have ``server`` fork it, or take ``early``. What is secret travels by pipes.

        After ``deadline`` seconds it is asked to end, then made to; ``address_space`` is in octets. Raise
        :class:`OSError` when it cannot be started.
        """
        self._heard = heard
        self._tokens = job.tokens
        self._deadline = deadline
        self._address_space = address_space
        self._acts_at = time.monotonic() + deadline
        self._measures = iter((signal.SIGTERM, signal.SIGKILL))
        self._hearing = Hearing(heard)
        self._requests = 0
        self._timed_out = False
        self._given_up = False
        with ExitStack() as pipes:
            if early is not None and not early.has_room(secrets.number):
                early = None
            job, descriptors = _with_pipes(job, secrets, partial(_pipe_with, pipes) if early is None else early.holding)
            given = json.dumps(structure.to_json(job)).encode("ascii")
            self.process: Process | Forked
            if server is not None:
                self.process = server.fork(given, descriptors)
            else:
                self.process = (early and early.give(given)) or Process(
                    command, given=given, inherited=descriptors, address_space=address_space
                )

    @property
    def over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.process.poll() is not None or self._given_up

    def hurry(self, now: float) -> float:
        """Take the next measure if its time has come; return the seconds to the one after it.

        ``now`` is on the monotonic clock.
        """
        if now >= self._acts_at and not self.over:
            measure = next(self._measures, None)
            self._timed_out = True
            self._acts_at = now + _GRACE
            if measure is None:
                self._given_up = True  # it hangs in the kernel, where not even SIGKILL reaches it
            else:
                self.process.signal(measure)
        return max(self._acts_at - now, 0.0)

    def ask_to_end(self, *, within: float | None = None) -> None:
        """Let it finish what is under way, ``within`` so many seconds; asked a second time, it is killed."""
        self._requests += 1
        if within is not None:
            self._acts_at = min(self._acts_at, time.monotonic() + within)
        self.process.signal(signal.SIGTERM if self._requests == 1 else signal.SIGKILL)
        if self._requests == 1:
            text = "interrupted: finishing the message under way, so that nothing is lost; once more breaks it off"
            self._heard(Progress(event=INTERRUPTED, text=text))

    def hear(self) -> bool:
        """Take what it has said, though not all that it goes on saying; return whether more may come."""
        for _ in range(_READS_AT_A_TIME):
            octets = self.process.read()
            if octets is None:
                break
            self._hearing.take(octets)
            if not octets:
                return False
        return True

    def close(self) -> None:
        """Make sure that it is gone, as far as that can be: it is still there if something went wrong on our side."""
        for measure in (signal.SIGTERM, signal.SIGKILL):
            if not self.over:
                self.process.signal(measure)
                with selectors.DefaultSelector() as selector:
                    selector.register(self.process.exited, selectors.EVENT_READ)
                    selector.select(_GRACE)
        self.process.close()

    def outcome(self) -> Outcome:
        """Return how it ended."""
        self.hear()  # what it said last
        said = self._hearing.said
        status = self.process.status
        if said is not None and status in _believable(said):
            return said
        if self._timed_out or status is None:
            return Outcome(
                verdict=Verdict.TIMED_OUT,
                text=f"the worker did not finish within {self._deadline:.0f} seconds and was ended",
                remedy="Try again, nothing on disk was lost; if it repeats, look for a hanging disk"
                + (f" or token: {_in_words(self._tokens)}." if self._tokens else "."),
            )
        if status < 0 and self._requests:
            return Outcome(
                verdict=Verdict.FAILED,
                text="interrupted",
                remedy="Run the command again: nothing on disk was lost, and an open request goes on.",
            )
        return Outcome(
            verdict=Verdict.CRASHED,
            text=_how_it_died(status, said=said is not None),
            remedy="Try again, nothing on disk was lost and an open request goes on; if it repeats, "
            + self._suspicion(status, said=said is not None),
        )

    def _suspicion(self, status: int, *, said: bool) -> str:
        """Return what to do about a death that repeats."""
        module = f"suspect the module of {_in_words(self._tokens)}" if self._tokens else "report it"
        if self._address_space is None or said or status not in _LACKING_MEMORY:
            return f"{module}."
        present = f"it may address {self._address_space // _MEBIBYTE} MiB now"
        return f"raise worker-memory, under daemon in the configuration ({present}); if that does not help, {module}."


def _believable(said: Outcome) -> Container[int | None]:
    """Return the exit statuses with which ``said`` is believed.

    Death by a signal is one of them, since it came later: libraries of tokens have crashed on their way out.
    """
    repeated = VERDICTS[said.verdict].worker
    return set() if repeated is None else {repeated, *range(-signal.NSIG, 0)}


def _in_words(tokens: Mapping[str, TokenSettings]) -> str:
    """Name the tokens with the modules that were loaded into the worker for them: third-party code, the usual cause."""
    return ", ".join(f"the token {name} ({token.module})" for name, token in sorted(tokens.items()))


def _how_it_died(status: int, *, said: bool) -> str:
    if status >= 0:
        return f"the worker ended with status {status} and {'another' if said else 'no'} outcome"
    try:
        name = signal.Signals(-status).name
    except ValueError:  # one of the real-time signals
        name = f"signal {-status}"
    return f"the worker was killed by {name}"


def _with_pipes(job: Job, secrets: Secrets, pipe: Callable[[bytes], int]) -> tuple[Job, tuple[int, ...]]:
    """Return ``job`` with the descriptors of what it inherits, and these; each is what ``pipe`` gives for a secret."""
    shared = None if secrets.shared is None else pipe(secrets.shared)
    pins = {name: pipe(pin) for name, pin in secrets.pins.items()}
    passwords = {source: pipe(password) for source, password in secrets.passwords.items()}
    together = (*pins.values(), *passwords.values(), *(() if shared is None else (shared,)))
    job = replace(job, secret_descriptor=shared, pin_descriptors=pins, password_descriptors=passwords)
    return job, together


def _pipe_with(pipes: ExitStack, secret: bytes) -> int:
    """Return the reading end of a pipe that holds ``secret``, until ``pipes`` closes it; it fits into its buffer."""
    reader, writer = os.pipe()
    pipes.callback(os.close, reader)
    try:
        os.write(writer, secret)
    finally:
        os.close(writer)
    return reader
