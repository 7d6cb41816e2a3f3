"""Start a worker, hear what it says, and say how it ended: crash, hang and rubbish included."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, Final

from agent import structure
from agent.contract import VERDICTS, Job, Outcome, Progress, Verdict
from agent.supervisor.signals import caught

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from agent.supervisor.secrets import Secrets

COMMAND: Final = (sys.executable, "-I", "-m", "agent.worker")
INTERRUPTED: Final = "interrupted"
"""The event of a :class:`Progress` of our own: we were asked to end, and the worker still has something to finish."""

_LONGEST_LINE: Final = 1_048_576
_READ_SIZE: Final = 65_536
_GRACE: Final = 5.0
"""Seconds between SIGTERM and SIGKILL."""


def run_worker(
    job: Job,
    secrets: Secrets,
    heard: Callable[[Progress], None],
    *,
    deadline: float,
    command: tuple[str, ...] = COMMAND,
) -> Outcome:
    """Run a worker for ``job`` in a process of its own and return how it ended; ``heard`` gets each progress.

    ``secrets`` travel by inherited pipes. After ``deadline`` seconds the worker is asked to end, then made to. SIGINT
    and SIGTERM ask it too: it finishes what is under way and leaves an open request on disk. A second one kills it.
    """
    with ExitStack() as pipes:
        job, descriptors = _with_pipes(job, secrets, pipes)
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=descriptors,
            process_group=0,  # Ctrl-C on the terminal reaches us alone, and it is we who tell the worker
        )
    child = _Child(process, heard)
    try:
        _give(process.stdin, json.dumps(structure.to_json(job)).encode("ascii"))
        child.watch(deadline)
    finally:
        child.end()
    return child.outcome(deadline)


class _Child:
    """A running worker, seen through its output and its end: it may end before its output does, or the other way."""

    def __init__(self, process: subprocess.Popen[bytes], heard: Callable[[Progress], None]) -> None:
        self._process = process
        self._heard = heard
        self._rest = b""
        self._said: Outcome | None = None
        self._rubbish = False
        self._requests = 0
        self._timed_out = False

    def watch(self, deadline: float) -> None:
        """Hear the worker until it has ended."""
        assert self._process.stdout is not None  # noqa: S101 - we asked for a pipe
        with ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            signals = stack.enter_context(caught(signal.SIGINT, signal.SIGTERM))
            exited = os.pidfd_open(self._process.pid)
            stack.callback(os.close, exited)
            os.set_blocking(self._process.stdout.fileno(), False)
            selector.register(self._process.stdout, selectors.EVENT_READ, self._read)
            selector.register(signals, selectors.EVENT_READ, self._interrupted)
            selector.register(exited, selectors.EVENT_READ)
            ends_at = time.monotonic() + deadline
            measures = iter((self._process.terminate, self._process.kill))
            while self._process.poll() is None:
                ready = selector.select(ends_at - time.monotonic())
                if time.monotonic() >= ends_at:
                    measure = next(measures, None)
                    if measure is None:
                        return  # it hangs in the kernel, where not even SIGKILL reaches it
                    measure()
                    self._timed_out = True
                    ends_at += _GRACE
                for key, _ in ready:
                    if key.data is not None and not key.data(key.fileobj):
                        selector.unregister(key.fileobj)
            self._read(self._process.stdout)  # what it said last

    def end(self) -> None:
        """Make sure that it is gone, as far as that can be: it is still there if something went wrong on our side."""
        for measure in (self._process.terminate, self._process.kill):
            if self._process.poll() is None:
                measure()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_GRACE)
        assert self._process.stdout is not None  # noqa: S101 - as above
        self._process.stdout.close()

    def outcome(self, deadline: float) -> Outcome:
        """Return how it ended."""
        status = self._process.returncode
        # What it said last counts even if it died after that: a token's library that crashes on its way out.
        if (
            self._said is not None
            and status is not None
            and (status < 0 or VERDICTS[self._said.verdict].worker == status)
        ):
            return self._said
        if self._timed_out or status is None:
            return Outcome(
                verdict=Verdict.TIMED_OUT,
                text=f"the worker did not finish within {deadline:.0f} seconds and was ended",
                remedy="Try again, nothing on disk was lost; if it repeats, look for a hanging disk or token.",
            )
        if status < 0 and self._requests:
            return Outcome(
                verdict=Verdict.FAILED,
                text="interrupted",
                remedy="Run the command again: nothing on disk was lost, and an open request goes on.",
            )
        return Outcome(
            verdict=Verdict.CRASHED,
            text=_how_it_died(status, said=self._said is not None),
            remedy="Try again, nothing on disk was lost and an open request goes on; if it repeats, report it.",
        )

    def _interrupted(self, signals: IO[bytes]) -> bool:
        for _ in signals.read(_READ_SIZE) or b"":
            self._requests += 1
            (self._process.terminate if self._requests == 1 else self._process.kill)()
        if self._requests == 1:
            text = "interrupted: finishing the message under way, so that nothing is lost; once more breaks it off"
            self._heard(Progress(event=INTERRUPTED, text=text))
        return True

    def _read(self, output: IO[bytes]) -> bool:
        """Take what there is to read, line by line; return whether more may come."""
        while True:
            try:
                octets = os.read(output.fileno(), _READ_SIZE)
            except BlockingIOError:
                return True
            *lines, self._rest = (self._rest + octets).split(b"\n")
            if len(self._rest) > _LONGEST_LINE or not octets:
                lines.append(self._rest)
                self._rest = b""
            for line in lines:
                if line:
                    self._hear(line)
            if not octets:
                return False

    def _hear(self, line: bytes) -> None:
        """Take one line; what is not ours is left aside."""
        try:
            document: Any = json.loads(line)
            if "outcome" in document:
                self._said = structure.from_json(Outcome, document["outcome"])
                return
            progress = structure.from_json(Progress, document["progress"])
        except (ValueError, TypeError, KeyError, RecursionError, structure.StructureError):
            if not self._rubbish:
                print(f"enrolld: the worker said something unexpected: {line[:200]!a}", file=sys.stderr)  # noqa: T201
            self._rubbish = True
        else:
            self._heard(progress)


def _believable(said: Outcome) -> Container[int | None]:
    """Return the exit statuses with which ``said`` is believed.

    Death by a signal is one of them, since it came later: libraries of tokens have crashed on their way out.
    """
    repeated = VERDICTS[said.verdict].worker
    return set() if repeated is None else {repeated, *range(-signal.NSIG, 0)}


def _how_it_died(status: int, *, said: bool) -> str:
    if status >= 0:
        return f"the worker ended with status {status} and {'another' if said else 'no'} outcome"
    try:
        name = signal.Signals(-status).name
    except ValueError:  # one of the real-time signals
        name = f"signal {-status}"
    return f"the worker was killed by {name}"


def _give(stream: IO[bytes] | None, octets: bytes) -> None:
    assert stream is not None  # noqa: S101 - we asked for a pipe
    try:
        with stream:
            stream.write(octets)
    except BrokenPipeError:
        pass  # it died at once; its exit status says why


def _with_pipes(job: Job, secrets: Secrets, pipes: ExitStack) -> tuple[Job, tuple[int, ...]]:
    """Return ``job`` with the descriptors of what it inherits, and these; ``pipes`` closes them here."""

    def pipe(secret: bytes) -> int:
        descriptor = _pipe_with(secret)
        pipes.callback(os.close, descriptor)
        return descriptor

    shared = None if secrets.shared is None else pipe(secrets.shared)
    pins = {name: pipe(pin) for name, pin in secrets.pins.items()}
    passwords = {source: pipe(password) for source, password in secrets.passwords.items()}
    together = (*pins.values(), *passwords.values(), *(() if shared is None else (shared,)))
    job = replace(job, secret_descriptor=shared, pin_descriptors=pins, password_descriptors=passwords)
    return job, together


def _pipe_with(secret: bytes) -> int:
    """Return the reading end of a pipe that holds ``secret``; it fits into the pipe's buffer."""
    reader, writer = os.pipe()
    try:
        os.write(writer, secret)
    finally:
        os.close(writer)
    return reader
