"""A worker is started before the configuration is read only where one will be needed, and as whom it has to be."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli import ahead
from agent.cli.ahead import Ahead, begin
from agent.cli.main import main
from agent.supervisor import children
from agent.supervisor.early import Early
from tests.station import ENVIRONMENT, Finished, Station

OTHER = 65_534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


class Worker(Early):
    """Stands for a worker that was started: whose it is."""

    def __init__(self) -> None:
        self.owner = os.geteuid()

    def __exit__(self, *_: object) -> None:
        """Nothing has to be ended."""


@pytest.fixture(autouse=True)
def processors(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Have two processors on any machine, and let each test say otherwise."""
    those = {0, 1}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: those)
    return those


@pytest.fixture
def _no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "Early", Worker)


def begun(station: Station, *arguments: str) -> bool:
    return begin(["--config", str(station.config), *arguments])._worker is not None


@pytest.mark.usefixtures("_no_process")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("enroll",), True),
        (("enroll", "ike", "--json"), True),
        (("renew", "ike"), True),
        (("refresh",), True),
        (("template",), True),
        (("renew", "--if-due"), False),
        (("enroll", "--help"), False),
        (("enroll", "-h"), False),
        (("--help",), False),
        (("--version", "enroll"), False),
        (("status", "enroll"), False),
        (("revoke", "ike"), False),  # a person is asked first
        ((), False),
    ],
)
def test_only_a_command_that_does_a_job_begins_early(
    station: Station, arguments: tuple[str, ...], *, expected: bool
) -> None:
    station.more["runtime-directory"] = "run"
    station.configure()
    assert begun(station, *arguments) is expected


@pytest.mark.usefixtures("_no_process")
def test_the_configuration_is_found_however_it_is_named(station: Station) -> None:
    station.more["runtime-directory"] = "run"
    station.configure()
    assert begin([f"--config={station.config}", "enroll"])._worker is not None
    assert begin(["--config", "/nowhere", f"--config={station.config}", "enroll"])._worker is not None
    for wrong in (["--config"], ["--config", str(station.config)], [f"--configuration={station.config}", "enroll"]):
        assert begin(wrong)._worker is None


@pytest.mark.usefixtures("_no_process")
def test_where_a_daemon_listens_it_does_the_job(station: Station) -> None:
    station.more["runtime-directory"] = "run  # beside the rest"
    station.configure()
    text = station.config.read_text().replace("'run  # beside the rest'", "run  # beside the rest")
    station.config.write_text(text)
    assert begun(station, "enroll")
    (station.directory / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(station.directory / "run" / "io.enrolld.control"))
        assert not begun(station, "enroll")
        assert begun(station, "enroll", "--start-over")
        assert begun(station, "template")  # which no daemon does


@pytest.mark.usefixtures("_no_process")
def test_without_a_configuration_that_can_be_read_nothing_begins(station: Station) -> None:
    station.config.unlink()
    assert not begun(station, "enroll")
    os.mkfifo(station.config)
    assert not begun(station, "enroll")
    station.config.unlink()
    station.config.write_bytes(b"\xff")
    assert not begun(station, "enroll")


@pytest.mark.usefixtures("_no_process")
def test_on_one_processor_nothing_begins_early(station: Station, processors: set[int]) -> None:
    processors.discard(1)
    assert not begun(station, "enroll", "--start-over")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that another user owns, where he can reach it: pytest's are closed to others."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    os.chown(path, OTHER, OTHER)
    yield path
    shutil.rmtree(path)


@AS_ROOT
@pytest.mark.usefixtures("_no_process")
def test_it_is_the_owner_of_the_state_directory_or_is_not_used(station: Station, place: Path) -> None:
    station.config.write_text(f'state-directory: "{place}"\n')
    one = begin(["--config", str(station.config), "enroll", "--start-over"])
    assert isinstance(one._worker, Worker)
    assert one._worker.owner == OTHER
    assert os.geteuid() == 0
    assert one.for_owner_of(place) is one._worker
    assert one.for_owner_of(station.state) is None
    os.chown(place, OTHER - 1, OTHER)
    assert one.for_owner_of(place) is None


def test_the_job_is_done_by_the_worker_that_waits(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--config", str(station.config), "enroll", "--start-over"]

    def none(*_: object, **__: object) -> None:
        raise AssertionError("another worker was started")

    monkeypatch.setattr(children, "Process", none)
    with begin(arguments) as worker, pytest.raises(SystemExit) as ended:
        main(arguments, ahead=worker)
    assert ended.value.code == 0
    assert station.current.number == 1


def run(station: Station, *arguments: str) -> Finished:
    command = [sys.executable, "-m", "agent.cli.entry", "--config", str(station.config), *arguments]
    done = subprocess.run(
        command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def test_the_program_does_as_ever(station: Station) -> None:
    assert run(station, "enroll", "--start-over").code == 0
    assert station.current.number == 1


@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [
        ("state-directory: state\nauthorities: 7\n", (), 2),
        (None, ("--nonsense",), 2),
        (None, ("om",), 2),
        ("state-directory: state\n", (), 2),
    ],
)
def test_where_there_is_no_work_after_all_nothing_but_the_error_is_told(
    station: Station, text: str | None, arguments: tuple[str, ...], code: int
) -> None:
    if text is not None:
        station.config.write_text(text)
    before = station.files()
    done = run(station, "enroll", "--start-over", *arguments)
    assert (done.code, done.out) == (code, "")
    assert done.problem
    assert station.files() == before


def test_without_a_worker_there_is_none_for_anybody(tmp_path: Path) -> None:
    with Ahead() as nobody:
        assert nobody.for_owner_of(tmp_path) is None


LOADING = """
import os, signal, sys
from agent.cli import ahead, entry
begin = ahead.begin
def begun(arguments):
    found = begin(arguments)
    os.kill(os.getpid(), signal.SIGINT)
    return found
ahead.begin = begun
entry.run()
"""


def test_ctrl_c_while_modules_load_is_told_as_ever(station: Station) -> None:
    command = [sys.executable, "-c", LOADING, "--config", str(station.config), "enroll", "--start-over"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60)
    finished = Finished(done.returncode, done.stdout, done.stderr)
    assert (finished.code, finished.problem) == (1, "interrupted")
    assert station.store.current is None
