from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS_THAT_DO_NOT_RUN = """
import pytest

def test_that_runs():
    assert True is not False

def test_that_skips_itself():
    pytest.skip("no token here")

@pytest.mark.skip(reason="never")
def test_that_is_marked():
    raise AssertionError

@pytest.mark.xfail(reason="later")
def test_that_may_fail():
    raise AssertionError
"""
A_FILE_THAT_DOES_NOT_RUN = """
import pytest

pytest.skip("no library here", allow_module_level=True)
"""


def run(folder: Path, tests: str, *, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (folder / "test_sample.py").write_text(tests)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-ra",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(folder),
        str(folder),
    ]
    environment = {**os.environ, "CI": ci}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_in_ci_a_test_that_does_not_run_fails_the_session_and_is_named(tmp_path: Path) -> None:
    session = run(tmp_path, TESTS_THAT_DO_NOT_RUN, ci="true")
    assert session.returncode == pytest.ExitCode.TESTS_FAILED, session.stdout
    assert session.stdout.splitlines()[-1].startswith("2 failed, 1 passed, 1 error"), session.stdout
    for name, reason in {
        "test_that_skips_itself": "no token here",
        "test_that_is_marked": "never",
        "test_that_may_fail": "expected to fail: later",
    }.items():
        line = next(
            line for line in session.stdout.splitlines() if line.startswith(("FAILED", "ERROR")) and name in line
        )
        assert reason in line


def test_in_ci_a_file_that_skips_itself_fails_the_session_and_is_named(tmp_path: Path) -> None:
    session = run(tmp_path, A_FILE_THAT_DOES_NOT_RUN, ci="true")
    assert session.returncode not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}, session.stdout
    assert "no library here" in session.stdout


def test_outside_ci_a_skip_stays_a_skip(tmp_path: Path) -> None:
    session = run(tmp_path, TESTS_THAT_DO_NOT_RUN, ci="")
    assert session.returncode == pytest.ExitCode.OK, session.stdout
    assert session.stdout.splitlines()[-1].startswith("1 passed, 2 skipped, 1 xfailed"), session.stdout


def test_no_test_can_reach_another_machine() -> None:
    with socket.socket() as stream, pytest.raises(AssertionError, match=r"reached out to 192\.0\.2\.1"):
        stream.connect(("192.0.2.1", 80))
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams,
        pytest.raises(AssertionError, match="reached out to 2001:db8::1"),
    ):
        datagrams.sendto(b"x", ("2001:db8::1", 123))
