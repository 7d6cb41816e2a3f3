"""``python -I -m agent.worker.early DESCRIPTOR...``: a worker that is started before there is a job for it.

It loads what does a job, waits for one on standard input, and from then on is what ``python -I -m agent.worker`` is.
Where that ends without one there is nothing to do, and it leaves without a word. The descriptors are those that the job
may name, and the ones that it does not need are closed.
"""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from agent import cores
from agent.worker import __main__ as worker
from agent.worker import forking

if TYPE_CHECKING:
    from io import BufferedReader


def main(descriptors: list[int]) -> int:
    """Run the worker; return its exit code."""
    cores.prevent()
    with suppress(Exception):  # there may be no job; where there is one this happens again, and is reported
        forking.load()
    given = cast("BufferedReader", sys.stdin.buffer)
    if not given.peek(1):
        return 0
    _close_empty(descriptors)
    return worker.main()


def _close_empty(descriptors: list[int]) -> None:
    """Close those in which there is nothing: what is secret is written before the job."""
    poll = select.poll()
    for one in descriptors:
        poll.register(one, select.POLLIN)
    filled = {one for one, events in poll.poll(0) if events & select.POLLIN}
    for one in set(descriptors) - filled:
        os.close(one)


if __name__ == "__main__":
    worker.leave(main([int(one) for one in sys.argv[1:]]))
