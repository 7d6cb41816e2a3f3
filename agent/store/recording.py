"""The last transactions of an identity, message by message, for a support bundle: only where the configuration says so.

::

    identities/<name>/recorded/
        000007-<transactionID>/01-sent.der, 02-received.der ...

What is kept has no MAC in it (``agent.cmp.redaction``, applied by whoever records). It is bounded three ways: so many
transactions, so many octets together, so many a message.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from agent.store import atomic
from agent.store.faults import reported

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY: Final = "recorded"
_LARGEST: Final = 262_144
"""Octets of one message; of a longer one the beginning would not be readable either."""
_NAME: Final = re.compile(r"([0-9]{6})-([0-9a-f]{2,64})", re.ASCII)


class Recordings:
    """What is recorded for the identity that lives in ``directory``; whoever writes holds its lock."""

    def __init__(self, directory: Path) -> None:
        """Keep where it is; nothing is touched."""
        self.path = directory / DIRECTORY

    @property
    def transactions(self) -> tuple[Path, ...]:
        """The directory of each transaction, oldest first. Raise :class:`agent.errors.StateError`."""
        with reported("read", self.path):
            names = [one.name for one in self.path.iterdir()] if self.path.is_dir() else []
        return tuple(self.path / name for name in sorted(names) if _NAME.fullmatch(name))

    def messages(self, transaction: Path) -> tuple[Path, ...]:
        """The messages of one transaction in their order."""
        with reported("read", transaction):
            return tuple(sorted(one for one in transaction.iterdir() if one.suffix == ".der"))

    def add(self, transaction_id: bytes, direction: str, octets: bytes, *, transactions: int, maximum: int) -> None:
        """Keep one message (``sent`` or ``received``), and forget the oldest transactions beyond the bounds.

        What finds no room even so is left out.

        Raises:
            StateError: the disk does not let us.
        """
        if transactions < 1 or len(octets) > min(_LARGEST, maximum):
            return
        place = self._place(transaction_id)
        if self._make_room(transactions, maximum - len(octets), keep=place):
            number = len(self.messages(place)) + 1
            atomic.write_file(place / f"{number:02d}-{direction}.der", octets)

    def _place(self, transaction_id: bytes) -> Path:
        atomic.make_directory(self.path)
        known = self.transactions
        for one in known:
            if one.name.endswith(f"-{transaction_id.hex()}"):
                return one
        number = int(known[-1].name[:6]) + 1 if known else 1
        place = self.path / f"{number % 1_000_000:06d}-{transaction_id.hex()}"
        atomic.make_directory(place)
        return place

    def _make_room(self, transactions: int, maximum: int, *, keep: Path) -> bool:
        """Forget the oldest transactions; tell whether there is room then."""
        known = list(self.transactions)
        for oldest in self.transactions:
            if oldest == keep or (len(known) <= transactions and self._size(known) <= maximum):
                break
            atomic.remove_tree(oldest)
            known.remove(oldest)
        return self._size(known) <= maximum

    def _size(self, known: list[Path]) -> int:
        return sum(message.stat().st_size for one in known for message in self.messages(one))
