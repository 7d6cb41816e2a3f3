from __future__ import annotations

import secrets
import socket

import pytest

from tests.ports import LOOPBACK, handed_out, unused_port


@pytest.mark.parametrize("host", [LOOPBACK, "::1"])
def test_an_unused_port_is_free_to_listen_on(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    port = unused_port(host)
    with socket.create_server((host, port), family=family), socket.create_connection((host, port)) as peer:
        assert peer.getpeername()[:2] == (host, port)


def test_an_unused_port_is_none_that_the_kernel_gives_to_somebody_else_meanwhile() -> None:
    with socket.create_server((LOOPBACK, 0)) as somebody:
        assert somebody.getsockname()[1] in handed_out()
    ours = {one for port in (unused_port(together=2) for _ in range(30)) for one in (port, port + 1)}
    assert not ours & {*handed_out()}


def test_where_somebody_listens_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    first = unused_port(together=3)
    drawn = iter((first, first - 1, first + 1))
    monkeypatch.setattr(secrets, "choice", lambda _: next(drawn))
    with socket.create_server((LOOPBACK, first)):
        assert unused_port(together=2) == first + 1
