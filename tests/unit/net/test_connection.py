from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent.errors import NotCmp, Unreachable
from agent.net.http import Answer, CmpClient
from agent.settings import HttpSettings
from tests.unit.net.peers import (
    CMP,
    PATIENT,
    REQUEST,
    RESPONSE,
    SOON,
    Peer,
    RawServer,
    Request,
    answering,
    http_answer,
    once,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CALM = HttpSettings(connect_timeout=PATIENT, response_timeout=PATIENT)
QUICK = replace(CALM, response_timeout=1)


def exchange(url: str, settings: HttpSettings = CALM) -> Answer:
    with CmpClient([url], settings) as client:
        return client.exchange(REQUEST)


def test_head_and_body_leave_in_one_write() -> None:
    seen: list[Request] = []
    with RawServer(answering(http_answer(), seen=seen)) as server, CmpClient([server.url], CALM) as client:
        for _ in range(3):
            client.exchange(REQUEST * 200)
    assert [len(request.pieces) for request in seen] == [1, 1, 1]


def test_a_kept_alive_exchange_waits_for_no_delayed_acknowledgement() -> None:
    with RawServer(answering(http_answer())) as server, CmpClient([server.url], CALM) as client:
        client.exchange(REQUEST)
        spent: list[float] = []
        while len(spent) < 5 or (min(spent) >= 0.02 and len(spent) < 500):  # a busy machine has its quick moments, too
            begin = time.perf_counter()
            client.exchange(REQUEST)
            spent.append(time.perf_counter() - begin)
    assert min(spent) < 0.02


def assert_ends_in_time(behave: Callable[[Peer], None], says: str) -> None:
    begin = time.monotonic()
    with RawServer(behave) as server:
        with pytest.raises(Unreachable, match=says) as caught:
            exchange(server.url, QUICK)
        assert time.monotonic() - begin < SOON
    assert caught.value.delivered
    assert "response-timeout" in caught.value.remedy


def test_a_silent_server_ends_the_exchange_in_time() -> None:
    assert_ends_in_time(lambda peer: peer.hang(), "did not answer completely within 1 seconds")


@pytest.mark.parametrize(
    "octets",
    [
        http_answer(),
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 1000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    ],
    ids=["head", "endless header", "endless interim answers"],
)
def test_a_drip_does_not_extend_the_deadline(octets: bytes) -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.drip(octets, every=0.3)

    assert_ends_in_time(behave, "did not answer completely")


@pytest.mark.parametrize("framing", ["Content-Length: 900", "Transfer-Encoding: chunked", "Connection: close"])
def test_a_body_that_drips_does_not_extend_the_deadline(framing: str) -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.say(f"HTTP/1.1 200 OK\r\nContent-Type: {CMP}\r\n{framing}\r\n\r\n".encode())
        peer.drip(b"1\r\n0\r\n" * 100, every=0.3)

    assert_ends_in_time(behave, "octets had come")


def test_a_server_that_stops_reading_does_not_extend_the_deadline() -> None:
    with RawServer(lambda peer: peer.hang()) as server, CmpClient([server.url], QUICK) as client:
        begin = time.monotonic()
        with pytest.raises(Unreachable, match="did not answer in time after our message was sent") as caught:
            client.exchange(bytes(30_000_000))
        assert time.monotonic() - begin < SOON
    assert caught.value.delivered


SMALL = replace(CALM, maximum_response=1000)


def test_an_answer_announced_too_large_is_refused_unread() -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.say(f"HTTP/1.1 200 OK\r\nContent-Type: {CMP}\r\nContent-Length: 1001\r\n\r\n".encode())
        peer.hang()

    with RawServer(behave) as server, pytest.raises(NotCmp, match="1001 octets, more than the 1000") as caught:
        exchange(server.url, SMALL)
    assert "maximum-response" in caught.value.remedy


def test_an_answer_of_exactly_the_maximum_is_accepted() -> None:
    with RawServer(answering(http_answer(bytes(1000)))) as server:
        assert len(exchange(server.url, SMALL).body) == 1000


def test_a_whole_answer_in_chunks_beyond_the_maximum_is_refused() -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {CMP}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    answer = head + b"3e8\r\n" + bytes(1000) + b"\r\n1\r\n0\r\n0\r\n\r\n"
    with RawServer(answering(answer)) as server, pytest.raises(NotCmp, match="more than the 1000 octets we accept"):
        exchange(server.url, SMALL)


@pytest.mark.parametrize(
    ("framing", "octets"),
    [
        ("Transfer-Encoding: chunked", b"3e8\r\n" + bytes(1000) + b"\r\n"),
        ("Transfer-Encoding: chunked", b"1;" + b"x" * 10_000 + b"\r\n0\r\n"),
        ("Transfer-Encoding: chunked", b"ffffffffff\r\n" + bytes(5000)),
        ("Connection: close", bytes(1000)),
        ("Content-Length: 99999999999999999999999999999999", b""),
        ("X: " + "y" * 60_000, b"\x30"),
    ],
    ids=["chunks", "chunk extensions", "one large chunk", "until the end", "absurd length", "headers"],
)
def test_an_endless_answer_is_cut_off(framing: str, octets: bytes) -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.say(f"HTTP/1.1 200 OK\r\nContent-Type: {CMP}\r\n{framing}\r\n\r\n".encode())
        peer.flood(octets or b"x")

    with RawServer(behave) as server, pytest.raises(NotCmp, match="more than the 1000 octets we accept"):
        exchange(server.url, SMALL)


@pytest.mark.parametrize("header", [b"", b"X: " + b"y" * 9000 + b"\r\n"])
def test_endless_interim_answers_are_cut_off(header: bytes) -> None:
    octets = b"HTTP/1.1 100 Continue\r\n" + header + b"\r\n"
    with RawServer(lambda peer: peer.flood(octets)) as server, pytest.raises(NotCmp, match="without end"):
        exchange(server.url, SMALL)


def test_endless_trailers_are_cut_off() -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.say(f"HTTP/1.1 200 OK\r\nContent-Type: {CMP}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        peer.say(b"1\r\n0\r\n0\r\n")
        peer.flood(b"X: y\r\n" * 100)

    with RawServer(behave) as server, pytest.raises(NotCmp, match="without end"):
        exchange(server.url, SMALL)


@pytest.mark.parametrize(
    ("framing", "octets", "says"),
    [
        ("Content-Length: 300", bytes(100), "cut short after 100 of 300 octets"),
        ("Transfer-Encoding: chunked", b"3\r\n\x30\x03\x02\r\n", "cut short after 3 octets"),
        ("Transfer-Encoding: chunked", b"5\r\n\x30\x03", "cut short after 2 octets"),
        ("Transfer-Encoding: chunked", b"-5\r\n\x30\x03\x02\x01\x03\r\n0\r\n\r\n", "cut short"),
        ("Transfer-Encoding: chunked", b"five\r\n\x30", "cut short after 0 octets"),
    ],
    ids=["length", "no last chunk", "inside a chunk", "negative chunk", "chunk without size"],
)
def test_a_truncated_answer_is_never_taken_for_a_whole_one(framing: str, octets: bytes, says: str) -> None:
    answer = f"HTTP/1.1 200 OK\r\nContent-Type: {CMP}\r\n{framing}\r\n\r\n".encode() + octets
    with RawServer(once(answer)) as server, pytest.raises(Unreachable, match=says) as caught:
        exchange(server.url)
    assert caught.value.delivered


def test_a_reset_within_the_answer_counts_as_truncated() -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.say(f"HTTP/1.1 200 OK\r\nContent-Type: {CMP}\r\n\r\n".encode() + RESPONSE)
        time.sleep(0.05)
        peer.reset()

    with RawServer(behave) as server, pytest.raises(Unreachable, match="cut short"):
        exchange(server.url)
