"""The rule that gives hardware with keys to the service is part of the package."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.hsm.udevd import OURS
from tests.system.booted import package


def test_the_package_has_the_rule_where_udev_looks_and_has_udev_read_it_again(tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--raw-extract", package(), tmp_path / "tree"], check=True, timeout=60)
    installed = tmp_path / "tree" / "usr/lib/udev/rules.d" / OURS.name
    assert installed.read_bytes() == OURS.read_bytes()
    script = (tmp_path / "tree/DEBIAN/postinst").read_text()
    assert script.index("systemd-sysusers") < script.index("udevadm control --reload")
    subprocess.run(["sh", "-n", tmp_path / "tree/DEBIAN/postinst"], check=True, timeout=60)
