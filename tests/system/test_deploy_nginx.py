"""nginx as a TLS consumer: files and a reload, and a client that connects again and again meanwhile."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from agent.labca import LabCa, LabCaSettings, running
from tests.ports import unused_port
from tests.station import until
from tests.system.sites import SECRETS, Site, as_root, site

pytestmark = as_root

NAME = "amf-7.core.example"
HOOK = Path(__file__).parents[2] / "config/examples/hooks/reload-nginx"
_CONFIGURATION = """
daemon off;
worker_processes 2;
user www-data;
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {place}/tls/tls.crt;
    ssl_certificate_key {place}/tls/tls.key;
    return 200 "hello";
  }}
}}
"""


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[LabCa]:
    made = LabCa(LabCaSettings(directory=tmp_path / "ca", secrets=SECRETS, durable=False))
    with running(made):
        yield made
    made.close()


class Client:
    """Connects again and again, trusting the operator's root only, and counts what it sees."""

    def __init__(self, port: int, root: Path) -> None:
        self.port = port
        self.seen: Counter[str] = Counter()
        self.failures: list[str] = []
        self._context = ssl.create_default_context(cafile=root)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with (
                    socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain,
                    self._context.wrap_socket(plain, server_hostname=NAME) as secured,
                ):
                    certificate = secured.getpeercert(binary_form=True)
                    secured.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    assert secured.recv(4096).startswith(b"HTTP/1.1 200")
                assert certificate is not None
                self.seen[hashlib.sha256(certificate).hexdigest()] += 1
            except (OSError, AssertionError) as error:
                self.failures.append(repr(error))
            self._stop.wait(0.005)


def test_a_client_that_reconnects_all_the_time_sees_no_failed_handshake_over_ten_key_updates(
    ca: LabCa, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Path("/var/tmp") / f"enrolld-nginx-{os.getpid()}"  # noqa: S108 - workers of nginx cannot enter tmp_path
    place.mkdir(mode=0o755)
    port = unused_port()
    try:
        (place / "tls").mkdir(mode=0o755)
        configuration = place / "nginx.conf"
        configuration.write_text(_CONFIGURATION.format(place=place, port=port))
        function = site(tmp_path / "amf", ca, NAME, None, [
            {"directory": {"path": str(place / "tls"), "names": {"full-chain": "tls.crt", "private-key": "tls.key"}}},
            {"hook": {"command": [str(HOOK), f"127.0.0.1:{port}", "-c", str(configuration)]}},
        ])  # fmt: skip
        _renew_under_load(function, ca, place, port, capsys)
    finally:
        shutil.rmtree(place)


def _renew_under_load(function: Site, ca: LabCa, place: Path, port: int, capsys: pytest.CaptureFixture[str]) -> None:
    # There is no nginx yet: the hook fails, and is tried again until there is one.
    first = function.run("enroll")
    assert first.code == 1
    assert "ended with status 1" in first.problem
    assert function.status()["state"] == "deploying"
    assert ca.settings.directory is not None
    with subprocess.Popen(["/usr/sbin/nginx", "-c", place / "nginx.conf"], stdin=subprocess.DEVNULL) as nginx:
        try:
            until(lambda: _listens(port))
            function.good("deploy")
            assert function.status()["state"] == "valid"
            shown = set()
            with Client(port, ca.settings.directory / "root.pem") as client:
                until(lambda: client.seen)
                for _ in range(10):
                    function.good("renew")
                    shown.add(hashlib.sha256(function.current.certificate).hexdigest())
                last = hashlib.sha256(function.current.certificate).hexdigest()
                until(lambda: client.seen[last] > 5)
            with capsys.disabled():
                sys.stdout.write(
                    f"\n{client.seen.total()} TLS handshakes during 10 key updates: {len(client.failures)} failed\n"
                )
            assert client.failures == []
            assert len(shown) == 10
            assert shown <= client.seen.keys(), "a certificate that was confirmed was never shown"
        finally:
            nginx.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
