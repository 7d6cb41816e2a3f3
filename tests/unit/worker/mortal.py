"""Workers that are killed by SIGKILL at their n-th effect: one clean process that forks a worker for every job.

Run as a program it reads a JSON line a job, forks, and writes a line about the end (:class:`End`). An effect is a
system call after which somebody else, on disk or in the network, can see a difference; it is counted before it happens.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent import structure
from agent.contract import Job
from agent.worker.enrollment import perform
from agent.worker.environment import Environment
from agent.worker.reporting import Reporter

ON_THE_DISK: Final = ("replace", "rename", "link", "symlink", "unlink", "rmdir", "posix_fallocate")
IN_THE_NETWORK: Final = ("connect", "send", "recv")
VISIBLE: Final = (*ON_THE_DISK, *IN_THE_NETWORK)
EVERY: Final = ("fsync", *VISIBLE)
"""A killed process loses nothing that was written, so an fsync changes nothing that the next one could see."""


@dataclass(frozen=True)
class End:
    """How a worker ended: after how many effects, and with which verdict if it was not killed."""

    died: bool
    effects: int
    verdict: str = ""
    text: str = ""
    effect: str = ""
    """Before what it died, as ``replace snapshot.json``."""


class Mortality:
    """The program above, seen from a test."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Talk to ``process`` by its pipes."""
        self._process = process

    def do(self, job: Job, secret: bytes, told: Path, *, effects: tuple[str, ...] = EVERY, dies_at: int = 0) -> End:
        """Do ``job`` in a process of its own; what it tells is added to ``told``.

        It dies just before number ``dies_at`` of ``effects``; 0: it does not.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        document = {
            "job": structure.to_json(job),
            "secret": secret.decode(),
            "told": str(told),
            "effects": effects,
            "dies_at": dies_at,
        }
        self._process.stdin.write(json.dumps(document).encode() + b"\n")
        self._process.stdin.flush()
        return End(**json.loads(self._process.stdout.readline()))


@contextmanager
def mortality() -> Iterator[Mortality]:
    """Run the program for the length of a ``with`` block."""
    with subprocess.Popen([sys.executable, "-P", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Mortality(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _watch(effects: list[str], count: Iterator[int], dies_at: int, report: int) -> None:
    # Nobody cuts the power here, and real disks are slow.
    setattr(os, "fsync", lambda _: None)  # noqa: B010 - as below
    for name in effects:
        owner: Any = socket.socket if name in IN_THE_NETWORK else os
        setattr(owner, name, _watched(name, getattr(owner, name), count, dies_at, report))


def _watched(
    name: str, effect: Callable[..., Any], count: Iterator[int], dies_at: int, report: int
) -> Callable[..., Any]:
    def watched(*arguments: Any, **options: Any) -> Any:
        if next(count) == dies_at:
            end = {"died": True, "effects": dies_at, "effect": _described(name, arguments)}
            os.write(report, json.dumps(end).encode())
            os.kill(os.getpid(), signal.SIGKILL)
        return effect(*arguments, **options)

    return watched


def _described(effect: str, arguments: tuple[Any, ...]) -> str:
    """Name an effect and the file it changes; descriptors are followed to their files."""
    if effect in IN_THE_NETWORK:
        return effect.removesuffix("_into")
    last = arguments[1] if effect in _TWO else arguments[0]
    path = Path(f"/proc/self/fd/{last}").readlink() if isinstance(last, int) else Path(os.fsdecode(last))
    name = "a temporary file" if path.suffix == ".tmp" or path.name.startswith(".") else path.name
    return f"{effect} {name}"


_TWO: Final = frozenset({"replace", "rename", "link", "symlink"})
"""They make what their second argument names."""


def _live(document: dict[str, Any], report: int) -> None:
    """Be a worker."""
    count = itertools.count(1)
    told = os.open(document["told"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    environment = Environment(sleep=lambda _: None)  # it is always time to ask again
    _watch(document["effects"], count, document["dies_at"], report)
    job = structure.from_json(Job, document["job"])
    outcome = perform(job, document["secret"].encode(), Reporter(told, {}), environment)
    end = {"died": False, "effects": next(count) - 1, "verdict": outcome.verdict.value, "text": outcome.text}
    os.write(report, json.dumps(end).encode())


def _fork(document: dict[str, Any]) -> bytes:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            _live(document, writer)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    died = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return said or json.dumps({"died": died, "effects": document["dies_at"]}).encode()


def main() -> None:
    """Fork a worker for every line that comes."""
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(_fork(json.loads(line)) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
