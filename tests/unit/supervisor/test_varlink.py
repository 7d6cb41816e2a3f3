"""Clients of the control socket that are slow, silent, talkative or many: the others are served all the same."""

from __future__ import annotations

import json
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.supervisor import listening
from agent.supervisor.listening import MOST_CLIENTS, MOST_OTHERS, Server
from agent.supervisor.loop import Loop
from agent.supervisor.varlink import LONGEST_CALL, MOST_UNREAD, Call, Errors

ERRORS = Errors(not_understood="x.NotUnderstood", too_many="x.TooMany", too_slow="x.TooSlow")


class Post:
    """A server whose methods are ``now``, ``later`` (answered by a test) and ``watch``, and its clients."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "socket"
        self.loop = Loop(slice_=0.02)
        self.first = True
        self.calls: list[Call] = []
        self.server = Server(self.loop, self.path, self._called, errors=ERRORS, first=lambda _: self.first)
        self.clients: list[Peer] = []

    def _called(self, call: Call) -> None:
        self.calls.append(call)
        if call.method == "now":
            call.answer({"number": call.parameters.get("number", 0)})

    def client(self) -> Peer:
        self.clients.append(Peer(self))
        return self.clients[-1]

    def until(self, holds: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end, "waited in vain"
            self.loop.turn()

    def close(self) -> None:
        for one in self.clients:
            one.socket.close()
        self.server.close()
        self.loop.close()


class Peer:
    """A client that reads when a test says so."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(post.path))
        self.socket.settimeout(0)
        self._heard = b""

    def call(self, method: str, **more: Any) -> None:
        self.send(json.dumps({"method": method} | more).encode() + b"\0")

    def send(self, octets: bytes) -> None:
        """Send it all, as far as the server lets us; it goes on meanwhile."""

        def sent() -> bool:
            nonlocal octets
            try:
                octets = octets[self.socket.send(octets) :]
            except BlockingIOError:
                return False
            except (BrokenPipeError, ConnectionResetError):
                return True
            return not octets

        self._post.until(sent)

    def answers(self) -> list[Any]:
        """Return what was heard so far; None stands for the end of the connection."""
        ended: list[Any] = []
        with suppress(BlockingIOError):
            while True:
                try:
                    octets = self.socket.recv(1 << 20)
                except ConnectionResetError:
                    octets = b""
                if not octets:
                    ended = [None]
                    break
                self._heard += octets
        *whole, rest = self._heard.split(b"\0")
        assert not (rest and ended), "an answer was cut short"
        return [json.loads(one) for one in whole] + ended

    def hears(self, number: int) -> list[Any]:
        self._post.until(lambda: len(self.answers()) >= number)
        return self.answers()


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    found = Post(tmp_path)
    yield found
    found.close()


def numbers(answers: list[Any]) -> list[int]:
    return [one["parameters"]["number"] for one in answers]


def test_calls_that_are_sent_ahead_are_answered_in_their_order(post: Post) -> None:
    one = post.client()
    one.call("later")
    one.call("now", parameters={"number": 1})
    one.call("now", parameters={"number": 2})
    post.until(lambda: post.calls)
    for _ in range(10):
        post.loop.turn()
    assert (len(post.calls), one.answers()) == (1, [])
    post.calls[0].answer({"number": 0}, continues=True)
    post.calls[0].answer({"number": 0})
    post.calls[0].answer({"number": 9})  # comes too late to be sent
    assert numbers(one.hears(4)) == [0, 0, 1, 2]


def test_no_answer_is_sent_to_a_call_that_wants_none(post: Post) -> None:
    one = post.client()
    one.call("now", oneway=True, parameters={"number": 1})
    one.call("later", oneway=True)
    one.call("now", parameters={"number": 2})
    assert numbers(one.hears(1)) == [2]
    assert [call.method for call in post.calls] == ["now", "later", "now"]
    assert not post.calls[1].open
    post.calls[1].refuse("x.Nothing")
    post.loop.turn()
    assert len(one.answers()) == 1


def test_a_client_has_one_call_done_in_a_turn_however_many_it_sends(post: Post) -> None:
    one = post.client()
    one.send(b'{"method": "now"}\0' * 200)
    done = len(post.calls)
    post.loop.turn()
    assert len(post.calls) - done <= 2, "a turn ends with calls that were sent ahead still to be done"
    assert len(one.hears(200)) == 200


def test_a_client_that_reads_no_answers_is_asked_for_no_more_calls(post: Post) -> None:
    one = post.client()
    flood = b'{"method": "now", "parameters": {"number": ' + b"1" * 4000 + b"}}\0"
    one.socket.settimeout(0)
    waited = 0
    while waited < 30:
        try:
            one.socket.send(flood)
        except BlockingIOError:
            waited += 1
        post.loop.turn()
    (ours,) = post.server.clients
    assert len(ours._incoming) <= 3 * LONGEST_CALL
    assert len(ours._outgoing) <= MOST_UNREAD
    turns = post.loop.turns
    with suppress(TimeoutError):
        post.until(lambda: post.loop.turns > turns + 10)
    other = post.client()
    other.call("now")
    assert numbers(other.hears(1)) == [0]


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"hello\0", "it is no JSON object with a method"),
        (b"[]\0", "it is no JSON object with a method"),
        (b"{}\0", "it is no JSON object with a method"),
        (b"\0", "it is no JSON object with a method"),
        (b"\xff\xfe\0", "it is no JSON object with a method"),
        (b"[" * 50_000 + b"\0", "it is no JSON object with a method"),
        (b'{"method": 5}\0', "its method is no string, or its parameters are no object"),
        (b'{"method": "now", "parameters": [1]}\0', "its method is no string, or its parameters are no object"),
        (b"x" * (LONGEST_CALL + 1), "it is longer than 65536 octets"),
        (b'{"method": "now' + b" " * LONGEST_CALL + b'"}\0', "it is longer than 65536 octets"),
        (b"x" * (1 << 20), "it is longer than 65536 octets"),
        (b"GET / HTTP/1.1\r\nHost: enrolld\r\n\r\n\0", "it is no JSON object with a method"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_call_is_told_so_and_hung_up_on_and_others_are_served(
    post: Post, octets: bytes, reason: str
) -> None:
    other, one = post.client(), post.client()
    one.send(octets)
    assert one.hears(2) == [{"error": "x.NotUnderstood", "parameters": {"reason": reason}}, None]
    other.call("now")
    assert numbers(other.hears(1)) == [0]
    assert len(post.server.clients) == 1


def test_half_a_call_is_waited_for_and_holds_up_nobody(post: Post) -> None:
    half, other = post.client(), post.client()
    half.send(b'{"method": "now", "para')
    for _ in range(3):
        other.call("now")
    assert len(other.hears(3)) == 3
    assert half.answers() == []
    half.send(b'meters": {"number": 7}}\0')
    assert numbers(half.hears(1)) == [7]


def test_who_hangs_up_in_the_middle_of_a_call_leaves_nothing_behind(post: Post) -> None:
    half, waiting = post.client(), post.client()
    half.send(b'{"method": "no')
    waiting.call("later")
    post.until(lambda: post.calls)
    half.socket.close()
    waiting.socket.close()
    post.until(lambda: not post.server.clients)
    post.calls[0].answer({"number": 1})
    assert not post.calls[0].open


# --- many -------------------------------------------------------------------------------------------------------------


def test_those_on_whose_connection_nothing_happens_give_way_and_are_told(post: Post) -> None:
    busy = post.client()
    busy.call("later")
    post.until(lambda: post.calls)
    idle = [post.client() for _ in range(3 * MOST_CLIENTS)]
    post.until(idle[2 * MOST_CLIENTS].answers)
    assert idle[0].answers() == [{"error": "x.TooMany", "parameters": {"most": MOST_CLIENTS}}, None]
    last = post.client()
    last.call("now")
    assert numbers(last.hears(1)) == [0]
    assert len(post.server.clients) <= MOST_CLIENTS
    post.calls[0].answer({"number": 5})
    assert numbers(busy.hears(1)) == [5]


def test_where_everybody_has_a_call_under_way_one_more_is_told_that_there_is_no_place(post: Post) -> None:
    for _ in range(MOST_CLIENTS):
        post.client().call("later")
    post.until(lambda: len(post.calls) == MOST_CLIENTS)
    assert post.client().hears(2) == [{"error": "x.TooMany", "parameters": {"most": MOST_CLIENTS}}, None]


def test_those_who_may_only_read_leave_places_to_those_who_may_act(post: Post) -> None:
    post.first = False
    for _ in range(MOST_CLIENTS):
        post.client().call("later")
    post.until(lambda: len(post.calls) == MOST_OTHERS)
    assert post.client().hears(2)[0]["error"] == "x.TooMany"
    post.first = True
    other = post.client()
    other.call("now")
    assert numbers(other.hears(1)) == [0]


def readers(post: Post, number: int = MOST_OTHERS) -> list[Peer]:
    """Return so many clients that may only read, each with a call that goes on."""
    post.first = False
    found = []
    for _ in range(number):
        before = len(post.calls)
        found.append(post.client())
        found[-1].call("watch", more=True)
        post.until(lambda before=before: len(post.calls) > before)  # type: ignore[misc]
    return found


def test_a_reader_who_is_told_things_for_a_while_gives_way_the_longest_first(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = readers(post)
    for one in post.calls[1:]:
        one.answer({"event": 1}, continues=True)
    old[0].send(b" ")  # to send something is not to begin anew
    post.until(lambda: post.calls[0].client._incoming)
    assert post.client().hears(2)[0]["error"] == "x.TooMany", "they have just come"
    monkeypatch.setattr(listening, "_SEATED", 0.0)
    new = post.client()
    new.call("now")
    assert "number" in new.hears(1)[0]["parameters"]
    assert old[0].hears(2) == [{"error": "x.TooMany", "parameters": {"most": MOST_CLIENTS}}, None]
    other = post.client()  # the last one is idle
    other.call("now")
    assert "number" in other.hears(1)[0]["parameters"]
    assert [one.open for one in post.calls[:MOST_OTHERS]] == [False] + [True] * (MOST_OTHERS - 1)


def test_a_user_with_many_places_gives_one_to_another_user_at_once(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    readers(post)
    monkeypatch.setattr(listening, "_peer", lambda _: replace(post.calls[0].peer, user=4711))
    new = post.client()
    new.call("now")
    assert "number" in new.hears(1)[0]["parameters"]
    assert [one.open for one in post.calls[:MOST_OTHERS]] == [False] + [True] * (MOST_OTHERS - 1)


def test_who_may_act_gives_way_to_nobody_while_his_call_is_under_way(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_SEATED", 0.0)
    readers(post)
    post.first = True
    for _ in range(MOST_CLIENTS):
        before = len(post.calls)
        post.client().call("later")
        post.until(lambda before=before: len(post.calls) > before)  # type: ignore[misc]
    assert [one.open for one in post.calls] == [False] * MOST_OTHERS + [True] * MOST_CLIENTS
    for post.first in (True, False):
        assert post.client().hears(2)[0]["error"] == "x.TooMany"


def test_a_lack_of_descriptors_makes_no_busy_loop_and_is_got_over(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_PAUSE", 0.5)
    one = post.client()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.dup(0)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))  # the next descriptor would be beyond it
    try:
        before, now = post.loop.turns, post.loop.now()
        post.until(lambda: post.loop.now() > now + 0.3)
        # The loop wakes up every 20 ms by itself.
        assert post.loop.turns - before <= 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    one.call("now")
    assert numbers(one.hears(1)) == [0]


# --- slow -------------------------------------------------------------------------------------------------------------


def test_who_does_not_read_what_he_wanted_to_be_told_is_dropped_and_told(post: Post) -> None:
    slow, quick = post.client(), post.client()
    for one in (slow, quick):
        one.call("watch", more=True)
    post.until(lambda: len(post.calls) == 2)
    sent = 0
    while any(call.open for call in post.calls if call.client in post.server.clients) and sent < 500:
        sent += 1
        for call in post.calls:
            call.answer({"number": sent, "text": "x" * 10_000}, continues=True)
        quick.hears(sent)
        if not post.calls[0].open:
            break
    assert sent < 500, "it is not kept for ever"
    assert post.calls[1].open
    assert numbers(quick.hears(sent)) == list(range(1, sent + 1))
    *told, last, ended = slow.hears(sent)
    assert numbers(told) == list(range(1, len(told) + 1)), "nothing of what it was told is missing"
    assert last == {"error": "x.TooSlow", "parameters": {}}
    assert ended is None


def test_a_slow_client_that_never_reads_why_it_was_dropped_is_let_go(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.supervisor.varlink.FAREWELL", 0.2)
    slow = post.client()
    slow.call("watch", more=True)
    post.until(lambda: post.calls)
    while post.calls[0].open:
        post.calls[0].answer({"text": "x" * 10_000}, continues=True)
    post.until(lambda: not post.server.clients)


def test_a_socket_on_which_somebody_listens_is_left_alone_though_his_queue_is_full(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(path))
        theirs.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for one in waiting:
            one.settimeout(0)
            with suppress(BlockingIOError):
                one.connect(str(path))
        loop = Loop()
        with pytest.raises(OSError, match="in use"):
            Server(loop, path, lambda _: None, errors=ERRORS, first=lambda _: True)
        loop.close()
        assert path.exists()
        for one in waiting:
            one.close()
