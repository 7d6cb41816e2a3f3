"""What a worker tells: one JSON line an event to whoever started it, and the same event to the journal."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from agent import journal, structure
from agent.contract import Outcome, Progress
from agent.events import Event, sentence

if TYPE_CHECKING:
    from collections.abc import Mapping


class Reporter:
    """Writes JSON lines to ``descriptor``; ``fields`` (journal names) go with every event."""

    def __init__(self, descriptor: int, fields: Mapping[str, str]) -> None:
        """Keep the descriptor and the fields every event carries (IDENTITY, AUTHORITY)."""
        self._descriptor = descriptor
        self._fields = dict(fields)
        self._unheard = False

    @property
    def unheard(self) -> bool:
        """Whether nobody listens any more: whoever started the worker is gone."""
        return self._unheard

    def tell(self, event: Event, fields: Mapping[str, str] | None = None, **words: str) -> None:
        """Report ``event``: ``words`` fill its sentence, ``fields`` are added to the journal entry."""
        text = sentence(event, words)
        together = self._fields | dict(fields or {})
        self._line("progress", Progress(event=event.value, text=text, fields=together))
        journal.send(event, text, together)

    def remember(self, **fields: str) -> None:
        """Add fields to every later event (CMP_TRANSACTION_ID, once it is known)."""
        self._fields |= fields

    def finish(self, outcome: Outcome) -> None:
        """Report the end of the job."""
        self._line("outcome", outcome)

    def _line(self, kind: str, document: Any) -> None:
        if self._unheard:
            return
        # Plain ASCII: the locale of either end does not matter.
        rest = json.dumps({kind: structure.to_json(document)}).encode("ascii") + b"\n"
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            # A certificate that is on its way here must not be lost because nobody watches.
            self._unheard = True
