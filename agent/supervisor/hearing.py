"""What a worker says, line by line: progress, its outcome, and rubbish, which is left aside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from agent import journal, structure
from agent.contract import Outcome, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_LINE: Final = 1_048_576


class Hearing:
    """Takes octets as they come. ``said`` is the last outcome among them."""

    def __init__(self, heard: Callable[[Progress], None]) -> None:
        """``heard`` gets each progress."""
        self._heard = heard
        self._rest = b""
        self._rubbish = False
        self.said: Outcome | None = None

    def take(self, octets: bytes) -> None:
        """Take what came; nothing at all is the end, and ends the last line."""
        *lines, self._rest = (self._rest + octets).split(b"\n")
        if len(self._rest) > _LONGEST_LINE or not octets:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            if line:
                self.take_line(line)

    def take_line(self, line: bytes) -> None:
        """Take one line; what is not ours is left aside."""
        try:
            document: Any = json.loads(line)
            if "outcome" in document:
                self.said = structure.from_json(Outcome, document["outcome"])
                return
            progress = structure.from_json(Progress, document["progress"])
        except (ValueError, TypeError, KeyError, RecursionError, structure.StructureError):
            if not self._rubbish:
                journal.say(f"the worker said something unexpected: {line[:200]!a}")
            self._rubbish = True
        else:
            self._heard(progress)
