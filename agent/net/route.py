"""From a URL to the socket addresses behind it: what is said to whom, and through what.

A :class:`Route` is one configured URL and how it is reached. It is made once, from configuration alone; names are
resolved each time a connection is needed, because addresses change while a CA takes a week to answer.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from agent.errors import ConfigurationError
from agent.frozen import frozen
from agent.net.text import printable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from agent.settings import HttpSettings

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SIGNS: Final = "%/?:@!$&'()*+,;="
"""What stands in path and query as it is, beside letters, digits and ``-._~`` (RFC 3986 section 3.3)."""


@frozen
class Address:
    """One socket address: ``family`` as in ``socket.AF_INET6``, ``sockaddr`` as its functions take it."""

    family: int
    sockaddr: tuple[Any, ...]

    def __str__(self) -> str:
        """Name it for people."""
        return f"{self.sockaddr[0]} port {self.sockaddr[1]}"


@frozen(kw_only=True)
class Endpoint:
    """Host and port behind a URL. ``host`` has no brackets and keeps an IPv6 zone (``fe80::1%eth0``)."""

    scheme: str
    host: str
    port: int

    @property
    def bare_host(self) -> str:
        """The host without its zone, which means nothing to anybody else (RFC 6874 section 4)."""
        return self.host.partition("%")[0]

    @property
    def authority(self) -> str:
        """Host and port as in the Host header: brackets around IPv6, no zone, no default port."""
        host = f"[{self.bare_host}]" if ":" in self.host else self.bare_host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def connect_target(self) -> str:
        """Host and port as in CONNECT, where the port is never left out (RFC 9112 section 3.2.3)."""
        return f"[{self.bare_host}]:{self.port}" if ":" in self.host else f"{self.bare_host}:{self.port}"


@frozen(kw_only=True)
class Route:
    """One URL of the authority and how to get there."""

    url: str
    """As configured: this text names the address in snapshots and to people."""
    server: Endpoint
    path: str
    """Path and query, never empty."""
    proxy: Endpoint | None
    source: Address | None
    tls: ssl.SSLContext | None

    @property
    def first_hop(self) -> Endpoint:
        """Where the TCP connection goes."""
        return self.proxy or self.server

    @property
    def request_target(self) -> str:
        """What stands after POST: absolute-form towards a proxy that forwards, else origin-form (RFC 9112 3.2)."""
        if self.proxy and not self.tls:
            return f"http://{self.server.authority}{self.path}"
        return self.path

    @property
    def shown(self) -> str:
        """Name the address for people, with the proxy where there is one."""
        through = f" (through the proxy {self.proxy.connect_target})" if self.proxy else ""
        return f"{printable(self.url)}{through}"

    def shown_at(self, address: Address) -> str:
        """Name one of the first hop's socket addresses for people."""
        return f"{printable(self.url)} {'through the proxy at' if self.proxy else 'at'} {address}"

    def resolve(self) -> tuple[Address, ...]:
        """Return all addresses of the first hop, in the system's order of preference (RFC 6724).

        With a source address only those of its family. Raises ``socket.gaierror`` when there are none. The system's
        resolver bounds the time, not we.
        """
        family = self.source.family if self.source else socket.AF_UNSPEC
        host = self.first_hop.host.encode("ascii")  # as octets: for text Python loads its tables of IDNA first
        found = socket.getaddrinfo(host, self.first_hop.port, family, socket.SOCK_STREAM)
        if not found:
            raise socket.gaierror(socket.EAI_NODATA, "no address")
        return tuple(dict.fromkeys(Address(entry[0], entry[4]) for entry in found))


def routes(urls: Sequence[str], settings: HttpSettings) -> tuple[Route, ...]:
    """Read addresses and settings into routes; raise ConfigurationError for what can never work."""
    if not urls:
        raise ConfigurationError("no address of the CA is configured", remedy="Give the authority at least one url.")
    parsed = [_endpoint(url, "the CA's address", tuple(_DEFAULT_PORTS)) for url in urls]
    proxy = _endpoint(settings.proxy, "the proxy's address", ("http",))[0] if settings.proxy else None
    source = _source(settings.source_address) if settings.source_address else None
    context = _tls(settings) if any(server.scheme == "https" for server, _ in parsed) else None
    return tuple(
        Route(
            url=url,
            server=server,
            path=path,
            proxy=proxy,
            source=source,
            tls=context if server.scheme == "https" else None,
        )
        for url, (server, path) in zip(urls, parsed, strict=True)
    )


def _tls(settings: HttpSettings) -> ssl.SSLContext:
    from agent.net.tls import tls_context  # noqa: PLC0415 - most addresses are http, and TLS takes long to load

    return tls_context(settings)


def _endpoint(url: str, what: str, schemes: tuple[str, ...]) -> tuple[Endpoint, str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigurationError(
            f"{what} {printable(url)} is not a URL",
            remedy="Write it as http://host:port/path, with names in ASCII (xn-- form) and brackets around IPv6.",
        ) from error
    if "@" in parts.netloc:  # checked first and not shown: it may hold a password
        raise ConfigurationError(
            f"{what} holds a user name or password, which is not supported",
            remedy="Take it out of the URL and let the other side recognise this machine by address or certificate.",
        )
    if parts.scheme not in schemes or not _is_host(host):
        raise ConfigurationError(
            f"{what} {printable(url)} does not start with {' or '.join(f'{scheme}://' for scheme in schemes)}"
            " and a host",
            remedy=f"Write it as {schemes[0]}://host:port/path.",
        )
    path = quote(parts.path, _SIGNS) or "/"
    query = f"?{quote(parts.query, _SIGNS)}" if parts.query else ""
    return Endpoint(
        scheme=parts.scheme,
        host=host.replace("%25", "%", 1),
        port=_DEFAULT_PORTS[parts.scheme] if port is None else port,
    ), f"{path}{query}"


def _is_host(host: str) -> bool:
    """Say whether it can be one: whatever the resolver may make of it, it breaks out of no line."""
    return bool(host) and host.isascii() and host.isprintable() and " " not in host


def _source(address: str) -> Address:
    """Read a numeric address, an IPv6 zone included; port 0 lets the system choose one."""
    try:
        found = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigurationError(
            f"source-address {printable(address)} is not an IP address of this machine",
            remedy="Write one of the addresses that `ip address` shows, with %interface after a link-local one.",
        ) from error
    return Address(found[0][0], found[0][4])
