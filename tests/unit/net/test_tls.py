from __future__ import annotations

import datetime as dt
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization

from agent.errors import ConfigurationError, NotCmp, Unreachable
from agent.net.http import CmpClient
from agent.net.tls import tls_context
from agent.settings import HttpSettings
from tests.unit.net.peers import PATIENT, REQUEST, RESPONSE, Peer, RawServer, Request, answering, http_answer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.net.conftest import Party, Pki

DAY = dt.timedelta(days=1)


def trusting(*anchors: Party, **more: Any) -> HttpSettings:
    files = tuple(anchor.certificate_file for anchor in anchors)
    return HttpSettings(connect_timeout=PATIENT, response_timeout=PATIENT, tls_trust_anchors=files, **more)


def exchange(url: str, settings: HttpSettings) -> bytes:
    with CmpClient([url], settings) as client:
        return client.exchange(REQUEST).body


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_https_works_with_the_configured_anchor(pki: Pki, host: str) -> None:
    server = pki.make(issuer=pki.root)
    with RawServer(answering(http_answer()), host=host, tls=server.server_context()) as peer:
        assert exchange(peer.url, trusting(pki.root)) == RESPONSE


def test_a_transaction_over_tls_uses_one_connection_and_one_write_a_message(pki: Pki) -> None:
    seen: list[Request] = []
    server = pki.make(issuer=pki.root)
    with (
        RawServer(answering(http_answer(), seen=seen), tls=server.server_context()) as peer,
        CmpClient([peer.url], trusting(pki.root)) as client,
    ):
        for _ in range(3):
            client.exchange(REQUEST)
    assert (peer.connections, [len(request.pieces) for request in seen]) == (1, [1, 1, 1])


def test_an_anchor_may_be_the_server_itself(pki: Pki) -> None:
    server = pki.make(issuer=pki.root)
    with RawServer(answering(http_answer()), tls=server.server_context()) as peer:
        assert exchange(peer.url, trusting(server)) == RESPONSE


def refused(peer: RawServer, settings: HttpSettings, says: str, remedy: str, url: str = "") -> None:
    with pytest.raises(Unreachable, match=says) as caught:
        exchange(url or peer.url, settings)
    assert remedy in caught.value.remedy
    assert not caught.value.delivered


def test_an_issuer_we_do_not_trust_is_refused(pki: Pki) -> None:
    server = pki.make(issuer=pki.root)
    stranger = pki.make("stranger", issuer=None)
    with RawServer(answering(http_answer()), tls=server.server_context()) as peer:
        refused(peer, trusting(stranger), "issued by nobody we trust", "tls-trust-anchors")


def test_the_roots_of_the_system_vouch_for_nobody(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    server = pki.make(issuer=pki.root)
    monkeypatch.setenv("SSL_CERT_FILE", str(pki.root.certificate_file))
    with RawServer(answering(http_answer()), tls=server.server_context()) as peer:
        refused(peer, trusting(pki.make("stranger", issuer=None)), "nobody we trust", "tls-trust-anchors")


def test_a_certificate_for_another_name_is_refused(pki: Pki) -> None:
    server = pki.make(issuer=pki.root, hosts=("ra.example",))
    with RawServer(answering(http_answer()), tls=server.server_context()) as peer:
        refused(peer, trusting(pki.root), "for another name.*127.0.0.1", "name that stands in the server's certificate")


def test_the_common_name_is_no_host_name(pki: Pki) -> None:
    server = pki.make("localhost", issuer=pki.root, hosts=())
    with RawServer(answering(http_answer()), tls=server.server_context()) as peer:
        url = peer.url.replace("127.0.0.1", "localhost")
        refused(peer, trusting(pki.root), "for another name", "name that stands", url)


def test_a_name_with_a_final_dot_is_the_same_name(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(_host: str, port: int, *_: object) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    server = pki.make(issuer=pki.root)
    with RawServer(answering(http_answer()), tls=server.server_context()) as peer:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        assert exchange(f"https://localhost.:{peer.port}/", trusting(pki.root)) == RESPONSE


@pytest.mark.parametrize(
    ("begin", "end", "says"), [(-2 * DAY, -DAY, "has expired"), (DAY, 2 * DAY, "is not valid yet")]
)
def test_a_certificate_out_of_its_time_points_at_the_clock(
    pki: Pki, begin: dt.timedelta, end: dt.timedelta, says: str
) -> None:
    server = pki.make(issuer=pki.root, begin=begin, end=end)
    with RawServer(answering(http_answer()), tls=server.server_context()) as peer:
        refused(peer, trusting(pki.root), says, "clock")


def test_http_on_the_other_side_is_named(pki: Pki) -> None:
    def behave(peer: Peer) -> None:
        peer.sock.recv(10_000)
        peer.say(http_answer(b"", "400 Bad Request", None))

    with RawServer(behave) as peer:
        refused(peer, trusting(pki.root), "does not speak TLS", "scheme and port", peer.url.replace("http", "https"))


def test_https_on_the_other_side_is_named(pki: Pki) -> None:
    server = pki.make(issuer=pki.root)
    with (
        RawServer(answering(http_answer()), tls=server.server_context()) as peer,
        pytest.raises((NotCmp, Unreachable)) as caught,
    ):
        exchange(peer.url.replace("https", "http"), HttpSettings(response_timeout=PATIENT))
    assert caught.value.remedy


def test_a_handshake_that_never_ends_is_ended(pki: Pki) -> None:
    settings = HttpSettings(connect_timeout=0.2, tls_trust_anchors=(pki.root.certificate_file,))
    with RawServer(lambda peer: peer.hang()) as peer:
        refused(peer, settings, "did not answer in time", "firewalls", peer.url.replace("http", "https"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_is_shown_when_configured(pki: Pki, version: ssl.TLSVersion) -> None:
    context = pki.make(issuer=pki.root).server_context(clients=pki.root)
    context.maximum_version = version
    client = pki.make("client", issuer=pki.root)
    with RawServer(answering(http_answer()), tls=context) as peer:
        settings = trusting(pki.root, tls_certificate=client.certificate_file, tls_key=client.key_file)
        assert exchange(peer.url, settings) == RESPONSE


def test_a_missing_client_certificate_is_named(pki: Pki) -> None:
    context = pki.make(issuer=pki.root).server_context(clients=pki.root)
    with (
        RawServer(answering(http_answer()), tls=context) as peer,
        pytest.raises(Unreachable, match="does not accept our TLS client certificate") as caught,
    ):
        exchange(peer.url, trusting(pki.root))
    assert "tls-certificate" in caught.value.remedy


def test_nothing_older_than_tls_1_2_is_offered(pki: Pki) -> None:
    assert tls_context(trusting(pki.root)).minimum_version is ssl.TLSVersion.TLSv1_2


# ------------------------------------------------------------------------------------------- wrong settings


def test_https_without_anchors_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="https") as caught:
        CmpClient(["http://ra.example/", "https://ra.example/"], HttpSettings())
    assert "tls-trust-anchors" in caught.value.remedy


def test_http_needs_no_anchors(tmp_path: Path) -> None:
    client = CmpClient(["http://ra.example/"], HttpSettings(tls_trust_anchors=(tmp_path / "missing.pem",)))
    assert client.url is None


@pytest.mark.parametrize("content", [None, b"", b"not PEM"])
def test_an_unusable_anchor_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "anchor.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"anchor\.pem: \w+"):
        CmpClient(["https://ra.example/"], HttpSettings(tls_trust_anchors=(file,)))


def test_an_encrypted_client_key_is_an_error_and_asks_nobody(pki: Pki, tmp_path: Path) -> None:
    client = pki.make("client", issuer=pki.root)
    key = tmp_path / "encrypted.key"
    encryption = serialization.BestAvailableEncryption(b"secret")
    form = serialization.PrivateFormat.PKCS8
    key.write_bytes(client.key.private_bytes(serialization.Encoding.PEM, form, encryption))
    with pytest.raises(ConfigurationError, match=r"encrypted\.key: the key is encrypted"):
        tls_context(trusting(pki.root, tls_certificate=client.certificate_file, tls_key=key))


def test_a_client_certificate_with_the_key_of_another_is_an_error(pki: Pki) -> None:
    one, other = (pki.make("client", issuer=pki.root) for _ in range(2))
    with pytest.raises(ConfigurationError, match="mismatch"):
        tls_context(trusting(pki.root, tls_certificate=one.certificate_file, tls_key=other.key_file))


def test_a_missing_client_certificate_file_is_an_error(pki: Pki, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        tls_context(trusting(pki.root, tls_certificate=tmp_path / "missing.pem"))


def test_a_client_key_without_certificate_is_an_error(pki: Pki) -> None:
    with pytest.raises(ConfigurationError, match="without tls-certificate"):
        tls_context(trusting(pki.root, tls_key=pki.root.key_file))
