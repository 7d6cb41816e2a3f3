"""What holds for every test: no skips in CI, and traffic on loopback only."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

# What a shell starts in the background ignores SIGINT, and then Ctrl-C means nothing to the commands under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

IN_CI = os.environ.get("CI") == "true"

# On a small busy machine a slow example says nothing. In CI the examples are always the same ones.
hypothesis.settings.register_profile(
    "enrolld",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=IN_CI,
    print_blob=True,
)
hypothesis.settings.load_profile("enrolld")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, turn a test that was skipped or allowed to fail into a failed one."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI, turn a test file that skipped itself into an error."""
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if IN_CI and report.skipped:
        expected_failure = vars(report).pop("wasxfail", None)
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else f"expected to fail: {expected_failure}"
        report.outcome = "failed"
        report.longrepr = f"in CI every test runs and counts, but this one did not ({reason})"


def _only_loopback(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse a connection or datagram to another machine, whoever in this process sends it."""
    if event in {"socket.connect", "socket.sendto"} and arguments[0].family in {socket.AF_INET, socket.AF_INET6}:
        host = arguments[1][0]
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            message = f"a test reached out to {host}; tests talk to loopback only"
            raise AssertionError(message)


sys.addaudithook(_only_loopback)
