"""Compiles and runs the CA of this folder, and reads what Bouncy Castle found in our messages."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

REFERENCE: Final = "enb-4711"
SECRET: Final = "a secret for one enrollment"

_LIBRARIES: Final = tuple(f"/usr/share/java/{name}.jar" for name in ("bcprov", "bcpkix", "bcutil"))
_SOURCES: Final = sorted(Path(__file__).parent.glob("*.java"))
_QUICK_START: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx128m")
_PATIENCE: Final = 60.0


def compiled(cache: Path) -> Path:
    """Return the folder with the class files; they are made once for these sources, libraries and compiler."""
    compiler = shutil.which("javac")
    assert compiler, "no Java compiler here: make setup-test installs it"
    versions = [os.path.realpath(one) for one in (compiler, *_LIBRARIES)]
    facts = json.dumps([versions, [one.read_text() for one in _SOURCES]])
    classes = cache / hashlib.sha256(facts.encode()).hexdigest()[:32]
    if not classes.exists():
        with tempfile.TemporaryDirectory(dir=cache) as made:
            command = [compiler, "-cp", ":".join(_LIBRARIES), "-d", f"{made}/classes", *map(str, _SOURCES)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)
            assert done.returncode == 0, done.stderr
            # Another test run may have been faster; then its folder, which is full, stays.
            if not classes.exists():
                Path(made, "classes").rename(classes)
    return classes


@dataclass(frozen=True)
class BouncyCastle:
    """A running CA. Its journal is a file to which it writes before it answers: nothing has to be waited for."""

    folder: Path
    port: int
    version: str

    @property
    def root(self) -> Path:
        """Its certificate, PEM."""
        return self.folder / "root.pem"

    def url(self, test: str, *options: str) -> str:
        """Return where to send messages; the journal can be asked for the same ``test``."""
        return "/".join((f"http://127.0.0.1:{self.port}", test, *options))

    def journal(self, test: str) -> list[dict[str, Any]]:
        """Return what was found in the messages of one test, in their order."""
        return [entry for entry in _entries(self.folder) if entry.get("test") == test]


@contextmanager
def running(folder: Path, classes: Path, vendor_root: Path) -> Iterator[BouncyCastle]:
    """Run a CA in ``folder`` that trusts the devices of one vendor."""
    command = ["java", *_QUICK_START, "-cp", ":".join((str(classes), *_LIBRARIES)), "LabCa"]
    with (folder / "journal").open("wb") as out, (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [*command, str(folder), REFERENCE, SECRET, str(vendor_root)],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=errors,
        )
    assert process.stdin is not None
    try:
        yield _ready(folder, process)
    finally:
        process.stdin.close()  # tells it to end; it would also end if we died
        process.wait(_PATIENCE)
    trouble = (folder / "errors").read_text()
    assert "\tat " not in trouble, trouble


def _ready(folder: Path, process: subprocess.Popen[bytes]) -> BouncyCastle:
    end = time.monotonic() + _PATIENCE
    while not (entries := _entries(folder)):
        assert process.poll() is None, (folder / "errors").read_text()
        assert time.monotonic() < end, "the CA does not start"
        time.sleep(0.02)
    return BouncyCastle(folder, port=int(entries[0]["port"]), version=entries[0]["bouncy_castle"])


def _entries(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "journal").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
