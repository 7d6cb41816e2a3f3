"""The Debian package: alike whenever it is built, clean by Debian's own rules, and gone when it is purged."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.booted import ROOT, build_package, package
from tests.system.site import Site

booted = pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a machine")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A machine in which the package was just installed. The tests below go on with it in turn."""
    with Site() as machine:
        machine.install(package())
        yield machine


def test_two_builds_give_the_same_octets(tmp_path: Path) -> None:
    build_package(tmp_path)
    (again,) = tmp_path.glob("*.deb")
    assert again.name == package().name
    assert again.read_bytes() == package().read_bytes()


def test_lintian_has_nothing_to_say_that_is_not_explained() -> None:
    options = ("--allow-root", "--display-info", "--pedantic", "--tag-display-limit", "0")
    done = subprocess.run(["lintian", *options, package()], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_every_example_that_the_documents_name_is_in_the_package() -> None:
    shown = subprocess.run(["dpkg-deb", "--contents", package()], capture_output=True, text=True, check=True).stdout
    examples = set(re.findall(r"\./usr/share/doc/enrolld/examples/(\S*[^/\s])\n", shown))
    wanted = {path.name for path in (ROOT / "systemd/examples").iterdir()}
    config = ROOT / "config/examples"
    wanted |= {str(path.relative_to(config)) for path in config.rglob("*") if path.is_file()}
    assert wanted <= examples


@booted
def test_a_fresh_installation_is_enabled_and_waits_for_its_configuration(site: Site) -> None:
    assert site.systemctl("is-enabled", "enrolld").strip() == "enabled"
    assert site.shows("ActiveState") == "inactive"
    assert site.shows("ConditionResult") == "no"
    assert site.systemctl("is-system-running", check=False).strip() == "running"
    assert site.run("stat", "-c", "%U %a", "/var/lib/enrolld").stdout == "enrolld 700\n"


@booted
def test_removing_keeps_keys_and_purging_leaves_nothing(site: Site) -> None:
    site.enrolled()
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
