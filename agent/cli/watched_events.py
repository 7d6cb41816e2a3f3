"""What happens to identities, a line each, while it happens: from the journal, or from enrolld where there is none."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import time
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from agent import journal
from agent.control_client import connect
from agent.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from agent.control_client import Client

_JOURNAL: Final = ("journalctl", "--follow", "--lines=20", "--output=json", "--no-pager")
_READ_SIZE: Final = 65_536


class _Source(Protocol):
    """Where events come from; it becomes readable when there are some."""

    def fileno(self) -> int: ...

    def lines(self) -> Iterable[str] | None:
        """Return what has come; None when nothing more will."""


class Events(AbstractContextManager["Events"]):
    """The events of some identities. Where nothing tells of them, only time passes."""

    def __init__(self, directory: Path, state_directory: Path, names: list[str]) -> None:
        """``directory`` is enrolld's runtime directory."""
        self._directory = directory
        self._state_directory = state_directory
        self._names = names
        self._stack = ExitStack()
        self._source: _Source | None = None

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._source = self._found()
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self._stack.close()

    def within(self, seconds: float) -> Iterator[str]:
        """Sleep for ``seconds``, but yield what happens meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._source is None:
                time.sleep(left)
                self._source = self._found()  # enrolld may have been started meanwhile
            elif select.select([self._source], [], [], left)[0]:
                lines = self._source.lines()
                if lines is None:
                    self._stack.close()
                    self._source = None
                else:
                    yield from lines

    def _found(self) -> _Source | None:
        if journal.available():
            try:
                return _Journal(self._stack, self._state_directory, self._names)
            except OSError:  # no journalctl
                return None
        try:
            client = connect(self._directory) if self._directory.is_dir() else None
            if client is None:
                return None
            self._stack.enter_context(client).subscribe()
        except ControlError:
            return None
        return _Daemon(client, self._names)


class _Journal:
    """``journalctl --follow``."""

    def __init__(self, stack: ExitStack, state_directory: Path, names: list[str]) -> None:
        self._names = names
        self._rest = b""
        self._process = subprocess.Popen(
            (*_JOURNAL, *journal.query(state_directory)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
            bufsize=0,
        )
        stack.callback(self._end)

    def fileno(self) -> int:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe, as asked for
        return self._process.stdout.fileno()

    def lines(self) -> list[str] | None:
        assert self._process.stdout is not None  # noqa: S101 - as above
        octets = self._process.stdout.read(_READ_SIZE)
        if not octets:
            return None
        *whole, self._rest = (self._rest + octets).split(b"\n")
        return [line for entry in whole if (line := of_entry(entry, self._names)) is not None]

    def _end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


class _Daemon:
    """What enrolld tells its subscribers."""

    def __init__(self, client: Client, names: list[str]) -> None:
        self._client = client
        self._names = names

    def fileno(self) -> int:
        return self._client.fileno()

    def lines(self) -> list[str] | None:
        try:
            told = self._client.heard()
        except (ControlError, OSError):
            return None
        now = datetime.now(UTC)
        about = ((one.fields.get("IDENTITY"), one.text) for one in told)
        return [
            f"{now:%H:%M:%S} {text if name is None else f'{name}: {text}'}"
            for name, text in about
            if name is None or name in self._names
        ]


def of_entry(entry: bytes, names: list[str]) -> str | None:
    """Return an entry of the journal as a line, if it is about one of the identities; it names it itself."""
    try:
        found: dict[str, Any] = json.loads(entry)
        when = datetime.fromtimestamp(int(found["__REALTIME_TIMESTAMP"]) / 1_000_000, UTC)
    except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError):
        return None
    if "IDENTITY" in found and found["IDENTITY"] not in names:
        return None
    return f"{when:%H:%M:%S} {found.get('MESSAGE', '')}"
