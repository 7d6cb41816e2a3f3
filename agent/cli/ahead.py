"""Starting a worker before anything is read that says whether there is work for it.

A command that gets a certificate where no daemon runs loads click, then YAML and our settings, and reads the
configuration; its worker loads what speaks CMP. On two processors both happen at once. What is started here is a guess:
from the words of the command line, from a glance at the configuration, and from the socket of the daemon. A wrong one
is ended and costs time only, since the worker gets its job after everything was checked as ever. Paths are text here:
``pathlib`` is loaded while the worker is at it.
"""

from __future__ import annotations

import os
import re
import signal
import stat
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Final

from agent.cli.ownership import acting_as_owner, owner_of
from agent.errors import AgentError
from agent.supervisor.early import Early

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONFIG: Final = "/etc/enrolld/enrolld.yaml"
"""The configuration where none is named."""
INTERRUPTIONS: Final = frozenset({signal.SIGINT})
"""What comes from a terminal. It is held back while modules load, and let in by ``agent.cli.main``."""
_COMMANDS: Final = frozenset({"enroll", "renew", "refresh", "template"})
_NO_WORK: Final = frozenset({"--help", "-h", "--if-due"})
"""Words that mean that there is no work, or perhaps none."""
_ALONE: Final = frozenset({"template", "--start-over"})
"""Words that mean that no daemon is asked."""
_OPTION: Final = "--config"
_SOCKET: Final = "io.enrolld.control"
_LARGEST: Final = 1_048_576
_PLACE: Final = r"""^%s:[ \t]+["']?([^"'#\n]*[^"'#\s])["']?[ \t]*(?:#.*)?$"""
_STATE: Final = "state-directory", "/var/lib/enrolld"
_RUNTIME: Final = "runtime-directory", "/run/enrolld"


class Ahead(AbstractContextManager["Ahead"]):
    """A worker that was started for the owner of a state directory, if one was."""

    def __init__(self, worker: Early | None = None, owner: tuple[int, int] | None = None) -> None:
        """``owner`` is the user and group that it was made to be, None where it is who we are."""
        self._worker = worker
        self._owner = owner

    def __exit__(self, *_: object) -> None:
        """End it, unless it was given a job."""
        if self._worker is not None:
            self._worker.__exit__()

    def for_owner_of(self, directory: Path) -> Early | None:
        """Return it if it is who has to work in the state directory ``directory``."""
        return self._worker if self._owner == owner_of(directory) else None


def begin(arguments: Sequence[str]) -> Ahead:
    """Start a worker if the command line ``arguments`` will probably need one of its own."""
    # On one processor nothing happens at once, and a wrong guess would be paid for.
    if (config := _sought(arguments)) is None or len(os.sched_getaffinity(0)) == 1:
        return Ahead()
    # Whatever it is, the command meets it again and tells.
    with suppress(OSError, UnicodeDecodeError, AgentError):
        text = _glance(config)
        daemon = os.path.join(_place(_RUNTIME, text, config), _SOCKET)
        if not _ALONE.isdisjoint(arguments) or not os.path.lexists(daemon):
            state = _place(_STATE, text, config)
            owner = owner_of(state)
            with acting_as_owner(state):
                return Ahead(Early(), owner)
    return Ahead()


def _sought(arguments: Sequence[str]) -> str | None:
    """Return the configuration that a command which does a job would read; None for other commands."""
    config, words = CONFIG, list(arguments)
    while words and words[0].startswith(_OPTION):
        name, equals, value = words.pop(0).partition("=")
        if name != _OPTION or not (equals or words):
            return None
        config = value if equals else words.pop(0)
    fits = bool(words) and words[0] in _COMMANDS and _NO_WORK.isdisjoint(words)
    return config if fits else None


def _glance(config: str) -> str:
    """Return what is in the file, if it is one; opening a pipe does not wait for whoever writes into it."""
    descriptor = os.open(config, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileNotFoundError(config)
        return os.read(descriptor, _LARGEST).decode()
    finally:
        os.close(descriptor)


def _place(key: tuple[str, str], text: str, config: str) -> str:
    """Return the directory that a key at the top of the configuration probably names, or its default."""
    name, default = key
    found = re.search(_PLACE % name, text, re.MULTILINE)
    return os.path.join(os.path.dirname(config), found[1] if found else default)
