from __future__ import annotations

import logging
import re
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agent.net.http as module
from agent import __version__
from agent.errors import ConfigurationError, NotCmp, ServerBusy, Unreachable
from agent.net.http import Answer, CmpClient
from agent.settings import HttpSettings
from tests.ports import unused_port
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
    wait_until,
)

if TYPE_CHECKING:
    pass

CALM = HttpSettings(connect_timeout=PATIENT, response_timeout=PATIENT)


def exchange(url: str, settings: HttpSettings = CALM, **options: Any) -> Answer:
    with CmpClient([url], settings, **options) as client:
        return client.exchange(REQUEST)


# ------------------------------------------------------------------------------------------------ what is sent


def test_a_message_is_posted_as_rfc_9811_wants_it() -> None:
    seen: list[Request] = []
    with RawServer(answering(http_answer(), seen=seen)) as server:
        answer = exchange(server.url)
    assert answer == Answer(RESPONSE, server.url, 200)
    (request,) = seen
    assert (request.method, request.target, request.body) == ("POST", "/cmp", REQUEST)
    assert request.headers == {
        "Host": f"127.0.0.1:{server.port}",
        "Content-Length": str(len(REQUEST)),
        "User-Agent": f"enrolld/{__version__}",
        "Accept": CMP,
        "Accept-Encoding": "identity",
        "Content-Type": CMP,
    }


def test_a_url_without_path_means_the_root() -> None:
    seen: list[Request] = []
    with RawServer(answering(http_answer(), seen=seen)) as server:
        exchange(f"http://127.0.0.1:{server.port}")
    assert seen[0].target == "/"


def test_a_large_request_arrives_whole() -> None:
    seen: list[Request] = []
    message = bytes(range(256)) * 8000
    with RawServer(answering(http_answer(), seen=seen)) as server, CmpClient([server.url], HttpSettings()) as client:
        client.exchange(message)
    assert seen[0].body == message


# --------------------------------------------------------------------------------------- what counts as an answer


@pytest.mark.parametrize("content_type", [CMP, "Application/PKIXCMP", f"{CMP}; charset=binary", f"  {CMP} ;x=y"])
def test_the_content_type_may_vary_in_case_and_parameters(content_type: str) -> None:
    with RawServer(answering(http_answer(content_type=content_type))) as server:
        assert exchange(server.url).body == RESPONSE


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "500 Oops", "503 Busy"])
def test_a_cmp_body_counts_whatever_error_status_it_comes_with(status: str) -> None:
    with RawServer(answering(http_answer(status=status))) as server:
        answer = exchange(server.url)
    assert (answer.body, answer.status) == (RESPONSE, int(status[:3]))


@pytest.mark.parametrize("status", ["201 Created", "202 Accepted", "204 No Content", "206 Partial", "226 IM Used"])
def test_no_success_but_200_is_one(status: str) -> None:
    with RawServer(once(http_answer(status=status))) as server, pytest.raises(NotCmp, match=status[:3]):
        exchange(server.url)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_named_and_never_followed(status: int) -> None:
    with RawServer(answering(http_answer())) as elsewhere:
        answer = http_answer(status=f"{status} Elsewhere", Location=elsewhere.url)
        with RawServer(once(answer)) as server, pytest.raises(NotCmp, match=f"redirects.*{status}") as caught:
            exchange(server.url)
        assert elsewhere.url in caught.value.remedy
        assert elsewhere.connections == 0


def test_a_redirect_cannot_paint_on_the_terminal() -> None:
    answer = http_answer(status="302 Found", Location="http://x/\x1b[2J" + "a" * 5000)
    with RawServer(once(answer)) as server, pytest.raises(NotCmp) as caught:
        exchange(server.url)
    assert r"http://x/\x1b[2Jaaa" in caught.value.remedy
    assert caught.value.remedy.isprintable()
    assert len(caught.value.remedy) < 400


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("401 Unauthorized", "login"),
        ("403 Forbidden", "admitted"),
        ("404 Not Found", "path"),
        ("405 Method Not Allowed", "path"),
        ("418 Teapot", "path"),
        ("500 Internal", "server's log"),
        ("502 Bad Gateway", "gateway"),
    ],
)
def test_an_error_status_without_cmp_is_explained(status: str, says: str) -> None:
    with RawServer(once(http_answer(b"sorry", status, "text/plain"))) as server:
        with pytest.raises(NotCmp, match=f"HTTP status {status[:3]}") as caught:
            exchange(server.url)
        assert says in caught.value.remedy


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests"])
def test_a_busy_server_says_when_to_come_again(status: str) -> None:
    with RawServer(once(http_answer(b"", status, None, Retry_After="7"))) as server:
        with pytest.raises(ServerBusy) as caught:
            exchange(server.url)
        assert caught.value.retry_after == 7
        with pytest.raises(ServerBusy) as caught:
            exchange(server.url, max_wait=5)
        assert caught.value.retry_after == 5


def test_a_web_page_is_recognised_and_its_title_harmless() -> None:
    title = b"\n Wel\x1b[31mcome \xe2\x80\xae to&#x202e;\x07&#27; Hotspot"
    page = b"<!DOCTYPE html><html><head><TITLE lang=en>" + title + b"</TITLE>" + b"x" * 9000
    with RawServer(once(http_answer(page, content_type="text/html; charset=utf-8"))) as server:
        with pytest.raises(NotCmp, match="a web page titled") as caught:
            exchange(server.url)
        assert r'"Wel\x1b[31mcome \u202e to\u202e\x07 Hotspot"' in str(caught.value)
        assert str(caught.value).isprintable()


def test_a_web_page_that_never_ends_is_recognised_without_waiting_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BEGINNING_TIMEOUT", 0.1)
    begin = time.monotonic()

    def behave(peer: Peer) -> None:
        peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<title>Portal</title>")
        peer.hang()

    with RawServer(behave) as server, pytest.raises(NotCmp, match='a web page titled "Portal" answered'):
        exchange(server.url)
    assert time.monotonic() - begin < SOON


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/pkixcmp-poll", "", None])
def test_another_content_type_is_not_cmp(content_type: str | None) -> None:
    with RawServer(once(http_answer(content_type=content_type))) as server, pytest.raises(NotCmp, match="content type"):
        exchange(server.url)


def test_an_empty_answer_is_not_cmp() -> None:
    with RawServer(once(http_answer(b""))) as server, pytest.raises(NotCmp, match="empty"):
        exchange(server.url)


@pytest.mark.parametrize(
    "header", ["Content-Encoding: gzip", "Transfer-Encoding: gzip, chunked", "Content-Encoding: br"]
)
def test_an_encoded_body_is_refused(header: str) -> None:
    answer = f"HTTP/1.1 200 OK\r\nContent-Type: {CMP}\r\n{header}\r\n\r\n".encode() + b"\x1f\x8b"
    with RawServer(once(answer)) as server, pytest.raises(NotCmp, match="encoded body"):
        exchange(server.url)


def test_the_encoding_identity_is_none() -> None:
    with RawServer(answering(http_answer(Content_Encoding="identity"))) as server:
        assert exchange(server.url).body == RESPONSE


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (b"SSH-2.0-Open\x1bSSH\r\n", r'does not speak HTTP; it said "SSH-2.0-Open\x1bSSH"'),
        (b"\x15\x03\x01\x00\x02\x02\x16\r\n", "speaks TLS, but the url says http"),
        (b"HTTP/3.0 200 OK\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 99999 no\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300 + b"\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", "does not speak HTTP"),
        (http_answer().replace(b"Length: 5", b"Length: five"), 'nonsensical length "five"'),
        (http_answer().replace(b"Length: 5", b"Length: -5"), 'nonsensical length "-5"'),
        (b"HTTP/1.1 102 Processing\r\n\r\n", "interim status"),
        (b"HTTP/1.1 999 What\r\n\r\n", "status that HTTP does not know"),
    ],
)
def test_what_is_not_http_is_not_cmp(octets: bytes, says: str) -> None:
    with RawServer(once(octets)) as server, pytest.raises(NotCmp, match=re.escape(says)) as caught:
        exchange(server.url)
    assert str(caught.value).isprintable()
    assert caught.value.remedy


def test_interim_answers_before_the_answer_are_skipped() -> None:
    with RawServer(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + http_answer())) as server:
        assert exchange(server.url).body == RESPONSE


def test_an_answer_of_http_1_0_ends_with_its_connection() -> None:
    with RawServer(once(f"HTTP/1.0 200 OK\r\nContent-Type: {CMP}\r\n\r\n".encode() + RESPONSE)) as server:
        assert exchange(server.url).body == RESPONSE


def test_a_chunked_answer_is_put_together() -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {CMP}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunks = b"2;x=y\r\n\x30\x03\r\n3\r\n\x02\x01\x03\r\n0\r\nTrailer: 1\r\n\r\n"
    with RawServer(answering(head + chunks)) as server, CmpClient([server.url], CALM) as client:
        assert [client.exchange(REQUEST).body for _ in range(2)] == [RESPONSE] * 2
    assert server.connections == 1


def test_an_answer_keeps_its_body_out_of_its_text() -> None:
    assert "body" not in repr(Answer(b"secret", "http://ra/", 200))


# --------------------------------------------------------------------------------------------- which address


def test_addresses_are_tried_in_order_and_the_transaction_stays_with_the_first_that_takes_a_message() -> None:
    seen: list[Request] = []
    dead = f"http://127.0.0.1:{unused_port()}/dead"
    with RawServer(answering(http_answer(), seen=seen)) as first, RawServer(answering(http_answer())) as second:
        with CmpClient([dead, first.url, second.url], CALM) as client:
            for _ in range(3):
                assert client.exchange(REQUEST).url == first.url
            assert client.url == first.url
        assert (len(seen), second.connections) == (3, 0)


def test_a_fresh_transaction_is_bound_to_no_address() -> None:
    with CmpClient(["http://ra.example/"], CALM) as client:
        assert client.url is None


def test_a_resumed_transaction_stays_with_its_address_whatever_is_configured_now() -> None:
    with RawServer(answering(http_answer())) as configured, RawServer(answering(http_answer())) as former:
        with CmpClient([configured.url], CALM, stick_to=former.url) as client:
            assert client.url == former.url
            assert client.exchange(REQUEST).url == former.url
        assert configured.connections == 0


def test_a_bound_transaction_does_not_move_when_its_address_dies() -> None:
    with RawServer(answering(http_answer())) as second:
        with RawServer(answering(http_answer())) as first:
            client = CmpClient([first.url, second.url], CALM)
            client.exchange(REQUEST)
        with client, pytest.raises(Unreachable, match="refused the connection") as caught:
            client.exchange(REQUEST)
        assert not caught.value.delivered
        assert second.connections == 0


def test_a_message_that_may_have_been_delivered_binds_the_transaction() -> None:
    def behave(peer: Peer) -> None:
        peer.request()

    with RawServer(behave) as first, RawServer(answering(http_answer())) as second:
        with CmpClient([first.url, second.url], CALM) as client:
            with pytest.raises(Unreachable) as caught:
                client.exchange(REQUEST)
            assert client.url == first.url
        assert caught.value.delivered
        assert (first.connections, second.connections) == (1, 0)


def test_when_every_address_fails_all_are_listed_and_the_remedy_fits_the_most_telling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def resolve(host: bytes, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
        if host == b"unknown.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    port = unused_port()
    urls = ["http://unknown.example/cmp", f"http://ra.example:{port}/cmp"]
    with CmpClient(urls, CALM) as client, pytest.raises(Unreachable) as caught:
        client.exchange(REQUEST)
    assert str(caught.value) == (
        "no address of the CA could be reached: http://unknown.example/cmp: the name is unknown; "
        f"http://ra.example:{port}/cmp at 127.0.0.1 port {port}: refused the connection"
    )
    assert "service is running" in caught.value.remedy
    assert not caught.value.delivered


@pytest.mark.parametrize("order", [["::1", "127.0.0.1"], ["127.0.0.1", "::1"]])
def test_a_name_with_two_families_works_when_one_of_them_refuses(
    order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(_host: str, port: int, *_: object) -> list[tuple[Any, ...]]:
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in order]
        return [(family, 1, 6, "", (address, port)) for family, address in zip(families, order, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with RawServer(answering(http_answer()), host=order[-1]) as server:
        assert exchange(f"http://localhost:{server.port}/").body == RESPONSE


def test_an_address_that_filters_does_not_hold_up_the_next_for_longer_than_configured() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, RawServer(answering(http_answer())) as server:
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:  # once the queue is full, the system drops what asks for a connection
            sock.settimeout(0)
            sock.connect_ex(full.getsockname())
        begin = time.monotonic()
        settings = HttpSettings(connect_timeout=0.2)
        with CmpClient([f"http://127.0.0.1:{full.getsockname()[1]}/", server.url], settings) as client:
            assert client.exchange(REQUEST).url == server.url
        assert 0.15 < time.monotonic() - begin < SOON
        with pytest.raises(Unreachable, match="did not answer in time"):
            exchange(f"http://127.0.0.1:{full.getsockname()[1]}/", settings)
        for sock in waiting:
            sock.close()


def test_ipv6_literals_work() -> None:
    seen: list[Request] = []
    with RawServer(answering(http_answer(), seen=seen), host="::1") as server:
        assert exchange(server.url).url == f"http://[::1]:{server.port}/cmp"
    assert seen[0].headers["Host"] == f"[::1]:{server.port}"


def test_an_ipv6_zone_that_does_not_exist_is_an_error_like_any_other() -> None:
    with pytest.raises(Unreachable) as caught:
        exchange("http://[fe80::1%25nothere0]/cmp")
    assert "http://[fe80::1%25nothere0]/cmp" in str(caught.value)
    assert not caught.value.delivered


def test_the_configured_source_address_is_used() -> None:
    sources: list[str] = []

    def behave(peer: Peer) -> None:
        sources.append(peer.sock.getpeername()[0])
        answering(http_answer())(peer)

    with RawServer(behave) as server:
        exchange(server.url, HttpSettings(source_address="127.0.0.9"))
    assert sources == ["127.0.0.9"]


def test_a_source_address_of_another_machine_is_named() -> None:
    with pytest.raises(Unreachable, match="source-address is not on this machine"):
        exchange("http://127.0.0.1:9/", HttpSettings(source_address="192.0.2.99"))


def test_a_source_address_chooses_the_family() -> None:
    with pytest.raises(Unreachable, match="no address of the IP version") as caught:
        exchange("http://[::1]:9/", HttpSettings(source_address="127.0.0.1"))
    assert "source-address" in caught.value.remedy


def test_without_any_address_nothing_starts() -> None:
    with pytest.raises(ConfigurationError):
        CmpClient([], CALM)


# --------------------------------------------------------------------------------- one connection, sent only once


def test_a_transaction_uses_one_connection() -> None:
    with RawServer(answering(http_answer())) as server, CmpClient([server.url], CALM) as client:
        for _ in range(5):
            client.exchange(REQUEST)
    assert server.connections == 1


def test_a_connection_the_server_closed_while_idle_is_replaced() -> None:
    gone = threading.Event()

    def behave(peer: Peer) -> None:
        peer.request()
        peer.say(http_answer())
        peer.sock.shutdown(socket.SHUT_WR)
        gone.set()
        peer.sock.recv(1)

    with RawServer(behave) as server, CmpClient([server.url], CALM) as client:
        for _ in range(3):
            assert client.exchange(REQUEST).body == RESPONSE
            assert gone.wait(PATIENT)
            gone.clear()
    assert server.connections == 3


def test_a_connection_the_server_announces_to_close_is_replaced() -> None:
    with RawServer(once(http_answer(Connection="close"))) as server, CmpClient([server.url], CALM) as client:
        for _ in range(2):
            assert client.exchange(REQUEST).body == RESPONSE
    assert server.connections == 2


def test_a_connection_that_idled_too_long_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_LIMIT", -1.0)
    with RawServer(answering(http_answer())) as server, CmpClient([server.url], CALM) as client:
        for _ in range(2):
            client.exchange(REQUEST)
    assert server.connections == 2


def test_a_connection_on_which_the_server_spoke_unasked_is_not_trusted() -> None:
    asked = threading.Event()

    def behave(peer: Peer) -> None:
        peer.request()
        peer.say(http_answer())
        asked.wait(PATIENT)
        peer.say(http_answer(b"\x30\x00"))
        peer.hang()

    with RawServer(behave) as server, CmpClient([server.url], CALM) as client:
        assert client.exchange(REQUEST).body == RESPONSE
        connection = client._connection
        assert connection is not None
        asked.set()
        wait_until(lambda: not connection.is_connected)
        assert client.exchange(REQUEST).body == RESPONSE
    assert server.connections == 2


def test_what_follows_an_answer_never_becomes_the_answer_to_the_next_message() -> None:
    behave = answering(http_answer() + http_answer(b"\x30\x00"), http_answer())
    with RawServer(behave) as server, CmpClient([server.url], CALM) as client:
        assert [client.exchange(REQUEST).body for _ in range(2)] == [RESPONSE] * 2


def test_a_reused_connection_that_dies_before_the_first_octet_is_replaced_and_the_message_sent_once() -> None:
    seen: list[Request | None] = []

    def behave(peer: Peer) -> None:
        seen.append(peer.request())
        peer.say(http_answer())
        peer.hang()

    with RawServer(behave) as server, CmpClient([server.url], CALM) as client:
        client.exchange(REQUEST)
        connection = client._connection
        assert connection is not None
        connection.sock.shutdown(socket.SHUT_WR)  # writing fails at once, as after a reset nobody has noticed yet
        assert connection.is_connected
        assert client.exchange(REQUEST).body == RESPONSE
    assert (len(seen), server.connections) == (2, 2)


def test_a_request_that_may_have_arrived_is_never_repeated() -> None:
    seen: list[Request | None] = []

    def behave(peer: Peer) -> None:
        seen.append(peer.request())
        if peer.number == 1 and len(seen) == 1:
            peer.say(http_answer())
            seen.append(peer.request())

    with RawServer(behave) as server, CmpClient([server.url], CALM) as client:
        client.exchange(REQUEST)
        with pytest.raises(Unreachable, match="closed the connection without an answer") as caught:
            client.exchange(REQUEST)
    assert caught.value.delivered
    assert (len(seen), server.connections) == (2, 1)


def test_a_connection_reset_after_the_request_may_have_delivered_it() -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.reset()

    with RawServer(behave) as server, pytest.raises(Unreachable, match="after our message was sent") as caught:
        exchange(server.url)
    assert caught.value.delivered


def test_after_an_error_the_next_message_travels_on_a_fresh_connection() -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.say(http_answer())
        if peer.number == 1:
            peer.request()
            peer.pause(1.5)
            peer.say(http_answer(b"too late"))
        peer.hang()

    quick = HttpSettings(connect_timeout=PATIENT, response_timeout=1)
    with RawServer(behave) as server, CmpClient([server.url], quick) as client:
        client.exchange(REQUEST)
        with pytest.raises(Unreachable):
            client.exchange(REQUEST)
        assert client.exchange(REQUEST).body == RESPONSE
    assert server.connections == 2


def test_close_may_come_at_any_time_and_more_than_once() -> None:
    with RawServer(answering(http_answer())) as server:
        client = CmpClient([server.url], CALM)
        client.close()
        client.exchange(REQUEST)
        client.close()
        client.close()
        assert client.exchange(REQUEST).body == RESPONSE
        client.close()
    assert server.connections == 2


# ------------------------------------------------------------------------------------------------ everything

PIECES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 503 Busy\r\n",
    b"HTTP/1.1 100 \r\n\r\n",
    b"Content-Type: application/pkixcmp\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Retry-After: 3\r\n",
    b"\r\n",
    b"5\r\n",
    b"0\r\n\r\n",
    RESPONSE,
]


def test_whatever_a_server_says_is_an_answer_or_one_of_three_errors() -> None:
    said: list[bytes] = []

    @settings(max_examples=150, deadline=None)
    @given(pieces=st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=12))
    def check(pieces: list[bytes]) -> None:
        said[:] = [b"".join(pieces)]
        try:
            assert exchange(server.url).body
        except (Unreachable, ServerBusy, NotCmp) as error:
            assert error.remedy  # noqa: PT017 - either outcome is right for some octets
            assert f"{error}{error.remedy}".isprintable()  # noqa: PT017

    def behave(peer: Peer) -> None:
        once(said[0])(peer)

    with RawServer(behave) as server:
        check()


def test_nothing_of_a_message_or_an_answer_is_logged() -> None:
    records: list[logging.LogRecord] = []
    listener = logging.Handler()
    listener.handle = records.append  # type: ignore[assignment, method-assign]
    logging.getLogger().addHandler(listener)
    odd = http_answer(b"SECRET", Transfer_Encoding="chunked", X="1").replace(b"X: 1", b"X: 1\r\nno colon here")
    with RawServer(once(odd)) as server, pytest.raises(Unreachable):
        exchange(server.url)
    logging.getLogger().removeHandler(listener)
    assert records == []
