"""Commands that people run often begin at once: what they do not need is not imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.station import ENVIRONMENT, Station

PROTOCOL = {"cryptography", "pyasn1", "pyasn1_modules"}
NETWORK = {"ssl", "http"}
OTHERS = {"rich", "asyncio", "yaml"}

LOADED = """
import sys
from agent.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""


def loaded_by(*arguments: str) -> set[str]:
    command = [sys.executable, "-c", LOADED, *arguments]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_by(*arguments) & (PROTOCOL | NETWORK | OTHERS | {"subprocess", "json"}) <= {"json"}


def test_status_loads_neither_the_protocol_nor_the_network(station: Station) -> None:
    loaded = loaded_by("--config", str(station.config), "status")
    assert loaded & {"subprocess", "selectors", "logging", "difflib"} == set()
    assert loaded & (PROTOCOL | NETWORK | {"rich", "asyncio", "hashlib", "_hashlib"}) == set()
    assert "yaml" in loaded  # the configuration is read with it


def test_the_front_of_an_enrollment_leaves_the_protocol_to_the_worker(station: Station) -> None:
    loaded = loaded_by("--config", str(station.config), "enroll")
    assert loaded & (PROTOCOL | NETWORK | {"rich", "asyncio", "difflib"}) == set()
