"""``enrolld`` as a process, against the lab CA over HTTP."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import varlink

from agent.labca import LabCa, LabCaSettings, running
from agent.overview import Overview, look
from agent.supervisor import reading
from agent.supervisor.clocks import ClockFile
from agent.supervisor.daemon import Daemon
from agent.supervisor.hearing import Hearing
from agent.supervisor.telling import Teller
from tests.station import asked
from tests.unit.supervisor.daemons import CONFIG, Running, call, daemon, eventually


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
            _, told = daemon.communicate(timeout=60)
        ca.close()
    assert daemon.returncode == 0
    assert "open requests stay on disk" in told
    assert "geheim" not in told


def test_a_configuration_that_cannot_be_used_ends_it_with_a_remedy(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agent.supervisor.main", "--config", str(tmp_path / "none.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("enrolld: what to do: ")
    assert "Traceback" not in done.stderr


def test_a_refused_secret_is_not_sent_again_after_a_restart_a_reload_or_a_look_but_when_a_person_says_so(
    tmp_path: Path,
) -> None:
    ca = LabCa(LabCaSettings(directory=tmp_path / "ca", secrets={"enb": "another"}, durable=False))

    def requests() -> int:
        return sum(not one.sent for one in ca.record().messages)

    with running(ca):
        config = CONFIG.format(url=ca.url)
        with daemon(tmp_path, config):
            assert eventually(lambda: look(tmp_path / "state", "ike").state == "needs-secret")
        assert requests() == 1
        with daemon(tmp_path, config) as again:
            assert again.notifies("STATUS=1 identity: 1 needs-secret; ")
            for method in ("Retry", "Reload"):
                assert call(again, f"io.enrolld.control.{method}") == [{"parameters": {}}]
            assert again.notifies("RELOADING=1")
            assert eventually(lambda: again.errors().count("looking after ike") == 3)
            assert requests() == 1
            (answer,) = call(again, "io.enrolld.control.Enroll", name="ike")
            assert answer["parameters"]["outcome"]["verdict"] == "needs-secret"
            assert requests() == 2
    ca.close()


def catches(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


READS_FOR_EVER = """
import sys
from agent.supervisor import main, reading
reading.Reading.__init__.__defaults__ = (("/bin/sh", "-c", "exec tail --pid=$PPID -f /dev/null"),)
main.main(["--config", sys.argv[1]])
"""


def waiting_for_its_file(directory: Path) -> subprocess.Popen[str]:
    """Return a daemon whose file is on a disk that does not answer: what reads it waits as long as it lives."""
    command = [sys.executable, "-c", READS_FOR_EVER, str(directory / "enrolld.yaml")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert eventually(lambda: catches(process.pid, signal.SIGTERM))
    return process


def test_it_ends_at_once_when_it_is_told_while_its_file_is_read(tmp_path: Path) -> None:
    process = waiting_for_its_file(tmp_path)
    begun = time.monotonic()
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (0, "")
    assert time.monotonic() - begun < reading.PATIENCE / 2


def test_it_leaves_no_core_file_with_secrets_that_pass_through_it(tmp_path: Path) -> None:
    process = waiting_for_its_file(tmp_path)
    with process:
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        process.send_signal(signal.SIGABRT)
        _, status = os.waitpid(process.pid, 0)
        process.returncode = -os.WTERMSIG(status)
    assert "Max core file size 1 1 bytes" in " ".join(limits.split())
    assert process.returncode == -signal.SIGABRT
    assert not os.WCOREDUMP(status)


# --- one daemon that stands still: its CA refuses every connection ---------------------------------------------------


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


def test_a_reload_moves_the_control_socket_and_says_why_where_it_cannot(still: Running) -> None:
    def reload(runtime: str) -> None:
        still.configure(text.replace("runtime-directory: run", f"runtime-directory: {runtime}"))
        still.said.clear()
        still.process.send_signal(signal.SIGHUP)
        assert still.notifies("READY=1")

    text, old = (still.directory / "enrolld.yaml").read_text(), still.control
    new = still.directory / "elsewhere" / old.name
    reload("elsewhere")
    assert "there is no control socket in" in still.errors()
    assert f"the one in {old.parent} is still in use" in still.errors()
    assert any(one.startswith("STATUS=") and f"no control socket in {new.parent}" in one for one in still.said)
    assert "identities" in asked(old, "io.enrolld.control.List")[0]["parameters"]
    with varlink.Client(f"unix:{old}") as connected, connected.open("io.enrolld.control") as before:
        assert before.List()["identities"]
        new.parent.mkdir(mode=0o700)
        reload("elsewhere")
        assert "identities" in asked(new, "io.enrolld.control.List")[0]["parameters"]
        assert not old.exists()
        assert before.List()["identities"], "whoever is connected stays"
    last = [one for one in still.said if one.startswith("STATUS=")][-1]
    assert "no control socket" not in last
    still.process.send_signal(signal.SIGTERM)
    still.process.wait(60)
    assert not new.exists()


def test_it_goes_on_when_nobody_reads_standard_error_any_more(tmp_path: Path) -> None:
    # As where journald was killed: what is written to it from then on is refused.
    reader, writer = os.pipe()
    (tmp_path / "errors").symlink_to(f"/proc/{os.getpid()}/fd/{writer}")
    with daemon(tmp_path) as running_:
        os.close(writer)
        os.close(reader)
        running_.configure("rubbish: 1\n")
        for _ in range(2):
            running_.process.send_signal(signal.SIGHUP)
            running_.said.clear()
            assert running_.notifies("READY=1")
        assert running_.notifies("STATUS=1 identity: 1 unreachable")


def test_that_the_time_cannot_be_written_down_is_told_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Daemon(tmp_path / "enrolld.yaml", cast("Any", None))
    ours._clock_file = ClockFile(tmp_path)
    told: list[str] = []
    ours.teller.listeners.append(lambda event, *_: told.append(event))
    for name in ("clock.json", "clock.json.damaged/full"):
        (tmp_path / name).mkdir(parents=True)

    def at(moment: float) -> datetime | None:
        monkeypatch.setattr(ours.loop, "now", lambda: moment)
        ours._remember_time()
        return ClockFile(tmp_path).last_good

    assert [at(moment) for moment in (0, 60, 3700, 7400)] == [None] * 4
    assert told == ["note"]
    (tmp_path / "clock.json").rmdir()
    assert at(11_100) is not None
    ours.loop.close()


def test_the_time_that_a_newer_version_remembered_is_kept_beside_ours(tmp_path: Path) -> None:
    path, newer = tmp_path / "clock.json", '{"version": 2}'
    path.write_text(newer)
    clock = ClockFile(tmp_path)
    assert (clock.last_good, path.read_text()) == (None, newer)
    now = datetime.now(UTC)
    clock.remember(now)
    assert ClockFile(tmp_path).last_good == now
    assert (tmp_path / "clock.json.version-2").read_text() == newer


def for_figures(directory: Path, names: list[str]) -> Daemon:
    """Return a daemon whose identities are all well, to be turned by hand."""
    ours = Daemon(directory / "enrolld.yaml", cast("Any", None))
    settings = SimpleNamespace(daemon=SimpleNamespace(metrics=directory / "later" / "enrolld.prom"))
    configuration = SimpleNamespace(common=settings, identities=dict.fromkeys(names))
    ours.keeper = cast(
        "Any", SimpleNamespace(configuration=configuration, look_at=lambda name: Overview(name=name, state="valid"))
    )
    return ours


def test_the_figures_of_many_are_gathered_over_many_turns(tmp_path: Path) -> None:
    (tmp_path / "later").mkdir()
    names = [f"cell-{number:03d}" for number in range(100)]
    ours = for_figures(tmp_path, names)
    ours._metrics_in(0)
    ours._metrics_in(0)
    turns = 0
    while not (tmp_path / "later" / "enrolld.prom").exists():
        ours.loop.turn()
        ours._metrics_in(3600)
        turns += 1
        assert turns < 20
    assert turns >= len(names) // 16
    text = (tmp_path / "later" / "enrolld.prom").read_text()
    assert re.findall(r'_state\{identity="([^"]+)"', text) == names
    ours.loop.close()


def test_that_the_figures_cannot_be_written_is_told_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.supervisor.daemon._METRICS_AGAIN", 0.05)
    ours = for_figures(tmp_path, ["ike"])
    told: list[str] = []
    ours.teller.listeners.append(lambda _, text, __: told.append(text))
    ours._metrics_in(0)
    for _ in range(5):
        ours.loop.turn()
    assert len(told) == 1
    assert "the figures are not up to date" in told[0]
    (tmp_path / "later").mkdir()
    while not (tmp_path / "later" / "enrolld.prom").exists():
        ours.loop.turn()
    assert 'identity="ike"' in (tmp_path / "later" / "enrolld.prom").read_text()
    ours.loop.close()


class Full(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_line_for_which_there_is_no_room_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Full())
    Teller().say("a warning")
    heard = Hearing(lambda _: None)
    heard.take(b'rubbish\n{"outcome": {"verdict": "done", "text": "so it ended"}}\n')
    assert heard.said is not None


def test_what_it_will_do_is_on_disk_and_in_the_figures(still: Running) -> None:
    seen = look(still.directory / "state", "ike")
    assert (seen.state, seen.next_action, seen.situation) == ("unreachable", "try again", "unreachable")
    assert seen.next_action_at == seen.retry_at
    figures = still.directory / "figures.prom"
    expected = 'enrolld_identity_state{identity="ike",state="unreachable"} 1'
    assert eventually(lambda: figures.exists() and expected in figures.read_text())
