"""What people read agrees with what is there: links lead somewhere, every document is found, nothing is forgotten."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from agent.store.recording import DIRECTORY
from agent.worker.keyring import MEMORY

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
_LINK = re.compile(r"\]\(([^)#\s]+)")
_PATH = re.compile(r"(?<![\w./-])((?:agent|hsm|tests|docs|config|systemd|packaging|\.ci)/[\w./-]*\w)")
_STORED = re.compile(r'^[A-Z_]+: Final = "([\w-]+\.(?:json|pem))"', re.MULTILINE)
_TARGET = re.compile(r"(?:`|^)make ([a-z-]+)", re.MULTILINE)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_what_a_document_points_to_is_there(document: Path) -> None:
    text = document.read_text()
    links = [one for one in _LINK.findall(text) if "://" not in one]
    assert [one for one in links if not (document.parent / one).exists()] == []
    paths = [one for one in _PATH.findall(text) if not any((ROOT / f"{one}{end}").exists() for end in ("", ".py"))]
    assert paths == []
    makefile = (ROOT / "Makefile").read_text()
    targets = [one for one in _TARGET.findall(text) if not re.search(rf"^{one}:", makefile, re.MULTILINE)]
    assert targets == []


def test_every_document_is_to_be_found_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [one for one in map(relative, (ROOT / "docs").glob("*.md")) if f"({one})" not in readme] == []


def test_no_change_is_told_twice() -> None:
    told = Counter(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.strip())
    assert [line for line, times in told.items() if times > 1] == []


def test_the_architecture_names_every_file_of_the_state_directory() -> None:
    """Whatever module of the store gives a file its name."""
    said = (ROOT / "docs" / "architecture.md").read_text().partition("## On disk")[2]
    code = "".join(one.read_text() for one in (ROOT / "agent" / "store").glob("*.py"))
    names = {*_STORED.findall(code), f"/{MEMORY}/", f"{DIRECTORY}/", "clock.json"}
    assert len(names) > 10
    assert sorted(one for one in names if one not in said) == []
