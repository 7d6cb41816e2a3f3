"""A worker that was started before there was a job for it does what any other does, or leaves nothing behind."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.contract import Job, Outcome, Progress, Verdict
from agent.supervisor import children, early
from agent.supervisor.early import SPARE, Early
from agent.supervisor.secrets import Secrets
from tests.unit.supervisor.test_children import ISSUED, JOB, worker

DEADLINE = 60.0
WAITING = "given = sys.stdin.buffer.read()\n"
"""What a worker does that waits for a job, having said that it is there."""
TELLING = WAITING + (
    "job = json.loads(given)\n"
    "read = lambda one: os.fdopen(one, 'rb').read().decode()\n"
    "told = [read(job['secret-descriptor']), *map(read, job['pin-descriptors'].values())]\n"
    "say(json.dumps({'progress': {'event': 'told', 'text': ' '.join([*told, sys.argv[1]])}}))\n"
    f"say({ISSUED!r})\n"
)
"""A worker that tells the secrets it was given, and its first argument: one that was started early has descriptors."""


def descriptors() -> set[str]:
    return {one.name for one in Path("/proc/self/fd").iterdir()}


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() == before


def given(one: Early, secrets: Secrets, job: Job = JOB) -> tuple[Outcome, list[Progress]]:
    heard: list[Progress] = []
    late = (*worker(TELLING), "late")
    outcome = children.run_worker(job, secrets, heard.append, deadline=DEADLINE, command=late, early=one)
    return outcome, heard


def test_it_does_the_job_with_the_secrets_that_come_later() -> None:
    with Early(worker(TELLING)) as one:
        outcome, (told,) = given(one, Secrets(b"s3cret", {"hsm": b"1234", "card": b"5678"}))
    assert outcome.verdict is Verdict.ISSUED
    assert told.text.startswith("s3cret 1234 5678 ")
    assert not told.text.endswith("late")


def test_with_more_secrets_than_it_has_pipes_for_another_one_does_the_job() -> None:
    pins = {f"token-{number}": b"1234" for number in range(SPARE)}
    with Early(worker(WAITING)) as one:
        outcome, (told,) = given(one, Secrets(b"s3cret", pins))
    assert (outcome.verdict, told.text) == (Verdict.ISSUED, "s3cret 1234 1234 1234 1234 late")


def test_a_job_that_no_pipe_holds_is_done_by_another_one() -> None:
    long = replace(JOB, identity=replace(JOB.identity, subject="CN=" + "x" * (1 << 17)))
    with Early(worker(WAITING)) as one:
        outcome, (told,) = given(one, Secrets(b"s3cret", {"hsm": b"1234"}), long)
    assert (outcome.verdict, told.text) == (Verdict.ISSUED, "s3cret 1234 late")


def test_one_that_has_died_meanwhile_says_how() -> None:
    with Early(worker("os.kill(os.getpid(), signal.SIGSEGV)")) as one:
        assert one._process is not None
        select.select([one._process.exited], [], [], DEADLINE)
        outcome, _ = given(one, Secrets(b"s3cret"))
    assert (outcome.verdict, outcome.text) == (Verdict.CRASHED, "the worker was killed by SIGSEGV")


def test_one_that_is_not_needed_is_ended_at_once() -> None:
    with Early() as one:
        process = one._process
        assert process is not None
    assert process.status == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_one_that_cannot_be_started_leaves_no_descriptor() -> None:
    with pytest.raises(FileNotFoundError):
        Early(("/nowhere/python",))


STARTING = """
import sys, time
from agent.supervisor.early import Early
one = Early()
print(one._process.pid, flush=True)
time.sleep(600)
"""


def test_it_leaves_by_itself_when_whoever_started_it_is_killed() -> None:
    """And says nothing: there was no job."""
    with subprocess.Popen([sys.executable, "-c", STARTING], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        pid = os.pidfd_open(int(process.stdout.readline()))
        try:
            process.kill()
            assert select.select([pid], [], [], DEADLINE)[0]
        finally:
            os.close(pid)
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")


def test_without_a_job_it_leaves_without_a_word() -> None:
    with Early() as one:
        process = one._process
        assert process is not None
        one._writers.close()
        select.select([process.exited], [], [], DEADLINE)
        assert (process.poll(), process.read()) == (0, b"")


def test_it_refuses_a_bad_job_as_any_other_does() -> None:
    with Early() as one:
        process = one.give(json.dumps({"version": 2}).encode())
    assert process is not None
    select.select([process.exited], [], [], DEADLINE)
    assert b"version: should be 1" in (process.read() or b"")
    assert process.poll() == 2
    process.close()


def test_it_keeps_no_pipe_that_its_job_does_not_need(tmp_path: Path) -> None:
    script = f"""
import os, sys
from agent.worker import __main__ as worker, early, forking
forking.load = lambda: None
def main():
    with open({str(tmp_path / "told")!r}, "w") as told:
        print(*os.listdir("/proc/self/fd"), file=told)
    return 0
worker.main = main
early.main([int(one) for one in sys.argv[1:]])
"""
    with Early((sys.executable, "-c", script)) as one:
        secret = one.holding(b"s3cret")
        process = one.give(b"{}")
    assert process is not None
    select.select([process.exited], [], [], DEADLINE)
    assert process.poll() == 0
    process.close()
    open_there = set(map(int, (tmp_path / "told").read_text().split()))
    assert {0, 1, 2, secret} <= open_there
    assert len(open_there) == 6  # with the file that is written and the directory that is read


def test_its_command_is_that_of_a_worker_but_for_the_module() -> None:
    assert early.COMMAND[:-1] == children.COMMAND[:-1]
