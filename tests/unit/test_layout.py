from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_imports_point_down_only() -> None:
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-logo"]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        pytest.fail(done.stdout + done.stderr, pytrace=False)


@pytest.mark.parametrize("folder", ["systemd", "config"])
def test_folders_of_files_hold_no_python(folder: str) -> None:
    """An ``__init__.py`` in ``systemd/`` would shadow the module of that name from systemd-python."""
    assert not sorted((ROOT / folder).rglob("*.py"))
