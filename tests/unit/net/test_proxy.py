from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING

import pytest

from agent import __version__
from agent.errors import ConfigurationError, NotCmp, Unreachable
from agent.net.http import CmpClient
from agent.settings import HttpSettings
from tests.ports import unused_port
from tests.unit.net.peers import PATIENT, REQUEST, RESPONSE, Peer, RawServer, Request, answering, http_answer, once

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.net.conftest import Pki


def through(proxy: RawServer | int, pki: Pki | None = None, timeout: float = PATIENT) -> HttpSettings:
    port = proxy if isinstance(proxy, int) else proxy.port
    anchors = (pki.root.certificate_file,) if pki else ()
    return HttpSettings(
        connect_timeout=timeout, response_timeout=timeout, proxy=f"http://127.0.0.1:{port}", tls_trust_anchors=anchors
    )


def exchange(url: str, settings: HttpSettings) -> bytes:
    with CmpClient([url], settings) as client:
        return client.exchange(REQUEST).body


def tunnelling(seen: list[Request], to: RawServer) -> Callable[[Peer], None]:
    """Return a proxy's behaviour: a tunnel to ``to`` whatever CONNECT names."""

    def behave(peer: Peer) -> None:
        request = peer.request()
        assert request is not None
        seen.append(request)
        with socket.create_connection((to.host, to.port)) as inner:
            peer.say(b"HTTP/1.1 200 Connection established\r\nX-Proxy: y\r\n\r\n")
            other = {peer.sock: inner, inner: peer.sock}
            while True:
                for sock in select.select(list(other), [], [])[0]:
                    octets = sock.recv(65_536)
                    if not octets:
                        return
                    other[sock].sendall(octets)

    return behave


def test_http_goes_through_the_proxy_in_absolute_form() -> None:
    seen: list[Request] = []
    with RawServer(answering(http_answer(), seen=seen)) as proxy:
        assert exchange("http://ra.example/cmp?x=1", through(proxy)) == RESPONSE
        assert exchange("http://[2001:db8::1]:8080", through(proxy)) == RESPONSE
    assert [(request.target, request.headers["Host"]) for request in seen] == [
        ("http://ra.example/cmp?x=1", "ra.example"),
        ("http://[2001:db8::1]:8080/", "[2001:db8::1]:8080"),
    ]


def test_https_goes_through_a_tunnel_and_is_verified_at_its_end(pki: Pki) -> None:
    asked: list[Request] = []
    seen: list[Request] = []
    tls = pki.make(issuer=pki.root, hosts=("ra.example",)).server_context()
    with (
        RawServer(answering(http_answer(), seen=seen), tls=tls) as server,
        RawServer(tunnelling(asked, server)) as proxy,
        CmpClient(["https://ra.example/cmp"], through(proxy, pki)) as client,
    ):
        for _ in range(3):
            assert client.exchange(REQUEST).body == RESPONSE
    (connect,) = asked
    assert (connect.method, connect.target, len(connect.pieces)) == ("CONNECT", "ra.example:443", 1)
    assert connect.headers == {"Host": "ra.example:443", "User-Agent": f"enrolld/{__version__}"}
    assert [(request.target, request.headers["Host"]) for request in seen] == [("/cmp", "ra.example")] * 3
    assert seen[0].headers["User-Agent"] == f"enrolld/{__version__}"


def test_an_ipv6_server_keeps_its_brackets_on_the_way_through_a_tunnel(pki: Pki) -> None:
    asked: list[Request] = []
    tls = pki.make(issuer=pki.root).server_context()
    with (
        RawServer(answering(http_answer()), host="::1", tls=tls) as server,
        RawServer(tunnelling(asked, server)) as proxy,
    ):
        assert exchange(server.url, through(proxy, pki)) == RESPONSE
    assert (asked[0].target, asked[0].headers["Host"]) == (f"[::1]:{server.port}",) * 2


def test_a_wrong_certificate_behind_the_tunnel_is_the_servers_fault(pki: Pki) -> None:
    tls = pki.make(issuer=pki.root, hosts=("other.example",)).server_context()
    with (
        RawServer(answering(http_answer()), tls=tls) as server,
        RawServer(tunnelling([], server)) as proxy,
        pytest.raises(Unreachable, match="for another name") as caught,
    ):
        exchange("https://ra.example/", through(proxy, pki))
    assert "server's certificate" in caught.value.remedy


def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = f"http://127.0.0.1:{unused_port()}"
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, dead)
    with RawServer(answering(http_answer())) as server:
        assert exchange(server.url, HttpSettings()) == RESPONSE


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_named(pki: Pki, scheme: str) -> None:
    port = unused_port()
    with pytest.raises(Unreachable, match=f"through the proxy at 127.0.0.1 port {port}: refused") as caught:
        exchange(f"{scheme}://ra.example/", through(port, pki))
    assert "http: proxy" in caught.value.remedy
    assert not caught.value.delivered


def test_a_tunnel_the_proxy_refuses_is_named(pki: Pki) -> None:
    with RawServer(once(b"HTTP/1.1 403 No\x1bway\r\n\r\n")) as proxy:
        with pytest.raises(Unreachable, match="the proxy refused to connect us") as caught:
            exchange("https://ra.example/", through(proxy, pki))
        assert r"(403 No\x1bway)" in str(caught.value)
        assert "allow CONNECT" in caught.value.remedy
        assert not caught.value.delivered


@pytest.mark.parametrize(
    "octets",
    [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000],
    ids=["no HTTP", "headers without end", "header without end"],
)
def test_a_proxy_that_answers_connect_with_nonsense_is_named(pki: Pki, octets: bytes) -> None:
    with RawServer(once(octets)) as proxy, pytest.raises(Unreachable) as caught:
        exchange("https://ra.example/", through(proxy, pki))
    assert "proxy" in caught.value.remedy
    assert not caught.value.delivered


def test_a_proxy_that_drips_its_answer_to_connect_is_given_up_in_time(pki: Pki) -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100, every=0.3)

    with RawServer(behave) as proxy, pytest.raises(Unreachable, match="did not answer in time"):
        exchange("https://ra.example/", through(proxy, pki, timeout=1))


def test_tunnel_and_handshake_share_one_deadline(pki: Pki) -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.pause(2)
        peer.say(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.hang()

    begin = time.monotonic()
    with RawServer(behave) as proxy, pytest.raises(Unreachable, match="did not answer in time"):
        exchange("https://ra.example/", through(proxy, pki, timeout=2.5))
    assert time.monotonic() - begin < 4.4  # each with a deadline of its own: 4.5


def test_a_proxy_that_hangs_up_on_connect_is_an_address_that_failed(pki: Pki) -> None:
    with RawServer(once(b"")) as proxy, pytest.raises(Unreachable, match="closed the connection") as caught:
        exchange("https://ra.example/", through(proxy, pki))
    assert not caught.value.delivered


def test_a_proxy_that_wants_a_login_is_named() -> None:
    answer = http_answer(b"", "407 Proxy Authentication Required", None)
    with RawServer(once(answer)) as proxy:
        with pytest.raises(NotCmp, match=rf"through the proxy 127.0.0.1:{proxy.port}\) is behind a proxy") as caught:
            exchange("http://ra.example/", through(proxy))
        assert "http: proxy" in caught.value.remedy


@pytest.mark.parametrize("proxy", ["https://proxy.example", "socks5://proxy.example", "proxy.example:3128", "http://"])
def test_only_http_proxies_are_known(proxy: str) -> None:
    with pytest.raises(ConfigurationError, match="the proxy's address"):
        CmpClient(["http://ra.example/"], HttpSettings(proxy=proxy))


def test_a_password_for_the_proxy_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        CmpClient(["http://ra.example/"], HttpSettings(proxy="http://me:hunter2@proxy.example"))
    assert "hunter2" not in f"{caught.value} {caught.value.remedy}"
