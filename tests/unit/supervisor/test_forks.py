"""Workers that are forked are workers like any other, and one that cannot be forked is started instead."""

from __future__ import annotations

import errno
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.contract import Outcome, Progress, Verdict
from agent.settings import TokenSettings
from agent.supervisor import forks, process
from agent.supervisor.children import Child
from agent.supervisor.forks import Forked, ForkServer
from agent.supervisor.loop import Loop
from agent.supervisor.process import Process
from agent.supervisor.secrets import Secrets
from agent.supervisor.staff import MANY, Staff
from tests.unit.supervisor.test_children import ISSUED, JOB, PROGRESS, worker

PATIENCE = 60_000
SERVER = """
import errno, json, os, signal, subprocess, sys, time
from agent.worker import forking
say = lambda text: os.write(1, text.encode() + b"\\n")
forking.worker.load = lambda *_: None
{before}
def main():
    {body}
    return 0
forking.worker.main = main
forking.main(sys.argv[1:])
"""


def server_that(body: str, before: str = "") -> tuple[str, ...]:
    """Return the command of what forks workers that do what ``body`` says (one line)."""
    return (sys.executable, "-I", "-c", SERVER.format(body=body, before=before))


def until(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    assert poll.poll(PATIENCE)


@contextmanager
def serving(body: str, before: str = "", *, address_space: int | None = None) -> Iterator[ForkServer]:
    """Run what forks workers that do what ``body`` says."""
    loaded: list[bool] = []
    server = ForkServer(lambda: loaded.append(True), address_space=address_space, command=server_that(body, before))
    try:
        until(server.process.output)
        server.hear()
        assert loaded == [True]
        yield server
    finally:
        server.dismiss(at_once=True)
        until(server.process.exited)
        server.close()


def child_of(server: ForkServer, secrets: Secrets | None = None, heard: Callable[[Progress], None] = print) -> Child:
    return Child(JOB, secrets or Secrets(), heard, deadline=60, server=server)


def ended(child: Child) -> Outcome:
    until(child.process.exited)
    assert child.over
    outcome = child.outcome()
    child.close()
    return outcome


def run(body: str, before: str = "", secrets: Secrets | None = None) -> Outcome:
    with serving(body, before) as server:
        return ended(child_of(server, secrets))


# --- a worker like any other ------------------------------------------------------------------------------------------


def test_job_and_secrets_go_in_and_progress_and_outcome_come_out() -> None:
    body = (
        'job = json.load(sys.stdin); assert os.read(job["secret-descriptor"], 9) == b"geheim"; '
        'assert os.read(job["pin-descriptors"]["hsm"], 9) == b"1234"; '
        f"say({PROGRESS!r}); say({ISSUED!r})"
    )
    heard: list[Progress] = []
    with serving(body) as server:
        outcome = ended(child_of(server, Secrets(b"geheim", {"hsm": b"1234"}), heard.append))
    assert outcome.verdict is Verdict.ISSUED, outcome
    assert [one.event for one in heard] == ["sent"]


def test_many_are_forked_at_the_same_time_and_each_has_its_own_end() -> None:
    body = (
        f'job = json.load(sys.stdin); os.read(job["secret-descriptor"], 9) == b"bad" and os._exit(7); say({ISSUED!r})'
    )
    with serving(body) as server:
        children = [child_of(server, Secrets(b"bad" if index % 2 else b"good")) for index in range(6)]
        outcomes = [ended(one) for one in children]
    assert [one.verdict for one in outcomes] == [Verdict.ISSUED, Verdict.CRASHED] * 3
    assert outcomes[1].text == "the worker ended with status 7 and no outcome"


def test_it_has_the_descriptors_its_job_names_and_the_pipe_of_its_status_and_no_others() -> None:
    body = (
        'job = json.load(sys.stdin); others = [int(one) for one in os.listdir("/proc/self/fd") if int(one) > 2]; '
        'others.remove(job["secret-descriptor"]); pipes = [one for one in others if os.path.exists('
        'f"/proc/self/fd/{one}")]; '
        'assert len(pipes) == 1 and os.readlink(f"/proc/self/fd/{pipes[0]}").startswith("pipe:"), others; '
        "assert not os.get_inheritable(pipes[0]); "
        f"say({ISSUED!r})"
    )
    with serving(body) as server:
        children = [child_of(server, Secrets(b"s")) for _ in range(3)]
        assert [ended(one).verdict for one in children] == [Verdict.ISSUED] * 3


def test_it_leads_a_process_group_of_its_own_whose_rest_ends_with_it() -> None:
    body = (
        "assert os.getpgid(0) == os.getpid(); sleeper = subprocess.Popen(['/bin/sleep', '600']); "
        'say(json.dumps({"progress": {"event": "sent", "text": str(sleeper.pid)}})); '
        f"say({ISSUED!r})"
    )
    heard: list[Progress] = []
    with serving(body) as server:
        assert ended(child_of(server, heard=heard.append)).verdict is Verdict.ISSUED
        sleeper = Path(f"/proc/{heard[0].text}/stat")
        end = time.monotonic() + 30
        while sleeper.exists() and sleeper.read_text().rpartition(")")[2].split()[0] not in "ZX":
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_that_killed_it_is_named(number: signal.Signals) -> None:
    outcome = run(f"os.kill(os.getpid(), {int(number)})")
    assert (outcome.verdict, outcome.text) == (Verdict.CRASHED, f"the worker was killed by {number.name}")


def test_a_defect_in_it_ends_it_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    with serving("raise LookupError('what is this')") as server:
        outcomes = [ended(child_of(server)) for _ in range(2)]
    assert [one.text for one in outcomes] == ["the worker ended with status 1 and no outcome"] * 2
    assert capfd.readouterr().err.count("LookupError: what is this") == 2


def test_it_can_be_asked_to_end() -> None:
    with serving("signal.signal(signal.SIGTERM, lambda *_: os._exit(3)); say('{}'); time.sleep(600)") as server:
        child = child_of(server)
        until(child.process.output)
        child.ask_to_end()
        assert ended(child).text == "the worker ended with status 3 and no outcome"
        child.process.signal(signal.SIGTERM)  # it has ended: nothing happens


STATE = (
    """
import resource
same = "SigB", "SigI", "SigC", "Umas", "Uid:", "Gid:", "Grou", "CapE", "NoNe", "Secc", "Thre"
state = [one.split() for one in open("/proc/self/status") if one[:4] in same]
state += [sorted(os.environ.items()), os.getcwd(), os.getpgrp() == os.getpid(), os.getpriority(os.PRIO_PROCESS, 0)]
state += [[one for one in open("/proc/self/limits") if "core file" not in one]]  # of which a worker lowers one itself
state += [open("/proc/self/oom_score_adj").read(), os.getsid(0)]
state += [os.get_inheritable(one) for one in range(3)] + [os.get_blocking(one) for one in range(3)]
state += [os.readlink(f"/proc/self/fd/{one}").partition(":")[0] for one in range(3)] + [sys.stdin.read()[:1]]
say(json.dumps({"progress": {"event": "sent", "text": json.dumps(state)}})); say("""
    + repr(ISSUED)
    + ")\n"
)


def test_it_is_in_every_way_as_one_that_was_started_by_exec() -> None:
    heard: list[Progress] = []
    limit = 1 << 30
    started = Child(JOB, Secrets(), heard.append, deadline=60, command=worker(STATE), address_space=limit)
    assert ended(started).verdict is Verdict.ISSUED
    with serving(f"exec({STATE!r}, globals())", address_space=limit) as server:
        assert ended(child_of(server, heard=heard.append)).verdict is Verdict.ISSUED
    exec_, forked = (json.loads(one.text) for one in heard)
    assert forked == exec_


def test_what_is_random_differs_from_one_to_the_next() -> None:
    before = (
        "from cryptography.hazmat.primitives.asymmetric import ec\n"
        "key = lambda: f'{ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value:x}'\n"
        "import random; random.random(); key()"
    )
    heard: list[Progress] = []
    body = (
        'say(json.dumps({"progress": {"event": "sent", "text": " ".join([os.urandom(9).hex(), key(), '
        f"str(random.random())])}}}})); say({ISSUED!r})"
    ).replace("}}}}", "}}")
    with serving(body, before) as server:
        for child in [child_of(server, heard=heard.append) for _ in range(8)]:
            assert ended(child).verdict is Verdict.ISSUED
    for column in zip(*(one.text.split() for one in heard), strict=True):
        assert len(set(column)) == 8


def test_it_may_address_no_more_than_a_worker_may() -> None:
    limit = 1 << 30
    body = f"import resource; assert resource.getrlimit(resource.RLIMIT_AS) == ({limit},) * 2; say({ISSUED!r})"
    with serving(body, address_space=limit) as server:
        assert ended(child_of(server)).verdict is Verdict.ISSUED


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_what_a_worker_said_counts_though_nobody_is_left_who_could_tell_its_status() -> None:
    body = f"say('{{}}'); sys.stdin.read(); time.sleep(0.3); say({ISSUED!r})"
    with serving(body) as server:
        child = child_of(server)
        until(child.process.output)
        server.process.signal(signal.SIGKILL)
        until(server.process.exited)
        assert not child.over
        assert ended(child).verdict is Verdict.ISSUED


def test_one_that_was_let_go_serves_its_workers_to_the_end() -> None:
    with serving(f"time.sleep(0.3); say({ISSUED!r}); os._exit(5)") as server:
        child = child_of(server)
        server.dismiss()
        assert ended(child).text == "the worker ended with status 5 and another outcome"
        until(server.process.exited)
        assert server.process.poll() == 0


@pytest.mark.parametrize(
    ("body", "status"), [("sys.exit(9)", 1), ("raise KeyboardInterrupt", 1), ("sys.stderr.close()", 0)]
)
def test_whatever_ends_a_worker_it_never_goes_on_as_what_forked_it(body: str, status: int, tmp_path: Path) -> None:
    found = tmp_path / "found"
    before = (
        f"run = forking.Nursery.run\n"
        f"def watched(self):\n    try: run(self)\n    finally: open({str(found)!r}, 'a').write(f'{{os.getppid()}} ')\n"
        f"forking.Nursery.run = watched"
    )
    with serving(body, before) as server:
        assert ended(child_of(server)).text == f"the worker ended with status {status} and no outcome"
        server.dismiss()
        until(server.process.exited)
    assert found.read_text() == f"{os.getpid()} "


def test_one_whose_starter_dies_while_it_loads_ends_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    loaded: list[bool] = []
    server = ForkServer(lambda: loaded.append(True), address_space=None, command=server_that("pass"))
    with Path(os.devnull).open("rb") as null:  # what the kernel does where a process ends
        os.dup2(null.fileno(), server.process.output, inheritable=False)
    server._requests.close()
    until(server.process.exited)
    assert server.process.poll() == 0
    server.close()
    assert capfd.readouterr().err == ""
    assert not loaded


def test_an_idle_one_ends_by_itself() -> None:
    with serving(f"say({ISSUED!r})", "forking._IDLE = 0.2") as server:
        assert ended(child_of(server)).verdict is Verdict.ISSUED
        until(server.process.exited)
        assert server.process.poll() == 0
        with pytest.raises(ConnectionError):
            child_of(server)


def test_one_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "_ANSWERS_WITHIN", 100)
    with serving("pass") as server:
        server.process.signal(signal.SIGSTOP)
        with pytest.raises(ConnectionAbortedError):
            child_of(server)


def test_that_there_can_be_no_process_more_is_an_error_with_its_number() -> None:
    before = "def none(): raise BlockingIOError(errno.EAGAIN, 'no more')\nos.fork = none"
    with serving("pass", before) as server:
        with pytest.raises(OSError, match="temporarily unavailable") as raised:
            child_of(server)
        assert raised.value.errno == errno.EAGAIN
        assert not isinstance(raised.value, ConnectionError)


def test_what_forks_reads_neither_job_nor_secret() -> None:
    kept = process.holding(b"geheim")
    with serving("print(sys.stdin.read(), flush=True)") as server:
        forked = server.fork(b"a job", [kept])
        until(forked.exited)
        assert forked.poll() == 0
        assert forked.read() == b"a job\n"
        forked.close()
        assert os.read(kept, 99) == b"geheim"
    os.close(kept)


def test_one_of_which_nobody_heard_has_no_job_and_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "_ANSWERS_WITHIN", 100)
    found = tmp_path / "found"
    body = (
        f"text = repr(sys.stdin.read()); new = {str(found)!r} + '.new'; stream = open(new, 'w'); stream.write(text); "
        f"stream.close(); os.rename(new, {str(found)!r})"
    )
    before = "forking.socket.send_fds = lambda *_: time.sleep(600)"
    with serving(body, before) as server:
        with pytest.raises(ConnectionAbortedError):
            server.fork(b"a job", ())
        end = time.monotonic() + 60
        while not found.exists():
            assert time.monotonic() < end
            time.sleep(0.01)
    assert found.read_text() == "''"


def test_one_for_whose_descriptor_there_is_no_room_here_has_no_job(tmp_path: Path) -> None:
    found = tmp_path / "found"
    body = f"open({str(found)!r}, 'w').write(repr(sys.stdin.read()))"
    before = "forking.socket.send_fds = lambda to, octets, _: to.send(*octets)"
    with serving(body, before) as server:
        with pytest.raises(OSError, match="Too many open files"):
            server.fork(b"a job", ())
        server.dismiss()
        until(server.process.exited)
    assert found.read_text() == "''"


def test_a_job_that_is_too_large_for_a_pipe_is_not_begun() -> None:
    with serving("pass") as server, pytest.raises(OSError, match="Message too long") as raised:
        server.fork(bytes(1 << 20), ())
    assert not isinstance(raised.value, ConnectionError)


NO_ROOM = """
import resource
recv_fds, rooms = forking.socket.recv_fds, [99, {room}]
def take(*arguments):
    free = [one for one in range(500) if not os.path.exists(f"/proc/self/fd/{{one}}")]
    room = free[rooms.pop(0) if rooms else 99]
    resource.setrlimit(resource.RLIMIT_NOFILE, (room, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return recv_fds(*arguments)
forking.socket.recv_fds = take
"""
"""What the second request meets has room for so many descriptors."""


@pytest.mark.parametrize("room", range(5))
def test_one_request_for_which_there_is_no_room_ends_neither_others_nor_what_forks(room: int) -> None:
    # Three come with a request, and two more are made for it.
    with serving(f"sys.stdin.read(); time.sleep(0.3); say({ISSUED!r})", NO_ROOM.format(room=room)) as server:
        counted = _open(server.process.pid)
        other = child_of(server)
        with pytest.raises(OSError, match="Too many open files") as raised:
            child_of(server)
        assert not isinstance(raised.value, ConnectionError)
        assert ended(child_of(server)).verdict is Verdict.ISSUED
        assert ended(other).verdict is Verdict.ISSUED
        assert not server.over
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        end = time.monotonic() + 30
        while children.read_text() or _open(server.process.pid) != counted:
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.mark.parametrize("packet", [b"{", b"[0]", b"[0, 1, 2, 3]", b"5", b"[0, null]"])
def test_what_is_no_request_ends_neither_others_nor_what_forks(packet: bytes) -> None:
    with serving(f"sys.stdin.read(); say({ISSUED!r})") as server:
        with Path(os.devnull).open("r+b") as null:
            socket.send_fds(server._requests, [packet], [null.fileno()] * 3)
        until(server._requests.fileno())
        octets = server._requests.recv(99)
        if packet != b"[0, null]":
            assert struct.unpack("i", octets) == (errno.EINVAL,)
        assert ended(child_of(server)).verdict is Verdict.ISSUED
        assert not server.over


def test_no_descriptor_is_left_open() -> None:
    with serving(f"say({ISSUED!r})") as server:
        ended(child_of(server, Secrets(b"s")))
        gc.collect()  # what other tests left open is closed now, not while we count
        counted = [_open(os.getpid()), _open(server.process.pid)]
        for _ in range(3):
            ended(child_of(server, Secrets(b"s")))
        assert _open(os.getpid()) == counted[0]
        end = time.monotonic() + 30
        while _open(server.process.pid) != counted[1]:  # it closes a pipe once it has told the status
            assert time.monotonic() < end
            time.sleep(0.01)


def _open(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - of a running process


# --- when they are used -----------------------------------------------------------------------------------------------

PID = 'say(json.dumps({"progress": {"event": "sent", "text": str(os.getppid())}})); say(' + repr(ISSUED) + ")"
"""A worker that says who has started it."""


class Many:
    """A staff whose workers say who has started them."""

    def __init__(self, *, forking: tuple[str, ...] | None = None) -> None:
        self.loop = Loop()
        self.parents: list[int] = []
        self.ended: list[Verdict] = []
        self.called = 0
        self.staff = Staff(self.loop, command=worker(PID), forking=forking or server_that(PID))

    def ready_for(self, waiting: int) -> bool:
        return self.staff.ready_for(waiting, self._then)

    def _then(self) -> None:
        self.called += 1

    def start(self, **changes: Any) -> None:
        self.staff.start(
            replace(JOB, **changes),
            Secrets(),
            lambda one: self.parents.append(int(one.text)),
            lambda outcome: self.ended.append(outcome.verdict),
            deadline=60,
        )

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        self.loop.after(60, lambda: None)
        while not condition():
            assert time.monotonic() < end
            self.loop.turn()

    def one(self, **changes: Any) -> bool:
        """Do one job; return whether its worker was forked by somebody else than us."""
        done = len(self.ended)
        self.start(**changes)
        self.until(lambda: len(self.ended) > done)
        assert self.ended[-1] is Verdict.ISSUED
        return self.parents[-1] != os.getpid()


@pytest.fixture
def many() -> Iterator[Many]:
    made = Many()
    yield made
    made.staff.close()
    made.loop.close()


def test_a_few_jobs_have_programs_of_their_own(many: Many) -> None:
    assert many.ready_for(MANY - 1)
    assert not many.one()
    assert many.called == 0


def test_many_jobs_wait_for_what_forks_them_and_then_are_forked(many: Many) -> None:
    assert not many.ready_for(MANY)
    assert not many.ready_for(1)
    many.until(lambda: many.called)
    assert many.ready_for(MANY)
    assert many.one()
    assert many.ready_for(1)
    assert many.one()


def test_a_worker_that_loads_the_module_of_a_token_is_a_program_of_its_own(many: Many) -> None:
    many.ready_for(MANY)
    many.until(lambda: many.called)
    assert not many.one(tokens={"hsm": TokenSettings(module=Path("/x.so"), label="enb", pin="prompt")})


def test_one_that_cannot_be_loaded_holds_up_nobody_and_is_not_tried_again_soon() -> None:
    many = Many(forking=(sys.executable, "-c", "import sys; sys.exit('no memory')"))
    assert not many.ready_for(MANY)
    many.until(lambda: many.called)
    assert many.ready_for(MANY)
    assert not many.one()
    many.loop.close()


def test_one_that_not_even_sigkill_ends_is_not_waited_for_while_it_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[signal.Signals] = []
    monkeypatch.setattr(Process, "signal", lambda _, number: sent.append(number))
    monkeypatch.setattr(forks, "PATIENCE", 0.1)
    monkeypatch.setattr(forks, "_AGAIN", 0.1)
    many = Many(forking=("/bin/sh", "-c", "exec sleep 600"))
    assert not many.ready_for(MANY)
    assert many.staff._server is not None
    pid = many.staff._server.process.pid
    many.until(lambda: many.called)
    assert set(sent) == {signal.SIGKILL}
    assert many.ready_for(MANY)
    assert not many.one()
    os.kill(pid, signal.SIGKILL)
    many.loop.close()


def test_one_that_is_let_go_while_it_loads_is_killed_and_nobody_is_told() -> None:
    many = Many(forking=("/bin/sh", "-c", "exec sleep 600"))
    many.ready_for(MANY)
    assert many.staff._server is not None
    server = many.staff._server.process
    many.staff.close()
    many.until(lambda: server.status is not None)
    assert server.status == -signal.SIGKILL
    assert many.called == 0
    many.loop.close()


def test_one_that_takes_for_ever_to_load_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "PATIENCE", 0.2)
    many = Many(forking=("/bin/sh", "-c", "sleep 600"))
    assert not many.ready_for(MANY)
    many.until(lambda: many.called)
    assert many.ready_for(MANY)
    many.loop.close()


def test_where_it_cannot_even_be_started_jobs_begin_at_once() -> None:
    many = Many(forking=("/nowhere/at-all",))
    assert many.ready_for(MANY)
    many.loop.close()


def test_where_it_was_killed_the_next_job_has_a_program_of_its_own(many: Many) -> None:
    many.ready_for(MANY)
    many.until(lambda: many.called)
    assert many.one()
    os.kill(many.parents[-1], signal.SIGKILL)
    assert not many.one()
    assert many.ready_for(MANY)


def test_one_that_was_killed_is_not_loaded_again_soon(many: Many) -> None:
    many.ready_for(MANY)
    many.until(lambda: many.called)
    assert many.staff._server is not None
    many.staff._server.process.signal(signal.SIGKILL)
    many.until(lambda: many.called > 1)
    assert many.ready_for(MANY)
    assert not many.one()


def test_where_there_can_be_no_fork_the_job_has_a_program_of_its_own() -> None:
    before = "def none(): raise BlockingIOError(errno.EAGAIN, 'no more')\nos.fork = none"
    many = Many(forking=server_that(PID, before))
    many.ready_for(MANY)
    many.until(lambda: many.called)
    assert not many.one()
    many.staff.close()
    many.loop.close()


def test_a_limit_that_was_changed_holds_for_the_next_worker(many: Many) -> None:
    many.ready_for(MANY)
    many.until(lambda: many.called)
    many.staff.address_space = 1 << 30
    assert not many.one()


def test_both_kinds_can_be_waited_for_alike() -> None:
    wanted = {one for one in dir(Process) if not one.startswith("_")}
    assert {one for one in dir(Forked) if not one.startswith("_")} == wanted
