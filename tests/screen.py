"""A terminal of a given size with somebody in front of it: tmux, on a socket of its own."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.station import ENVIRONMENT, until

SCREENS = Path(__file__).parents[1] / "docs" / "screens"
PLAIN = {"NO_COLOR": "1"}
_NUMBERS = itertools.count()


@dataclass
class Screen:
    """What a person sees and types. ``answers`` counts what was typed and ended with Enter."""

    socket: Path
    columns: int
    rows: int
    answers: int = 0
    seen: list[str] = field(default_factory=list)

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", str(self.socket), "-f", "/dev/null", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30, env=ENVIRONMENT)
        return done.stdout

    def shown(self) -> str:
        """What is on the screen now."""
        return self.tmux("capture-pane", "-p", "-t", "0").rstrip("\n")

    def scrolled(self) -> str:
        """All that was shown since the start, the screen included; lines that the terminal broke stay broken."""
        return self.tmux("capture-pane", "-p", "-S", "-", "-t", "0").rstrip("\n")

    def coloured(self) -> str:
        """What was shown, with escape sequences for colours."""
        return self.tmux("capture-pane", "-p", "-e", "-S", "-", "-t", "0")

    def wait_for(self, text: str, *, seconds: float = 60) -> str:
        """Wait until ``text`` is there, wherever lines were broken; return all that was shown."""

        def there() -> bool:
            return text in " ".join(self.scrolled().split())

        try:
            until(there, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{text!r} does not come; shown is:\n{self.scrolled()}") from error
        return self.scrolled()

    def type(self, text: str) -> None:
        """Type an answer and press Enter."""
        self.answers += 1
        if text:
            self.tmux("send-keys", "-t", "0", "-l", text)
        self.press("Enter")

    def press(self, key: str) -> None:
        self.tmux("send-keys", "-t", "0", key)

    def interrupt(self) -> None:
        """Press Ctrl-C once the program waits: a signal that comes just before a read is seen after it only."""
        stat = Path(f"/proc/{self.process()}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S")
        self.press("C-c")

    def ended(self) -> int:
        """Wait for the program to end; return its exit code."""
        until(lambda: self._status.exists() and self._status.read_text().endswith("\n"), seconds=60)
        return int(self._status.read_text())

    def process(self) -> int:
        """Return the process number of the program."""
        shell = self.tmux("list-panes", "-F", "#{pane_pid}").strip()
        children = Path(f"/proc/{shell}/task/{shell}/children")
        until(lambda: children.read_text().split())
        return int(children.read_text().split()[0])

    @property
    def _status(self) -> Path:
        return self.socket.with_name(f"{self.socket.name}-status")

    def assert_fits(self) -> None:
        """Nothing is wider than the terminal: no line was broken by it in the middle of a word."""
        for line in self.scrolled().splitlines():
            assert len(line) <= self.columns, line


@contextmanager
def screen(
    directory: Path,
    command: Sequence[str | Path],
    *,
    columns: int = 80,
    rows: int = 24,
    environment: Mapping[str, str] = ENVIRONMENT,
) -> Iterator[Screen]:
    """Run ``command`` on a terminal of this size."""
    one = Screen(directory / f"tmux-{next(_NUMBERS)}", columns, rows)
    variables = [f"{key}={value}" for key, value in environment.items()]
    line = f"{shlex.join(['env', *variables, *map(str, command)])}; echo $? >{one.socket.name}-status"
    # The pane stays when the program ends, and a long scroll-back keeps all that was shown.
    settings = (
        "set -g remain-on-exit on ; set -g history-limit 10000 ; set -g remain-on-exit-format '' ; set -g status off"
    )
    one.tmux(
        *("start-server", ";"), *shlex.split(settings), ";",
        "new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(directory), line,
    )  # fmt: skip
    try:
        yield one
    finally:
        one.tmux("kill-server")


def normal(text: str) -> list[str]:
    """Return lines without what is different in every run: numbers, digests, times, and how wide they are."""
    lines = (re.sub(r"\b[0-9a-f]*\d[0-9a-f]*\b", "N", line) for line in text.splitlines())
    return [" ".join(line.split()) for line in lines]
