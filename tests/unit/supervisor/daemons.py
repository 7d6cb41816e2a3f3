"""``enrolld`` as a process for tests, and the calls of its control socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.station import asked

CONFIG: Final = """\
state-directory: state
runtime-directory: run
daemon: {{metrics: figures.prom}}
authorities:
  lab:
    urls: [{url}]
    trust-anchors: [ca/root.pem]
identities:
  ike:
    authority: lab
    subject: "CN=enb,O=Operator"
    bootstrap:
      shared-secret: {{reference: enb, secret: "file:secret"}}
"""
NOBODY_LISTENS: Final = CONFIG.format(url="http://127.0.0.1:9/").replace("[ca/root.pem]", "enrollment")
"""A configuration whose CA refuses every connection."""


def eventually(holds: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False


@dataclass
class Running:
    """A daemon that was started, and what it told systemd."""

    directory: Path
    process: subprocess.Popen[str]
    notified: socket.socket
    said: list[str] = field(default_factory=list)

    @property
    def control(self) -> Path:
        return self.directory / "run" / "io.enrolld.control"

    def notifies(self, text: str) -> bool:
        """Tell whether systemd has been told a line that begins with ``text``, within a while."""

        def told() -> bool:
            while True:
                try:
                    self.said += self.notified.recv(65_536, socket.MSG_DONTWAIT).decode().splitlines()
                except BlockingIOError:
                    return any(line.startswith(text) for line in self.said)

        return eventually(told)

    def errors(self) -> str:
        return (self.directory / "errors").read_text()

    def configure(self, text: str) -> None:
        (self.directory / "enrolld.yaml").write_text(text)


@contextmanager
def daemon(directory: Path, config: str = NOBODY_LISTENS, **environment: str) -> Iterator[Running]:
    (directory / "state").mkdir(mode=0o700, exist_ok=True)
    (directory / "run").mkdir(mode=0o700, exist_ok=True)
    (directory / "notify").unlink(missing_ok=True)
    (directory / "secret").write_text("geheim\n")
    (directory / "secret").chmod(0o600)
    (directory / "enrolld.yaml").write_text(config)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, (directory / "errors").open("a") as errors:
        notified.bind(str(directory / "notify"))
        process = subprocess.Popen(
            [sys.executable, "-m", "agent.supervisor.main", "--config", str(directory / "enrolld.yaml")],
            stderr=errors,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": str(directory / "notify"), **environment},
        )
        running = Running(directory, process, notified)
        try:
            assert running.notifies("READY=1"), running.errors()
            yield running
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            assert running.notifies("STOPPING=1")
            assert process.wait(60) == 0


def call(running: Running, method: str, *, more: bool = False, **parameters: Any) -> list[dict[str, Any]]:
    """Call a method of the control socket; return every answer."""
    return asked(running.control, method, more=more, **parameters)
