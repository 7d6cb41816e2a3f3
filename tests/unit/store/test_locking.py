from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.errors import StateBusy, StateError
from agent.store.locking import exclusive_lock
from tests.unit.store.samples import ROOT

HOLDER = """
import sys
from pathlib import Path
from agent.store.locking import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), "identity ike"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_holding(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_the_second_process_is_told_who_was_first(tmp_path: Path) -> None:
    with another_process_holding(tmp_path / "lock") as holder:
        with pytest.raises(StateBusy) as caught, exclusive_lock(tmp_path / "lock", "identity ike"):
            pass
        assert str(caught.value) == f"process {holder.pid} is at work on identity ike"
        assert f"process {holder.pid}" in caught.value.remedy


def test_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    with another_process_holding(tmp_path / "lock") as holder:
        holder.kill()
        holder.wait(timeout=10)
        with exclusive_lock(tmp_path / "lock", "identity ike"):
            assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_the_same_process_cannot_take_it_twice(tmp_path: Path) -> None:
    with (
        exclusive_lock(tmp_path / "lock", "identity ike"),
        pytest.raises(StateBusy, match=f"process {os.getpid()}"),
        exclusive_lock(tmp_path / "lock", "identity ike"),
    ):
        pass


def test_it_is_free_again_after_an_error_within(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exclusive_lock(tmp_path / "lock", "identity ike"):
        raise KeyError
    with exclusive_lock(tmp_path / "lock", "identity ike"):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_child_that_was_started_meanwhile_does_not_keep_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    first, second = exclusive_lock(tmp_path / "lock", "first"), exclusive_lock(tmp_path / "lock", "second")
    first.__enter__()
    with subprocess.Popen(command, stdin=subprocess.PIPE, close_fds=False) as child:
        first.__exit__(None, None, None)
        with second:
            assert child.poll() is None
        child.kill()


def test_a_holder_that_wrote_no_number_is_another_process(tmp_path: Path) -> None:
    with exclusive_lock(tmp_path / "lock", "identity ike"):
        (tmp_path / "lock").write_bytes(b"\xffnonsense")
        with (
            pytest.raises(StateBusy, match=r"^another process is at work"),
            exclusive_lock(tmp_path / "lock", "identity ike"),
        ):
            pass


def test_a_full_disk_does_not_keep_out_whoever_comes_to_empty_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with exclusive_lock(tmp_path / "lock", "identity ike"):
        assert (tmp_path / "lock").read_bytes() == b""


def test_a_directory_that_vanished_is_reported(tmp_path: Path) -> None:
    with (
        pytest.raises(StateError, match="ENOENT") as caught,
        exclusive_lock(tmp_path / "gone" / "lock", "identity ike"),
    ):
        pass
    assert "is gone" in caught.value.remedy


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="ELOOP"), exclusive_lock(tmp_path / "lock", "identity ike"):
        pass
    assert not (tmp_path / "elsewhere").exists()
