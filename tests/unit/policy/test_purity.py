from __future__ import annotations

import ast
from pathlib import Path

import pytest

import agent.policy

MODULES = sorted(Path(agent.policy.__path__[0]).glob("*.py"))
ALLOWED = {"__future__", "_blake2", "agent.policy.jitter", "collections.abc", "dataclasses", "datetime", "enum"}
ALLOWED |= {"agent.frozen", "agent.policy.backoff", "hashlib", "math"}
READS_A_CLOCK = {"now", "utcnow", "today"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_policy_has_no_clock_no_randomness_and_no_files_of_its_own(path: Path) -> None:
    imported, attributes, names = set(), set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import():
                imported |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                imported.add(str(node.module))
            case ast.Attribute():
                attributes.add(node.attr)
            case ast.Name():
                names.add(node.id)
    assert imported <= ALLOWED
    assert not attributes & READS_A_CLOCK
    assert not names & {"open", "print", "input"}
