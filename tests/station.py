"""A base station for tests: a directory with configuration and state, and the installed command ``enrollctl``."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from agent.store.generations import Generation, IdentityStore

ENROLLCTL: Final = Path(sys.executable).with_name("enrollctl")
SECRET: Final = "Corr3ct-h0rse-battery"
REFERENCE: Final = "enb-4711"
SUBJECT: Final = "CN=enb-4711,O=Operator"
ENVIRONMENT: Final = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def remedy(self) -> str:
        """What the last line on standard error says to do."""
        *_, last = self.err.splitlines() or [""]
        start = "enrollctl: what to do: "
        assert last.startswith(start), self.err
        return last.removeprefix(start)

    @property
    def problem(self) -> str:
        """The one error on standard error; a traceback is none."""
        assert "Traceback" not in self.err, self.err
        errors = [line for line in self.err.splitlines() if line.startswith("enrollctl: error: ")]
        assert len(errors) == 1, self.err
        assert self.remedy.endswith("."), self.err
        return errors[0].removeprefix("enrollctl: error: ")


@dataclass
class Station:
    """What a technician has in front of him. ``ike`` is the only identity unless a test adds more."""

    directory: Path
    authority: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    """Further sections of the configuration."""

    def __post_init__(self) -> None:
        self.state.mkdir(mode=0o700)
        self.write_secret(SECRET)
        bootstrap = {"shared-secret": {"reference": REFERENCE, "secret": "file:secret"}}
        self.identity = {"authority": "operator", "subject": SUBJECT, "bootstrap": bootstrap} | self.identity

    @property
    def config(self) -> Path:
        return self.directory / "enrolld.yaml"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def store(self) -> IdentityStore:
        return IdentityStore(self.state, "ike")

    def write_secret(self, secret: str) -> None:
        path = self.directory / "secret"
        path.write_text(f"{secret}\n")
        path.chmod(0o600)

    def configure(self, **authority: Any) -> None:
        """Write the configuration; ``authority`` are keys with ``_`` for ``-``."""
        self.authority |= {key.replace("_", "-"): value for key, value in authority.items()}
        document = {
            "state-directory": "state",
            "authorities": {"operator": self.authority},
            "identities": {"ike": self.identity},
        } | self.more
        self.config.write_text(yaml.safe_dump(document))

    def run(self, *arguments: str, prefix: tuple[str, ...] = (), **options: Any) -> Finished:
        """Run ``enrollctl`` to its end, started by ``prefix`` if there is one."""
        done = subprocess.run(
            [*prefix, ENROLLCTL, "--config", self.config, *arguments],
            **_usual(options),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def running(self, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """Run ``enrollctl`` in a process group of its own, as a shell does."""
        with subprocess.Popen(
            [ENROLLCTL, "--config", self.config, *arguments],
            **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | _usual(options)),
            text=True,
            process_group=0,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    @property
    def current(self) -> Generation:
        """The credential in use, with everything about it on disk as it should be."""
        current = self.store.current
        assert current is not None
        for path in (self.state, *self.state.rglob("*")):
            mode = path.lstat().st_mode
            assert stat.S_ISLNK(mode) or stat.S_IMODE(mode) == (0o700 if path.is_dir() else 0o600), path
        assert not self.store.transaction.path.exists()
        return current

    def files(self) -> dict[str, bytes]:
        """Every file below the state directory but the history and the lock, byte for byte; links as their targets."""
        return {
            str(path.relative_to(self.state)): path.read_bytes() if path.is_file() else os.fsencode(path.readlink())
            for path in sorted(self.state.rglob("*"))
            if (path.is_file() or path.is_symlink()) and path.name not in {"state.json", "lock"}
        }

    def credential(self) -> dict[str, bytes]:
        """The credential in use, byte for byte."""
        files = self.files()
        current = files["identities/ike/current"].decode()
        return {name: data for name, data in files.items() if current in name or name.endswith("/current")}


def _usual(options: dict[str, Any]) -> dict[str, Any]:
    return {"env": ENVIRONMENT, "stdin": subprocess.DEVNULL} | options


def until(condition: Callable[[], object], *, seconds: float = 60) -> None:
    """Wait for ``condition``; a busy machine may take its time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def asked(control: Path, method: str, *, more: bool = False, **parameters: Any) -> list[dict[str, Any]]:
    """Call a method of the daemon's control socket; return every answer."""
    answers = []
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(control))
        connection.sendall(json.dumps({"method": method, "parameters": parameters, "more": more}).encode() + b"\0")
        rest = b""
        while octets := connection.recv(65_536):
            *whole, rest = (rest + octets).split(b"\0")
            answers += [json.loads(one) for one in whole]
            if answers and not answers[-1].get("continues"):
                break
    return answers


def worker_of(process: subprocess.Popen[str]) -> int:
    """Return the process number of the worker that ``process`` has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until(lambda: children.read_text().split())
    return int(children.read_text().split()[0])


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    os.kill(pid, number)
