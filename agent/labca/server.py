"""The lab CA over HTTP/1.1 (RFC 9811): one thread a connection, one write an answer, everything bounded."""

from __future__ import annotations

import contextlib
import http.server
import io
import ipaddress
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from agent.errors import ConfigurationError
from agent.labca.outgoing import CMP_TYPE, Reply
from agent.labca.settings import CRL_PATH, ROOT_CRL, address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.labca.authority import LabCa
    from agent.labca.settings import LabCaSettings

_CRL_TYPE: Final = "application/pkix-crl"
_WELL_KNOWN: Final = "/.well-known/cmp"
_LOG: Final = logging.getLogger(__name__)


class Server(http.server.ThreadingHTTPServer):
    """Listens for one CA. ``watch`` is told one line for every message served."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, ca: LabCa, watch: Callable[[str], None] | None = None) -> None:
        """Bind the address of the CA's settings.

        Raises:
            ConfigurationError: when it is not loopback and that was not allowed, or cannot be bound.
        """
        settings = ca.settings
        check_address(settings)
        self.ca = ca
        self.watch = watch or (lambda _: None)
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        if ":" in settings.bind:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((settings.bind, settings.port), _Handler)
        except OSError as error:
            raise ConfigurationError(
                f"the lab CA cannot listen on {settings.bind} port {settings.port}: {error.strerror or error}",
                remedy="Choose another port (0 takes any free one), or end the program that holds it.",
            ) from error
        base = address(settings.bind, self.server_address[1])
        ca.served_at(f"{base}{settings.path}", f"{base}{CRL_PATH}")

    def server_bind(self) -> None:
        """Bind without asking the name service for our own name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that closing the server closes it."""
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close the connection and forget it."""
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Write defects of ours to the log; a client that hangs up is not worth a word."""
        if not isinstance(sys.exc_info()[1], OSError):
            _LOG.exception("the lab CA failed to answer %s (%s)", client_address, request)

    def stop(self) -> None:
        """End :meth:`serve_forever`, hang up on everybody, and wait for the threads. Call it from another thread."""
        self.closing.set()
        self.shutdown()
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


@contextlib.contextmanager
def running(ca: LabCa, watch: Callable[[str], None] | None = None) -> Iterator[LabCa]:
    """Serve ``ca`` from a thread for the length of a ``with`` block; ``ca.url`` says where."""
    server = Server(ca, watch)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield ca
    finally:
        server.stop()
        thread.join()
        ca.served_at("", "")


def check_address(settings: LabCaSettings) -> None:
    """Refuse to listen beyond loopback unless that was allowed.

    Raises:
        ConfigurationError: with what to do about it.
    """
    try:
        loopback = settings.bind == "localhost" or ipaddress.ip_address(settings.bind).is_loopback
    except ValueError as error:
        raise ConfigurationError(
            f"{settings.bind!r} is not an address", remedy="Give an IP address such as 127.0.0.1 or ::1."
        ) from error
    if not loopback and not settings.allow_remote:
        raise ConfigurationError(
            f"the lab CA does not listen on {settings.bind}: whoever reaches it gets certificates",
            remedy="Keep it on 127.0.0.1, or allow it explicitly on a network of its own.",
        )


class _Deadline(io.RawIOBase):
    """Reads from a socket until a point in time, however slowly the octets drip."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self.until = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._input = _Deadline(self.connection)
        self.rfile = io.BufferedReader(self._input)

    def handle_one_request(self) -> None:
        self._input.until = time.monotonic() + self.server.ca.settings.request_timeout.total_seconds()
        super().handle_one_request()

    def do_POST(self) -> None:
        settings = self.server.ca.settings
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or len(length) > _LENGTH_DIGITS or self.headers.get("Transfer-Encoding"):
            return self._refuse(HTTPStatus.LENGTH_REQUIRED)
        if int(length) > settings.maximum_request:
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        octets = self.rfile.read(int(length))
        if len(octets) < int(length):
            self.close_connection = True
            return None
        if not _is_cmp_path(self.path.partition("?")[0], settings.path):
            return self._refuse(HTTPStatus.NOT_FOUND, keep=True)
        if self.headers.get_content_type() != CMP_TYPE:
            return self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, keep=True)
        return self._reply(self.server.ca.respond(octets))

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in {CRL_PATH, f"{CRL_PATH}{ROOT_CRL}"}:
            octets = self.server.ca.crl(of_root=path != CRL_PATH)
            self._send(Reply(octets=octets, content_type=_CRL_TYPE))
        else:
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, keep=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing: one line a message is written elsewhere, in plain words."""

    def _reply(self, reply: Reply) -> None:
        self.server.watch(reply.note)
        ended = bool(reply.delay) and self.server.closing.wait(reply.delay)
        if reply.dropped or ended:
            self.close_connection = True
        else:
            self._send(reply)

    def _refuse(self, status: HTTPStatus, *, keep: bool = False) -> None:
        """Answer with a status alone; unless ``keep``, what may still come on this connection is not looked at."""
        self.close_connection = self.close_connection or not keep
        self._send(Reply(octets=f"{status.phrase}\n".encode(), status=status, content_type="text/plain"))

    def _send(self, reply: Reply) -> None:
        """Write status line, headers and body at once: two writes would cost 40 ms with delayed acknowledgements."""
        self.close_connection = self.close_connection or not self.server.ca.settings.keep_alive
        phrase = HTTPStatus(reply.status).phrase if reply.status in HTTPStatus.__members__.values() else "Unknown"
        headers = {
            "Content-Type": reply.content_type,
            "Content-Length": str(len(reply.octets)),
            "Cache-Control": "no-cache",
            "Connection": "close" if self.close_connection else "keep-alive",
            **reply.headers,
        }
        lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
        answer = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + reply.octets
        self.connection.settimeout(self.server.ca.settings.request_timeout.total_seconds())
        self.connection.sendall(answer * reply.copies)


_LENGTH_DIGITS: Final = 9


def _is_cmp_path(path: str, own: str) -> bool:
    """Tell whether a CMP message may be posted here (RFC 9811 3.4, and what clients use in the field)."""
    return (
        path.rstrip("/") in {"", "/pkix", own.rstrip("/")}
        or path.startswith((f"{_WELL_KNOWN}/", "/p/"))
        or path == _WELL_KNOWN
    )
