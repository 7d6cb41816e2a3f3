"""A command as a consumer: what it is given, how long it may take, and what becomes of what it says."""

from __future__ import annotations

import os
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.deploy.hook import PATH, Hook
from agent.errors import ConsumerRefused, ConsumerUnavailable
from agent.settings import HookTarget
from tests.station import until
from tests.unit.deploy.materials import change, hands, material


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def run(command: str, *arguments: str, said: list[str] | None = None, timeout: str = "20s", **details: Any) -> str:
    hook = Hook(HookTarget(command=(command, *arguments), timeout=timeout), hands(said))
    return hook.deploy(change(7, **details))


def test_it_gets_the_documented_environment_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/enrolld.service")
    said: list[str] = []
    run("/usr/bin/env", said=said, reason="rolled-back")
    given = dict(line.removeprefix("/usr/bin/env: ").partition("=")[::2] for line in said)
    assert given == {
        "ENROLLD_IDENTITY": "ike",
        "ENROLLD_REASON": "rolled-back",
        "ENROLLD_GENERATION": "7",
        "ENROLLD_SERIAL": "7",
        "ENROLLD_NOT_AFTER": "2027-01-01T00:00:00+00:00",
        "ENROLLD_DIRECTORY": "/nowhere/generations/000007",
        "ENROLLD_KEY": "file:///nowhere/7",
        "PATH": PATH,
        "LC_ALL": "C.UTF-8",
    }


def test_it_inherits_no_descriptor_no_input_and_no_directory(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)  # noqa: FBT003 - the function's own parameter
        said: list[str] = []
        run(script(tmp_path / "hook", "ls -l /proc/self/fd | awk 'NF > 9 { print $9 }'; pwd; cat"), said=said)
    lines = [line.partition(": ")[2] for line in said]
    assert lines == ["0", "1", "2", "3", "/"]  # 3 is the directory that ls itself reads


def test_there_is_no_shell() -> None:
    said: list[str] = []
    run("/bin/echo", "$HOME; touch x", "`id`", said=said)
    assert said == ["/bin/echo: $HOME; touch x `id`"]


def test_a_status_other_than_0_is_a_refusal_with_its_last_line(tmp_path: Path) -> None:
    command = script(tmp_path / "hook", "echo trying; echo 'nginx: no such host' >&2; exit 3")
    with pytest.raises(ConsumerRefused, match="ended with status 3; its last line: nginx: no such host") as caught:
        run(command, "--now")
    assert f"{command} --now" in caught.value.remedy


def test_death_by_a_signal_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConsumerRefused, match="was killed by signal 15"):
        run(script(tmp_path / "hook", "kill -TERM $$"))


@pytest.mark.parametrize("trap", ["", "trap '' TERM"], ids=["obeys", "ignores SIGTERM"])
def test_one_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path, trap: str) -> None:
    pids = tmp_path / "pids"
    command = script(tmp_path / "hook", f"{trap}\nsleep 300 & echo $! $$ >{pids}; wait; wait")
    with pytest.raises(ConsumerRefused, match="did not end within 3s and was killed"):
        run(command, timeout="3s")
    for pid in pids.read_text().split():
        until(partial(_gone, pid))


def _gone(pid: str) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False).stdout
    return not state.strip() or state.startswith("Z")


def test_what_it_leaves_running_in_the_background_neither_delays_nor_dies(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    began = time.monotonic()
    run(script(tmp_path / "hook", f"sleep 30 & echo $! >{pid}"))
    assert time.monotonic() - began < 15
    assert not _ended_now(int(pid.read_text()))
    os.kill(int(pid.read_text()), 9)


def _ended_now(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_a_flood_of_output_is_cut_and_cleaned(tmp_path: Path) -> None:
    said: list[str] = []
    run(script(tmp_path / "hook", "yes 'line of words' | head -n 100000; printf '\\033[31mred\\n'"), said=said)
    assert len(said) == 100
    assert said[-1].endswith("?[31mred")
    assert all(line.isprintable() for line in said)


@pytest.mark.parametrize("name", ["missing", "plain"])
def test_one_that_cannot_be_started_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "plain").write_text("no program")
    with pytest.raises(ConsumerUnavailable, match="cannot be started") as caught:
        run(str(tmp_path / name))
    assert "ls -l" in caught.value.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_where_enrolld_is_root_it_can_run_as_somebody_else_without_its_groups() -> None:
    said: list[str] = []
    hook = Hook(HookTarget(command=("/usr/bin/id",), user="nobody"), hands(said))
    hook.deploy(change())
    assert "uid=65534(nobody)" in said[0]
    assert "root" not in said[0]


def test_it_cannot_be_asked_so_its_success_stands() -> None:
    assert Hook(HookTarget(command=("/bin/false",)), hands()).live(material())
