from __future__ import annotations

import time

import pytest

from agent.errors import NotFetched
from agent.net.fetching import fetch
from agent.settings import HttpSettings
from tests.ports import unused_port
from tests.unit.net.peers import PATIENT, SOON, Peer, RawServer, Request, answering, http_answer, once

CRL = b"0\x00 a CRL"


def get(url: str, *, timeout: float = PATIENT, maximum: int = 1000, settings: HttpSettings | None = None) -> bytes:
    return fetch(url, settings or HttpSettings(), timeout=timeout, maximum=maximum, too_much="Ask for less.")


def test_what_is_there_is_returned_whatever_its_content_type() -> None:
    seen: list[Request] = []
    with RawServer(answering(http_answer(CRL, content_type="text/html"), seen=seen)) as server:
        assert get(f"{server.url}?a=1") == CRL
    (request,) = seen
    assert (request.method, request.target.partition("?")[2], request.body) == ("GET", "a=1", b"")


@pytest.mark.parametrize("status", [204, 206, 301, 302, 304, 403, 404, 500, 503])
def test_nothing_but_200_counts_and_no_redirect_is_followed(status: int) -> None:
    hops: list[Request] = []
    with RawServer(answering(http_answer(CRL), seen=hops)) as other:
        moved = http_answer(CRL, status=f"{status} Whatever", Location=other.url)
        with RawServer(answering(moved)) as server, pytest.raises(NotFetched, match=f"HTTP status {status}") as caught:
            get(server.url)
    assert hops == []
    assert caught.value.remedy.endswith(".")


def test_an_announced_length_beyond_the_cap_is_refused_unread() -> None:
    with (
        RawServer(answering(http_answer(bytes(2000)))) as server,
        pytest.raises(NotFetched, match="2000 octets") as caught,
    ):
        get(server.url)
    assert caught.value.remedy == "Ask for less."


def test_a_body_without_end_is_cut_off() -> None:
    def endless(peer: Peer) -> None:
        peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        peer.flood(b"x" * 4096)

    with RawServer(endless) as server, pytest.raises(NotFetched, match="more than") as caught:
        get(server.url)
    assert caught.value.remedy == "Ask for less."


def test_a_server_that_drips_is_left_at_the_deadline() -> None:
    def slow(peer: Peer) -> None:
        peer.request()
        peer.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + bytes(900), every=0.3)

    start = time.monotonic()
    with RawServer(slow) as server, pytest.raises(NotFetched):
        get(server.url, timeout=1)
    assert time.monotonic() - start < SOON


@pytest.mark.parametrize("url", ["ldap://crl.example/cn=a", "file:///etc/passwd", "ftp://crl.example/a", "http://"])
def test_other_schemes_are_not_spoken(url: str) -> None:
    with pytest.raises(NotFetched):
        get(url)


def test_https_without_anchors_is_refused_with_the_setting_that_is_missing() -> None:
    with pytest.raises(NotFetched) as caught:
        get("https://127.0.0.1:1/a.crl")
    assert "tls-trust-anchors" in caught.value.remedy


def test_nobody_there_is_said_in_words() -> None:
    with pytest.raises(NotFetched, match="refused"):
        get(f"http://127.0.0.1:{unused_port()}/a.crl")


def test_what_is_not_http_is_said_in_words() -> None:
    with RawServer(once(b"220 ftp ready\r\n")) as server, pytest.raises(NotFetched):
        get(server.url)
