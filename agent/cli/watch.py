"""``enrollctl watch``: every identity, live, from enrolld or its files, and from the journal."""

from __future__ import annotations

import shutil
import sys
from abc import ABC, abstractmethod
from collections import deque
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from agent.cli import output, sight
from agent.cli.choosing import chosen
from agent.cli.status import overview_table, troubles
from agent.cli.watched_events import Events
from agent.config import load

if TYPE_CHECKING:
    from agent.cli.main import Context
    from agent.cli.sight import Sight
    from agent.overview import Overview
    from agent.settings import Settings

_KEPT: Final = 200
_FULL_SCREEN: Final = "\x1b[?1049h\x1b[?25l"
_BACK: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_CLEAR_LINE: Final = "\x1b[K"
_CLEAR_BELOW: Final = "\x1b[J"


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
    with (
        picture,
        Events(settings.runtime_directory, settings.state_directory, names) as events,
        suppress(KeyboardInterrupt),
    ):
        while True:
            picture.show()
            picture.events.extend(events.within(interval))
    return 0


class _Watched(AbstractContextManager[None], ABC):
    """What is looked at again and again; ``events`` are the last things that happened, a line each."""

    def __init__(self, settings: Settings, names: list[str]) -> None:
        self._settings = settings
        self._names = names
        self.events: deque[str] = deque(maxlen=_KEPT)

    def __exit__(self, *_: object) -> None:
        return

    def look(self, now: datetime) -> Sight:
        return sight.see(self._settings, self._names, now)

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
        found = self.look(now)
        seen = list(found.seen)
        head = f"{now:%H:%M:%S} UTC   {sight.words(found.daemon)}   (Ctrl-C ends)"
        lines = [head, "", *overview_table(seen, now, kept=found.kept).split("\n")]
        lines += [line for text in troubles(seen, now) for line in text.split("\n")]
        room = rows - len(lines) - 2
        if self.events and room > 0:
            events = [line for event in self.events for line in output.folded(event, sys.stdout).split("\n")]
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
        return

    def show(self) -> None:
        while self.events:
            output.say_now(output.folded(self.events.popleft(), sys.stdout))
        found = self.look(datetime.now(UTC))
        self._tell("", sight.words(found.daemon))
        for one in found.seen:
            self._tell(f"{one.name}: ", _words(one))

    def _tell(self, about: str, words: str) -> None:
        if self._before.get(about) != words:
            self._before[about] = words
            output.say_now(output.folded(f"{datetime.now(UTC):%H:%M:%S} {about}{words}", sys.stdout))


def _words(one: Overview) -> str:
    parts = [one.state]
    if one.not_after is not None:
        parts.append(f"until {datetime.fromisoformat(one.not_after):%Y-%m-%d %H:%M} UTC")
    if one.last_error:
        parts.append(f"{one.last_error}; what to do: {output.sentence(one.remedy or '-')}")
    return ", ".join(parts)
