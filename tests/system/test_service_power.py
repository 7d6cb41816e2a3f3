"""An installed enrolld while a request is under consideration: upgrade, reboot and power cut do not begin another."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from agent.events import Event
from tests.system.booted import package
from tests.system.site import Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a machine")


def newer(archive: Path, place: Path) -> Path:
    """Return the same package with a higher version."""
    subprocess.run(["dpkg-deb", "--raw-extract", archive, place / "tree"], check=True)
    control = place / "tree/DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*", "Version: 99", control.read_text(), flags=re.MULTILINE))
    made = place / "enrolld_99.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "--build", place / "tree", made], check=True)
    return made


def test_a_request_under_consideration_survives_upgrade_reboot_and_power_cut_as_one_transaction(tmp_path: Path) -> None:
    with Site(installed=True) as site:
        site.start_ca("--poll-delay 1h --check-after 1")
        site.configure()
        site.start()
        site.hear(Event.PENDING)
        (transaction,) = {entry["CMP_TRANSACTION_ID"] for entry in site.entries(Event.STARTED)}

        site.install(newer(package(), tmp_path))
        assert site.shows("ActiveState") == "active"
        assert "99" in site.run("dpkg-query", "--show", "enrolld").stdout
        resumes_by_itself(site)

        site.power_off()
        site.boot()
        resumes_by_itself(site)

        site.pull_the_plug()
        site.boot()
        resumes_by_itself(site)

        site.approve()
        (installed,) = site.hear(Event.INSTALLED)
        assert len(site.entries(Event.STARTED)) == 1
        seen = {entry["CMP_TRANSACTION_ID"] for entry in site.entries() if "CMP_TRANSACTION_ID" in entry}
        assert seen == {transaction}
        assert installed["CERTIFICATE_SERIAL"] == site.serial


def resumes_by_itself(site: Site) -> None:
    """Wait until the enrolld that runs now has asked the CA about the open request."""
    pid = f"_SYSTEMD_INVOCATION_ID={site.shows('InvocationID')}"
    site.hear(Event.RESUMED, pid)
    site.hear(Event.PENDING, pid)
