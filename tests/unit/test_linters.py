from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINTERS = {
    "ruff-check": ("ruff", "check", "--quiet", "--output-format", "concise"),
    "ruff-format": ("ruff", "format", "--check", "--quiet", "--output-format", "concise"),
    "mypy": ("mypy", "--no-error-summary"),
}


@pytest.mark.parametrize("command", LINTERS.values(), ids=LINTERS)
def test_a_linter_has_nothing_to_say(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode != 0:
        pytest.fail(done.stdout + done.stderr, pytrace=False)
