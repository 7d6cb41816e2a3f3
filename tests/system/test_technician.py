"""What a technician does at a site with systemd: install, turn up, look, ask for help. On a serial console of 80x24."""

from __future__ import annotations

import json
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.events import Event
from tests.screen import Screen, screen
from tests.system.booted import package
from tests.system.site import SECRET, Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a machine")

URL = "http://127.0.0.1:8829/.well-known/cmp"
TERMINAL = {"TERM": "screen-256color", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
SECONDS = 60
"""Of machine time from the package to a valid certificate."""
ANSWERS = 10


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A machine without enrolld. The tests below go on with it in turn."""
    with Site() as machine:
        yield machine


@contextmanager
def console(site: Site, folder: Path, *command: str) -> Iterator[Screen]:
    with screen(folder, site.entered("enrollctl", *command), environment=TERMINAL) as terminal:
        yield terminal


def answer(terminal: Screen, *answers: tuple[str, str]) -> None:
    for question, text in answers:
        terminal.wait_for(question)
        terminal.type(text)


def checks(site: Site) -> dict[str, Any]:
    done = site.run("enrollctl", "doctor", "--json", check=False)
    return {one["check"]: one for one in json.loads(done.stdout)["checks"]}


def strangers(site: Site) -> str:
    """Files in the daemon's directory that are not his."""
    return site.run("find", "/var/lib/enrolld", "!", "-user", "enrolld").stdout


def test_from_the_package_to_a_valid_certificate_and_a_daemon_that_keeps_it(
    site: Site, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    archive = package()
    begun = time.monotonic()
    site.install(archive)
    took = time.monotonic() - begun
    site.start_ca()
    begun = time.monotonic()
    with console(site, tmp_path, "turn-up") as terminal:
        answer(
            terminal,
            ("address of the CA", URL),
            ("root certificate (Enter: learn it)", ""),
            ("reference of the one-time secret:", "enb-4711"),
            ("name of this device", "CN=enb-4711,O=Operator"),
            ("one-time secret of reference enb-4711", SECRET),
            ("start enrolld, which renews the certificate?", "y"),
        )
        shown = " ".join(terminal.wait_for("finished:").split())
        assert terminal.ended() == 0
        terminal.assert_fits()
        assert terminal.answers <= ANSWERS
    took += time.monotonic() - begun
    assert took < SECONDS
    record_property("seconds", f"{took:.1f}")
    assert "result: done: the certificate is installed and valid" in shown
    assert "service: enrolld.service is enabled and runs" in shown
    assert SECRET not in shown
    (seen,) = json.loads(site.run("enrollctl", "status", "--json").stdout)
    assert seen["state"] == "valid"
    assert strangers(site) == ""
    assert site.run("sh", "-c", "ls /etc/enrolld").stdout.split() == ["enrolld.yaml"], "the spent secret is gone"


def test_the_doctor_finds_the_service_and_the_journal_in_order(site: Site) -> None:
    found = checks(site)
    assert {name: found[name]["status"] for name in ("service", "journal", "state-directory", "chain")} == {
        "service": "ok", "journal": "ok", "state-directory": "ok", "chain": "ok",
    }  # fmt: skip
    assert [name for name, one in found.items() if one["status"] == "failed"] == []


def test_watch_shows_a_renewal_from_the_journal(site: Site, tmp_path: Path) -> None:
    with console(site, tmp_path, "watch") as terminal:
        terminal.wait_for("enrolld runs")
        site.run("enrollctl", "renew")
        shown = terminal.wait_for("ike: sending kur")
        terminal.wait_for("ike: installed:")
        terminal.assert_fits()
        assert "valid" in shown
        terminal.press("C-c")
        site.until(lambda: site.run("pgrep", "-f", "enrollctl watch", check=False).returncode == 1)


def test_a_support_bundle_holds_the_journal(site: Site) -> None:
    site.run("enrollctl", "capture", "--offline", "--output", "/root/support.tar.gz")
    with tarfile.open(site.root / "root/support.tar.gz") as archive:
        (member,) = [one for one in archive.getmembers() if one.name.endswith("/journal.txt")]
        stream = archive.extractfile(member)
        assert stream is not None
        text = stream.read().decode()
    serial = site.entries(Event.INSTALLED)[-1]["CERTIFICATE_SERIAL"]
    assert serial in text
    assert "sending kur" in text
    assert SECRET not in text


def test_what_root_does_without_the_daemon_the_daemon_can_go_on_with(site: Site) -> None:
    site.systemctl("stop", "enrolld")
    assert checks(site)["service"]["remedy"] == "Run 'systemctl enable --now enrolld.service'."
    for command in (("renew",), ("rollback",), ("refresh",), ("retry",)):
        site.run("enrollctl", *command)
        assert strangers(site) == "", command
    site.systemctl("start", "enrolld")
    site.run("enrollctl", "renew")
    assert checks(site)["state-directory"]["status"] == "ok"


@pytest.mark.parametrize(
    "command", ["status", "renew", "retry", "rollback", "revoke ike --yes", "doctor", "watch", "turn-up"]
)
def test_without_permission_a_command_says_so_and_what_to_do(site: Site, command: str) -> None:
    before = site.serial
    words = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "timeout", "20", "enrollctl")
    done = site.run(*words, *command.split(), check=False)
    assert done.returncode in {1, 2, 4}, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "sudo" in (done.stdout + done.stderr).replace("\n", " ")
    assert site.serial == before


def test_the_group_of_enrolld_may_look_and_not_act(site: Site) -> None:
    member = ("setpriv", "--reuid=nobody", "--regid=enrolld", "--clear-groups", "enrollctl")
    seen = site.run(*member, "status")
    assert (seen.stdout.split()[5:7], seen.stderr) == (["ike", "valid"], "")
    before = site.serial
    refused = site.run(*member, "renew", check=False)
    assert refused.returncode == 1
    assert "sudo" in refused.stderr
    assert site.serial == before


def test_a_stick_that_is_plugged_in_is_found_and_two_answers_are_enough(site: Site, tmp_path: Path) -> None:
    before = site.serial
    site.write("/root/secret", SECRET, 0o600)
    known = ("--url", URL, "--reference", "enb-4711", "--subject", "CN=enb-4711,O=Operator")
    roots = ("--trust-anchors", "/srv/ca/root.pem", "--secret-file", "/root/secret")
    site.run("mkdir", "-p", "/media/usb")
    site.run("enrollctl", "provision", *known, *roots, "/media/usb/enrolld-provisioning.txt")
    site.run("rm", "/root/secret")
    with console(site, tmp_path, "turn-up", "--replace") as terminal:
        terminal.wait_for("use /media/usb/enrolld-provisioning.txt (reference enb-4711)?")
        terminal.type("")
        terminal.wait_for("one-time secret of reference enb-4711")
        terminal.type("mistyped")
        terminal.wait_for("nothing was sent")
        terminal.type("y")
        terminal.type(SECRET)
        shown = " ".join(terminal.wait_for("finished:").split())
        assert terminal.ended() == 0
    assert "compare: this root was learned" not in shown
    assert site.serial != before
    site.run("rm", "-r", "/media/usb")


def test_a_request_that_waits_is_the_daemons_after_the_technician_has_left(site: Site, tmp_path: Path) -> None:
    site.start_ca("--poll-delay 8s --check-after 1")
    before = site.serial
    with console(site, tmp_path, "turn-up", "--replace", "--wait", "0s") as terminal:
        answer(
            terminal,
            ("address of the CA", URL),
            ("root certificate (Enter: learn it)", ""),
            ("reference of the one-time secret:", "enb-4711"),
            ("name of this device", "CN=enb-4711,O=Operator"),
            ("one-time secret of reference enb-4711", SECRET),
        )
        terminal.wait_for("result: pending: the CA has not decided yet")
        assert terminal.ended() == 3
        assert terminal.answers <= ANSWERS
    site.until(lambda: site.serial != before)
    assert strangers(site) == ""
