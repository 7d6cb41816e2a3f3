"""What systemd is told reaches it, and nothing that systemd does or fails to do holds up the daemon."""

from __future__ import annotations

import errno
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.supervisor.notify import Notifier


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Give the socket on which systemd reads."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as theirs:
        theirs.bind(str(tmp_path / "notify"))
        theirs.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield theirs


def heard(systemd: socket.socket) -> list[str]:
    systemd.settimeout(0)
    found = []
    while True:
        try:
            found.append(systemd.recv(65_536).decode())
        except BlockingIOError:
            return found


def test_what_is_said_is_what_sd_notify_says(systemd: socket.socket) -> None:
    notifier = Notifier()
    notifier.ready("1 identity: 1 välid")
    notifier.status("1 identity: 1 due")
    notifier.status("1 identity: 1 due")
    notifier.reloading()
    notifier.alive()
    notifier.stopping("ending")
    ready, status, reloading, alive, stopping = heard(systemd)
    assert ready == "READY=1\nSTATUS=1 identity: 1 välid"
    assert status == "STATUS=1 identity: 1 due"
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert alive == "WATCHDOG=1"
    assert stopping == "STOPPING=1\nSTATUS=ending"


def test_a_name_in_the_abstract_namespace_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"enrolld-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as theirs:
        theirs.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        Notifier().alive()
        assert heard(theirs) == ["WATCHDOG=1"]


def test_a_systemd_that_reads_nothing_any_more_holds_up_nobody_and_hears_the_last_status_later(
    systemd: socket.socket,
) -> None:
    notifier = Notifier()
    begun = time.monotonic()
    for number in range(2000):
        notifier.status(f"{number} identities")
        notifier.alive()
    assert time.monotonic() - begun < 5
    told = heard(systemd)
    assert "STATUS=0 identities" in told
    notifier.status("1999 identities")
    assert heard(systemd) == ["STATUS=1999 identities"], "it was not taken for told"


def test_that_it_is_ready_is_said_to_a_systemd_that_is_busy_for_a_moment(systemd: socket.socket) -> None:
    notifier = Notifier()
    for _ in range(2000):
        notifier.alive()
    read: list[str] = []
    timer = threading.Timer(0.5, lambda: read.extend(heard(systemd)))
    timer.start()
    notifier.ready("late")
    timer.join()
    assert "READY=1\nSTATUS=late" in (*read, *heard(systemd))


def test_a_systemd_that_is_gone_is_no_reason_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notifier = Notifier()
    notifier.ready("well")
    notifier.status("well still")
    notifier.alive()


def test_nor_is_that_no_descriptor_is_left(systemd: socket.socket) -> None:
    notifier = Notifier()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            os.dup(systemd.fileno())
        notifier.alive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    notifier.alive()
    assert heard(systemd) == ["WATCHDOG=1"]
