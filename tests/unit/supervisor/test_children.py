"""Whatever a worker does, its parent says in one sentence how it ended."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent.contract import VERDICTS, Action, Job, Outcome, Progress, Verdict
from agent.settings import AuthoritySettings, BootstrapSettings, IdentitySettings, SharedSecretSettings, TokenSettings
from agent.supervisor import children
from agent.supervisor.secrets import Secrets

JOB = Job(
    action=Action.ENROLL,
    name="ike",
    identity=IdentitySettings(
        authority="operator",
        subject="CN=enb-4711",
        bootstrap=BootstrapSettings(shared_secret=SharedSecretSettings(reference="enb", secret="prompt")),
    ),
    authority=AuthoritySettings(urls=("http://127.0.0.1:9/",), trust_anchors=None),
    state_directory=Path("/nowhere"),
)
ISSUED = json.dumps({"outcome": {"verdict": "issued", "text": "installed"}})
PROGRESS = json.dumps({"progress": {"event": "sent", "text": "sending ir"}})
DEADLINE = 60.0


def worker(script: str) -> tuple[str, ...]:
    """Return the command of a worker that does what ``script`` says."""
    start = "import json, os, signal, subprocess, sys, time\nsay = lambda text: os.write(1, text.encode() + b'\\n')\n"
    return (sys.executable, "-I", "-S", "-c", start + script)


class Clock:
    """The clock of whoever waits for the worker; a worker that has spoken may have its deadline pass at once."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.passed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(children, "time", made)
    return made


def run(
    script: str, *, secret: bytes | None = None, pins: dict[str, bytes] | None = None, deadline: float = 20
) -> tuple[Outcome, list[Progress]]:
    heard: list[Progress] = []
    outcome = children.run_worker(
        JOB, Secrets(secret, pins or {}), heard.append, deadline=deadline, command=worker(script)
    )
    return outcome, heard


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "_GRACE", 0.2)


def test_the_job_goes_in_and_progress_and_outcome_come_out() -> None:
    script = f"""
job = json.load(sys.stdin)
assert job["name"] == "ike" and job["action"] == "enroll", job
say({PROGRESS!r}); say({ISSUED!r})
"""
    outcome, heard = run(script)
    assert outcome == Outcome(verdict=Verdict.ISSUED, text="installed")
    assert [one.text for one in heard] == ["sending ir"]


@pytest.mark.parametrize(("verdict", "status"), [(one, it.worker) for one, it in VERDICTS.items() if it.worker])
def test_every_verdict_comes_with_its_exit_status(verdict: Verdict, status: int) -> None:
    line = json.dumps({"outcome": {"verdict": verdict.value, "text": "so it ended"}})
    outcome, _ = run(f"say({line!r}); sys.exit({status})")
    assert outcome.verdict is verdict


def test_the_secret_comes_by_a_descriptor_that_the_job_names() -> None:
    script = f"""
job = json.load(sys.stdin)
with open(job["secret-descriptor"], "rb") as stream:
    secret = stream.read().decode()
assert secret[::-1] == "terc3s"
assert secret not in str(job) + str(os.environ) + open("/proc/self/cmdline").read()
say({ISSUED!r})
"""
    assert run(script, secret=b"s3cret")[0].verdict is Verdict.ISSUED


def test_each_pin_comes_by_a_descriptor_under_the_name_of_its_token() -> None:
    script = f"""
job = json.load(sys.stdin)
pins = {{name: open(one, "rb").read().decode()[::-1] for name, one in job["pin-descriptors"].items()}}
assert pins == {{"hsm": "4321", "tpm": "8765"}}, pins
assert "secret-descriptor" not in job
say({ISSUED!r})
"""
    assert run(script, pins={"hsm": b"1234", "tpm": b"5678"})[0].verdict is Verdict.ISSUED


def test_no_descriptor_but_the_named_ones_reaches_the_worker(tmp_path: Path) -> None:
    script = f"""
job = json.load(sys.stdin)
others = [one for one in os.listdir("/proc/self/fd") if int(one) > 2]
assert str(job["secret-descriptor"]) in others
assert len(others) == 2, others  # the second one lists the directory
say({ISSUED!r})
"""
    with (tmp_path / "open").open("w"):
        assert run(script, secret=b"s")[0].verdict is Verdict.ISSUED


# --- death ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM])
def test_a_signal_that_killed_it_is_named(number: signal.Signals) -> None:
    outcome, _ = run(f"os.kill(os.getpid(), {int(number)})")
    assert outcome.verdict is Verdict.CRASHED
    assert outcome.text == f"the worker was killed by {number.name}"
    assert outcome.remedy.startswith("Try again, nothing on disk was lost")


@pytest.mark.parametrize(("script", "deadline"), [("os.kill(os.getpid(), 11)", 20), ("time.sleep(60)", 0.5)])
def test_the_end_of_a_worker_that_used_tokens_names_them_and_their_modules(script: str, deadline: float) -> None:
    token = TokenSettings(module=Path("/usr/lib/opensc.so"), label="enb", pin="prompt")
    job = replace(JOB, tokens={"hsm": token})
    outcome = children.run_worker(job, Secrets(), lambda _: None, deadline=deadline, command=worker(script))
    assert "the token hsm (/usr/lib/opensc.so)" in outcome.remedy
    assert "token" not in run(script, deadline=deadline)[0].remedy


def test_a_signal_without_a_name_is_numbered() -> None:
    outcome, _ = run("os.kill(os.getpid(), 41)")
    assert outcome.text == "the worker was killed by signal 41"


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("", "the worker ended with status 0 and no outcome"),
        ("sys.exit(3)", "the worker ended with status 3 and no outcome"),
        (f"say({ISSUED!r}); sys.exit(1)", "the worker ended with status 1 and another outcome"),
    ],
)
def test_an_end_without_its_outcome_is_a_crash(script: str, what: str) -> None:
    outcome, _ = run(script)
    assert outcome.verdict is Verdict.CRASHED
    assert outcome.text == what


def test_what_it_said_last_counts_although_it_crashed_on_its_way_out() -> None:
    outcome, _ = run(f"say({ISSUED!r}); os.kill(os.getpid(), signal.SIGSEGV)")
    assert outcome.verdict is Verdict.ISSUED


def test_a_worker_that_does_not_read_its_job_is_no_trouble() -> None:
    outcome, _ = run("os.close(0); sys.exit(9)")
    assert outcome.verdict is Verdict.CRASHED


# --- rubbish ----------------------------------------------------------------------------------------------------------

RUBBISH = {
    "text": "say('usb 1-1: token ready')",
    "not text": "os.write(1, bytes(range(128, 256)) + b'\\n')",
    "a list": "say('[1, 2]')",
    "a number": "say('5')",
    "a text in JSON": "say('\"outcome\"')",
    "unknown keys": 'say(\'{"outcome": {"verdict": "issued", "text": "x", "colour": "red"}}\')',
    "an unknown verdict": 'say(\'{"outcome": {"verdict": "perhaps", "text": "x"}}\')',
    "deep brackets": "say('[' * 100000)",
    "no line end": "os.write(1, b'x' * 100); os.write(1, b'\\n')",
    "a line without end": "[os.write(1, b'x' * 65536) for _ in range(40)]; os.write(1, b'\\n')",
}


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_on_its_output_is_left_aside(rubbish: str, capfd: pytest.CaptureFixture[str]) -> None:
    outcome, heard = run(f"say({PROGRESS!r}); {rubbish}; say({PROGRESS!r}); say({ISSUED!r})")
    assert outcome.verdict is Verdict.ISSUED
    assert len(heard) == 2
    told = capfd.readouterr().err
    assert told.startswith("enrolld: the worker said something unexpected: b")
    assert told.count("\n") == 1
    assert len(told) < 1000
    assert told.isascii()


def test_much_rubbish_is_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    outcome, _ = run(f"[say('noise') for _ in range(500)]; say({ISSUED!r})")
    assert outcome.verdict is Verdict.ISSUED
    assert capfd.readouterr().err.count("unexpected") == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("line", ["y", PROGRESS], ids=["rubbish", "progress"])
def test_one_that_never_stops_talking_is_ended_after_its_deadline_all_the_same(line: str) -> None:
    talk = f"text = {line!r}.encode() + b'\\n'\nwhile True: os.write(1, text * 20_000)"
    begun = time.monotonic()
    outcome, _ = run(talk, deadline=0.5)
    assert outcome.verdict is Verdict.TIMED_OUT
    assert time.monotonic() - begun < 30


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("obedient", [True, False])
def test_a_worker_that_hangs_is_ended_after_its_deadline(clock: Clock, *, obedient: bool) -> None:
    heard: list[Progress] = []

    def hear(progress: Progress) -> None:
        heard.append(progress)
        clock.passed = DEADLINE

    stubborn = "pass" if obedient else "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    command = worker(f"{stubborn}; say({PROGRESS!r}); time.sleep(60)")
    outcome = children.run_worker(JOB, Secrets(), hear, deadline=DEADLINE, command=command)
    assert outcome.verdict is Verdict.TIMED_OUT
    assert outcome.text.endswith("and was ended")
    assert outcome.remedy.startswith("Try again, nothing on disk was lost")
    assert len(heard) == 1


def test_what_it_says_when_its_deadline_has_passed_counts(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def hear(_: Progress) -> None:
        clock.passed = DEADLINE

    monkeypatch.setattr(children, "_GRACE", DEADLINE)
    waiting = json.dumps({"outcome": {"verdict": "waiting", "text": "open"}})
    says = f"signal.signal(signal.SIGTERM, lambda *_: (say({waiting!r}), os._exit(3)))"
    command = worker(f"{says}; say({PROGRESS!r}); time.sleep({2 * DEADLINE})")
    outcome = children.run_worker(JOB, Secrets(), hear, deadline=DEADLINE, command=command)
    assert outcome.verdict is Verdict.WAITING


def test_a_child_of_the_worker_that_holds_its_output_open_does_not_hold_us() -> None:
    script = f"""
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"])
say(json.dumps({{"progress": {{"event": "child", "text": str(child.pid)}}}}))
say({ISSUED!r})
"""
    start = time.monotonic()
    outcome, heard = run(script)
    assert outcome.verdict is Verdict.ISSUED
    assert time.monotonic() - start < 10
    os.kill(int(heard[0].text), signal.SIGKILL)


# --- interruption -----------------------------------------------------------------------------------------------------

SAYS_OPEN = """
def stop(*_):
    say(json.dumps({"outcome": {"verdict": "waiting", "text": "interrupted; the request stays open"}}))
    os._exit(3)
signal.signal(signal.SIGTERM, stop)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_passed_on_and_the_worker_has_the_last_word(number: signal.Signals) -> None:
    heard: list[Progress] = []

    def hear(progress: Progress) -> None:
        heard.append(progress)
        if progress.event == "sent":
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    script = worker(f"{SAYS_OPEN}\nsay({PROGRESS!r}); time.sleep(60)")
    outcome = children.run_worker(JOB, Secrets(), hear, deadline=20, command=script)
    assert outcome.verdict is Verdict.WAITING
    assert [one.event for one in heard] == ["sent", children.INTERRUPTED]
    assert signal.getsignal(number) is before


def test_a_second_interruption_kills_it() -> None:
    def hear(progress: Progress) -> None:
        if progress.event in {"sent", children.INTERRUPTED}:
            os.kill(os.getpid(), signal.SIGINT)

    script = worker(f"signal.signal(signal.SIGTERM, signal.SIG_IGN); say({PROGRESS!r}); time.sleep(60)")
    outcome = children.run_worker(JOB, Secrets(), hear, deadline=20, command=script)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.text == "interrupted"
    assert outcome.remedy == "Run the command again: nothing on disk was lost, and an open request goes on."


def test_a_worker_that_dies_of_our_first_request_was_interrupted_too() -> None:
    def hear(progress: Progress) -> None:
        if progress.event == "sent":
            os.kill(os.getpid(), signal.SIGINT)

    script = worker(f"say({PROGRESS!r}); time.sleep(60)")
    outcome = children.run_worker(JOB, Secrets(), hear, deadline=20, command=script)
    assert outcome.text == "interrupted"


def test_an_error_of_ours_ends_the_worker() -> None:
    seen: list[int] = []

    def hear(progress: Progress) -> None:
        seen.append(int(progress.text))
        raise RuntimeError("of ours")

    script = worker('say(json.dumps({"progress": {"event": "x", "text": str(os.getpid())}})); time.sleep(60)')
    with pytest.raises(RuntimeError, match="of ours"):
        children.run_worker(JOB, Secrets(), hear, deadline=20, command=script)
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)


def test_no_descriptor_is_left_open() -> None:
    run(f"say({ISSUED!r})", secret=b"s")
    gc.collect()  # what other tests left open is closed now, not while we count
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - of a running process
    for _ in range(3):
        run(f"say({ISSUED!r})", secret=b"s")
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208
