"""Why no answer came: each cause in plain words with its remedy, as one table.

:func:`classify` turns whatever the system, TLS or HTTP raised into a :class:`Cause`; :data:`CAUSES` holds what to
say about it. When several addresses fail, all are listed and the remedy is that of the most telling cause.
"""

from __future__ import annotations

import errno
import socket
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from agent.errors import Unreachable
from agent.frozen import frozen
from agent.net.connection import ProxyRefusedError
from agent.net.parsing import HungUpError
from agent.net.stream import HttpError
from agent.net.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence


class Cause(StrEnum):
    """Why an address gave no answer, most telling first: the nearer we came, the more the failure says."""

    TLS_EXPIRED = "tls-expired"
    TLS_NOT_YET_VALID = "tls-not-yet-valid"
    TLS_HOST_NAME = "tls-host-name"
    TLS_ISSUER = "tls-issuer"
    TLS_CLIENT = "tls-client"
    TLS_NONE = "tls-none"
    TLS_OTHER = "tls-other"
    PROXY_REFUSED = "proxy-refused"
    HUNG_UP = "hung-up"
    RESET = "reset"
    REFUSED = "refused"
    PROXY_UNREACHABLE = "proxy-unreachable"
    SOURCE_ADDRESS = "source-address"
    TIMEOUT = "timeout"
    NOT_PERMITTED = "not-permitted"
    NO_ROUTE = "no-route"
    OTHER_FAMILY = "other-family"
    NAME_UNKNOWN = "name-unknown"
    NO_DNS = "no-dns"
    OTHER = "other"


@frozen
class Explanation:
    """``words``: what an address said, as the end of a sentence that began with it; ``remedy``: what to do next."""

    words: str
    remedy: str


CAUSES: Final[dict[Cause, Explanation]] = {
    Cause.TLS_EXPIRED: Explanation(
        "its TLS certificate has expired",
        "Check the clock of this machine; if it is right, have the server's TLS certificate renewed.",
    ),
    Cause.TLS_NOT_YET_VALID: Explanation(
        "its TLS certificate is not valid yet",
        "Set the clock of this machine: it is most likely behind.",
    ),
    Cause.TLS_HOST_NAME: Explanation(
        "its TLS certificate is for another name",
        "Put the name that stands in the server's certificate into the url, or have the certificate corrected.",
    ),
    Cause.TLS_ISSUER: Explanation(
        "its TLS certificate was issued by nobody we trust",
        "Add the CA that issued the server's TLS certificate to tls-trust-anchors, once you know it is the right one.",
    ),
    Cause.TLS_CLIENT: Explanation(
        "it does not accept our TLS client certificate",
        "Configure the tls-certificate and tls-key that the server expects, or have our issuer admitted there.",
    ),
    Cause.TLS_NONE: Explanation(
        "it does not speak TLS",
        "Check scheme and port of the url: an http port was addressed with https.",
    ),
    Cause.TLS_OTHER: Explanation(
        "the TLS handshake failed",
        "Check that the server offers TLS 1.2 or newer and see its log for the reason.",
    ),
    Cause.PROXY_REFUSED: Explanation(
        "the proxy refused to connect us",
        "Have the proxy allow CONNECT from this machine to the CA's host and port, or correct http: proxy.",
    ),
    Cause.HUNG_UP: Explanation(
        "closed the connection without an answer",
        "See the server's log; a load balancer or firewall in between may have dropped the request.",
    ),
    Cause.RESET: Explanation(
        "reset the connection",
        "Check the firewalls between here and the CA, and that this machine's address is admitted there.",
    ),
    Cause.REFUSED: Explanation(
        "refused the connection",
        "Check the port in the url and that the CA's service is running.",
    ),
    Cause.PROXY_UNREACHABLE: Explanation(
        "the proxy cannot be reached",
        "Check http: proxy in the configuration and that the proxy is running.",
    ),
    Cause.SOURCE_ADDRESS: Explanation(
        "the configured source-address is not on this machine",
        "Correct http: source-address, or bring up the interface that has it.",
    ),
    Cause.TIMEOUT: Explanation(
        "did not answer in time",
        "Check routes and firewalls between here and the CA; the port may be filtered.",
    ),
    Cause.NOT_PERMITTED: Explanation(
        "this machine does not permit the connection",
        "Check the local packet filter and the service's sandbox.",
    ),
    Cause.NO_ROUTE: Explanation(
        "there is no route to it",
        "Check the network of this machine: interface, VLAN, address and default route.",
    ),
    Cause.OTHER_FAMILY: Explanation(
        "it has no address of the IP version to be used",
        "Configure a source-address of the IP version that the CA has, or leave it out.",
    ),
    Cause.NAME_UNKNOWN: Explanation(
        "the name is unknown",
        "Check the spelling of the host in the url, and that this machine's DNS server knows it.",
    ),
    Cause.NO_DNS: Explanation(
        "no DNS server answered",
        "Check /etc/resolv.conf and the way to the DNS server, or use an IP address in the url.",
    ),
    Cause.OTHER: Explanation(
        "failed",
        "Check the network of this machine and see the server's log.",
    ),
}

_ERRNO: Final = {
    errno.ECONNREFUSED: Cause.REFUSED,
    errno.ECONNRESET: Cause.RESET,
    errno.ECONNABORTED: Cause.RESET,
    errno.EPIPE: Cause.RESET,
    errno.ETIMEDOUT: Cause.TIMEOUT,
    errno.EHOSTDOWN: Cause.NO_ROUTE,
    errno.EHOSTUNREACH: Cause.NO_ROUTE,
    errno.ENETDOWN: Cause.NO_ROUTE,
    errno.ENETUNREACH: Cause.NO_ROUTE,
    errno.EAFNOSUPPORT: Cause.NO_ROUTE,  # no IPv6 in this kernel
    errno.EINVAL: Cause.NO_ROUTE,  # a link-local address without zone, or loopback as source of a real address
    errno.EADDRNOTAVAIL: Cause.SOURCE_ADDRESS,
    errno.EACCES: Cause.NOT_PERMITTED,
    errno.EPERM: Cause.NOT_PERMITTED,
}

_RESOLVER: Final = {  # the rest means that there is no such name
    socket.EAI_ADDRFAMILY: Cause.OTHER_FAMILY,
    socket.EAI_NODATA: Cause.OTHER_FAMILY,
    socket.EAI_AGAIN: Cause.NO_DNS,
    socket.EAI_FAIL: Cause.NO_DNS,
    socket.EAI_SYSTEM: Cause.NO_DNS,
}

_SAID_IN_FULL: Final = {Cause.TLS_HOST_NAME, Cause.TLS_OTHER, Cause.PROXY_REFUSED, Cause.OTHER}
"""Causes whose words gain from what the error itself says."""


@frozen
class Failure:
    """One address that failed: ``where`` names it, ``cause`` and ``words`` say why."""

    where: str
    cause: Cause
    words: str

    def __str__(self) -> str:
        """Say it as one clause."""
        return f"{self.where}: {self.words}"


def classify(error: Exception) -> tuple[Cause, str]:
    """Return the cause of an error of connecting, writing or reading, and what it said in plain words."""
    cause = _cause(error)
    words = CAUSES[cause].words
    detail = _detail(error) if cause in _SAID_IN_FULL else ""
    return cause, f"{words} ({detail})" if detail else words


def failure(error: Exception, where: str, *, before_proxy: bool = False) -> Failure:
    """Describe one failed address; ``before_proxy``: what could not be reached is the proxy, not the server."""
    cause, words = classify(error)
    if before_proxy and cause not in {Cause.SOURCE_ADDRESS, Cause.NOT_PERMITTED, Cause.OTHER_FAMILY}:
        cause = Cause.PROXY_UNREACHABLE
    return Failure(where, cause, words)


def unreachable(failures: Sequence[Failure]) -> Unreachable:
    """Return one error for addresses that all failed before anything was sent; the remedy is that of the best cause."""
    order = list(Cause)
    telling = min(failures, key=lambda one: order.index(one.cause))
    listed = "; ".join(str(one) for one in failures)
    return Unreachable(f"no address of the CA could be reached: {listed}", remedy=CAUSES[telling.cause].remedy)


def _cause(error: Exception) -> Cause:  # noqa: PLR0911 - one kind of error a line
    if isinstance(error, ProxyRefusedError):
        return Cause.PROXY_REFUSED
    if _is_of_tls(error):
        from agent.net import tls_failures  # noqa: PLC0415 - TLS is loaded only where an address is https

        return tls_failures.cause(error)
    if isinstance(error, HungUpError):
        return Cause.HUNG_UP
    if isinstance(error, TimeoutError):
        return Cause.TIMEOUT
    if isinstance(error, socket.gaierror):
        return _RESOLVER.get(error.errno or 0, Cause.NAME_UNKNOWN)
    if isinstance(error, HttpError):
        return Cause.PROXY_REFUSED  # before a request is sent only a proxy speaks HTTP
    if isinstance(error, OSError):
        return _ERRNO.get(error.errno or 0, Cause.OTHER)
    return Cause.OTHER


def _is_of_tls(error: Exception) -> bool:
    return (ssl := sys.modules.get("ssl")) is not None and isinstance(error, ssl.SSLError)


def _detail(error: Exception) -> str:
    if _is_of_tls(error):
        from agent.net import tls_failures  # noqa: PLC0415 - as above

        return printable(tls_failures.detail(error))
    if isinstance(error, HttpError) and not isinstance(error, ProxyRefusedError):
        return "it answered with something that is not HTTP"
    return printable(getattr(error, "strerror", None) or str(error))
