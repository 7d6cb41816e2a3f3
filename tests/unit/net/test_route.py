from __future__ import annotations

import socket
from typing import Any

import pytest

from agent.errors import ConfigurationError
from agent.net.route import Address, Route, routes
from agent.settings import HttpSettings


def route(url: str, **settings: Any) -> Route:
    return routes([url], HttpSettings(**settings))[0]


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path"),
    [
        ("http://ra", "ra", 80, "ra", "/"),
        ("http://ra/", "ra", 80, "ra", "/"),
        ("http://ra?x=1", "ra", 80, "ra", "/?x=1"),
        ("http://ra:80/cmp", "ra", 80, "ra", "/cmp"),
        ("HTTP://RA.Example:8080/.well-known/cmp/p/x", "ra.example", 8080, "ra.example:8080", "/.well-known/cmp/p/x"),
        ("http://192.0.2.1/a b", "192.0.2.1", 80, "192.0.2.1", "/a%20b"),
        ("http://[2001:DB8::1]/cmp", "2001:db8::1", 80, "[2001:db8::1]", "/cmp"),
        ("http://[::1]:829/cmp#part", "::1", 829, "[::1]:829", "/cmp"),
        ("http://[fe80::1%25eth0]:8080/", "fe80::1%eth0", 8080, "[fe80::1]:8080", "/"),
        ("http://[fe80::1%eth0]/", "fe80::1%eth0", 80, "[fe80::1]", "/"),
    ],
)
def test_a_url_is_taken_apart(url: str, host: str, port: int, authority: str, path: str) -> None:
    parsed = route(url)
    assert parsed.url == url
    assert (parsed.server.host, parsed.server.port) == (host, port)
    assert parsed.server.authority == authority
    assert parsed.path == path


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ra.example",
        "ra.example/cmp",
        "ftp://ra.example/",
        "http://",
        "http:///cmp",
        "http://ra:99999/",
        "http://ra:port/",
        "http://[::1/",
        "http://::1/",
        "http://ra\x1b.example/",
        "http://r\u00e4.example/",
        "http://ra .example/",
    ],
)
def test_what_is_no_url_of_a_server_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        route(url)
    assert str(caught.value).isprintable()
    assert "http://host:port/path" in caught.value.remedy


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        route("http://me:hunter2@ra.example/cmp")
    assert "hunter2" not in f"{caught.value} {caught.value.remedy}"


def test_all_addresses_of_a_name_are_found_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(_host: str, port: int, *_: object) -> list[tuple[Any, ...]]:
        six = (socket.AF_INET6, 1, 6, "", ("2001:db8::1", port, 0, 0))
        four = (socket.AF_INET, 1, 6, "", ("192.0.2.1", port))
        return [six, four, six]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found = route("http://ra.example:81/").resolve()
    assert [str(address) for address in found] == ["2001:db8::1 port 81", "192.0.2.1 port 81"]


@pytest.mark.parametrize("url", ["http://a..b/", f"http://{'a' * 70}.example/"])
def test_a_name_that_cannot_be_one_is_an_unknown_name(url: str) -> None:
    with pytest.raises(socket.gaierror):
        route(url).resolve()


@pytest.mark.parametrize(("source", "family"), [("127.0.0.9", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_source_address_is_read(source: str, family: int) -> None:
    parsed = route("http://ra.example/", source_address=source)
    assert isinstance(parsed.source, Address)
    assert (parsed.source.family, parsed.source.sockaddr[:2]) == (family, (source, 0))


@pytest.mark.parametrize(("source", "family"), [("127.0.0.9", socket.AF_INET), (None, socket.AF_UNSPEC)])
def test_a_name_is_resolved_for_the_family_of_the_source_address(
    source: str | None, family: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def resolve(_host: str, _port: int, wanted: int, *_: object) -> list[tuple[Any, ...]]:
        asked.append(wanted)
        return []

    parsed = route("http://ra.example/", source_address=source)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(socket.gaierror):  # none at all is an error, too
        parsed.resolve()
    assert asked == [family]


@pytest.mark.parametrize("source", ["eth0", "ra.example", "192.0.2.300", "fe80::1%nothere0", "\x1b"])
def test_a_source_address_that_is_none_is_a_configuration_error(source: str) -> None:
    with pytest.raises(ConfigurationError, match="source-address") as caught:
        route("http://ra.example/", source_address=source)
    assert str(caught.value).isprintable()
