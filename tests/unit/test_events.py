"""The table of events, and the catalogue that journalctl makes of it."""

from __future__ import annotations

import re
import string
import subprocess
import uuid
from pathlib import Path

import pytest

from agent.cli import catalog
from agent.events import EVENTS, FIELDS, Event, EventRule

ALWAYS = {"IDENTITY", "AUTHORITY"}
RULES = pytest.mark.parametrize("rule", EVENTS.values(), ids=[event.value for event in EVENTS])


def fields_in(text: str) -> set[str]:
    return set(re.findall(r"@(\w+)@", text))


def test_every_event_has_a_rule_and_a_message_id_of_its_own() -> None:
    assert EVENTS.keys() == set(Event)
    assert len({rule.message_id for rule in EVENTS.values()}) == len(EVENTS)


@RULES
def test_a_message_id_is_a_random_uuid_as_journalctl_writes_it(rule: EventRule) -> None:
    assert uuid.UUID(rule.message_id).version == 4
    assert rule.message_id == uuid.UUID(rule.message_id).hex


@RULES
def test_the_catalogue_names_only_fields_that_every_entry_has(rule: EventRule) -> None:
    """Of a field that is missing, journalctl would show the name."""
    assert fields_in(rule.subject + rule.happened + rule.to_do) <= rule.fields | ALWAYS


@RULES
def test_an_event_that_shows_a_remedy_has_one(rule: EventRule) -> None:
    assert rule.fields <= FIELDS.keys()
    assert ("REMEDY" in rule.fields) == ("@REMEDY@" in rule.to_do) or rule is EVENTS[Event.ROOT_REFUSED]


@RULES
def test_a_sentence_is_one_and_its_help_are_several(rule: EventRule) -> None:
    assert not rule.text.endswith(".")
    assert rule.happened.endswith(".")
    assert rule.to_do.endswith((".", "@", ")."))
    assert all(
        name and name.isidentifier() for _, name, _, _ in string.Formatter().parse(rule.text) if name is not None
    )


def test_the_catalogue_in_the_repository_is_up_to_date() -> None:
    assert catalog.CATALOG.read_text() == catalog.document(), "write it anew: python -m agent.cli.catalog"


def test_journalctl_takes_the_whole_catalogue(tmp_path: Path) -> None:
    (tmp_path / "usr/lib/systemd/catalog").mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    (tmp_path / "usr/lib/systemd/catalog/enrolld.catalog").write_text(catalog.CATALOG.read_text())

    def journalctl(*arguments: str) -> str:
        done = subprocess.run(
            ["journalctl", f"--root={tmp_path}", *arguments], capture_output=True, text=True, check=True
        )
        assert not done.stderr
        return done.stdout

    journalctl("--update-catalog")
    shown = journalctl("--dump-catalog")
    for rule in EVENTS.values():
        assert f"-- {rule.message_id}\nSubject: {rule.subject}\nDefined-By: enrolld\n" in shown
