"""What runs all the time, and what runs often, stays light: modules are counted in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"asyncio", "click", "cryptography", "pkcs11", "pyasn1", "pyasn1_modules", "rich", "ssl", "yaml"}
OPENSSL = {"_hashlib", "_ssl"}

BEYOND_THE_INTERPRETER = {
    "array", "binascii", "collections", "contextlib", "copy", "copyreg", "dataclasses", "datetime", "enum",
    "errno", "fcntl", "fnmatch", "functools", "heapq", "importlib", "inspect", "ipaddress", "itertools", "json",
    "keyword", "math", "ntpath", "operator", "pathlib", "re", "reprlib", "select", "selectors", "shlex", "signal",
    "socket", "struct", "types", "typing", "urllib", "warnings",
}  # fmt: skip
"""What the daemon keeps in memory of the standard library. Whoever adds to this says what it costs for ten years."""
NEWER_PYTHONS = {"glob", "grp", "pwd"}
"""From 3.13 on ``pathlib`` imports these too."""

EVERYTHING_IN = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for one in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(one.name)
print(*{name.partition(".")[0] for name in sys.modules})
"""

PRINT_LOADED = 'print(*{name.partition(".")[0] for name in sys.modules})'


def loaded(script: str, *arguments: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_supervisor_loads_nothing_heavy() -> None:
    assert loaded(EVERYTHING_IN, "agent.supervisor") & (HEAVY | OPENSSL) == set()


def test_what_the_daemon_keeps_of_the_standard_library_does_not_grow() -> None:
    script = """
import sys
before = set(sys.modules)
import agent.supervisor.main, agent.supervisor.daemon
print(*{one.partition(".")[0] for one in sys.modules.keys() - before if not one.startswith(("_", "agent", "hsm"))})
"""
    allowed = BEYOND_THE_INTERPRETER | (NEWER_PYTHONS if sys.version_info >= (3, 13) else set())
    assert loaded(script) - allowed == set()


@pytest.mark.parametrize("module", ["agent.overview", "agent.contract", "agent.journal", "agent.worker.__main__"])
def test_what_is_loaded_before_any_work_is_known_loads_nothing_heavy(module: str) -> None:
    script = f"import sys, {module}\n{PRINT_LOADED}"
    assert loaded(script) & (HEAVY | OPENSSL) == set()


def test_the_configuration_is_checked_without_openssl() -> None:
    assert loaded(f"import sys, agent.config\n{PRINT_LOADED}") & OPENSSL == set()


def test_the_configuration_is_read_without_what_the_slow_parser_needs() -> None:
    script = """
import sys
from pathlib import Path
from agent.config import load
load(Path("config/enrolld.yaml"))
import yaml
print(isinstance(yaml.reader.Reader.NON_PRINTABLE, type(__import__("re").compile(""))))
print(yaml.safe_load("{a: 2026-01-31, b: 0x1F, c: 12:30:00}"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False", "{'a': datetime.date(2026, 1, 31), 'b': 31, 'c': 45000}"]


def test_the_daemon_starts_to_read_its_configuration_before_it_imports_the_rest() -> None:
    script = """
import sys
from agent.supervisor import main, reading
class Reading:
    def __init__(self, path):
        print(*sys.modules)
        sys.exit()
main.Reading = Reading
main.main([])
"""
    ours = {one for one in loaded(script) if one.startswith(("agent.", "hsm"))}
    assert ours == {
        "agent.cores", "agent.deferred", "agent.streams",
        "agent.supervisor", "agent.supervisor.main", "agent.supervisor.process", "agent.supervisor.reading",
    }  # fmt: skip


def test_a_command_starts_its_worker_before_it_loads_what_both_need_time_for() -> None:
    found = loaded("import sys\nfrom agent.cli import entry\nprint(*sys.modules)")
    assert found & {"agent.cli.main", "agent.contract", "agent.settings", "click", "json", "pathlib", "yaml"} == set()
