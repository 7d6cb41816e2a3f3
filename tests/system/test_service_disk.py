"""An installed enrolld whose disk is full, read-only, or gone: reported, tried again by itself, and nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from agent.events import Event
from tests.system.site import Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a machine")

STATE = "/var/lib/enrolld"


def troubles(site: Site) -> list[dict[str, Any]]:
    """What was reported about the disk, by worker or supervisor."""
    return [*site.entries(Event.STATE_TROUBLE), *site.entries(Event.FAILED)]


@pytest.fixture(scope="module")
def full() -> Iterator[Site]:
    """A machine whose disk is full when it is to enroll. The tests below go on with it in turn."""
    with Site(installed=True) as site:
        site.start_ca()
        site.configure()
        site.run("mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", STATE)
        site.run("sh", "-c", f"cat /dev/zero >{STATE}/filler 2>/dev/null; true")
        site.start()
        yield site


def test_a_full_disk_is_reported_with_what_to_do(full: Site) -> None:
    full.until(lambda: troubles(full))
    assert "df" in troubles(full)[0]["REMEDY"]
    assert not full.entries(Event.INSTALLED)
    assert full.shows("ActiveState") == "active"
    full.run("rm", f"{STATE}/filler")  # it is tried again by itself, below


@pytest.fixture(scope="module")
def vanished() -> Iterator[Site]:
    """A machine whose disk with the credentials goes away while enrolld runs."""
    with Site(installed=True) as site:
        site.enrolled()
        site.until(lambda: "1 valid" in site.shows("StatusText"))
        yield site


def test_a_directory_that_vanished_is_reported_with_what_to_do(vanished: Site) -> None:
    before = vanished.serial
    vanished.run("mv", STATE, "/var/lib/elsewhere")
    refused = vanished.run("enrollctl", "renew", "ike", check=False)
    assert refused.returncode == 1
    assert "mount the " in refused.stderr.lower()
    (told,) = vanished.hear(Event.STATE_TROUBLE)
    assert STATE in told["MESSAGE"]
    assert "mount the " in told["REMEDY"].lower()
    assert vanished.shows("ActiveState") == "active"
    assert not (vanished.root / STATE.lstrip("/")).exists(), "nothing is made where the disk should be"
    vanished.run("mv", "/var/lib/elsewhere", STATE)  # it is looked for by itself, below
    assert vanished.serial == before


def test_once_there_is_room_it_enrolls_by_itself(full: Site) -> None:
    (installed,) = full.hear(Event.INSTALLED)
    assert installed["CERTIFICATE_SERIAL"] in full.run("enrollctl", "status", "ike").stdout


def test_once_the_directory_is_back_it_goes_on_by_itself_with_what_it_had(vanished: Site) -> None:
    vanished.until(lambda: "1 identity: 1 valid" in vanished.shows("StatusText"))
    assert vanished.serial == vanished.entries(Event.INSTALLED)[0]["CERTIFICATE_SERIAL"]
    # The sandbox let it write to the directory that was there at its start, by a mount that went with it.
    refused = vanished.run("enrollctl", "renew", "ike", check=False)
    assert "'systemctl restart enrolld'" in refused.stderr
    vanished.systemctl("restart", "enrolld")
    vanished.run("enrollctl", "renew", "ike")
    assert [entry["CMP_MESSAGE"] for entry in vanished.entries(Event.STARTED)] == ["ir", "kur"]


def test_a_read_only_disk_fails_a_renewal_in_words_and_costs_nothing(full: Site) -> None:
    before = len(troubles(full))
    full.run("mount", "-o", "remount,ro", STATE)
    assert full.run("enrollctl", "renew", "ike", check=False).returncode == 1
    full.until(lambda: len(troubles(full)) > before)
    assert "writable" in troubles(full)[-1]["REMEDY"]
    assert full.shows("ActiveState") == "active"
    assert len(full.entries(Event.INSTALLED)) == 1
    full.run("mount", "-o", "remount,rw", STATE)
    assert full.run("enrollctl", "renew", "ike").returncode == 0
    assert [entry["CMP_MESSAGE"] for entry in full.entries(Event.STARTED)][-1] == "kur"
    assert len(full.entries(Event.INSTALLED)) == 2
