"""A daemon with many identities, its CA, and the way between them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

import yaml

from agent.labca import LabCa, LabCaSettings, Record, running
from agent.store.generations import IdentityStore
from tests.faults.proxy import Exchange, Proxy
from tests.faults.world import pass_on

SECRET: Final = "Corr3ct-h0rse-battery"


class Site:
    """Everything below ``place``; a context manager. ``handle`` is called for each message on its way to the CA."""

    def __init__(
        self,
        place: Path,
        *,
        identities: int,
        life: timedelta,
        workers: int,
        handle: Callable[[Exchange], None] = pass_on,
    ) -> None:
        """Prepare it; certificates live as long as ``life``. The daemon does not run yet."""
        self.place = place
        self.names = [f"enb-{number:02}" for number in range(identities)]
        for folder in ("state", "run"):
            (place / folder).mkdir(mode=0o700, parents=True)
        self.log = place / "enrolld.log"
        self.log.touch()
        self._heard = 0
        self._stores = {name: IdentityStore(place / "state", name) for name in self.names}
        self._targets: dict[str, str] = {}
        """Where the link to the generation in use led when it was followed last, and the certificate there."""
        self._certificates: dict[str, bytes | None] = {}
        self._settings = LabCaSettings(directory=place / "ca", secrets={"site": SECRET}, validity=life, durable=False)
        self._serving = ExitStack()
        self._start_ca()
        self._proxy = Proxy(lambda: self._ca.url, handle, most=1_000_000)
        self._configure(workers)
        self.daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Return the site itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all of it."""
        try:
            self.stop()
        finally:
            self._proxy.__exit__()
            self._serving.close()
            self._ca.close()

    def _configure(self, workers: int) -> None:
        secret = self.place / "secret"
        secret.write_text(f"{SECRET}\n")
        secret.chmod(0o600)
        url = f"http://127.0.0.1:{self._proxy.port}/.well-known/cmp"
        document = {
            "state-directory": "state",
            "runtime-directory": "run",
            "daemon": {"workers": workers},
            "authorities": {
                "lab": {"urls": [url], "trust-anchors": ["ca/root.pem"], "http": {"response-timeout": "3s"}}
            },
            "identities": {
                name: {"authority": "lab", "subject": f"CN={name}", "bootstrap": _bootstrap()} for name in self.names
            },
        }
        (self.place / "enrolld.yaml").write_text(yaml.safe_dump(document))

    # --- the daemon --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the daemon; what it says goes to the log."""
        command = [sys.executable, "-m", "agent.supervisor.main", "--config", str(self.place / "enrolld.yaml")]
        with self.log.open("ab") as log:
            self.daemon = subprocess.Popen(command, stderr=log, stdout=log)

    def kill(self) -> None:
        """Kill the daemon as a power cut would; workers go on without it."""
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.wait()

    def stop(self) -> None:
        """Let the daemon finish, if one runs."""
        if self.daemon is not None:
            self.daemon.send_signal(signal.SIGTERM)
            self.daemon.wait(120)
            self.daemon = None

    @property
    def proc(self) -> Path:
        """What the kernel knows of the daemon."""
        assert self.daemon is not None
        return Path(f"/proc/{self.daemon.pid}")

    def workers(self) -> list[int]:
        """Return the workers that run, and what they are forked from, but not what reads the configuration."""
        assert self.daemon is not None
        return _workers_of(self.daemon.pid)

    def descriptors_of_workers(self) -> int:
        """Return how many descriptors the daemon has open for its workers, and for what they are forked from.

        Two are for one that was started by exec: what it says, and its end. Three for one that was forked, where the
        status comes by itself, and for what forks them, where requests go.
        """
        assert self.daemon is not None
        started = set(_children_of(self.daemon.pid))
        forking = {one for one in started if b"agent.worker.forking" in _command_of(one)}
        return sum(2 if one in started - forking else 3 for one in self.workers())

    def news(self) -> list[str]:
        """Return the lines that the daemon and its workers have written since the last call."""
        with self.log.open("rb") as log:
            log.seek(self._heard)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._heard += len(whole)
        return whole.decode().splitlines()

    # --- both sides --------------------------------------------------------------------------------------------------

    def restart_ca(self, *, life: timedelta | None = None) -> None:
        """Stop the CA and start it again on another port; its certificates live ``life`` from now on."""
        if life is not None:
            self._settings = replace(self._settings, validity=life)
        self._serving.close()
        self._ca.close()
        self._start_ca()

    def _start_ca(self) -> None:
        self._ca = LabCa(self._settings)
        self._serving.enter_context(running(self._ca))

    def record(self) -> Record:
        """Return what the CA knows."""
        return self._ca.record()

    def current(self, name: str) -> bytes | None:
        """Return the certificate that ``name`` uses."""
        link = self.place / "state" / "identities" / name / "current"
        target = str(link.readlink()) if link.is_symlink() else ""
        if target != self._targets.get(name):  # reading it all again for each look would take the daemon's time
            generation = self._stores[name].current
            self._targets[name] = target
            self._certificates[name] = None if generation is None else generation.certificate
        return self._certificates[name]

    def opened(self, name: str) -> bool:
        """Tell whether a request of ``name`` is open."""
        return self._stores[name].transaction.path.exists()


def _bootstrap() -> dict[str, object]:
    """Return a new dictionary each time: YAML would write one that is used twice as an alias."""
    return {"shared-secret": {"reference": "site", "secret": "file:secret"}}


def _workers_of(pid: int) -> list[int]:
    """Return the workers that ``pid`` has started, and those that these have."""
    own = [one for one in _children_of(pid) if b"agent.worker" in _command_of(one)]
    return [*own, *(below for one in own for below in _workers_of(one))]


def _children_of(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []  # it was done


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""  # it was done
