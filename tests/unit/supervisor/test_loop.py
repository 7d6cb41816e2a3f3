from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from agent.supervisor.loop import LEISURE, Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop(slice_=0.05)
    yield made
    made.close()


def test_what_can_be_read_is_told_until_the_reader_has_had_enough(loop: Loop) -> None:
    reader, writer = os.pipe()
    told: list[bytes] = []

    def ready() -> bool:
        told.append(os.read(reader, 1))
        return len(told) < 2

    loop.watch(reader, ready)
    os.write(writer, b"abc")
    for _ in range(4):
        loop.turn()
    assert told == [b"a", b"b"]
    os.close(reader)
    os.close(writer)


def test_moments_are_kept_in_their_order_and_given_up_ones_are_not(loop: Loop) -> None:
    told: list[str] = []
    loop.after(0.02, lambda: told.append("second"))
    loop.after(0.01, lambda: told.append("first"))
    loop.after(0.01, lambda: told.append("never")).cancel()
    loop.after(0.03, loop.end)
    loop.run()
    assert told == ["first", "second"]


def test_a_source_that_was_forgotten_in_the_same_turn_is_not_told(loop: Loop) -> None:
    one, other = socket.socketpair()
    told: list[str] = []

    def forget(which: socket.socket, name: str) -> None:
        told.append(name)
        loop.forget(which)

    loop.watch(one, lambda: forget(other, "one"))
    loop.watch(other, lambda: forget(one, "other"))
    one.send(b"x")
    other.send(b"x")
    loop.turn()
    loop.turn()
    assert len(set(told)) == 1
    one.close()
    other.close()


def test_a_thousand_far_moments_cost_no_wake_up_of_their_own() -> None:
    now = [0.0]
    loop = Loop(slice_=LEISURE, clock=lambda: now[0])
    told: list[int] = []
    for number in range(1000):
        loop.after(LEISURE + number / 1000, lambda number=number: told.append(number))  # type: ignore[misc]
    now[0] = LEISURE + 2
    loop.turn()
    assert told == list(range(1000))
    assert loop.turns == 1
    loop.close()


def test_a_moment_that_is_added_meanwhile_waits_for_the_next_turn(loop: Loop) -> None:
    told: list[str] = []

    def again() -> None:
        told.append("again")
        loop.after(0, again)

    loop.after(0, again)
    loop.turn()
    assert told == ["again"]


def test_a_loop_that_is_told_to_end_before_it_runs_does_not_wait(loop: Loop) -> None:
    """A configuration whose reader died at once is refused before the loop runs: the daemon hung then."""
    loop.end()
    loop.run()
    assert loop.turns == 0


@pytest.mark.parametrize("seconds", [60.0, 3 * LEISURE])
def test_moments_that_are_given_up_again_and_again_take_no_memory(loop: Loop, seconds: float) -> None:
    called: list[str] = []
    kept = [loop.after(0, lambda: called.append("kept"))]
    for _ in range(50):
        batch = [loop.after(seconds, lambda: called.append("given up")) for _ in range(1000)]
        for one in batch:
            one.cancel()
    assert sum(map(len, (loop._exact, loop._leisurely))) < 5000
    loop.turn()
    assert (called, kept[0].call) == (["kept"], None)
