"""Signals as something to read: a handler only makes a descriptor readable, and the loop does the rest."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


HEARD: set[int] = set()
"""Every signal that was caught so far: who was busy with something else when it came can see here that it did."""


@contextmanager
def caught(*numbers: signal.Signals) -> Iterator[IO[bytes]]:
    """Catch these signals for the block: yield a stream from which each gives one octet, its number.

    To be used in the main thread. The handlers from before are put back afterwards.
    """
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(reader, "rb", buffering=0) as stream:
        previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, lambda got, _: HEARD.add(got)) for number in numbers}
        try:
            yield stream
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous)
            os.close(writer)
