"""CMP over HTTP: one transaction's messages to one address of the CA, within bounds (RFC 9811).

What this module promises to the transaction above:

* A message is handed to at most one server. It goes to the next address only while it is certain that nobody got it;
  when that is not certain, ``Unreachable.delivered`` says so and the caller decides.
* Once an address has been given a message, the transaction stays there (RFC 9483 section 6.1).
* Every wait ends: connecting, writing and the whole answer have deadlines of their own.
* HTTP never decides anything about the transaction (RFC 9811 section 5): a CMP message is handed up, with whatever
  status it came, and everything else is an error with a remedy.

Message bodies are neither logged nor kept.
"""

from __future__ import annotations

import time
from dataclasses import field
from typing import TYPE_CHECKING, Final, Self

from agent.errors import NotCmp, Unreachable
from agent.frozen import frozen
from agent.net.answers import CONTENT_TYPE, Head, explain, refuse_framing, too_large
from agent.net.connection import USER_AGENT, Connection
from agent.net.failures import CAUSES, Cause, Failure, classify, failure, unreachable
from agent.net.route import Route, routes
from agent.net.stream import AllowanceExceededError, HttpError, NotHttpError
from agent.net.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.settings import HttpSettings

_IDLE_LIMIT: Final = 30.0
"""Seconds after which a connection is not used again: a firewall may have forgotten it without telling either end,
and a message written into it would be lost without our knowing (RFC 9811 section 5 wants idle ones closed, too)."""
_READ_SIZE: Final = 16_384
_BEGINNING: Final = 16_384
"""Octets of a foreign answer that are looked at to say what it is."""
_BEGINNING_TIMEOUT: Final = 2.0
_TLS_ALERT: Final = "\x15\x03"

_BROKEN: Final = (OSError, HttpError)
"""Whatever can go wrong between us and a peer; ssl.SSLError and TimeoutError are OSErrors."""


@frozen
class Answer:
    """A CMP message (not yet looked at), the address that sent it and the HTTP status it came with."""

    body: bytes = field(repr=False)
    url: str
    status: int


class CmpClient:
    """Carries the messages of one transaction; a context manager.

    ``urls`` are tried in order for the first message. ``stick_to`` binds a resumed transaction to the address that
    opened it, whatever ``urls`` say now. ``max_wait`` bounds what a busy server may ask for, in seconds. ``more`` are
    octets that an answer may have beyond what the settings allow for every one. Raises
    ConfigurationError when the addresses, TLS files or other settings can never work.
    """

    def __init__(
        self,
        urls: Sequence[str],
        settings: HttpSettings,
        *,
        stick_to: str | None = None,
        max_wait: float = 3600,
        more: int = 0,
    ) -> None:
        """Read the settings; nothing is sent and no name is resolved yet."""
        self._settings = settings
        self._max_wait = max_wait
        self._maximum = settings.maximum_response + more
        self._routes = routes([stick_to] if stick_to else urls, settings)
        self._bound: Route | None = self._routes[0] if stick_to else None
        self._connection: Connection | None = None
        self._used = 0.0

    @property
    def url(self) -> str | None:
        """The address this transaction is bound to: the one that was given a message; None before."""
        return self._bound.url if self._bound else None

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection, before a long wait for instance. The next message opens a new one."""
        if self._connection:
            self._connection.drop()
            self._connection = None

    def exchange(self, message: bytes) -> Answer:
        """Send one PKIMessage and return what came back.

        The body of an error status counts, too, when it is CMP (RFC 9811 section 3.1). Raises Unreachable (nobody
        got it, or with ``delivered`` somebody may have), ServerBusy (503 or 429) and NotCmp.
        """
        answered = False
        try:
            route, connection = self._send(message)
            answer = self._receive(route, connection)
            answered = True
        finally:
            if not answered:  # whatever is still on its way there belongs to no later message
                self.close()
        self._used = time.monotonic()
        return answer

    # ------------------------------------------------------------------------------------------------- sending

    def _send(self, message: bytes) -> tuple[Route, Connection]:
        """Hand the message to one server: over the open connection, else over the first that can be opened."""
        if self._bound and self._connection:
            if self._is_alive(self._connection) and self._write(self._bound, self._connection, message) is None:
                return self._bound, self._connection
            self.close()  # it was dead before a single octet went out: nothing is sent twice
        failures: list[Failure] = []
        for route in [self._bound] if self._bound else self._routes:
            connection = self._open_and_write(route, message, failures)
            if connection:
                return route, connection
        raise unreachable(failures)

    def _is_alive(self, connection: Connection) -> bool:
        """Say whether the server kept the connection; what arrives unasked (an end, most often) says it did not."""
        return time.monotonic() - self._used < _IDLE_LIMIT and connection.is_connected

    def _open_and_write(self, route: Route, message: bytes, failures: list[Failure]) -> Connection | None:
        """Try every address of one route; return the connection that has the message, or add to ``failures``."""
        try:
            addresses = route.resolve()
        except OSError as error:
            failures.append(failure(error, route.shown, before_proxy=route.proxy is not None))
            return None
        for address in addresses:
            self._connection = connection = Connection(address, route)
            problem = self._open(route, connection) or self._write(route, connection, message)
            if problem is None:
                return connection
            failures.append(problem)
            self.close()
        return None

    def _open(self, route: Route, connection: Connection) -> Failure | None:
        """Connect; return why that failed, or None."""
        try:
            connection.open(self._settings.connect_timeout)
        except _BROKEN as error:
            before_proxy = route.proxy is not None and not connection.reached
            return failure(error, route.shown_at(connection.address), before_proxy=before_proxy)
        return None

    def _write(self, route: Route, connection: Connection, message: bytes) -> Failure | None:
        """Send the request in one write; return why not an octet of it went out, or None when it did.

        Raises Unreachable when it broke half-way: then the server may have it.
        """
        headers = {
            "Host": route.server.authority,
            "User-Agent": USER_AGENT,
            "Accept": CONTENT_TYPE,
            "Accept-Encoding": "identity",
            "Content-Type": CONTENT_TYPE,
        }
        try:
            connection.post(
                route.request_target,
                headers,
                message,
                timeout=self._settings.response_timeout,
                maximum=self._maximum,
            )
        except OSError as error:
            if not connection.written:
                return failure(error, route.shown_at(connection.address))
            self._bound = route
            raise _delivered(error, route) from error
        self._bound = route
        return None

    # ----------------------------------------------------------------------------------------------- receiving

    def _receive(self, route: Route, connection: Connection) -> Answer:
        """Read the answer and return it if it is CMP; say what it is if it is not."""
        maximum = self._maximum
        body = bytearray()
        head: Head | None = None
        try:
            head = connection.head()
            if head.may_carry_cmp:
                refuse_framing(head, route.shown, maximum)
                for octets in connection.body(head, _READ_SIZE):
                    body += octets
                    if len(body) > maximum:
                        raise too_large(route.shown, "a body without end in sight", maximum)
                if body:
                    return Answer(bytes(body), route.url, head.status)
            beginning = _beginning(connection, head)
        except AllowanceExceededError as error:
            raise too_large(route.shown, "headers or framing without end", maximum) from error
        except _BROKEN as error:
            raise self._broken_answer(error, route, head, len(body)) from error
        raise explain(head, route.shown, beginning, now=time.time(), max_wait=self._max_wait)

    def _broken_answer(self, error: Exception, route: Route, head: Head | None, received: int) -> Unreachable | NotCmp:
        """Return the error for an answer that began badly or never ended."""
        if isinstance(error, TimeoutError):
            so_far = f"; {received} octets had come" if head else ""
            return Unreachable(
                f"{route.shown} did not answer completely within {self._settings.response_timeout:g} seconds{so_far}",
                remedy="See whether the CA is overloaded; if it is merely slow, raise http: response-timeout.",
                delivered=True,
            )
        if head:
            announced = f" of {head.length}" if head.length is not None else ""
            return Unreachable(
                f"the answer of {route.shown} was cut short after {received}{announced} octets",
                remedy="See the server's log; a gateway or firewall in between may limit the size of answers.",
                delivered=True,
            )
        if isinstance(error, NotHttpError):
            return _not_http(error, route)
        return _delivered(error, route)


def _beginning(connection: Connection, head: Head) -> bytes:
    """Return the first octets of an answer that is not CMP, as far as they come readily."""
    connection.hurry(_BEGINNING_TIMEOUT)
    beginning = bytearray()
    try:
        for octets in connection.body(head, _BEGINNING):
            beginning += octets
            if len(beginning) >= _BEGINNING:
                break
    except _BROKEN:
        return bytes(beginning)  # it only serves to say what answered; that it did not end well changes nothing
    return bytes(beginning)


def _delivered(error: Exception, route: Route) -> Unreachable:
    """Return the error for a connection that broke when the server may already have had the request."""
    cause, words = classify(error)
    explanation = CAUSES[Cause.HUNG_UP if cause is Cause.RESET else cause]
    return Unreachable(f"{route.shown}: {words} after our message was sent", remedy=explanation.remedy, delivered=True)


def _not_http(error: NotHttpError, route: Route) -> NotCmp:
    """Return the error for a peer that does not speak HTTP."""
    if str(error).startswith(_TLS_ALERT):
        return NotCmp(
            f"{route.shown} speaks TLS, but the url says http",
            remedy="Write https in the url and configure tls-trust-anchors, or use the port for http.",
        )
    return NotCmp(
        f'{route.shown} does not speak HTTP; it said "{printable(str(error), 60)}"',
        remedy="Check host and port of the url: another service listens there.",
    )
