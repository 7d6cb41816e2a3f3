"""The commands that docs/tokens.md tells people to type, so that the tests run those and no others."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "tokens.md"
_SUDO: Final = re.compile(r"^sudo (-\w+ enrolld )?")


def commands(program: str, **instead: str) -> list[list[str]]:
    """Return the documented calls of ``program``, without sudo; what ``instead`` names is replaced by its value."""
    blocks = re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    lines = (_SUDO.sub("", line) for block in blocks for line in block.splitlines())
    found = [shlex.split(line, comments=True) for line in lines if line.startswith(f"{program} ")]
    assert found, f"{DOCUMENT} has no {program}"
    replaced = [[_replaced(word, instead) for word in command] for command in found]
    assert all(any(name in word for command in found for word in command) for name in instead), instead
    return replaced


def _replaced(word: str, instead: dict[str, str]) -> str:
    for name, value in instead.items():
        word = word.replace(name, value)
    return word
