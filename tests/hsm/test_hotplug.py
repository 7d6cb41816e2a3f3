"""Plugging: what the events of udev mean, with real uevents of a real udevd, and with those of a faked USB token."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hsm.hotplug import Change, Devices, Monitor

PATH = "/devices/pci0000:00/usb1/1-1"
READER = {"SUBSYSTEM": "usb", "DEVTYPE": "usb_device", "ID_SMARTCARD_READER": "1", "ID_VENDOR": "Yubico"}


def test_one_plug_of_several_events_is_one_arrival() -> None:
    devices = Devices()
    seen = [devices.event(action, PATH, READER, tagged=False) for action in ("add", "change", "bind")]
    assert seen == [Change(arrived=True, path=PATH, what="Yubico"), None, None]


def test_a_real_removal_has_lost_what_the_device_was_and_is_known_by_its_path() -> None:
    devices = Devices()
    devices.event("add", PATH, READER, tagged=False)
    bare = {"SUBSYSTEM": "usb", "DEVTYPE": "usb_device", "PRODUCT": "1050/407/543"}
    assert devices.event("unbind", PATH, bare, tagged=False) is None
    assert devices.event("remove", PATH, bare, tagged=False) == Change(arrived=False, path=PATH, what="Yubico")
    assert devices.event("remove", PATH, bare, tagged=False) is None


@pytest.mark.parametrize(
    ("properties", "tagged", "counts"),
    [
        (READER, False, True),
        ({"SUBSYSTEM": "usb", "DEVTYPE": "usb_device", "ID_USB_INTERFACES": ":0b0000:"}, False, True),
        ({"SUBSYSTEM": "usb", "DEVTYPE": "usb_device", "ID_USB_INTERFACES": ":030101:"}, False, False),
        ({"SUBSYSTEM": "tpmrm"}, False, True),
        ({"SUBSYSTEM": "usb", "DEVTYPE": "usb_device"}, True, True),
    ],
)
def test_only_what_may_hold_keys_counts(properties: dict[str, str], *, tagged: bool, counts: bool) -> None:
    assert (Devices().event("add", PATH, properties, tagged=tagged) is not None) is counts


class Source:
    """A monitor of pyudev whose buffer has overflowed; its descriptor is real."""

    def __init__(self) -> None:
        self._here, self._there = socket.socketpair()
        self.answers: list[Any] = []

    def fileno(self) -> int:
        return self._here.fileno()

    def close(self) -> None:
        self._here.close()
        self._there.close()

    def poll(self, timeout: float) -> Any:
        assert timeout == 0
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, OSError):
            raise answer
        return answer


def device(path: str) -> Any:
    return SimpleNamespace(device_path=path, properties=READER, tags=(), action="add", sequence_number=1)


def test_events_that_the_kernel_could_not_keep_are_made_up_for_by_looking_around() -> None:
    source, there = Source(), [device(PATH), device(f"{PATH}.1")]
    heard = Monitor((source,), lambda: there)
    there[1:] = [device(f"{PATH}.2")]
    source.answers = [device(f"{PATH}.3"), OSError(errno.ENOBUFS, "No buffer space available")]
    assert heard.read() == (
        Change(arrived=False, path=f"{PATH}.1", what="Yubico"),
        Change(arrived=True, path=f"{PATH}.2", what="Yubico"),
    )
    assert heard.read() == ()
    source.answers = [device(f"{PATH}.1")]
    assert heard.read() == (Change(arrived=True, path=f"{PATH}.1", what="Yubico"),)
    source.close()


def test_a_source_that_fails_again_and_again_is_given_up() -> None:
    source = Source()
    heard = Monitor((source,), lambda: ())
    source.answers = [OSError(errno.ENOBUFS, "No buffer space available")] * 9
    assert heard.read() == ()
    assert len(source.answers) == 6
    source.close()


BURST = """
import pyudev, select, socket, subprocess
from hsm.hotplug import Monitor
source = pyudev.Monitor.from_netlink(pyudev.Context(), source="kernel")
source.start()
with socket.socket(fileno=__import__("os").dup(source.fileno())) as heard:
    heard.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
heard = Monitor((source,), lambda: ())
def plug(name):
    subprocess.run(["ip", "link", "add", name, "type", "veth"], check=True)
for number in range(40):
    plug(f"tok{number}")
while select.select([heard], [], [], 0.5)[0]:
    print(heard.read(), flush=True)
plug("last")
assert select.select([heard], [], [], 5)[0], "nothing is heard any more"
"""


def test_a_burst_of_events_neither_ends_the_daemon_nor_keeps_it_busy() -> None:
    done = subprocess.run(
        ["unshare", "--map-root-user", "--net", sys.executable, "-c", BURST],
        capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()) == {"()"}


FAKED = """
import ctypes, select, sys
from hsm.hotplug import monitor
library = ctypes.CDLL("libumockdev.so.0")
P, S = ctypes.c_void_p, ctypes.c_char_p
library.umockdev_testbed_new.restype = P
library.umockdev_testbed_add_devicev.restype = S
library.umockdev_testbed_add_devicev.argtypes = [P, S, S, S, P, P]
library.umockdev_testbed_uevent.argtypes = [P, S, S]
library.umockdev_testbed_remove_device.argtypes = [P, S]
def strings(given):
    flat = [one.encode() for pair in given.items() for one in pair] + [None]
    return ctypes.cast((S * len(flat))(*flat), P)
bed = library.umockdev_testbed_new()
heard = monitor()
assert heard is not None
path = library.umockdev_testbed_add_devicev(bed, b"usb", b"1-1", None, strings({"idVendor": "1050"}), strings(
    {"DEVTYPE": "usb_device", "ID_SMARTCARD_READER": "1", "ID_VENDOR": "Yubico", "ID_MODEL": "YubiKey"}))
def wait(arrived):
    while True:
        assert select.select([heard], [], [], 10)[0], "no event came"
        for change in heard.read():
            assert change.arrived is arrived, change
            return print(change.what, flush=True)
library.umockdev_testbed_uevent(bed, path, b"add")
wait(True)
library.umockdev_testbed_uevent(bed, path, b"remove")
wait(False)
"""


def test_a_faked_usb_token_comes_and_goes() -> None:
    done = subprocess.run(
        ["umockdev-wrapper", sys.executable, "-c", FAKED],
        capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert (done.returncode, done.stdout.split("\n")) == (0, ["Yubico YubiKey", "Yubico YubiKey", ""]), done.stderr
    assert os.environ.get("UMOCKDEV_DIR") is None
