"""SHA-256 from the interpreter itself is the one that everybody else computes."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.digest import sha256_hex

WITHOUT = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None
from agent.digest import sha256_hex
print(sha256_hex(b"abc"))
"""
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""The digest of ``abc`` (FIPS 180-4)."""


@given(st.binary(max_size=300))
def test_the_digest_is_that_of_hashlib(octets: bytes) -> None:
    assert sha256_hex(octets) == hashlib.sha256(octets).hexdigest()


@pytest.mark.parametrize("missing", [(), ("_sha2",), ("_sha2", "_sha256")])
def test_an_interpreter_built_in_another_way_computes_the_same(missing: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", WITHOUT, *missing]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == ABC
