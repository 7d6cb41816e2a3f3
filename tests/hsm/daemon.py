"""The daemon as a process of its own, for tests of what it does with a token."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.overview import Overview, look
from tests.hsm.conftest import TokenStation
from tests.station import ENVIRONMENT, asked, until

PATIENT = 60
"""Seconds to wait for what a busy machine takes its time for."""
DAEMON = "import sys; from agent.supervisor.main import main; sys.exit(main())"


@dataclass
class Enrolld:
    """A daemon at work."""

    station: TokenStation
    process: subprocess.Popen[str]

    @property
    def control(self) -> Path:
        return self.station.directory / "run" / "io.enrolld.control"

    @property
    def seen(self) -> Overview:
        return look(self.station.state, "ike")

    def said(self) -> str:
        return (self.station.directory / "said").read_text()

    def reload(self, times: int) -> None:
        """Have it read its configuration again, for the ``times``th time."""
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.said().count("was read anew") == times, seconds=PATIENT)

    def enroll(self) -> dict[str, Any]:
        """Have it try at once; return the outcome."""
        last = asked(self.control, "io.enrolld.control.Enroll", more=True, name="ike")[-1]
        outcome: dict[str, Any] = last["parameters"]["outcome"]
        return outcome


@contextmanager
def enrolld(station: TokenStation, script: str = DAEMON, prefix: tuple[str, ...] = ()) -> Iterator[Enrolld]:
    """Run the daemon, started by ``prefix``; it must be the same process that ends when it is told to."""
    (station.directory / "run").mkdir(mode=0o700)
    station.more["runtime-directory"] = "run"
    station.configure()
    with (station.directory / "said").open("w") as said:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", script, "--config", str(station.config)],
            stderr=said, stdin=subprocess.DEVNULL, text=True, env=ENVIRONMENT,
        )  # fmt: skip
        running = Enrolld(station, process)
        try:
            until(running.control.exists, seconds=PATIENT)
            yield running
            assert process.poll() is None, running.said()
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                status = process.wait(PATIENT)
            finally:
                process.kill()
        assert status == 0, running.said()
