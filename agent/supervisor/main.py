"""The program ``enrolld``: keeps every identity of the configuration alive until told to end.

Everything it knows is on disk, so it may be killed and started at any time. Waiting costs nothing: it sleeps until the
next identity needs something, at most a minute, so that a clock that was set is noticed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent import __version__
from agent.supervisor.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; return 0 after SIGTERM or SIGINT, 2 for a configuration that cannot be used."""
    parser = argparse.ArgumentParser(prog="enrolld", description="Keep certificates alive, unattended.")
    parser.add_argument("--config", type=Path, default=Path("/etc/enrolld/enrolld.yaml"), help="the configuration file")
    parser.add_argument("--version", action="version", version=f"enrolld {__version__}")
    options = parser.parse_args(arguments)
    reading = Reading(options.config)
    from agent.supervisor.daemon import Daemon  # noqa: PLC0415 - while the other process reads the configuration

    return Daemon(options.config, reading).run()


def run() -> None:
    """Be the program ``enrolld``."""
    sys.exit(main())


if __name__ == "__main__":
    run()
