"""Getting a CRL from an address that stands in a certificate (RFC 5280 4.2.1.13), within bounds.

The address was written by somebody else, so little is done for it: http and https only, no redirects, one answer with
status 200, at most so many octets within so many seconds in all, over the configured proxy and source address like
everything we send. Callers ask only for certificates whose path ends in a trusted root.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from agent.errors import ConfigurationError, NotCmp, NotFetched, TooLarge
from agent.net.answers import refuse_framing, too_large
from agent.net.connection import USER_AGENT, Connection
from agent.net.failures import classify
from agent.net.route import Route, routes
from agent.net.stream import AllowanceExceededError, HttpError
from agent.net.text import printable

if TYPE_CHECKING:
    from agent.settings import HttpSettings

_OK: Final = 200
_READ_SIZE: Final = 65_536
_BROKEN: Final = (OSError, HttpError)
_REMEDY: Final = "See whether a firewall is in the way, and whether the CA's operator publishes its CRL there."


def fetch(url: str, settings: HttpSettings, *, timeout: float, maximum: int, too_much: str = _REMEDY) -> bytes:
    """Return what is at ``url``; ``timeout`` is in seconds for all of it, ``maximum`` in octets.

    ``too_much`` is the remedy where there is more.

    Raises:
        NotFetched: when it cannot be had so.
    """
    deadline = monotonic() + timeout
    try:
        (route,) = routes([url], settings)
        addresses = route.resolve()
    except ConfigurationError as error:
        raise NotFetched(f"{printable(url)} cannot be asked for a CRL: {error}", remedy=error.remedy) from error
    except OSError as error:
        raise _failed(printable(url), classify(error)[1]) from error
    said = "it has no address"
    for address in addresses:
        if (left := deadline - monotonic()) <= 0:
            said = f"it took more than {timeout:g} seconds"
            break
        connection = Connection(address, route)
        try:
            connection.open(min(left, settings.connect_timeout))
            return _get(connection, route, deadline - monotonic(), maximum)
        except (TooLarge, AllowanceExceededError) as error:
            why = str(error) if isinstance(error, TooLarge) else "it sent more than a CRL may have"
            raise _failed(route.shown, why, too_much) from error
        except _BROKEN as error:
            said = classify(error)[1]
        finally:
            connection.drop()
    raise _failed(route.shown, said)


def _get(connection: Connection, route: Route, timeout: float, maximum: int) -> bytes:
    headers = {"Host": route.server.authority, "User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
    connection.get(route.request_target, headers, timeout=max(timeout, 0.001), maximum=maximum)
    head = connection.head()
    if head.status != _OK:
        raise _failed(route.shown, f"it answered with HTTP status {head.status}")
    try:
        refuse_framing(head, route.shown, maximum)
    except TooLarge:
        raise
    except NotCmp as error:
        raise _failed(route.shown, str(error)) from error
    body = bytearray()
    for octets in connection.body(head, _READ_SIZE):
        body += octets
        if len(body) > maximum:
            raise too_large(route.shown, "a body without end in sight", maximum)
    return bytes(body)


def _failed(where: str, why: str, remedy: str = _REMEDY) -> NotFetched:
    return NotFetched(f"no CRL could be had from {where}: {why}", remedy=remedy)
