from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import StateCorrupt, StateNewer
from agent.store import documents
from agent.store.documents import JSON
from tests.unit.store.samples import VALUES

PATH = Path("/state/document.json")


@given(st.dictionaries(st.text().filter(lambda name: name != "version"), VALUES, max_size=5))
def test_what_is_written_is_read_back(document: dict[str, JSON]) -> None:
    read = documents.decode(documents.encode(document), PATH, remedy="none")
    assert read == document | {"version": documents.VERSION}


def test_a_person_can_read_it() -> None:
    assert documents.encode({"b": 1, "a": {"x": None}}).decode().splitlines() == [
        "{",
        '  "a": {',
        '    "x": null',
        "  },",
        '  "b": 1,',
        '  "version": 1',
        "}",
    ]


def test_what_json_cannot_hold_is_a_defect_of_the_caller() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        documents.encode({"wait": float("nan")})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b'{"version": 1, "a', "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "no object"),
        (b"{}", "version None"),
        (b'{"version": true}', "version True"),
        (b'{"version": 0}', "version 0"),
        (b'{"version": "2"}', "version '2'"),
        (b'{"version": 1000000}', "it was changed"),
    ],
)
def test_anything_else_is_refused_with_the_remedy_given(data: bytes, reason: str) -> None:
    with pytest.raises(StateCorrupt, match=reason) as caught:
        documents.decode(data, PATH, remedy="look at it")
    assert caught.value.remedy == "look at it"
    assert str(PATH) in str(caught.value)


def test_a_newer_version_is_no_damage_and_names_the_version_it_takes() -> None:
    with pytest.raises(StateNewer, match="has version 2, and this enrolld knows 1") as caught:
        documents.decode(b'{"version": 2, "attempts": "many"}', PATH, remedy="look at it")
    assert caught.value.version == 2
    assert caught.value.remedy.startswith("Install the enrolld that wrote it")
    assert not isinstance(caught.value, StateCorrupt)


def test_a_section_is_an_object() -> None:
    document: dict[str, JSON] = json.loads('{"marks": {"confirmed": true}, "sha256": "none"}')
    assert documents.section(document, "marks", PATH, remedy="r") == {"confirmed": True}
    for name in ("sha256", "absent"):
        with pytest.raises(StateCorrupt, match=f"no object '{name}'"):
            documents.section(document, name, PATH, remedy="r")
