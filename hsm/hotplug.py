"""Tokens that are plugged in and pulled out, seen through udev: a descriptor for a loop, and what its events mean.

A plug is several events (device, interface, bind), so they are gathered for a moment (:data:`QUIET`). A real ``remove``
no longer tells what the device was: an ``unbind`` before it cleared that, and only DEVPATH is left. So what arrived is
remembered by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

QUIET: Final = 0.3
"""Seconds after the last event of a plug until the token is worth asking: well below the second that we promise."""

_ARRIVING: Final = frozenset({"add", "bind", "change"})
_SUBSYSTEMS: Final = ("usb", "tpmrm")
_INTERFACE_CCID: Final = "0b"
"""bInterfaceClass of a smart card reader (USB CCID 1.1 section 4.3)."""
TAG: Final = "enrolld-token"
"""The tag that our udev rule, or the technician's, gives to a device that holds keys."""


@dataclass(frozen=True, slots=True)
class Change:
    """A device that came (``arrived``) or went; ``what`` names it for people."""

    arrived: bool
    path: str
    what: str


@dataclass(slots=True)
class Devices:
    """Which token-like devices are there, told from events. No I/O: events in, changes out."""

    known: dict[str, str] = field(default_factory=dict)
    """What is there, by DEVPATH."""

    def event(self, action: str, path: str, properties: Mapping[str, str], *, tagged: bool) -> Change | None:
        """Take one event; return what it changed, None when it changed nothing that matters."""
        if action == "remove":
            # Interfaces are removed before their device: whichever of ours goes first is the end of it.
            gone = self.known.pop(path, None)
            return None if gone is None else Change(arrived=False, path=path, what=gone)
        if action not in _ARRIVING or path in self.known or not _holds_keys(properties, tagged=tagged):
            return None
        self.known[path] = _called(path, properties)
        return Change(arrived=True, path=path, what=self.known[path])


class Monitor:
    """Events of udev, for a loop that waits for ``fileno()`` and then calls :meth:`read`."""

    def __init__(self, monitor: Any, devices: Devices) -> None:
        """Take over a started monitor; see :func:`monitor`."""
        self._monitor = monitor
        self._devices = devices

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return int(self._monitor.fileno())

    def read(self) -> tuple[Change, ...]:
        """Return what changed since the last time; never waits. A device that vanished meanwhile is no error."""
        changes = []
        while (device := self._monitor.poll(timeout=0)) is not None:
            change = self._devices.event(
                str(device.action), str(device.device_path), dict(device.properties), tagged=TAG in device.tags
            )
            if change is not None:
                changes.append(change)
        return tuple(changes)


def monitor() -> Monitor | None:
    """Return a monitor that knows what is plugged in already; None where there is no udev to ask.

    Without one, whoever waits for a token asks at the next attempt by the clock.
    """
    try:
        import pyudev  # noqa: PLC0415 - loaded only where tokens are configured

        context = pyudev.Context()
        source = pyudev.Monitor.from_netlink(context)
        for subsystem in _SUBSYSTEMS:
            source.filter_by(subsystem)
        source.start()
        devices = Devices()
        for subsystem in _SUBSYSTEMS:
            for device in context.list_devices(subsystem=subsystem):
                devices.event("add", str(device.device_path), dict(device.properties), tagged=TAG in device.tags)
    except (ImportError, OSError, ValueError):
        return None
    return Monitor(source, devices)


def _holds_keys(properties: Mapping[str, str], *, tagged: bool) -> bool:
    if tagged or properties.get("SUBSYSTEM") == "tpmrm":
        return True
    if properties.get("ID_SMARTCARD_READER") == "1" or properties.get("ID_SECURITY_TOKEN") == "1":
        return properties.get("DEVTYPE") != "usb_interface"
    return properties.get("DEVTYPE") == "usb_device" and f":{_INTERFACE_CCID}" in properties.get(
        "ID_USB_INTERFACES", ""
    )


def _called(path: str, properties: Mapping[str, str]) -> str:
    names = [properties.get(one, "").replace("_", " ") for one in ("ID_VENDOR", "ID_MODEL")]
    return " ".join(filter(None, names)) or path.rpartition("/")[2]
