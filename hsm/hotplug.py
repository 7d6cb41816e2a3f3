"""Tokens that are plugged in and pulled out, seen through udev: a descriptor for a loop, and what its events mean.

A plug is several events (device, interface, bind), so they are gathered for a moment (:data:`QUIET`). A real ``remove``
no longer tells what the device was: an ``unbind`` before it cleared that, and only DEVPATH is left. So what arrived is
remembered by it.
"""

from __future__ import annotations

import os
import select
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

QUIET: Final = 0.3
"""Seconds after the last event of a plug until the token is worth asking: well below the second that we promise."""

_FAILURES: Final = 3
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

    def __init__(self, sources: Sequence[Any], present: Callable[[], Iterable[Any]]) -> None:
        """Take over started monitors of pyudev; ``present`` gives the devices that are there. See :func:`monitor`."""
        self._sources = sources
        self._present = present
        self._devices = Devices()
        self._look_around()
        self._any = select.epoll()
        for one in sources:
            self._any.register(one.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._any.fileno()

    def read(self) -> tuple[Change, ...]:
        """Return what changed since the last time; never waits. A device that vanished meanwhile is no error."""
        events: dict[tuple[int, str, str], Any] = {}
        missed = [self._drain(source, events) for source in self._sources]
        if any(missed):
            return self._look_around()
        changes = (
            self._devices.event(action, path, dict(device.properties), tagged=TAG in device.tags)
            for (_, action, path), device in sorted(events.items(), key=lambda one: one[0][0])
        )
        return tuple(one for one in changes if one is not None)

    def _drain(self, source: Any, events: dict[tuple[int, str, str], Any]) -> bool:
        """Take all that a source has to tell; return whether more came at once than the kernel keeps (ENOBUFS)."""
        failed = 0
        while failed < _FAILURES:
            try:
                device = source.poll(timeout=0)
            except OSError:
                failed += 1
                with socket.socket(fileno=os.dup(source.fileno())) as heard:
                    heard.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # or it is told again and again
                continue
            if device is None:
                return failed > 0
            # Several sources may tell the same event.
            events[int(device.sequence_number), str(device.action), str(device.device_path)] = device
        self._any.unregister(source.fileno())  # it tells nothing any more: attempts by the clock have to do
        return True

    def _look_around(self) -> tuple[Change, ...]:
        """Compare what is there with what was known, where nobody could tell every event; return what changed."""
        before, self._devices = self._devices, Devices()
        for device in self._present():
            self._devices.event("add", str(device.device_path), dict(device.properties), tagged=TAG in device.tags)
        old, new = before.known, self._devices.known
        went = (Change(arrived=False, path=path, what=old[path]) for path in old if path not in new)
        came = (Change(arrived=True, path=path, what=new[path]) for path in new if path not in old)
        return (*went, *came)


def monitor() -> Monitor | None:
    """Return a monitor that knows what is plugged in already; None where there is no udev to ask.

    It hears of USB devices and TPMs, and of whatever a rule of udev has given our tag. Without one, whoever waits for a
    token asks at the next attempt by the clock.
    """
    try:
        import pyudev  # noqa: PLC0415 - loaded only where tokens are configured

        context = pyudev.Context()
        by_kind, by_tag = pyudev.Monitor.from_netlink(context), pyudev.Monitor.from_netlink(context)
        for subsystem in _SUBSYSTEMS:
            by_kind.filter_by(subsystem)
        by_tag.filter_by_tag(TAG)
        for one in (by_kind, by_tag):
            one.start()
        wanted = (*({"subsystem": one} for one in _SUBSYSTEMS), {"tag": TAG})
        return Monitor((by_kind, by_tag), lambda: (one for each in wanted for one in context.list_devices(**each)))
    except (ImportError, OSError, ValueError):
        return None


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
