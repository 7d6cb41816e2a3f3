"""A real systemd-udevd in namespaces of its own: kernel events of devices there, our rules, and nothing of the machine.

There is no USB there. A pair of virtual network devices stands in for a token: the kernel tells their coming and going
as it does for any device, and a rule of the test gives them what the rules of a distribution give to a reader, until
they are unbound. As with USB, the kernel's ``remove`` then finds nothing of it left.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.station import until

OURS: Final = Path(__file__).parents[2] / "systemd" / "70-enrolld-tokens.rules"
DEVICE: Final = "tok0"
_STAND_IN: Final = (
    'SUBSYSTEM=="net", KERNEL=="tok*", ACTION=="add|change|bind", '
    'ENV{ID_VENDOR}="Yubico", ENV{ID_MODEL}="YubiKey", TAG+="enrolld-token"\n'
    'SUBSYSTEM=="usb", ATTR{idVendor}=="1050", ENV{ID_SECURITY_TOKEN}="1"\n'
)
GROUP: Final = 6543
"""The number of the group ``enrolld`` there."""
_PATIENT: Final = 60
_SCRIPT: Final = """
set -eu
mount -t tmpfs -o mode=755 tmpfs /run
mount -t sysfs sysfs /sys
mkdir -p /run/udev/rules.d /run/nothing
cp "$1"/*.rules /run/udev/rules.d/
for rules in /etc/udev/rules.d /usr/lib/udev/rules.d /usr/local/lib/udev/rules.d; do
    [ ! -d $rules ] || mount --bind /run/nothing $rules
done
{ cat /etc/group; echo "enrolld:x:$2:"; } >/run/group
mount --bind /run/group /etc/group
ip link set lo up
exec /lib/systemd/systemd-udevd --debug --children-max=2
"""


@dataclass(frozen=True)
class Udevd:
    """A udevd at work; commands that begin with ``prefix`` run beside it."""

    prefix: tuple[str, ...]
    log: Path

    def plug(self) -> None:
        """Have the device come; the kernel tells four events, as of a USB token."""
        self._run("ip", "link", "add", DEVICE, "type", "veth", "peer", "name", "other0")
        for action in ("change", "bind", "bind"):
            self._tell(action)

    def unplug(self) -> None:
        """Have it go, as a USB token goes: unbound before it is removed."""
        self._tell("unbind")
        self._run("ip", "link", "delete", DEVICE)

    def _tell(self, action: str) -> None:
        self._run("sh", "-c", f"echo {action} >/sys/class/net/{DEVICE}/uevent")

    def _run(self, *command: str) -> None:
        done = subprocess.run([*self.prefix, *command], capture_output=True, text=True, check=False, timeout=_PATIENT)
        assert done.returncode == 0, done.stderr


@contextmanager
def private_udevd(folder: Path) -> Iterator[Udevd]:
    """Run one, with the rules that we ship and the stand-in's."""
    rules, log = folder / "rules", folder / "udevd.log"
    rules.mkdir()
    shutil.copy(OURS, rules)
    (rules / "60-stand-in.rules").write_text(_STAND_IN)
    root = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    namespaces = ["unshare", *root, "--mount", "--net", "--propagation", "private"]
    command = [*namespaces, "bash", "-c", _SCRIPT, "bash", str(rules), str(GROUP)]
    with log.open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    enter = ("nsenter", f"--target={process.pid}", "--mount", "--net", *(("--user",) if root else ()))
    # Both: before the namespaces are made this looks at the machine, which may have a udevd of its own.
    ready = [*enter, "test", "-S", "/run/udev/control", "-a", "-d", "/run/nothing"]

    def listens() -> bool:
        assert process.poll() is None, log.read_text()
        return subprocess.run(ready, check=False, capture_output=True, timeout=_PATIENT).returncode == 0

    try:
        until(listens, seconds=_PATIENT)
        yield Udevd(enter, log)
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENT)
        finally:
            process.kill()
