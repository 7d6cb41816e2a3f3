"""Tokens that come and go, with real events of the kernel and of a real udevd."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.hsm.conftest import TokenStation
from tests.hsm.daemon import PATIENT, Enrolld, enrolld
from tests.hsm.tokens import Token
from tests.hsm.udevd import GROUP, Udevd, private_udevd
from tests.station import ENROLLCTL, REFERENCE, SECRET, until

LISTEN = """
import json, select, sys, pyudev
from hsm import hotplug
plain = pyudev.Monitor.from_netlink(pyudev.Context())
plain.filter_by("net")
plain.start()
heard = hotplug.monitor()
print(json.dumps("ready"), flush=True)
while True:
    select.select([heard, plain], [], [])
    while (one := plain.poll(timeout=0)) is not None:
        if one.sys_name == "tok0":
            print(json.dumps([one.action, one.get("ID_VENDOR")]), flush=True)
    for change in heard.read():
        print(json.dumps({"arrived": change.arrived, "what": change.what}), flush=True)
"""
"""Tell every event of the device, with a property that a rule gave it, and what the adapter makes of them."""


@pytest.fixture
def udevd(tmp_path: Path) -> Iterator[Udevd]:
    with private_udevd(tmp_path) as running:
        yield running


def test_a_plug_of_many_events_is_told_once_and_a_removal_that_tells_nothing_too(udevd: Udevd) -> None:
    with subprocess.Popen(
        [*udevd.prefix, sys.executable, "-c", LISTEN], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as listener:
        assert listener.stdout is not None
        try:
            told = map(json.loads, listener.stdout)
            assert next(told) == "ready"
            for _ in range(2):
                udevd.plug()
                udevd.unplug()
            events: list[list[str | None]] = []
            changes: list[dict[str, object]] = []
            while len(changes) < 4 or events.count(["remove", None]) < 2:
                one = next(told)
                (changes if isinstance(one, dict) else events).append(one)
        finally:
            listener.kill()
    assert [one["arrived"] for one in changes] == [True, False, True, False]
    assert {one["what"] for one in changes} == {"Yubico YubiKey"}
    arriving = [one for one in events if one[0] in {"add", "change", "bind"}]
    assert len(arriving) >= 6
    assert all(vendor == "Yubico" for _, vendor in arriving)
    assert ["remove", "Yubico"] not in events


def test_what_is_plugged_in_before_the_daemon_starts_is_known(udevd: Udevd) -> None:
    udevd.plug()
    ask = "from hsm import hotplug\nprint(sorted(hotplug.monitor()._devices.known.values()))"
    command = [*udevd.prefix, sys.executable, "-c", ask]

    def known() -> bool:
        return (
            "Yubico YubiKey"
            in subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=PATIENT, cwd=Path(__file__).parents[2]
            ).stdout
        )

    until(known, seconds=PATIENT)


USB = r"""P: /devices/pci0000:00/0000:00:14.0/usb1/1-1
N: bus/usb/001/005
E: DEVNAME=/dev/bus/usb/001/005
E: DEVTYPE=usb_device
E: SUBSYSTEM=usb
A: idVendor=1050\n
"""
"""A token as umockdev shows it to udev."""


def test_our_rules_let_the_service_use_a_usb_token_and_hear_of_it(udevd: Udevd, tmp_path: Path) -> None:
    (tmp_path / "usb.umockdev").write_text(USB)
    test = ("udevadm", "test", "--action=add", "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-1")
    done = subprocess.run(
        [*udevd.prefix, "umockdev-run", "--device", str(tmp_path / "usb.umockdev"), "--", *test],
        capture_output=True, text=True, check=True, timeout=PATIENT,
    )  # fmt: skip
    told = done.stdout + done.stderr
    ours = [part.partition(" ")[2].splitlines()[0] for part in told.split("70-enrolld-tokens.rules:")[1:]]
    assert ours == [f"GROUP {GROUP}", "MODE 0660"]
    assert "TAGS=:enrolld-token:" in told


@contextmanager
def lab_ca(folder: Path, prefix: tuple[str, ...]) -> Iterator[str]:
    """Run a CA where ``prefix`` leads; give its address."""
    command = [str(ENROLLCTL), "lab-ca", "--directory", str(folder), "--port", "0", "--secret", f"{REFERENCE}={SECRET}"]
    with subprocess.Popen([*prefix, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            line = next(line for line in process.stdout if "urls:" in line)
            yield line.split("[")[1].split("]")[0].strip("\"' ")
        finally:
            process.kill()


def woken(daemon: Enrolld) -> bool:
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
    return bool(children.read_text().split())


def test_a_token_that_arrives_wakes_the_identity_that_waits_for_it_within_a_second(
    station: TokenStation, token: Token, udevd: Udevd, tmp_path: Path
) -> None:
    token.unplug()
    with lab_ca(tmp_path / "ca", udevd.prefix) as url:
        station.configure(urls=[url], trust_anchors=[str(tmp_path / "ca" / "root.pem")])
        with enrolld(station, prefix=udevd.prefix) as daemon:
            until(lambda: daemon.seen.next_action == "look for the token", seconds=PATIENT)
            waits = []
            for times in range(1, 4):  # what arrives is not what it waits for: it looks, and waits on
                udevd.plug()
                began = time.monotonic()
                until(lambda: woken(daemon) or daemon.seen.attempts > times, seconds=PATIENT)  # noqa: B023
                waits.append(time.monotonic() - began)
                until(lambda: daemon.seen.attempts == times + 1 and not woken(daemon), seconds=PATIENT)  # noqa: B023
                udevd.unplug()
            assert min(waits) < 1, waits
            assert daemon.seen.state == "needs-token"
            token.plug()
            udevd.plug()
            until(lambda: daemon.seen.usable, seconds=PATIENT)
            udevd.unplug()
            until(lambda: "pulled out" in daemon.said(), seconds=PATIENT)
        said = daemon.said()
    assert said.count("Yubico YubiKey") >= 7
    assert station.current.number == 1
    assert station.current.key_reference.startswith("pkcs11:token=enb;")
