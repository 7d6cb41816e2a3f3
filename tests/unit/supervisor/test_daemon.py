"""``enrolld`` as a process, against the lab CA over HTTP."""

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
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.labca import LabCa, LabCaSettings, running
from agent.overview import look
from tests.station import asked

CONFIG = """\
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


def eventually(holds: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_the_daemon_enrolls_renews_before_the_end_and_ends_when_told(tmp_path: Path) -> None:
    ca = LabCa(
        LabCaSettings(
            directory=tmp_path / "ca",
            secrets={"enb": "geheim"},
            validity=timedelta(seconds=24),
            polls=1,
            durable=False,
        )
    )
    with running(ca):
        (tmp_path / "state").mkdir(mode=0o700)
        (tmp_path / "secret").write_text("geheim\n")
        (tmp_path / "secret").chmod(0o600)
        (tmp_path / "enrolld.yaml").write_text(CONFIG.format(url=ca.url))
        command = [sys.executable, "-m", "agent.supervisor.main", "--config", str(tmp_path / "enrolld.yaml")]
        daemon = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert eventually(lambda: look(tmp_path / "state", "ike").generation == 2, 60)
            assert len(ca.record().certificates) == 2
        finally:
            daemon.send_signal(signal.SIGTERM)
            _, told = daemon.communicate(timeout=20)
        ca.close()
    assert daemon.returncode == 0
    assert "open requests stay on disk" in told
    assert "geheim" not in told


def test_a_configuration_that_cannot_be_used_ends_it_with_a_remedy(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agent.supervisor.main", "--config", str(tmp_path / "none.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("enrolld: what to do: ")
    assert "Traceback" not in done.stderr


# --- one daemon that stands still: its CA refuses every connection ---------------------------------------------------


@dataclass
class Running:
    """A daemon that was started, and what it told systemd."""

    directory: Path
    process: subprocess.Popen[str]
    notified: socket.socket
    said: list[str] = field(default_factory=list)

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
def daemon(directory: Path, **environment: str) -> Iterator[Running]:
    (directory / "state").mkdir(mode=0o700)
    (directory / "run").mkdir(mode=0o700)
    (directory / "secret").write_text("geheim\n")
    (directory / "secret").chmod(0o600)
    (directory / "enrolld.yaml").write_text(
        CONFIG.format(url="http://127.0.0.1:9/").replace("[ca/root.pem]", "enrollment")
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, (directory / "errors").open("w") as errors:
        notified.bind(str(directory / "notify"))
        process = subprocess.Popen(
            [sys.executable, "-m", "agent.supervisor.main", "--config", str(directory / "enrolld.yaml")],
            stderr=errors,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": str(directory / "notify"), **environment},
        )
        running_ = Running(directory, process, notified)
        try:
            assert running_.notifies("READY=1"), running_.errors()
            yield running_
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert running_.notifies("STOPPING=1")


def call(running_: Running, method: str, *, more: bool = False, **parameters: Any) -> list[dict[str, Any]]:
    """Call a method of the control socket; return every answer."""
    return asked(running_.directory / "run" / "io.enrolld.control", method, more=more, **parameters)


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Running]:
    with daemon(tmp_path) as running_:
        assert eventually(lambda: look(tmp_path / "state", "ike").retry_at is not None)
        yield running_


def test_systemd_is_told_in_plain_words_and_hears_a_sign_of_life(tmp_path: Path) -> None:
    with daemon(tmp_path, WATCHDOG_USEC="500000") as running_:
        assert running_.notifies("WATCHDOG=1")
        assert running_.notifies("STATUS=1 identity: 1 unreachable; next: ike: try again")


def test_a_broken_file_is_refused_and_the_old_one_stays_in_use(still: Running) -> None:
    good = (still.directory / "enrolld.yaml").read_text()
    still.configure(good.replace("subject:", "sujbect:"))
    still.process.send_signal(signal.SIGHUP)
    assert still.notifies("RELOADING=1")
    assert any(line.startswith("MONOTONIC_USEC=") for line in still.said)
    assert eventually(lambda: "the new configuration is refused" in still.errors())
    assert "sujbect" in still.errors()
    assert [one["name"] for one in call(still, "io.enrolld.control.List")[0]["parameters"]["identities"]] == ["ike"]
    still.configure(good + good[good.index("  ike:") :].replace("ike:", "oam:").replace("CN=enb", "CN=oam"))
    still.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: "looking after ike, oam" in still.errors())
    assert eventually(lambda: look(still.directory / "state", "oam").retry_at is not None)


def test_what_it_will_do_is_on_disk_and_in_the_figures(still: Running) -> None:
    seen = look(still.directory / "state", "ike")
    assert (seen.state, seen.next_action, seen.situation) == ("unreachable", "try again", "unreachable")
    assert seen.next_action_at == seen.retry_at
    figures = still.directory / "figures.prom"
    expected = 'enrolld_identity_state{identity="ike",state="unreachable"} 1'
    assert eventually(lambda: figures.exists() and expected in figures.read_text())


def test_the_control_socket_tells_and_does(still: Running) -> None:
    assert call(still, "org.varlink.service.GetInfo")[0]["parameters"]["interfaces"][-1] == "io.enrolld.control"
    description = call(still, "org.varlink.service.GetInterfaceDescription", interface="io.enrolld.control")
    assert "method Subscribe() -> (event: ?Event)" in description[0]["parameters"]["description"]
    (described,) = call(still, "io.enrolld.control.Describe", name="ike")
    assert described["parameters"]["identity"]["state"] == "unreachable"
    attempts = look(still.directory / "state", "ike").attempts
    *steps, last = call(still, "io.enrolld.control.Enroll", more=True, name="ike")
    assert any(one["parameters"]["event"]["event"] == "started" for one in steps)
    assert last["parameters"]["outcome"]["verdict"] == "unreachable"
    assert look(still.directory / "state", "ike").attempts > attempts


@pytest.mark.parametrize(
    ("method", "parameters", "error"),
    [
        ("io.enrolld.control.Describe", {"name": "none"}, "io.enrolld.control.NoSuchIdentity"),
        ("io.enrolld.control.Describe", {"name": 5}, "org.varlink.service.InvalidParameter"),
        ("io.enrolld.control.Explode", {}, "org.varlink.service.MethodNotFound"),
        ("com.example.Some", {}, "org.varlink.service.InterfaceNotFound"),
        ("io.enrolld.control.Subscribe", {}, "org.varlink.service.ExpectedMore"),
    ],
)
def test_a_call_that_cannot_be_answered_is_refused_by_name(
    still: Running, method: str, parameters: dict[str, Any], error: str
) -> None:
    (answer,) = call(still, method, **parameters)
    assert answer["error"] == error


def test_a_client_that_talks_nonsense_or_too_much_is_dropped_and_the_others_are_served(still: Running) -> None:
    for nonsense in (b"hello\0", b"[]\0", b"x" * 200_000, b'{"method": 5}\0'):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(still.directory / "run" / "io.enrolld.control"))
            try:
                connection.sendall(nonsense)
                assert connection.recv(1) == b""
            except (BrokenPipeError, ConnectionResetError):
                pass
    assert "parameters" in call(still, "io.enrolld.control.List")[0]


def test_more_clients_than_there_is_room_for_are_turned_away(still: Running) -> None:
    connections = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    for one in connections:
        one.settimeout(30)
        one.connect(str(still.directory / "run" / "io.enrolld.control"))
    assert connections[-1].recv(1) == b""
    for one in connections:
        one.close()

    def served() -> bool:
        try:
            return bool(call(still, "io.enrolld.control.List"))
        except OSError:  # the daemon has not noticed yet that they went away
            return False

    assert eventually(served)
