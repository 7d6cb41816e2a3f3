"""The README's installation by pip, as it stands there, in a booted Debian without a network."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from agent.events import Event
from tests.system.booted import ROOT, wheels
from tests.system.site import Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a machine")


def commands() -> str:
    """Return the commands that the README gives."""
    after = (ROOT / "README.md").read_text().partition("\nBy pip,")[2]
    return after.partition("```sh\n")[2].partition("```")[0]


def copy_of_the_sources(site: Site) -> None:
    """Put there what a clone of the repository has."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        target = site.root / "root/enrolld" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, target)


def test_enrolld_installed_by_pip_as_the_readme_says_enrolls_and_explains_itself() -> None:
    with Site() as site:
        copy_of_the_sources(site)
        shutil.copytree(wheels(), site.root / "root/wheels")
        site.write("/usr/local/bin/sudo", '#!/bin/sh\nexec "$@"\n', 0o755)
        # As the README's reader has them from the package index.
        offline = "export PIP_NO_INDEX=1 PIP_FIND_LINKS=/root/wheels PIP_DISABLE_PIP_VERSION_CHECK=1"
        assert "pip install ." in commands()
        site.run("sh", "-euc", f"{offline}\ncd /root/enrolld\n{commands()}", timeout=600)
        assert site.systemctl("is-enabled", "enrolld").strip() == "enabled"
        site.enrolled()
        assert site.shows("ActiveState") == "active"
        assert site.shows("User") == "enrolld"
        (installed,) = site.entries(Event.INSTALLED)
        assert installed["CERTIFICATE_SERIAL"] == site.serial
        shown = site.run("journalctl", "-x", "--no-pager", f"MESSAGE_ID={installed['MESSAGE_ID']}").stdout
        assert "What to do: Nothing." in shown
        assert site.run("readlink", "-f", f"/proc/{site.shows('MainPID')}/exe").stdout.startswith("/usr/bin/python3")
        assert "/opt/enrolld/bin/" in site.run("cat", f"/proc/{site.shows('MainPID')}/cmdline").stdout
