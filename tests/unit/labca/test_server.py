"""The lab CA over HTTP, spoken to by the standard library's client and by raw sockets."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509

from agent.cmp import messages
from agent.cmp.messages import BodyType
from agent.errors import ConfigurationError
from agent.labca import LabCa, LabCaSettings, Misbehaviour, running, server
from agent.labca.outgoing import CMP_TYPE
from agent.labca.records import TransactionState
from tests.unit.labca.entity import Entity, certificate_in

CMP = {"Content-Type": CMP_TYPE}
HOST = "127.0.0.1"
PATIENT = 60


@contextlib.contextmanager
def serving(**settings: Any) -> Iterator[tuple[LabCa, Entity, http.client.HTTPConnection]]:
    ca = LabCa(LabCaSettings(secrets={"enb-4711": "one-time"}, **settings))
    with running(ca):
        connection = http.client.HTTPConnection(urlsplit(ca.url).netloc, timeout=PATIENT)
        with contextlib.closing(connection):
            yield ca, Entity(ca, now=datetime.now(UTC)), connection
    ca.close()


def post(
    connection: http.client.HTTPConnection,
    octets: bytes,
    path: str = "/.well-known/cmp",
    headers: dict[str, str] | None = None,
) -> tuple[http.client.HTTPResponse, bytes]:
    connection.request("POST", path, octets, CMP if headers is None else headers)
    response = connection.getresponse()
    return response, response.read()


def raw(ca: LabCa, octets: bytes, *, end: bool = False) -> bytes:
    """Send ``octets`` and return everything that comes back until the server closes."""
    parts = urlsplit(ca.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), PATIENT) as sock:
        sock.sendall(octets)
        if end:
            sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65_536), b""))


def test_a_transaction_goes_over_one_kept_connection_with_one_write_an_answer() -> None:
    with serving() as (ca, entity, connection):
        response, octets = post(connection, entity.message(entity.request()))
        assert (response.status, response.getheader("Content-Type")) == (200, "application/pkixcmp")
        answer = messages.parse(octets)
        entity.heard = answer.header.sender_nonce
        kept = connection.sock
        _, octets = post(connection, entity.message(entity.confirm(certificate_in(answer))))
        assert messages.parse(octets).type is BodyType.PKICONF
        assert connection.sock is kept is not None
        assert ca.record().transactions[0].state is TransactionState.CONFIRMED


def test_without_keep_alive_the_connection_ends_with_the_answer() -> None:
    with serving(keep_alive=False) as (_, entity, connection):
        response, _ = post(connection, entity.message(entity.request()))
        assert response.getheader("Connection") == "close"
        assert connection.sock is None


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/pkix",
        "/pkix/",
        "/.well-known/cmp",
        "/.well-known/cmp/p/gnb",
        "/.well-known/cmp/initialization",
        "/p/gnb",
        "/own",
    ],
)
def test_messages_are_taken_on_every_path_clients_use(path: str) -> None:
    with serving(path="/own") as (ca, entity, connection):
        assert ca.url.endswith("/own")
        response, octets = post(connection, entity.message(entity.request()), path)
        assert response.status == 200
        assert messages.parse(octets).type is BodyType.IP


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/elsewhere", CMP, 404),
        ("/", {}, 415),
        ("/", {"Content-Type": "text/plain"}, 415),
        ("/", {**CMP, "Transfer-Encoding": "chunked"}, 411),
        ("/", {**CMP, "Content-Length": "2000"}, 413),
        ("/", {**CMP, "Content-Length": "-1"}, 411),
        ("/", {**CMP, "Content-Length": "9" * 30}, 411),
    ],
)
def test_what_is_no_cmp_request_is_answered_with_a_status(path: str, headers: dict[str, str], status: int) -> None:
    with serving(maximum_request=1000) as (ca, _, connection):
        response, body = post(connection, b"", path, headers)
        assert response.status == status
        assert body
        assert ca.record().messages == ()


def test_other_methods_are_refused_and_the_crl_is_there() -> None:
    with serving() as (ca, _, connection):
        connection.request("GET", "/crl")
        response = connection.getresponse()
        crl = x509.load_der_x509_crl(response.read())
        assert response.getheader("Content-Type") == "application/pkix-crl"
        assert crl.is_signature_valid(ca.pki.issuing.loaded.public_key())  # type: ignore[arg-type]
        connection.request("GET", "/")
        response = connection.getresponse()
        assert (response.status, bool(response.read())) == (405, True)
        connection.request("PUT", "/", b"")
        assert connection.getresponse().status == 501


@pytest.mark.parametrize("octets", [b"", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"])
def test_a_client_that_hangs_up_half_way_does_no_harm(octets: bytes) -> None:
    with serving() as (ca, entity, connection):
        assert b" 200 " not in raw(ca, octets, end=True)
        assert post(connection, entity.message(entity.request()))[0].status == 200


def test_a_client_that_drips_is_cut_off() -> None:
    with serving(request_timeout=timedelta(milliseconds=150)) as (ca, _, __):
        parts = urlsplit(ca.url)
        begin = time.monotonic()
        with (
            socket.create_connection((parts.hostname or "", parts.port or 0), PATIENT) as sock,
            contextlib.suppress(OSError),
        ):
            while time.monotonic() - begin < 30:
                sock.sendall(b"X")
                time.sleep(0.01)
        assert 0.1 < time.monotonic() - begin < 20


def test_a_line_of_plain_words_is_said_for_every_message() -> None:
    ca = LabCa(LabCaSettings(secrets={"enb-4711": "one-time"}))
    lines: list[str] = []
    with running(ca, lines.append):
        connection = http.client.HTTPConnection(urlsplit(ca.url).netloc, timeout=PATIENT)
        with contextlib.closing(connection):
            entity = Entity(ca, now=datetime.now(UTC))
            post(connection, entity.message(entity.request()))
            post(connection, entity.message(entity.request(), transaction_id=b"2" * 16, pvno=9))
            post(connection, b"junk")
    ca.close()
    assert lines[0] == "ir from enb-4711: ip"
    assert lines[1].startswith("ir from somebody unknown: error unsupportedVersion (pvno 9 is not supported")
    assert lines[2].startswith("something unreadable: ")


# --- faults on the wire ---------------------------------------------------------------------------------------------


def test_a_dropped_answer_is_a_closed_connection() -> None:
    with serving() as (ca, entity, connection):
        ca.misbehave(Misbehaviour.DROP_AFTER, on=BodyType.IR, times=1)
        with pytest.raises(http.client.RemoteDisconnected):
            post(connection, entity.message(entity.request()))
        assert len(ca.record().certificates) == 1
        connection.close()
        again = Entity(ca, now=entity.now)
        assert post(connection, again.message(again.request()))[0].status == 200


def test_html_a_status_and_retry_after_come_as_they_would_from_a_proxy() -> None:
    with serving() as (ca, entity, connection):
        octets = entity.message(entity.request())
        for text, status in (("html*1", 200), ("http-status=502*1", 502), ("retry-after=9*1", 503)):
            ca.misbehave(text)
            response, body = post(connection, octets)
            assert (response.status, response.getheader("Content-Type")) == (status, "text/html")
            assert response.getheader("Retry-After") == ("9" if status == 503 else None)
            assert b"<html>" in body
        response, body = post(connection, octets)
        assert messages.parse(body).type is BodyType.IP


def test_a_good_answer_may_come_with_a_bad_status() -> None:
    with serving() as (ca, entity, connection):
        ca.misbehave(Misbehaviour.STATUS_WITH_ANSWER, 599)
        response, body = post(connection, entity.message(entity.request()))
        assert response.status == 599
        assert messages.parse(body).type is BodyType.IP


def test_an_answer_comes_late() -> None:
    with serving() as (ca, entity, connection):
        ca.misbehave(Misbehaviour.LATE, 0.2, times=1)
        begin = time.monotonic()
        assert post(connection, entity.message(entity.request()))[0].status == 200
        assert time.monotonic() - begin >= 0.2


def test_an_answer_comes_twice_on_one_connection() -> None:
    with serving() as (ca, entity, _):
        ca.misbehave(Misbehaviour.DUPLICATE)
        octets = entity.message(entity.request())
        head = (
            f"POST / HTTP/1.1\r\nConnection: close\r\nContent-Type: {CMP_TYPE}\r\nContent-Length: {len(octets)}\r\n\r\n"
        )
        both = raw(ca, head.encode() + octets)
        assert both[: len(both) // 2] == both[len(both) // 2 :]
        assert both.count(b"HTTP/1.1 200 OK") == 2


# --- where it listens -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bind", ["0.0.0.0", "192.0.2.7", "::"])  # noqa: S104 - that is what is refused
def test_it_refuses_to_listen_beyond_loopback(bind: str) -> None:
    ca = LabCa(LabCaSettings(bind=bind))
    with pytest.raises(ConfigurationError, match="whoever reaches it gets certificates"), running(ca):
        pass
    ca.close()


@pytest.mark.parametrize("bind", ["127.0.0.2", "localhost"])
def test_it_listens_on_any_loopback_address(bind: str) -> None:
    ca = LabCa(LabCaSettings(bind=bind))
    with running(ca):
        assert urlsplit(ca.url).hostname == bind
        assert ca.url.endswith("/.well-known/cmp")
    assert ca.url == ""
    ca.close()


def test_beyond_loopback_only_by_a_flag() -> None:
    server.check_address(LabCaSettings(bind="192.0.2.7", allow_remote=True))
    with pytest.raises(ConfigurationError, match="is not an address"):
        server.check_address(LabCaSettings(bind="somewhere"))


def test_a_port_that_is_taken_is_named_with_a_remedy() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        ca = LabCa(LabCaSettings(port=port))
        with pytest.raises(ConfigurationError, match=f"port {port}") as caught, running(ca):
            pass
        ca.close()
    assert "another port" in caught.value.remedy


def test_stopping_hangs_up_on_idle_connections() -> None:
    ca = LabCa(LabCaSettings())
    with running(ca):
        connection = http.client.HTTPConnection(urlsplit(ca.url).netloc, timeout=PATIENT)
        connection.request("GET", "/crl")  # so that the server has surely taken the connection
        connection.getresponse().read()
        begin = time.monotonic()
    with contextlib.closing(connection):
        assert connection.sock is not None
        assert connection.sock.recv(1) == b""
    assert time.monotonic() - begin < ca.settings.request_timeout.total_seconds() / 2
    ca.close()
