"""``python -I -m agent.worker.early DESCRIPTOR...``: a worker that is started before there is a job for it.

It loads what does a job, waits for one on standard input, and from then on is what ``python -I -m agent.worker`` is.
Where that ends without one there is nothing to do, and it leaves without a word. The descriptors are those that the job
may name; what it starts itself does not get the ones that were not needed.
"""

from __future__ import annotations

import fcntl
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
    for one in descriptors:
        fcntl.fcntl(one, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    with suppress(Exception):  # there may be no job; where there is one this happens again, and is reported
        forking.load()
    given = cast("BufferedReader", sys.stdin.buffer)
    return worker.main() if given.peek(1) else 0


if __name__ == "__main__":
    worker.leave(main([int(one) for one in sys.argv[1:]]))
