"""The program ``enrollctl``: what can begin at once does, and only then the command line is loaded."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from agent import streams
from agent.cli import ahead


def run() -> NoReturn:
    """Run ``enrollctl`` as a process. Ctrl-C waits until there is somebody to tell what it means."""
    streams.demand()
    signal.pthread_sigmask(signal.SIG_BLOCK, ahead.INTERRUPTIONS)
    with ahead.begin(sys.argv[1:]) as worker:
        from agent.cli import main  # noqa: PLC0415 - click is slow to load

        main.run(worker)


if __name__ == "__main__":
    run()
