"""What the daemon reports, and who listens: the journal, standard error, and clients of the control socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import journal
from agent.events import Event, sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.contract import Progress


class Teller:
    """Reports events of the daemon's own, and passes on those of workers."""

    def __init__(self) -> None:
        """Nobody listens yet."""
        self.listeners: list[Callable[[str, str, Mapping[str, str]], None]] = []
        """Called with event, sentence and fields."""

    def tell(self, event: Event, fields: Mapping[str, str] | None = None, /, **words: str) -> None:
        """Report ``event``; ``words`` fill its sentence."""
        journal.report(event, fields, **words)
        self._pass_on(event.value, sentence(event, words), fields or {})

    def repeat(self, progress: Progress) -> None:
        """Show what a worker reported; it has told the journal itself."""
        journal.repeat(progress.text, progress.fields)
        self._pass_on(progress.event, progress.text, progress.fields)

    def say(self, text: str) -> None:
        """Write a line that is no event."""
        journal.say(text)

    def _pass_on(self, event: str, text: str, fields: Mapping[str, str]) -> None:
        for listener in tuple(self.listeners):
            listener(event, text, fields)
