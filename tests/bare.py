"""A machine that knows nothing yet, and what a technician answers at it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.screen import Screen
from tests.station import ENROLLCTL, ENVIRONMENT, REFERENCE, SECRET, Finished


@dataclass
class Bare:
    """A machine that knows nothing yet."""

    directory: Path
    url: str

    @property
    def config(self) -> Path:
        return self.directory / "etc" / "enrolld.yaml"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def command(self, *arguments: str) -> list[str | Path]:
        start: list[str | Path] = [ENROLLCTL, "--config", self.config, "turn-up", "--state-directory", self.state]
        return [*start, *arguments]

    def secret(self, text: str = SECRET) -> str:
        path = self.directory / "given-secret"
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def run(self, *arguments: str) -> Finished:
        done = subprocess.run(
            self.command(*arguments),
            env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return Finished(done.returncode, done.stdout, done.stderr)

    def answers(self) -> list[str]:
        return ["--url", self.url, "--reference", REFERENCE, "--subject", "CN=enb-4711"]


def questions(url: str, secret: str = SECRET) -> tuple[tuple[str, str], ...]:
    """What is asked, and what is answered, in turn."""
    return (
        ("address of the CA", url),
        ("root certificate (Enter: learn it)", ""),
        ("reference of the one-time secret:", REFERENCE),
        ("name of this device", "CN=enb-4711,O=Operator"),
        (f"one-time secret of reference {REFERENCE}", secret),
    )


def answer_all(terminal: Screen, url: str, secret: str = SECRET) -> None:
    for question, answer in questions(url, secret):
        terminal.wait_for(question)
        terminal.type(answer)
