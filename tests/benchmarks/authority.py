"""The lab CA as a peer: a process of its own that is asked over loopback and writes down every message."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.station import ENROLLCTL, REFERENCE, SECRET

_LAST_WORDS: Final = "every message served is one line from here on"
_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Authority:
    """A lab CA that runs: ``host`` with its port, ``path`` of the service, and where it keeps everything."""

    directory: Path
    host: str
    path: str

    @property
    def url(self) -> str:
        """Where to send messages."""
        return f"http://{self.host}/{self.path}"

    @property
    def root(self) -> Path:
        """Its root certificate."""
        return self.directory / "root.pem"

    @property
    def round_trips(self) -> int:
        """How many messages it has answered."""
        return served(_log(self.directory).read_text())


@contextmanager
def lab_ca(directory: Path) -> Iterator[Authority]:
    """Run a lab CA for the block; everybody shares the reference and the secret of :mod:`tests.station`."""
    command = [
        str(ENROLLCTL),
        "lab-ca",
        "--directory",
        str(directory),
        "--port",
        "0",
        "--secret",
        f"{REFERENCE}={SECRET}",
    ]
    with (
        _log(directory).open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            host, _, path = _address(process, _log(directory)).removeprefix("http://").partition("/")
            yield Authority(directory, host, path)
        finally:
            process.terminate()


def _log(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.log")


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    ends = time.monotonic() + _PATIENCE
    while _LAST_WORDS not in (said := log.read_text()):
        if process.poll() is not None or time.monotonic() > ends:
            raise RuntimeError(f"the lab CA does not start: {said}")
        time.sleep(0.02)
    return next(line for line in said.splitlines() if line.startswith("listening on ")).removeprefix("listening on ")


def served(log: str) -> int:
    """Return how many messages this output of ``enrollctl lab-ca`` tells of."""
    _, _, messages = log.partition(_LAST_WORDS)
    return len(messages.splitlines()[1:])
