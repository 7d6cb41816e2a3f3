"""Disks that are really full and really read-only, where this machine lets an ordinary user mount one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.store.samples import ROOT

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def may_mount() -> bool:
    """Try it: root in a container may not, and an ordinary user may where namespaces are open to him."""
    if shutil.which("unshare") is None:
        return False
    attempt = [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(attempt, check=False, capture_output=True, timeout=10).returncode == 0


@pytest.mark.parametrize("kind", ["limit", "tmpfs"] if may_mount() else ["limit"])
def test_a_full_disk_leaves_the_previous_generation_in_place(tmp_path: Path, kind: str) -> None:
    prefix = NAMESPACE if kind == "tmpfs" else []
    command = [*prefix, sys.executable, "-m", "tests.unit.store.small_disk", kind, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
