"""From a URL to the socket addresses behind it: what is said to whom, and through what.

A :class:`Route` is one configured URL and how it is reached. It is made once, from configuration alone; names are
resolved each time a connection is needed, because addresses change while a CA takes a week to answer.
"""

from __future__ import annotations

import re
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from agent.errors import ConfigurationError
from agent.frozen import frozen
from agent.net.text import printable
from agent.net.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.settings import HttpSettings

_VISIBLE: Final = re.compile(r"[!-~]+")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


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
        try:
            found = socket.getaddrinfo(self.first_hop.host, self.first_hop.port, family, socket.SOCK_STREAM)
        except UnicodeError as error:  # an empty or overlong label: Python refuses it before the resolver can
            raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
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
    context = tls_context(settings) if any(server.scheme == "https" for server, _ in parsed) else None
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


def _endpoint(url: str, what: str, schemes: tuple[str, ...]) -> tuple[Endpoint, str]:
    try:
        parts = parse_url(url)
    except LocationParseError as error:
        raise ConfigurationError(
            f"{what} {printable(url)} is not a URL",
            remedy="Write it as http://host:port/path, with names in ASCII (xn-- form) and brackets around IPv6.",
        ) from error
    if parts.auth is not None:  # checked first and not shown: it may hold a password
        raise ConfigurationError(
            f"{what} holds a user name or password, which is not supported",
            remedy="Take it out of the URL and let the other side recognise this machine by address or certificate.",
        )
    if parts.scheme not in schemes or not parts.host or not _VISIBLE.fullmatch(parts.host):
        raise ConfigurationError(
            f"{what} {printable(url)} does not start with {' or '.join(f'{scheme}://' for scheme in schemes)}"
            " and a host",
            remedy=f"Write it as {schemes[0]}://host:port/path.",
        )
    host = parts.host.strip("[]")
    port = _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    path = f"{parts.path or '/'}{'' if parts.query is None else f'?{parts.query}'}"
    return Endpoint(scheme=parts.scheme, host=host, port=port), path


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
