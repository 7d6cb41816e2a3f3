"""A smart card by OpenSC: a real pcscd with a virtual reader in namespaces of its own, and a card for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.station import until

OPENSC: Final = next(Path("/usr/lib").glob("*/opensc-pkcs11.so"))
OBJECT: Final = "CAC ID Certificate"
"""What OpenSC calls the first key on such a card."""
_EMULATOR: Final = Path(__file__).with_name("cac.py")
_NICKNAME: Final = "factory"
_PASSWORD: Final = "once"
"""It keeps the key between two commands."""
_PATIENT: Final = 60
_SCRIPT: Final = """
set -eu
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/pcscd
ip link set lo up
exec pcscd --foreground
"""


def _run(*command: str, entered: str | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENT, input=entered)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass
class Reader:
    """A reader without a card; commands that begin with ``prefix`` find it, and have the network of the machine."""

    pid: int
    folder: Path
    _inserted: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("nsenter", f"--target={self.pid}", "--mount", *(() if os.geteuid() == 0 else ("--user",)))

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    @property
    def occupied(self) -> bool:
        """Whether pcscd knows of a card."""
        shown = _run(*self.prefix, "opensc-tool", "--list-readers").splitlines()
        return any(line.split()[:2] == ["0", "Yes"] for line in shown)

    def personalise(self, certificate: Path, key: Path) -> None:
        """Make the card, with a key (PEM) and its certificate; OpenSC labels it with the certificate's common name."""
        bundle, database = str(self.folder / "card.p12"), f"sql:{self.folder}"
        made = ("openssl", "pkcs12", "-export", "-in", str(certificate), "-inkey", str(key), "-out", bundle)
        _run(*made, "-name", _NICKNAME, "-passout", f"pass:{_PASSWORD}")
        _run("certutil", "-N", "-d", database, "--empty-password")
        _run("pk12util", "-i", bundle, "-d", database, "-W", _PASSWORD)

    def insert(self) -> None:
        command = [*self.prefix, "--net", sys.executable, str(_EMULATOR), f"sql:{self.folder}", _NICKNAME]
        with (self.folder / "said").open("a") as said:
            emulator = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        self._inserted.append(emulator)

        def noticed() -> bool:
            assert emulator.poll() is None, self.said
            return self.occupied

        until(noticed, seconds=_PATIENT)

    def pull(self) -> None:
        self.eject()
        until(lambda: not self.occupied, seconds=_PATIENT)

    def eject(self) -> None:
        """Pull the card if there is one, and do not look whether it was noticed."""
        while self._inserted:
            emulator = self._inserted.pop()
            emulator.kill()
            emulator.wait(_PATIENT)


@contextmanager
def reader(folder: Path) -> Iterator[Reader]:
    """Run one, with its files in ``folder``."""
    folder.mkdir()
    root = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    command = ["unshare", *root, "--mount", "--net", "--propagation", "private", "bash", "-c", _SCRIPT]
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    made = Reader(process.pid, folder)
    ready = [*made.prefix, "sh", "-c", "opensc-tool --list-readers | grep -q '^0 '"]

    def listens() -> bool:
        assert process.poll() is None, made.said
        return subprocess.run(ready, check=False, capture_output=True, timeout=_PATIENT).returncode == 0

    try:
        until(listens, seconds=_PATIENT)
        yield made
        assert process.poll() is None, made.said
    finally:
        made.eject()
        process.terminate()
        try:
            process.wait(_PATIENT)
        finally:
            process.kill()
