"""The package installed in a booted Debian, watched only by what a technician has: journal, files and systemctl."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.events import EVENTS, Event
from tests.system.booted import package
from tests.system.site import SECRET, Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a machine")

LIFE = "40s"
"""Of a certificate here. Two thirds of it pass before each renewal."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A machine with the package and a CA whose certificates are short-lived. The tests below go on with it in turn."""
    with Site() as machine:
        machine.install(package())
        yield machine


def test_a_fresh_installation_is_enabled_and_waits_for_its_configuration(site: Site) -> None:
    assert site.systemctl("is-enabled", "enrolld").strip() == "enabled"
    assert site.shows("ActiveState") == "inactive"
    assert site.shows("ConditionResult") == "no"
    assert site.systemctl("is-system-running", check=False).strip() == "running"
    assert site.run("stat", "-c", "%U %a", "/var/lib/enrolld").stdout == "enrolld 700\n"


def test_a_configured_site_is_ready_enrolls_and_renews_three_times_before_the_end(site: Site) -> None:
    site.start_ca(f"--validity {LIFE}")
    site.configure()
    site.systemctl("start", "enrolld")  # returns at READY=1
    assert site.shows("ActiveState") == "active"
    assert "ike" in site.entries(Event.READY)[0]["MESSAGE"]
    site.until(lambda: len(site.entries(Event.INSTALLED)) >= 4, seconds=240)

    entries = site.entries(Event.INSTALLED)
    serials = [entry["CERTIFICATE_SERIAL"] for entry in entries]
    assert len(set(serials)) == len(serials)
    for before, after in itertools.pairwise(entries):
        installed = datetime.fromtimestamp(int(after["__REALTIME_TIMESTAMP"]) / 1e6, UTC)
        assert installed < datetime.fromisoformat(before["CERTIFICATE_NOT_AFTER"])
        assert after["NEXT_ACTION"] == "renew"
    assert site.serial in {*serials, site.entries(Event.INSTALLED)[-1]["CERTIFICATE_SERIAL"]}
    assert not site.entries(Event.EXPIRED)
    assert [entry["CMP_MESSAGE"] for entry in site.entries(Event.STARTED)[:4]] == ["ir", "kur", "kur", "kur"]
    assert site.shows("NRestarts") == "0"


def ours(site: Site) -> list[dict[str, Any]]:
    """Every entry of enrolld's unit but systemd's own about it."""
    return [entry for entry in site.entries(None, "_SYSTEMD_UNIT=enrolld.service") if "MESSAGE" in entry]


def test_every_entry_is_an_event_of_the_table_with_its_fields(site: Site) -> None:
    rules = {rule.message_id: rule for rule in EVENTS.values()}
    entries = ours(site)
    assert len(entries) > 20
    for entry in entries:
        rule = rules[entry["MESSAGE_ID"]]
        assert rule.fields <= entry.keys(), entry["MESSAGE"]
        assert entry["PRIORITY"] == str(int(rule.priority))
        assert entry["SYSLOG_IDENTIFIER"] == "enrolld"
        if "@IDENTITY@" in rule.subject + rule.happened + rule.to_do:
            assert entry["IDENTITY"] == "ike"
            assert entry["MESSAGE"].startswith("ike: ")


def test_nothing_is_in_the_journal_twice(site: Site) -> None:
    assert {entry["_TRANSPORT"] for entry in ours(site)} == {"journal"}


def test_journalctl_explains_an_entry_with_its_own_fields(site: Site) -> None:
    wanted = f"MESSAGE_ID={EVENTS[Event.INSTALLED].message_id}"
    shown = site.run("journalctl", "-x", "--no-pager", wanted).stdout
    assert "Subject: ike has a new certificate" in shown
    assert site.entries(Event.INSTALLED)[0]["CERTIFICATE_SERIAL"] in shown
    assert "What to do: Nothing." in shown
    assert not re.search(r"@[A-Z_]+@", shown)


def test_the_status_of_the_service_says_how_the_identity_does(site: Site) -> None:
    site.until(lambda: re.search(r"valid|renew", site.shows("StatusText")))
    assert "ike" in site.run("enrollctl", "status").stdout


def test_a_reload_takes_a_good_file_and_refuses_a_broken_one(site: Site) -> None:
    good = (site.root / "etc/enrolld/enrolld.yaml").read_text()
    pid = site.shows("MainPID")
    site.write("/etc/enrolld/enrolld.yaml", good.replace("subject", "subjekt"))
    site.systemctl("reload", "enrolld")
    site.until(lambda: site.entries(Event.RELOAD_REFUSED))
    assert "subjekt" in str(site.entries(Event.RELOAD_REFUSED)) + str(ours(site))
    site.write("/etc/enrolld/enrolld.yaml", good)
    site.systemctl("reload", "enrolld")
    site.until(lambda: site.entries(Event.RELOADED))
    assert site.shows("MainPID") == pid


def test_a_loop_that_stands_still_is_ended_and_started_again(site: Site) -> None:
    site.write("/etc/systemd/system/enrolld.service.d/watchdog.conf", "[Service]\nWatchdogSec=4s\nRestartSec=1s\n")
    site.systemctl("daemon-reload")
    site.systemctl("restart", "enrolld")
    pid = site.shows("MainPID")
    time.sleep(6)  # fed, it goes on past the watchdog's time
    assert (site.shows("MainPID"), site.shows("NRestarts")) == (pid, "0")
    site.run("kill", "-STOP", pid)
    site.until(lambda: site.shows("NRestarts") == "1" and site.shows("ActiveState") == "active")
    assert site.shows("MainPID") != pid
    (site.root / "etc/systemd/system/enrolld.service.d/watchdog.conf").unlink()
    site.systemctl("daemon-reload")


def test_the_sandbox_lets_through_what_is_needed_and_nothing_that_was_tried(site: Site) -> None:
    site.write("/usr/local/lib/probe.py", Path(__file__).with_name("probe.py").read_text())
    unit = (site.root / "lib/systemd/system/enrolld.service").read_text()
    for old, new in {
        "ExecStart=enrolld": "ExecStart=/usr/lib/enrolld/bin/python3 -I /usr/local/lib/probe.py",
        "Type=notify": "Type=oneshot\nStandardOutput=truncate:/run/probe.json",
        "Restart=always": "Restart=no",
        "RuntimeDirectory=enrolld": "RuntimeDirectory=probe",
        "StateDirectory=enrolld": "StateDirectory=probe",
    }.items():
        assert old in unit
        unit = unit.replace(old, new)
    site.write("/etc/systemd/system/probe.service", unit)
    site.write(
        "/etc/systemd/system/probe.service.d/credentials.conf",
        (site.root / "etc/systemd/system/enrolld.service.d/credentials.conf").read_text(),
    )
    site.systemctl("daemon-reload")
    site.systemctl("start", "probe")
    found = yaml.safe_load(site.run("cat", "/run/probe.json").stdout)
    assert {name: what for name, what in found["allowed"].items() if what != "done"} == {}
    assert [name for name, what in found["forbidden"].items() if what == "done"] == []


def test_no_secret_and_no_key_is_in_the_journal_or_readable_by_others(site: Site) -> None:
    journal = site.run("journalctl", "--output=export", "--all", "--no-pager", "-u", "enrolld").stdout
    assert len(journal) > 5_000
    assert SECRET not in journal
    assert "PRIVATE KEY" not in journal
    keys = list((site.root / "var/lib/enrolld").rglob("private-key.pem"))
    assert keys
    for key in keys:
        assert key.stat().st_mode & 0o077 == 0
        assert all(line not in journal for line in key.read_text().splitlines()[1:-1])
    pid = site.shows("MainPID")
    started_with = site.run("cat", f"/proc/{pid}/cmdline", f"/proc/{pid}/environ").stdout
    assert "enrolld" in started_with
    assert SECRET not in started_with


def test_removing_keeps_keys_and_purging_leaves_nothing(site: Site) -> None:
    site.run("dpkg", "--remove", "enrolld")
    assert site.serial
    assert site.systemctl("is-active", "enrolld", check=False).strip() == "inactive"
    site.install(package())
    assert site.shows("ActiveState") == "active"
    site.run("dpkg", "--purge", "enrolld")
    gone = (
        "var/lib/enrolld",
        "etc/enrolld",
        "usr/lib/enrolld",
        "run/enrolld",
        "usr/bin/enrolld",
        "lib/systemd/system/enrolld.service",
    )
    assert [name for name in gone if (site.root / name).exists()] == []
    assert site.run("dpkg", "--status", "enrolld", check=False).returncode != 0


# ---------------------------------------------------------------------------------------------------------- power


def newer(archive: Path, place: Path) -> Path:
    """Return the same package with a higher version."""
    subprocess.run(["dpkg-deb", "--raw-extract", archive, place / "tree"], check=True)
    control = place / "tree/DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*", "Version: 99", control.read_text(), flags=re.MULTILINE))
    made = place / "enrolld_99.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "--build", place / "tree", made], check=True)
    return made


def test_a_request_under_consideration_survives_upgrade_and_power_cut_as_one_transaction(tmp_path: Path) -> None:
    with Site() as site:
        site.install(package())
        site.start_ca("--poll-delay 45s --check-after 2")
        site.configure()
        site.systemctl("start", "enrolld")
        site.until(lambda: site.entries(Event.PENDING))
        (transaction,) = {entry["CMP_TRANSACTION_ID"] for entry in site.entries(Event.STARTED)}

        site.install(newer(package(), tmp_path))
        assert site.shows("ActiveState") == "active"
        assert "99" in site.run("dpkg-query", "--show", "enrolld").stdout
        site.until(lambda: site.entries(Event.RESUMED))

        site.run("sync")
        site.pull_the_plug()
        site.boot()
        site.until(lambda: site.entries(Event.INSTALLED))
        assert len(site.entries(Event.STARTED)) == 1
        seen = {entry["CMP_TRANSACTION_ID"] for entry in site.entries() if "CMP_TRANSACTION_ID" in entry}
        assert seen == {transaction}
        assert site.entries(Event.INSTALLED)[0]["CERTIFICATE_SERIAL"] == site.serial


# ----------------------------------------------------------------------------------------------------------- disk


def test_a_full_and_a_read_only_disk_are_reported_and_retried_and_nothing_is_lost() -> None:
    with Site() as site:
        site.install(package())
        site.start_ca()
        site.configure()
        site.run("mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", "/var/lib/enrolld")
        site.run("sh", "-c", "cat /dev/zero >/var/lib/enrolld/filler 2>/dev/null; true")
        site.systemctl("start", "enrolld")
        site.until(lambda: troubles(site))
        assert "df" in troubles(site)[0]["REMEDY"]
        assert not site.entries(Event.INSTALLED)
        site.run("rm", "/var/lib/enrolld/filler")
        site.until(lambda: site.entries(Event.INSTALLED), seconds=180)  # by itself, at the next attempt

        before = len(troubles(site))
        site.run("mount", "-o", "remount,ro", "/var/lib/enrolld")
        assert site.run("enrollctl", "renew", "ike", check=False).returncode == 1
        site.until(lambda: len(troubles(site)) > before)
        assert "writable" in troubles(site)[-1]["REMEDY"]
        assert site.shows("ActiveState") == "active"
        assert len(site.entries(Event.INSTALLED)) == 1
        site.run("mount", "-o", "remount,rw", "/var/lib/enrolld")
        assert site.run("enrollctl", "renew", "ike").returncode == 0
        assert [entry["CMP_MESSAGE"] for entry in site.entries(Event.STARTED)][-1] == "kur"
        assert len(site.entries(Event.INSTALLED)) == 2


def troubles(site: Site) -> list[dict[str, Any]]:
    """What was reported about the disk, by worker or supervisor."""
    return [*site.entries(Event.STATE_TROUBLE), *site.entries(Event.FAILED)]
