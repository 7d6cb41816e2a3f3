"""The worker as a process of its own: what it makes of a bad job, of a noisy library and of signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agent import structure
from agent.contract import VERDICTS, Outcome, Verdict
from agent.supervisor import children
from agent.worker.__main__ import MAXIMUM_JOB
from agent.worker.environment import Interruption
from agent.worker.reporting import Reporter
from tests.unit.worker.desk import SECRET, Desk


def worker(octets: bytes, *command: str) -> tuple[int, Outcome, str]:
    """Give a worker ``octets`` as its job; return status, outcome and standard error."""
    done = subprocess.run(command or children.COMMAND, input=octets, capture_output=True, check=False, timeout=30)
    *_, last = done.stdout.splitlines()
    return done.returncode, structure.from_json(Outcome, json.loads(last)["outcome"]), done.stderr.decode()


def job_of(desk: Desk, **changes: Any) -> bytes:
    return json.dumps(structure.to_json(desk.job) | changes).encode()


BAD_JOBS: dict[str, tuple[Callable[[Desk], bytes], str]] = {
    "nothing": (lambda _: b"", "the document: is not JSON"),
    "rubbish": (lambda _: b"\x00\xff rubbish", "the document: is not JSON"),
    "a list": (lambda _: b"[]", "version: should be 1"),
    "deep": (lambda _: b"[" * 200_000, "the document: is not JSON"),
    "another version": (lambda desk: job_of(desk, version=2), "version: should be 1"),
    "an unknown key": (lambda desk: job_of(desk, colour="red"), "colour: this key is unknown"),
    "too large": (lambda _: b" " * (MAXIMUM_JOB + 1), "is larger than"),
    "no time": (lambda desk: job_of(desk, **{"known-time": "soon"}), "known-time: is no time"),
    "a time of no zone": (lambda desk: job_of(desk, **{"known-time": "2026-01-01"}), "known-time: names no time zone"),
    "a closed descriptor": (
        lambda desk: job_of(desk, **{"secret-descriptor": 77}),
        "secret-descriptor: cannot be read",
    ),
}


@pytest.mark.parametrize(("job", "text"), BAD_JOBS.values(), ids=BAD_JOBS)
def test_a_bad_job_is_refused_in_words(desk: Desk, job: Callable[[Desk], bytes], text: str) -> None:
    status, outcome, told = worker(job(desk))
    assert (status, outcome.verdict) == (2, Verdict.MISCONFIGURED)
    assert text in outcome.text
    assert outcome.remedy
    assert told == ""


def test_what_a_library_prints_does_not_get_between_the_lines(desk: Desk) -> None:
    """A vendor's module that writes to descriptor 1 is a fact of life."""
    noisy = "import os, runpy; os.write(2, b''); import agent.worker.__main__ as worker\n"
    noisy += "read = worker.read_job\n"
    noisy += "def read_job(octets):\n    os.write(1, b'token ready'); print('hello', flush=True); return read(octets)\n"
    noisy += "worker.read_job = read_job; raise SystemExit(worker.main())"
    status, outcome, told = worker(job_of(desk, version=2), sys.executable, "-c", noisy)
    assert (status, outcome.verdict) == (2, Verdict.MISCONFIGURED)
    assert told == "token readyhello\n"


def test_a_defect_is_reported_in_words_with_its_traceback_beside_them(desk: Desk) -> None:
    broken = "import agent.worker.__main__ as worker\n"
    broken += "def read_job(octets):\n    raise ZeroDivisionError('of ours')\n"
    broken += "worker.read_job = read_job; raise SystemExit(worker.main())"
    status, outcome, told = worker(job_of(desk), sys.executable, "-c", broken)
    assert (status, outcome.verdict) == (VERDICTS[Verdict.FAILED].worker, Verdict.FAILED)
    assert outcome.text == "a defect of enrolld: ZeroDivisionError: of ours"
    assert "Traceback" in told


def test_a_worker_whose_parent_is_gone_begins_nothing(desk: Desk) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    secret, told_secret = os.pipe()
    os.write(told_secret, SECRET)
    os.close(told_secret)
    with subprocess.Popen(
        children.COMMAND, stdin=subprocess.PIPE, stdout=writer, stderr=subprocess.PIPE, pass_fds=(secret,)
    ) as process:
        os.close(writer)
        os.close(secret)
        _, told = process.communicate(job_of(desk, **{"secret-descriptor": secret}), timeout=30)
    assert told == b""
    assert process.returncode == VERDICTS[Verdict.FAILED].worker
    history = desk.store.state.load().last_error
    assert history is not None
    assert history.text == "interrupted before anything was sent"


def test_a_reporter_that_is_not_heard_says_so_and_goes_on() -> None:
    reader, writer = os.pipe()
    reporter = Reporter(writer, {})
    os.close(reader)
    for _ in range(2):
        reporter.finish(Outcome(verdict=Verdict.ISSUED, text="installed"))
    assert reporter.unheard
    os.close(writer)


def test_every_line_is_ascii_whatever_the_names_are(tmp_path: Path) -> None:
    with (tmp_path / "told").open("wb") as stream:
        Reporter(stream.fileno(), {}).finish(Outcome(verdict=Verdict.ISSUED, text="Zürich \udcff \x1b[31m"))
    line = (tmp_path / "told").read_bytes()
    assert line.isascii()
    assert json.loads(line)["outcome"]["text"] == "Zürich \udcff \x1b[31m"


@pytest.fixture
def output() -> Iterator[tuple[int, int]]:
    """Give both ends of a pipe, and put the handlers of signals back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    ends = os.pipe()
    yield ends
    for number, handler in before.items():
        signal.signal(number, handler)
    for one in ends:
        with suppress(OSError):
            os.close(one)


def test_the_first_signal_asks_and_wakes_and_the_second_one_is_deadly(output: tuple[int, int]) -> None:
    interruption = Interruption(output[1])
    interruption.sleep(0.01)
    heard = [interruption.heard()]
    os.kill(os.getpid(), signal.SIGTERM)
    heard.append(interruption.heard())
    interruption.sleep(60)  # does not
    assert heard == [False, True]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_the_end_of_the_parent_wakes_too(output: tuple[int, int]) -> None:
    interruption = Interruption(output[1])
    threading.Timer(0.1, os.close, (output[0],)).start()
    interruption.sleep(60)  # does not
    assert interruption.heard()
