"""``enrollctl watch``: every identity, live, from the state on disk and the journal."""

from __future__ import annotations

import json
import select
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Final

import click

from agent import journal
from agent.cli import output
from agent.cli.choosing import chosen
from agent.cli.status import overview_table, troubles
from agent.config import load
from agent.control_client import listens
from agent.overview import Overview, look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.cli.main import Context
    from agent.settings import Settings

_KEPT: Final = 200
_FULL_SCREEN: Final = "\x1b[?1049h\x1b[?25l"
_BACK: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_CLEAR_LINE: Final = "\x1b[K"
_CLEAR_BELOW: Final = "\x1b[J"
_JOURNAL: Final = ("journalctl", "--identifier=enrolld", "--follow", "--lines=20", "--output=json", "--no-pager")


@click.command("watch")
@click.argument("name", required=False)
@click.option(
    "--interval", type=click.FloatRange(0.2, 60), default=1.0, show_default=True, help="Seconds between looks."
)
@click.pass_obj
def command(context: Context, name: str | None, *, interval: float) -> int:
    """Show every identity, or NAME, and what happens to it, until Ctrl-C.

    On a terminal the picture stays and changes; elsewhere, and without colour, each change is a line.
    """
    settings = load(context.config)
    names = [chosen(settings, name)] if name else list(settings.identities)
    picture = _Picture(settings, names) if output.styled(sys.stdout) else _Lines(settings, names)
    with picture, _journal() as entries, suppress(KeyboardInterrupt):
        while True:
            picture.show()
            picture.wait(interval, entries)
    return 0


class _Watched(AbstractContextManager[None], ABC):
    """What is looked at again and again; ``events`` are the last lines of the journal."""

    def __init__(self, settings: Settings, names: list[str]) -> None:
        self._settings = settings
        self._names = names
        self._events: deque[str] = deque(maxlen=_KEPT)

    def __exit__(self, *_: object) -> None:
        return

    def look(self) -> list[Overview]:
        known = self._settings.identities
        return [look(self._settings.state_directory, name, known[name]) for name in self._names]

    def wait(self, seconds: float, entries: IO[bytes] | None) -> None:
        """Sleep, but not through what happens."""
        if entries is None:
            time.sleep(seconds)
            return
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([entries], [], [], left)[0]:
            line = entries.readline()
            if not line:
                time.sleep(left)  # journalctl went away
                return
            self.hear(_event(line, self._names))

    def hear(self, event: str | None) -> None:
        if event is not None:
            self._events.append(event)

    @abstractmethod
    def show(self) -> None:
        """Look, and show what there is now."""


class _Picture(_Watched):
    """The whole terminal, painted anew at each look; what was there before comes back at the end."""

    def __enter__(self) -> None:
        sys.stdout.write(_FULL_SCREEN)

    def __exit__(self, *_: object) -> None:
        sys.stdout.write(_BACK)
        sys.stdout.flush()

    def show(self) -> None:
        rows = shutil.get_terminal_size((80, 24)).lines
        now = datetime.now(UTC)
        seen = self.look()
        head = f"{now:%H:%M:%S} UTC   {daemon_words(self._settings)}   (Ctrl-C ends)"
        lines = [head, "", *overview_table(seen, now).split("\n")]
        lines += [line for text in troubles(seen, now) for line in text.split("\n")]
        room = rows - len(lines) - 2
        if self._events and room > 0:
            events = [line for event in self._events for line in output.folded(event, sys.stdout).split("\n")]
            lines += ["", *events[-room:]]
        columns = output.width(sys.stdout)
        painted = "".join(f"{output.harmless(line)[:columns]}{_CLEAR_LINE}\r\n" for line in lines[: rows - 1])
        sys.stdout.write(_HOME + painted + _CLEAR_BELOW)
        sys.stdout.flush()


class _Lines(_Watched):
    """A line for each change, for pipes, logs and terminals that do not move the cursor."""

    def __init__(self, settings: Settings, names: list[str]) -> None:
        super().__init__(settings, names)
        self._before: dict[str, str] = {}

    def __enter__(self) -> None:
        output.say_now(f"{_clock()} {daemon_words(self._settings)}")

    def show(self) -> None:
        while self._events:
            output.say_now(output.folded(self._events.popleft(), sys.stdout))
        for one in self.look():
            words = _words(one)
            if self._before.get(one.name) != words:
                self._before[one.name] = words
                output.say_now(output.folded(f"{_clock()} {one.name}: {words}", sys.stdout))


def _words(one: Overview) -> str:
    parts = [one.state]
    if one.not_after is not None:
        parts.append(f"until {datetime.fromisoformat(one.not_after):%Y-%m-%d %H:%M} UTC")
    if one.last_error:
        parts.append(f"{one.last_error}; what to do: {output.sentence(one.remedy or '-')}")
    return ", ".join(parts)


def _clock() -> str:
    return f"{datetime.now(UTC):%H:%M:%S}"


def daemon_words(settings: Settings) -> str:
    """Say whether the daemon answers; when it does not, what to do."""
    return "enrolld runs" if listens(settings.runtime_directory) else "enrolld does not run: systemctl start enrolld"


@contextmanager
def _journal() -> Iterator[IO[bytes] | None]:
    """Follow the journal where there is one."""
    if not journal.available():
        yield None
        return
    try:
        process = subprocess.Popen(
            _JOURNAL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0, bufsize=0
        )
    except OSError:
        yield None
        return
    try:
        yield process.stdout
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _event(line: bytes, names: list[str]) -> str | None:
    """Return an entry of the journal as a line, if it is about one of the identities."""
    try:
        entry: dict[str, Any] = json.loads(line)
        when = datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1_000_000, UTC)
    except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError):
        return None
    if entry.get("IDENTITY", names[0] if names else "") not in names:
        return None
    about = f"{entry['IDENTITY']}: " if "IDENTITY" in entry else ""
    return f"{when:%H:%M:%S} {about}{entry.get('MESSAGE', '')}"
