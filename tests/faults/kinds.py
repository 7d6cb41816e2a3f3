"""Every fault in one table: what it does to a message that leaves, to an answer that comes, and how it ends.

``before`` acts just before a message leaves, ``sent`` on the message under way to the CA, ``received`` on its answer
under way to the device. A fault without one of them cannot happen there. It lasts until ``end``.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from agent.cmp import messages
from tests.faults.proxy import Exchange
from tests.faults.world import World
from tests.unit.net.peers import http_answer

_SHORT: Final = 1.0
"""Seconds the device waits where nothing will come; in the field it is a minute."""
_LONG: Final = 120.0
"""And where TCP must repeat itself."""
_LATE: Final = 0.3
_DAY: Final = timedelta(days=1)


@dataclass
class Course:
    """What one fault may need to remember: the exchange before, and what undoes it."""

    world: World
    request: bytes = b""
    answer: bytes = b""
    other: bytes = b""
    """An answer of the same kind from another transaction."""
    backup: Path | None = None
    spent: bool = False
    """Whether a fault that happens once has happened."""
    undo: Callable[[], object] = lambda: None


Before = Callable[[Course], None]
OnTheWay = Callable[[Course, Exchange], None]


@dataclass(frozen=True)
class Kind:
    """One fault. ``patience``: how long the device waits for answers meanwhile, in seconds."""

    name: str
    about: str
    before: Before | None = None
    sent: OnTheWay | None = None
    received: OnTheWay | None = None
    arrived: Before | None = None
    """Acts when the CA's answer is about to be handed over whole."""
    end: Callable[[Course], object] = lambda course: course.undo()
    patience: float | None = None
    tls: bool = False
    small_disk: bool = False
    faked_clock: bool = False
    """The worker is a process of its own, on a clock that libfaketime makes up."""
    needs_previous: bool = False
    """Only where another message went before in the same transaction."""


# --- the network -----------------------------------------------------------------------------------------------------


def _refuse(course: Course) -> None:
    course.world.proxy.shut()
    course.undo = course.world.proxy.open


def _forget_name(course: Course) -> None:
    course.world.proxy.hang_up()
    course.world.name_is_known(known=False)
    course.undo = lambda: course.world.name_is_known(known=True)


def _wrong_certificate(course: Course) -> None:
    course.world.certificate_is_right(right=False)
    course.undo = lambda: course.world.certificate_is_right(right=True)


def _swallow_requests(course: Course) -> None:
    if not course.spent:
        course.world.drop_packets(percent=100, answers=False)
        course.undo = course.world.drop_nothing
    course.spent = True


def _swallow_answers(course: Course) -> None:
    if not course.spent:
        course.world.drop_packets(percent=100, requests=False)
        course.undo = course.world.drop_nothing
    course.spent = True


def _lose_some(course: Course) -> None:
    if not course.spent:
        course.world.drop_packets(percent=20)
        course.undo = course.world.drop_nothing
    course.spent = True


def _reset(_: Course, exchange: Exchange) -> None:
    exchange.peer.reset()


def _reset_after(_: Course, exchange: Exchange) -> None:
    exchange.forward()
    exchange.peer.reset()


def _delay(_: Course, exchange: Exchange) -> None:
    exchange.peer.pause(_LATE)
    exchange.peer.say(exchange.forward())


def _delay_answer(_: Course, exchange: Exchange) -> None:
    answer = exchange.forward()
    exchange.peer.pause(_LATE)
    exchange.peer.say(answer)


def _drip(_: Course, exchange: Exchange) -> None:
    exchange.peer.drip(exchange.forward(), every=0.02)


def _cut_request(_: Course, exchange: Exchange) -> None:
    exchange.peer.say(exchange.forward(exchange.body[: len(exchange.body) // 2]))


def _cut_answer(_: Course, exchange: Exchange) -> None:
    answer = exchange.forward()
    exchange.peer.say(answer[: len(answer) // 2])
    exchange.peer.reset()


def _flip(octets: bytes) -> bytes:
    """Change one bit of the protection: what was protected does not fit it any more."""
    message = messages.parse(octets)
    assert message.protection
    place = octets.rindex(message.protection) + len(message.protection) - 1
    return octets[:place] + bytes([octets[place] ^ 1]) + octets[place + 1 :]


def _corrupt_request(_: Course, exchange: Exchange) -> None:
    exchange.peer.say(exchange.forward(_flip(exchange.body)))


def _corrupt_answer(_: Course, exchange: Exchange) -> None:
    head, end, body = exchange.forward().partition(b"\r\n\r\n")
    exchange.peer.say(head + end + _flip(body))


def _send_twice(_: Course, exchange: Exchange) -> None:
    first = exchange.forward()
    exchange.forward()
    exchange.peer.say(first)


def _answer_twice(_: Course, exchange: Exchange) -> None:
    exchange.peer.say(exchange.forward() * 2)


def _old_request_first(course: Course, exchange: Exchange) -> None:
    exchange.forward(course.request)
    exchange.peer.say(exchange.forward())


def _old_answer(course: Course, exchange: Exchange) -> None:
    exchange.forward()
    exchange.peer.say(course.answer)


def _answer_of_another(course: Course, exchange: Exchange) -> None:
    exchange.forward()
    exchange.peer.say(course.other)


def _gateway(_: Course, exchange: Exchange) -> None:
    exchange.peer.say(http_answer(b"<html>Bad Gateway</html>", "502 Bad Gateway", "text/html"))


def _gateway_after(course: Course, exchange: Exchange) -> None:
    exchange.forward()
    _gateway(course, exchange)


# --- the CA ----------------------------------------------------------------------------------------------------------


def _restart(course: Course) -> None:
    if not course.spent:
        course.world.restart_ca()
    course.spent = True


def _restart_on_the_way(course: Course, exchange: Exchange) -> None:
    answer = exchange.forward()
    _restart(course)
    exchange.peer.say(answer)


def _roll_back(course: Course) -> None:
    if not course.spent:
        course.world.restart_ca(to=course.backup)
    course.spent = True


def _roll_back_on_the_way(course: Course, exchange: Exchange) -> None:
    answer = exchange.forward()
    _roll_back(course)
    exchange.peer.say(answer)


# --- the device ------------------------------------------------------------------------------------------------------


def _set_clock(step: timedelta) -> Before:
    def set_clock(course: Course) -> None:
        course.world.set_clock(step)
        course.undo = lambda: course.world.set_clock(timedelta())

    return set_clock


def _clock_set_meanwhile(step: timedelta) -> OnTheWay:
    def pass_on(course: Course, exchange: Exchange) -> None:
        _set_clock(step)(course)
        exchange.peer.say(exchange.forward())

    return pass_on


def _clock(name: str, about: str, step: timedelta) -> Kind:
    sent, arrived = _clock_set_meanwhile(step), _set_clock(step)
    return Kind(name, f"{about} (libfaketime)", sent=sent, arrived=arrived, faked_clock=True)


def _full(course: Course) -> None:
    course.world.fill_disk()
    course.undo = course.world.empty_disk


def _failing(error: int, *calls: str) -> Before:
    def fail(course: Course) -> None:
        if course.spent:
            return
        course.spent = True
        manager = _failing_calls(error, calls)
        manager.__enter__()
        course.undo = lambda: manager.__exit__(None, None, None)

    return fail


@contextmanager
def _failing_calls(error: int, calls: tuple[str, ...]) -> Iterator[None]:
    """Let system calls that change the disk fail; opening for reading does not."""

    def instead(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def failing(*arguments: Any, **options: Any) -> Any:
            reads = name == "open" and not arguments[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
            if reads:
                return real(*arguments, **options)
            raise OSError(error, os.strerror(error))

        return failing

    with pytest.MonkeyPatch.context() as patch:
        for name in calls:
            patch.setattr(os, name, instead(name, getattr(os, name)))
        yield


_CHANGES: Final = ("open", "mkdir", "rmdir", "symlink", "link", "unlink", "rename", "replace")

KINDS: Final = (
    Kind("refused", "connections are refused, the open one breaks", before=_refuse),
    Kind("DNS failure", "the CA's name is not known any more", before=_forget_name),
    Kind("TLS failure", "the https server shows a stranger's certificate", before=_wrong_certificate, tls=True),
    Kind(
        "black-holed",
        "packets vanish without a word (nftables)",
        before=_swallow_requests,
        arrived=_swallow_answers,
        patience=_SHORT,
    ),
    Kind(
        "20 % loss",
        "every fifth packet is lost, either way (nftables)",
        before=_lose_some,
        arrived=_lose_some,
        patience=_LONG,
    ),
    Kind("latency", "0.3 s more on the way", sent=_delay, received=_delay_answer),
    Kind("reset", "RST instead of going on", sent=_reset, received=_reset_after),
    Kind("slow drip", "one octet every 20 ms", received=_drip, patience=_SHORT),
    Kind("truncated", "half of the message arrives", sent=_cut_request, received=_cut_answer),
    Kind("corrupted", "one bit of the protection is another one", sent=_corrupt_request, received=_corrupt_answer),
    Kind("duplicated", "the message arrives twice", sent=_send_twice, received=_answer_twice),
    Kind(
        "reordered",
        "the message before arrives again, in front of this one or instead of it",
        sent=_old_request_first,
        received=_old_answer,
        needs_previous=True,
    ),
    Kind("another's answer", "the answer belongs to another transaction", received=_answer_of_another),
    Kind("bad gateway", "a gateway answers 502 with HTML", sent=_gateway, received=_gateway_after),
    Kind("CA restarted", "it stops and starts in the middle", before=_restart, received=_restart_on_the_way),
    Kind(
        "CA rolled back",
        "it comes back with the database of before the request",
        before=_roll_back,
        received=_roll_back_on_the_way,
    ),
    _clock("clock a year ahead", "set wrong in the middle", 365 * _DAY),
    _clock("clock a day behind", "set wrong in the middle", -_DAY),
    _clock("clock in 1970", "it lost its time in the middle", -56 * 365 * _DAY),
    Kind("disk full", "ENOSPC, on a tmpfs filled to its last octet", before=_full, arrived=_full, small_disk=True),
    Kind(
        "disk read-only",
        "EROFS from every call that changes a directory",
        before=_failing(errno.EROFS, *_CHANGES),
        arrived=_failing(errno.EROFS, *_CHANGES),
    ),
    Kind(
        "disk error",
        "EIO from every fsync",
        before=_failing(errno.EIO, "fsync"),
        arrived=_failing(errno.EIO, "fsync"),
    ),
)
