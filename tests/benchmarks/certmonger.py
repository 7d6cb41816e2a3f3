"""certmonger from Debian's packages as a peer: a daemon of its own below one directory, on a socket of its own.

It needs neither a bus nor systemd (``-L``, see certmonger(8)), touches nothing below ``/var`` and ``/etc``, and asks
only the CAs that it is told to: its own local signer, or a helper.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PROGRAM: Final = Path("/usr/sbin/certmonger")
_ROOT: Final = Path(__file__).parents[2]
EC_P256: Final = ("-G", "EC", "-g", "256")
RSA_2048: Final = ("-G", "RSA", "-g", "2048")
_PATIENCE: Final = 300.0
"""Seconds until it answers: with a thousand requests its start takes minutes, most of them writing."""


def install() -> None:
    """Install certmonger unless it is there; :class:`SystemExit` with what to do where that cannot be done."""
    if not PROGRAM.exists():
        subprocess.run([_ROOT / ".ci" / "packages", "certmonger"], check=False)
    if not PROGRAM.exists():
        raise SystemExit("certmonger is not installed, so there is nothing to compare with: apt-get install certmonger")


class Certmonger:
    """A place for a daemon and what it looks after; :meth:`running` starts it."""

    def __init__(self, place: Path) -> None:
        """Make the directories below ``place``."""
        self.place = place
        self._requests, self._certificates = place / "requests", place / "certificates"
        for name in ("requests", "cas", "tmp", "local", "config", "certificates"):
            (place / name).mkdir(parents=True)
        self._socket = place / "socket"
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(place),
            "CERTMONGER_REQUESTS_DIR": str(self._requests),
            "CERTMONGER_CAS_DIR": str(place / "cas"),
            "CERTMONGER_TMPDIR": str(place / "tmp"),
            "CERTMONGER_LOCAL_CA_DIR": str(place / "local"),
            "CERTMONGER_CONFIG_DIR": str(place / "config"),
            "CERTMONGER_SYSTEM_LOCK_FILE": str(place / "lock"),
            "CERTMONGER_PVT_ADDRESS": f"unix:path={self._socket}",
        }

    @contextmanager
    def running(self) -> Iterator[int]:
        """Run the daemon for the block; give its process number."""
        command = [str(PROGRAM), "-L", "-P", str(self._socket), "-n"]
        with (
            (self.place / "log").open("ab") as log,
            subprocess.Popen(command, env=self._environment, stdout=log, stderr=log) as process,
        ):
            try:
                self._until_it_answers(process)
                yield process.pid
            finally:
                process.terminate()

    def _until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        ends = time.monotonic() + _PATIENCE
        while subprocess.run(
            ["getcert", "list-cas"], env=self._environment, capture_output=True, check=False
        ).returncode:
            if process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"certmonger does not start: {(self.place / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def getcert(self, *arguments: str) -> None:
        """Run ``getcert``; it must succeed."""
        subprocess.run(["getcert", *arguments], env=self._environment, check=True, capture_output=True)

    def add_helper(self, name: str, script: Path) -> None:
        """Have requests to the CA ``name`` answered by ``script``."""
        self.getcert("add-ca", "-c", name, "-e", str(script))

    def request(self, name: str, authority: str, *, key: tuple[str, ...] = EC_P256, wait: bool = False) -> Path:
        """Ask ``authority`` for a certificate for a fresh ``key``; return where it will be."""
        secret, certificate = (self._certificates / f"{name}.{end}" for end in ("key", "pem"))
        files = ("-k", str(secret), "-f", str(certificate))
        self.getcert(
            "request", "-c", authority, "-I", name, "-N", f"CN={name}", *files, *key, *(["-w"] if wait else [])
        )
        return certificate

    def look_after(self, number: int) -> None:
        """Have ``number`` certificates to look after at the next start: one from its own signer, the others copies."""
        with self.running():
            self.request("first", "local", wait=True)
        (original,) = self._requests.iterdir()
        text = original.read_text()
        for index in range(1, number):
            name = f"copy-{index}"
            for end in ("key", "pem"):
                shutil.copy(self._certificates / f"first.{end}", self._certificates / f"{name}.{end}")
            (self._requests / name).write_text(copied(text, name))


def copied(request: str, name: str) -> str:
    """Return the file of the request ``first`` as that of ``name``, with files of its own."""
    return request.replace("id=first\n", f"id={name}\n").replace("/first.", f"/{name}.")
