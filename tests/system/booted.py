"""A booted Debian with systemd as PID 1 and a journald of its own: systemd-nspawn over a cached tree.

The tree is never written to: every machine is an overlay over it, in a network namespace with nothing but loopback.
Most tests begin where the package is installed already, which is a second layer. Trees, packages and layers are kept
between runs in ``$XDG_CACHE_HOME/enrolld-tests``, named after what they are built from.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

from agent.events import EVENTS, Event
from tests.system.groups import ControlGroup

ROOT: Final = Path(__file__).parents[2]
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "enrolld-tests"
_RECIPE: Final = Path(__file__).with_name("tree.sh")
_RELEASE: Final = Path("/etc/os-release")
_BUILT_FROM: Final = (
    *("agent", "hsm", "systemd", "packaging", "config", "docs", "README.md", "CHANGELOG.md", "pyproject.toml"),
    *(".ci/constraints.txt", ".ci/requirements.lock"),
)
_BUILT_AT: Final = "1750000000"
"""What the package takes for the time of the last commit."""
_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "SYSTEMD_PAGER": "",
    "TERM": "dumb",
    "DEBIAN_FRONTEND": "noninteractive",
}


def tree() -> Path:
    """Return the file tree of a small Debian, built if it is not there."""
    with _cached("tree", [_RECIPE.read_bytes(), _RELEASE.read_bytes()], keep=2) as (place, new):
        if new:
            _make(_RECIPE, place)
    return place


def package() -> Path:
    """Return the Debian package of the sources as they are, built if they have changed."""
    with _cached("package", _sources(), keep=4) as (place, new):
        if new:
            build_package(place)
    (found,) = place.glob("*.deb")
    return found


def build_package(place: Path) -> None:
    """Build the Debian package into ``place``."""
    _make(ROOT / "packaging/build-deb", place)


def wheels() -> Path:
    """Return a folder with what ``pip install .`` needs: everything locked, and the tools that build us."""
    pins = [ROOT / ".ci/requirements.lock", ROOT / ".ci/constraints.txt"]
    with _cached("wheels", [*(one.read_bytes() for one in pins), _RELEASE.read_bytes()], keep=2) as (place, new):
        if new:
            subprocess.run(["/usr/bin/python3", "-m", "venv", place / "tools"], check=True)
            pip = (place / "tools/bin/pip", "--disable-pip-version-check", "-qq", "wheel", "--wheel-dir", place)
            environment = os.environ | {"PIP_CONSTRAINT": str(pins[1]), "PIP_BUILD_CONSTRAINT": str(pins[1])}
            for what in (("--use-pep517", "--require-hashes", "--requirement", pins[0]), ("hatchling",)):
                subprocess.run([*pip, *what], env=environment, check=True, timeout=600)
            shutil.rmtree(place / "tools")
    return place


def installation() -> Path:
    """Return what installing the package changes in the tree, to be laid over it."""
    with _cached("installed", [*_sources(), _RECIPE.read_bytes(), _RELEASE.read_bytes()], keep=4) as (place, new):
        if new:
            with Machine() as machine:
                machine.install(package())
                machine.power_off()
                # Each machine over it is one of its own, with a journal of its own.
                machine.write("/etc/machine-id", "")
                for journal in (machine.root / "var/log/journal").iterdir():
                    shutil.rmtree(journal)
                subprocess.run(["cp", "--archive", machine.place / "up", place], check=True)
    return place / "up"


def _make(script: Path, place: Path) -> None:
    environment = os.environ | {"SOURCE_DATE_EPOCH": _BUILT_AT}
    done = subprocess.run([script, place], env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr


def _sources() -> Iterator[bytes]:
    for name in _BUILT_FROM:
        place = ROOT / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(path.relative_to(ROOT)).encode()
                yield path.read_bytes()


@contextmanager
def _cached(kind: str, made_from: Iterable[bytes], *, keep: int) -> Iterator[tuple[Path, bool]]:
    """Give the place for what is made from these octets, and whether it has still to be made there."""
    digest = hashlib.sha256()
    for octets in made_from:
        digest.update(hashlib.sha256(octets).digest())
    _CACHE.mkdir(parents=True, exist_ok=True)
    place = _CACHE / f"{kind}-{digest.hexdigest()[:16]}"
    complete = place.with_name(f"{place.name}.complete")
    with (_CACHE / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        new = not complete.exists()
        if new:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
        yield place, new
        complete.touch()
        for old in sorted(_CACHE.glob(f"{kind}-*.complete"), key=lambda path: path.stat().st_mtime)[:-keep]:
            old.unlink()
            shutil.rmtree(old.with_suffix(""), ignore_errors=True)


class Machine:
    """One booted Debian; a context manager. What it writes is gone at the end."""

    def __init__(self, *, installed: bool = False) -> None:
        """Find a place for it; nothing runs yet. ``installed``: the package is installed in it already."""
        self._layers = (installation(), tree()) if installed else (tree(),)
        # Not below /tmp: overlayfs does not write to every file system that /tmp may be.
        self.place = Path(tempfile.mkdtemp(prefix="enrolld-machine-", dir="/var/tmp"))
        self.root = self.place / "root"
        self._leader = 0
        self._group: ControlGroup | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Boot it."""
        for name in ("up", "work", "root"):
            (self.place / name).mkdir(mode=0o755)
        lower = ":".join(map(str, self._layers))
        layers = f"lowerdir={lower},upperdir={self.place}/up,workdir={self.place}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, self.root], check=True)
        try:
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Power it off and remove it."""
        self.power_off()
        subprocess.run(["umount", "-l", self.root], check=False)
        shutil.rmtree(self.place, ignore_errors=True)

    def boot(self) -> None:
        """Start systemd in it and wait until every unit is up."""
        name = f"enrolld-{os.getpid()}-{os.urandom(3).hex()}"
        self._group = ControlGroup(name)
        address = self.place / f"notify-{os.urandom(3).hex()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, (self.place / "console").open("wb") as console:
            told.bind(str(address))
            told.settimeout(90)
            self._process = subprocess.Popen(
                [
                    *self._group.command,
                    *("systemd-nspawn", "--quiet", "--boot", f"--directory={self.root}", f"--machine={name}"),
                    *("--register=no", "--keep-unit", "--private-network", "--notify-ready=yes", "--link-journal=no"),
                    # With these IPAddressDeny= is enforced.
                    *("--capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN", "--system-call-filter=bpf"),
                    *("--resolv-conf=off", "--timezone=off"),
                ],
                env=os.environ | {"NOTIFY_SOCKET": str(address), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )
            leader, ready = 0, False
            while not (leader and ready):
                try:
                    words = told.recv(4096).decode()
                except TimeoutError as error:
                    raise AssertionError((self.place / "console").read_text()[-3000:]) from error
                if found := re.search(r"X_NSPAWN_LEADER_PID=(\d+)", words):
                    leader = int(found[1])
                ready = ready or "READY=1" in words
            self._leader = leader

    def power_off(self) -> None:
        """Shut it down in order; :meth:`boot` starts it again."""
        self._end(signal.SIGTERM)

    def pull_the_plug(self) -> None:
        """End it from one moment to the next: nothing in it gets the chance to finish."""
        os.kill(self._leader, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        assert self._group is not None
        self._group.remove()

    def run(self, *command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in it as root, outside of every unit."""
        done = subprocess.run(
            self.entered(*command),
            **({"timeout": 120} | options),
            env=_ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def entered(self, *command: str) -> list[str]:
        """Return ``command`` as it is started from here, in the machine."""
        return ["nsenter", f"--target={self._leader}", "--all", *command]

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """Return what ``systemctl`` prints."""
        return self.run("systemctl", *arguments, check=check).stdout

    def shows(self, what: str, unit: str = "enrolld") -> str:
        """Return a property of a unit."""
        return self.systemctl("show", "--value", f"--property={what}", unit).strip()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file in it."""
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def entries(self, event: Event | None = None, *matches: str) -> list[dict[str, Any]]:
        """Return what the journal holds of ``event``, oldest first; of everything without one."""
        wanted = () if event is None else (f"MESSAGE_ID={EVENTS[event].message_id}",)
        self.run("journalctl", "--sync")  # what was sent to it a moment ago may not be in it yet
        shown = self.run("journalctl", "--output=json", "--all", "--no-pager", "--quiet", *wanted, *matches).stdout
        return [json.loads(line) for line in shown.splitlines()]

    def hear(
        self, event: Event, *matches: str, times: int = 1, since: str = "", seconds: float = 180
    ) -> list[dict[str, Any]]:
        """Listen to the journal until it holds ``event`` so many ``times`` after the cursor ``since``; return them."""
        after = (f"--after-cursor={since}",) if since else ()
        wanted = (f"MESSAGE_ID={EVENTS[event].message_id}", *matches)
        found: list[dict[str, Any]] = []
        with subprocess.Popen(
            self.entered("journalctl", "--follow", "--no-tail", "--output=json", "--all", "--quiet", *after, *wanted),
            env=_ENVIRONMENT, stdout=subprocess.PIPE, start_new_session=True,
        ) as listener:  # fmt: skip
            assert listener.stdout is not None
            end = threading.Timer(seconds, os.killpg, (listener.pid, signal.SIGKILL))
            end.start()
            try:
                while len(found) < times and (line := listener.stdout.readline()):
                    found.append(json.loads(line))
            finally:
                end.cancel()
                listener.stdout.close()  # journalctl notices and ends; killed, it would hold up a shutdown
                with suppress(subprocess.TimeoutExpired):
                    listener.wait(20)
                with suppress(ProcessLookupError):
                    os.killpg(listener.pid, signal.SIGKILL)
        assert len(found) == times, f"{event} came {len(found)} times, not {times}\n{self._said()}"
        return found

    def cursor(self) -> str:
        """Return where the journal ends now."""
        self.run("journalctl", "--sync")
        shown = self.run("journalctl", "--lines=1", "--output=json", "--quiet").stdout
        return str(json.loads(shown)["__CURSOR"])

    def until(self, condition: Callable[[], object], *, seconds: float = 180) -> None:
        """Wait for ``condition``; if in vain, fail with what enrolld wrote into the journal."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain\n{self._said()}"
            time.sleep(0.3)

    def _said(self) -> str:
        status = self.systemctl("status", "--no-pager", "enrolld", check=False)
        return status + self.run("journalctl", "--no-pager", "-n", "60", "-o", "short-precise", check=False).stdout

    def install(self, archive: Path) -> None:
        """Install a Debian package from outside."""
        shutil.copy(archive, self.root / "root" / archive.name)
        self.run("dpkg", "--install", f"/root/{archive.name}", timeout=300)
