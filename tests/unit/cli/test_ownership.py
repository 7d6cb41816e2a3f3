"""As root, a command works as the user whose directory it is, and is root again afterwards, whatever happens."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli.ownership import acting_as_owner
from agent.errors import AgentError

OTHER = 65_534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def ids() -> tuple[object, ...]:
    return os.getresuid(), os.getresgid(), sorted(os.getgroups())


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that another user owns, where he can reach it: pytest's are closed to others."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    os.chown(path, OTHER, OTHER)
    yield path
    shutil.rmtree(path)


@AS_ROOT
def test_files_and_programs_are_the_owners_and_the_way_back_is_ours(place: Path) -> None:
    before = ids()

    def fail() -> None:
        with acting_as_owner(place):
            (place / "file").write_text("")
            started = subprocess.run(["id", "-ru"], capture_output=True, text=True, check=True)
            assert started.stdout == f"{OTHER}\n"
            back = "import os, sys\ntry:\n    os.setresuid(0, 0, 0)\nexcept PermissionError:\n    sys.exit(7)\n"
            assert subprocess.run(["/usr/bin/python3", "-I", "-c", back], check=False).returncode == 7
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert ids() == before
    status = (place / "file").stat()
    assert (status.st_uid, status.st_gid) == (OTHER, OTHER)


def test_where_there_is_nobody_else_nothing_changes(tmp_path: Path) -> None:
    before = ids()
    for place in (tmp_path, tmp_path / "none"):
        with acting_as_owner(place):
            assert ids() == before


@AS_ROOT
def test_a_python_that_the_owner_may_not_run_is_told_with_a_remedy(place: Path) -> None:
    with pytest.raises(AgentError, match="may not run") as caught, acting_as_owner(place):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), sys.executable)
    assert caught.value.remedy
    with pytest.raises(PermissionError), acting_as_owner(place):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/another")
