"""What one reading may spend: the input is anybody's, and a person waits for the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent.cmp.reading.items import Item
    from agent.cmp.reading.tlv import Value

SIZE: Final = 1_048_576
"""Octets that are read; the rest is only counted."""

NESTING: Final = 4
"""Messages within messages that are read in words."""


class NotUnderstood(Exception):
    """What stands at ``offset`` cannot be read; ``str()`` says why. Never leaves this package."""

    def __init__(self, offset: int, reason: str) -> None:
        """Keep where and why."""
        super().__init__(reason)
        self.offset = offset


@dataclass(slots=True)
class Session:
    """Counts down through one reading, whatever the number of messages in the input.

    ``values`` are tags read, ``outlined`` lines of bare structure, ``checks`` signatures verified, ``iterations``
    rounds of key derivation. ``message`` reads a PKIMessage inside another. ``secret`` is what MACs are checked with.
    """

    message: Callable[[str, Value, Session], Item]
    secret: bytes | None = None
    values: int = 20_000
    outlined: int = 400
    checks: int = 32
    iterations: int = 1_000_000
    depth: int = 0

    def spend(self, offset: int, values: int = 1) -> None:
        """Count values that cost time.

        Raises:
            NotUnderstood: when there is nothing left to spend.
        """
        if self.values < values:
            raise NotUnderstood(offset, "there is more in the input than is read at once")
        self.values -= values
