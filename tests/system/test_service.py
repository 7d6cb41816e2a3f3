"""enrolld in a booted Debian with certificates of two minutes, watched by what a technician has: journal and files.

The certificates are renewed three times in a row; the tests in between use the time.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.events import EVENTS, Event
from agent.policy.jitter import fraction
from tests.station import asked
from tests.system.site import SECRET, Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a machine")

LIFE = "2m"
SUBJECT = max(
    (f"CN=enb-{number},O=Operator" for number in range(1000)), key=lambda one: fraction(f"ike {one}", "renewal")
)
"""Of all these the device whose renewal comes first: by the jitter, at 47 % of the life, after 56 s."""
RENEWALS = 3


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A machine whose enrolld was just started. The tests below go on with it in turn."""
    with Site(installed=True) as machine:
        machine.start_ca(f"--validity {LIFE}")
        machine.configure({"subject": SUBJECT, "renewal": {"jitter": "20%"}})
        machine.start()
        yield machine


def test_systemd_hears_that_it_is_ready_once_the_configuration_is_read(site: Site) -> None:
    assert site.shows("ActiveState") == "active"  # `systemctl start` returned at READY=1
    assert "ike" in site.hear(Event.READY)[0]["MESSAGE"]
    (installed,) = site.hear(Event.INSTALLED)
    assert installed["CERTIFICATE_SERIAL"] == site.serial
    assert installed["NEXT_ACTION"] == "renew"


def test_every_entry_is_an_event_of_the_table_with_its_fields(site: Site) -> None:
    rules = {rule.message_id: rule for rule in EVENTS.values()}
    entries = site.said()
    assert len(entries) > 5
    for entry in entries:
        rule = rules[entry["MESSAGE_ID"]]
        assert rule.fields <= entry.keys(), entry["MESSAGE"]
        assert entry["PRIORITY"] == str(int(rule.priority))
        assert entry["SYSLOG_IDENTIFIER"] == "enrolld"
        if "@IDENTITY@" in rule.subject + rule.happened + rule.to_do:
            assert entry["IDENTITY"] == "ike"
            assert entry["MESSAGE"].startswith("ike: ")


def test_nothing_is_in_the_journal_twice(site: Site) -> None:
    assert {entry["_TRANSPORT"] for entry in site.said()} == {"journal"}


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


def fits(value: Any, kind: str, types: dict[str, dict[str, str]]) -> bool:
    """Tell whether a value is of a Varlink type; ``types`` has those of the interface file, field by field."""
    if kind.startswith("?"):
        return value is None or fits(value, kind[1:], types)
    if kind.startswith("[]"):
        return isinstance(value, list) and all(fits(one, kind[2:], types) for one in value)
    if kind in _PLAIN:
        return isinstance(value, _PLAIN[kind])
    fields = types[kind]
    return value.keys() <= fields.keys() and all(fits(value.get(name), one, types) for name, one in fields.items())


_PLAIN: dict[str, Any] = {"string": str, "bool": bool, "int": int, "float": (int, float), "object": dict}


def test_the_control_socket_keeps_to_its_interface_file(site: Site) -> None:
    """Plain JSON objects, each ended by a NUL octet: what varlinkctl speaks, which this release may not have."""

    def agrees() -> bool:
        """Whether it tells of the certificate in use; that may be renewed just now."""
        (listed,) = asked(site.control, f"{interface}.List")
        return str(listed["parameters"]["identities"][0]["serial"]) == site.serial

    (info,) = asked(site.control, "org.varlink.service.GetInfo")
    interface = info["parameters"]["interfaces"][-1]
    (told,) = asked(site.control, "org.varlink.service.GetInterfaceDescription", interface=interface)
    description = told["parameters"]["description"]
    packaged = "usr/lib/enrolld/lib/python3.*/site-packages/agent/supervisor/io.enrolld.control.varlink"
    (file,) = site.root.glob(packaged)
    assert description == file.read_text()
    types = {
        name: dict(re.findall(r"(\w+): (\S+?)(?:,|\n|$)", fields))
        for name, fields in re.findall(r"type (\w+) \((.*?)\)", description, re.DOTALL)
    }
    (listed,) = asked(site.control, f"{interface}.List")
    (described,) = asked(site.control, f"{interface}.Describe", name="ike")
    assert fits(listed["parameters"]["identities"], "[]Identity", types)
    site.until(agrees)
    assert fits(described["parameters"]["identity"], "Identity", types)
    (refused,) = asked(site.control, f"{interface}.Describe", name="nobody")
    assert refused == {"error": f"{interface}.NoSuchIdentity", "parameters": {"name": "nobody"}}


def test_the_control_socket_is_closed_to_other_users(site: Site) -> None:
    connect = "import socket; socket.socket(socket.AF_UNIX).connect('/run/enrolld/io.enrolld.control')"
    refused = site.run("runuser", "-u", "nobody", "--", "python3", "-c", connect, check=False)
    assert "PermissionError" in refused.stderr


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


# ----------------------------------------------------------------------------------------- reload and watchdog, beside


@pytest.fixture(scope="module")
def other() -> Iterator[Site]:
    """Another machine, so that what is done to its enrolld does not disturb the renewals."""
    with Site(installed=True) as machine:
        machine.enrolled()
        yield machine


def test_a_reload_takes_a_good_file_and_refuses_a_broken_one(other: Site) -> None:
    good = (other.root / "etc/enrolld/enrolld.yaml").read_text()
    pid = other.shows("MainPID")
    other.write("/etc/enrolld/enrolld.yaml", good.replace("subject", "subjekt"))
    other.systemctl("reload", "enrolld")
    assert "subjekt" in str(other.hear(Event.RELOAD_REFUSED)) + str(other.said())
    other.write("/etc/enrolld/enrolld.yaml", good)
    other.systemctl("reload", "enrolld")
    other.hear(Event.RELOADED)
    assert other.shows("MainPID") == pid


def test_a_loop_that_stands_still_is_ended_and_started_again(other: Site) -> None:
    other.write("/etc/systemd/system/enrolld.service.d/watchdog.conf", "[Service]\nWatchdogSec=4s\nRestartSec=1s\n")
    other.systemctl("daemon-reload")
    other.systemctl("restart", "enrolld")
    pid = other.shows("MainPID")
    begun = other.shows("WatchdogTimestampMonotonic")
    other.until(lambda: int(other.shows("WatchdogTimestampMonotonic")) > int(begun) + 5_000_000)  # fed past its time
    assert (other.shows("MainPID"), other.shows("NRestarts")) == (pid, "0")
    other.run("kill", "-STOP", pid)
    other.until(lambda: other.shows("NRestarts") == "1" and other.shows("ActiveState") == "active")
    assert other.shows("MainPID") != pid
    assert other.serial


# ------------------------------------------------------------------------------------------------- renewals, meanwhile


def test_two_minute_certificates_are_renewed_three_times_in_a_row_before_they_end(site: Site) -> None:
    entries = site.hear(Event.INSTALLED, times=1 + RENEWALS, seconds=280)
    serials = [entry["CERTIFICATE_SERIAL"] for entry in entries]
    assert len(set(serials)) == len(serials)
    for before, after in itertools.pairwise(entries):
        installed = datetime.fromtimestamp(int(after["__REALTIME_TIMESTAMP"]) / 1e6, UTC)
        assert installed < datetime.fromisoformat(before["CERTIFICATE_NOT_AFTER"])
        assert after["NEXT_ACTION"] == "renew"
    assert site.serial == site.entries(Event.INSTALLED)[-1]["CERTIFICATE_SERIAL"]
    assert not site.entries(Event.EXPIRED)
    started = [entry["CMP_MESSAGE"] for entry in site.entries(Event.STARTED)]
    assert started[: 1 + RENEWALS] == ["ir", *["kur"] * RENEWALS]
    assert site.shows("NRestarts") == "0"


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
