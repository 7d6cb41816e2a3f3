"""The steps of a job, shown while they happen."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime
from typing import Any, Self

from agent import journal
from agent.cli import output


class Steps:
    """Shows the steps of a job as they happen: a moving line on a terminal, plain lines with the time elsewhere."""

    def __init__(self, name: str) -> None:
        """Keep what the steps are about (the identity)."""
        self._name = name
        self._live: Any = None

    def __enter__(self) -> Self:
        """Begin; on a terminal a line starts to move."""
        self._context: AbstractContextManager[Any] = nullcontext()
        if output.styled(sys.stderr):
            from rich.console import Console  # noqa: PLC0415 - slow to import, only for terminals

            self._context = Console(stderr=True, highlight=False).status(f"{self._name}: starting")
        self._live = self._context.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        """End the moving line."""
        self._context.__exit__(None, None, None)

    def step(self, text: str) -> None:
        """Show one step. That nobody can see it does not stop the work.

        Where standard error goes to the journal, the worker has written the step there already, with its fields.
        """
        if journal.leads_to_journal(sys.stderr):
            return
        text = output.shown(text)
        line = f"{datetime.now().astimezone():%H:%M:%S} {self._name}: {output.harmless(text)}"
        with suppress(BrokenPipeError):
            if self._live is None:
                sys.stderr.write(output.folded(line, sys.stderr) + "\n")
                sys.stderr.flush()
                return
            from rich.text import Text  # noqa: PLC0415 - slow to import, only for terminals

            self._live.console.print(Text(output.folded(line, sys.stderr)), soft_wrap=True)
            self._live.update(Text(output.cut(f"{self._name}: {output.harmless(text)}", output.width(sys.stderr) - 4)))
