"""Room on the disk, held while a message is out: whatever fills the disk meanwhile, its answer can be kept.

A certificate that cannot be written is lost, and the one-time secret is spent. So nothing is sent before there is room
for the largest answer that the caps let in: the snapshot with it beside the one without a generation, and that
generation. While the CA is undecided nothing is on its way to us, and the room is given back.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from agent.cmp.sizes import MAXIMUM_CERTIFICATE
from agent.store import pem
from agent.store.faults import reported

if TYPE_CHECKING:
    from agent.cmp.transaction import Transaction
    from agent.store.state import TransactionDirectory
    from agent.worker.keys import ChosenKey

_NAME: Final = "room"
_BLOCKS: Final = 65_536
"""Octets for the ends of blocks that files and directories leave empty: a dozen of them, and links and marks."""
_DESCRIPTION: Final = 6
"""Characters of JSON that an octet of a name in the certificate can take (``\\u0041``)."""


def needed(transaction: Transaction, key: ChosenKey) -> int:
    """Return how many octets the largest answer to the last message of ``transaction`` can take."""
    certificates = transaction.largest_credential
    generation = pem.largest(sum(certificates), len(certificates)) + _DESCRIPTION * MAXIMUM_CERTIFICATE
    if key.file is not None:
        with reported("read", key.file):
            generation += key.file.stat().st_size
    return 2 * transaction.largest_snapshot + generation + _BLOCKS


class Room:
    """The room of one open request."""

    def __init__(self, directory: TransactionDirectory) -> None:
        """Touch nothing yet."""
        self._directory = directory
        self._path = directory.path / _NAME
        self._held = True  # by a worker that was killed, perhaps

    def hold(self, size: int) -> None:
        """Hold at least ``size`` octets.

        Raises:
            StateError: when there is no room; then nothing must be sent.
        """
        self._directory.prepare()
        self._held = True
        with reported("hold room for the answer in", self._directory.path):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)

    def give_back(self) -> None:
        """Give it back: something is to be written into it, or nothing is awaited any more.

        Raises:
            StateError: when the disk does not let us.
        """
        if self._held:
            with reported("remove", self._path):
                self._path.unlink(missing_ok=True)
            self._held = False
