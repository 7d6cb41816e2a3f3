"""The program ``enrolld``: keeps every identity of the configuration alive until told to end.

Everything it knows is on disk, so it may be killed and started at any time. Waiting costs nothing: it sleeps until the
next identity needs something, at most a minute, so that a clock that was set is noticed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent import __version__, cores, streams
from agent.supervisor.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

_CONFIG: Final = Path("/etc/enrolld/enrolld.yaml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; return 0 after SIGTERM or SIGINT, 2 for a configuration that cannot be used."""
    cores.prevent()
    path = _path(sys.argv[1:] if arguments is None else arguments)
    reading = Reading(path)
    from agent.supervisor.daemon import Daemon  # noqa: PLC0415 - while the other process reads the configuration

    return Daemon(path, reading).run()


def _path(arguments: Sequence[str]) -> Path:
    """Return the configuration file that is asked for; end the program where help or its version is."""
    match arguments:
        case []:
            return _CONFIG
        case ["--config", path] if not path.startswith("-"):
            return Path(path)
    from argparse import ArgumentParser  # noqa: PLC0415 - the two usual ways need none of it in memory

    parser = ArgumentParser(prog="enrolld", description="Keep certificates alive, unattended.")
    parser.add_argument("--config", type=Path, default=_CONFIG, help="the configuration file")
    parser.add_argument("--version", action="version", version=f"enrolld {__version__}")
    asked: Path = parser.parse_args(arguments).config
    return asked


def run() -> None:
    """Be the program ``enrolld``."""
    streams.demand()
    sys.exit(main())


if __name__ == "__main__":
    run()
