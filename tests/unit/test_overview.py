from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.overview import look
from agent.store.credential import CONFIRMED, ON_HOLD, REVOKED, Credential
from agent.store.generations import IdentityStore
from agent.store.state import IdentityState

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> IdentityStore:
    key = tmp_path / "key"
    key.write_bytes(b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")
    description: dict[str, Any] = {
        "subject": "CN=ike",
        "serial": "1",
        "not_before": NOW.isoformat(),
        "not_after": (NOW + timedelta(days=365)).isoformat(),
    }
    (tmp_path / "state").mkdir(mode=0o700)
    store = IdentityStore(tmp_path / "state", "ike")
    with store.lock():
        store.switch(store.add(Credential(certificate=b"c", private_key=key, description=description)))
    store.state.save(IdentityState(situation="valid", since=NOW))
    return store


def mark(store: IdentityStore, key: str, value: object) -> None:
    current = store.current
    assert current is not None
    with store.lock():
        store.mark(current, key, str(value))


@pytest.mark.parametrize(
    ("marks", "state", "confirmed"),
    [
        ({}, "valid", False),
        ({CONFIRMED: NOW}, "valid", True),
        ({CONFIRMED: NOW, ON_HOLD: NOW}, "on-hold", True),
        ({ON_HOLD: NOW, REVOKED: NOW}, "revoked", False),
    ],
)
def test_the_marks_of_the_generation_in_use_say_what_it_is_worth(
    store: IdentityStore, marks: dict[str, object], state: str, *, confirmed: bool
) -> None:
    for key, value in marks.items():
        mark(store, key, value)
    seen = look(store.state_directory, "ike", now=NOW)
    assert (seen.state, seen.confirmed, seen.subject) == (state, confirmed, "CN=ike")


@pytest.mark.parametrize("name", ["certificate.pem", "chain.pem", "trust-anchors.pem", "private-key.pem"])
@pytest.mark.parametrize("content", [None, b"", b"x"])
def test_a_file_of_the_generation_that_is_not_what_was_written_is_damage(
    store: IdentityStore, name: str, content: bytes | None
) -> None:
    path = store.directory / "current" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    seen = look(store.state_directory, "ike", now=NOW)
    assert seen.state == "damaged"
    assert seen.last_error is not None
    assert name in seen.last_error


def test_a_look_reads_no_file_again_and_again(store: IdentityStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand are looked at when enrolld starts."""
    opened: Counter[str] = Counter()

    def counting(path: str, *arguments: Any, **options: Any) -> int:
        opened[Path(path).name] += 1
        return os_open(path, *arguments, **options)

    os_open = os.open
    monkeypatch.setattr(os, "open", counting)
    assert look(store.state_directory, "ike", now=NOW).state == "valid"
    # The description is read with the files that it vouches for, and once more for what it says.
    assert opened.pop("credential.json") == 2
    assert set(opened) >= {"certificate.pem", "chain.pem", "trust-anchors.pem", "private-key.pem", "state.json"}
    assert set(opened.values()) == {1}
