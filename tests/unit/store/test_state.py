from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import StateCorrupt, StateError, StateNewer
from agent.store import atomic
from agent.store.state import IdentityState, LastError, StateFile, TransactionDirectory
from tests.unit.store.samples import TOKEN_KEY, VALUES, left_overs

NOW = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
FAILED = LastError(text="no address answered", remedy="check the cable", verdict="unreachable", at=NOW)
TIMES = st.datetimes(timezones=st.just(UTC))
ERRORS = st.builds(LastError, text=st.text(), remedy=st.text(), verdict=st.text(), at=TIMES)
STATES = st.builds(
    IdentityState,
    attempts=st.integers(0),
    last_error=st.none() | ERRORS,
    last_success=st.none() | TIMES,
    next_action=st.none() | st.text(),
    next_action_at=st.none() | TIMES,
    since=st.none() | TIMES,
    other=st.dictionaries(st.text().map("x-".__add__), VALUES, max_size=3),
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of an identity, which nobody made yet."""
    return tmp_path / "identities" / "ike"


@pytest.fixture
def state_file(directory: Path) -> StateFile:
    return StateFile(directory)


@pytest.fixture
def transaction(directory: Path) -> TransactionDirectory:
    directory.mkdir(parents=True)
    return TransactionDirectory(directory)


def test_there_is_an_empty_record_before_there_is_a_file(state_file: StateFile) -> None:
    assert state_file.load() == IdentityState()


@given(STATES)
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, state: IdentityState) -> None:
    state_file = StateFile(tmp_path_factory.getbasetemp() / "identities" / "ike")
    state_file.save(state)
    assert state_file.load() == state


def test_the_directories_are_made_but_the_state_directory_is_not(tmp_path: Path, state_file: StateFile) -> None:
    state_file.save(IdentityState(attempts=3, last_error=FAILED))
    assert state_file.load().last_error == FAILED
    with pytest.raises(StateError, match="ENOENT"):
        StateFile(tmp_path / "gone" / "identities" / "ike").save(IdentityState())


def test_fields_of_a_newer_version_are_kept(state_file: StateFile) -> None:
    state_file.save(IdentityState(attempts=1))
    document = json.loads(state_file.path.read_text()) | {"paused": {"until": "spring"}}
    state_file.path.write_text(json.dumps(document))
    state_file.save(state_file.load())
    assert json.loads(state_file.path.read_text())["paused"] == {"until": "spring"}


def test_a_field_of_ours_cannot_be_smuggled_in_as_an_unknown_one(state_file: StateFile) -> None:
    state_file.save(IdentityState(attempts=1, other={"attempts": 7, "version": 9}))
    assert state_file.load() == IdentityState(attempts=1)


def test_times_are_read_in_any_zone_and_given_in_utc(state_file: StateFile) -> None:
    east = timezone(timedelta(hours=2))
    state_file.save(IdentityState(since=NOW.astimezone(east)))
    assert "+00:00" in state_file.path.read_text()
    document = json.loads(state_file.path.read_text()) | {"next_action_at": "2026-03-01T14:30:15.25+02:00"}
    state_file.path.write_text(json.dumps(document))
    state = state_file.load()
    assert (state.since, state.next_action_at) == (NOW, NOW)
    assert state.next_action_at is not None
    assert state.next_action_at.tzinfo is UTC


def test_a_time_without_zone_is_a_defect_of_the_caller(state_file: StateFile) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        state_file.save(IdentityState(since=datetime(2026, 3, 1)))  # noqa: DTZ001 - the point of it


DAMAGES = [
    {"attempts": -1},
    {"attempts": True},
    {"attempts": "3"},
    {"last_success": "yesterday"},
    {"last_success": "2026-03-01T12:00:00"},
    {"last_success": 1_772_366_400},
    {"last_success": "0001-01-01T00:00:00+10:00"},
    {"next_action": 7},
    {"last_error": "no address answered"},
    {"last_error": {"text": "no address answered"}},
    {"last_error": {"text": 1, "remedy": "", "verdict": "", "at": "2026-03-01T12:00:00+00:00"}},
    {"version": 0},
]


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_a_record_with_a_wrong_value_is_put_aside_and_a_new_one_begun(
    state_file: StateFile, damage: dict[str, Any]
) -> None:
    state_file.save(IdentityState(attempts=3))
    text = json.dumps(json.loads(state_file.path.read_text()) | damage)
    state_file.path.write_text(text)
    state = state_file.load()
    assert str(state_file.path) in state.damage
    assert state == IdentityState(damage=state.damage, damage_remedy=state.damage_remedy)
    assert state_file.path.read_text() == text, "reading changes nothing"
    state_file.save(replace(state, attempts=1))
    assert state_file.path.with_name("state.json.damaged").read_text() == text
    assert state_file.load() == IdentityState(attempts=1)


def test_a_record_of_a_newer_version_is_left_by_readers_and_kept_under_its_version_by_the_next_record(
    state_file: StateFile,
) -> None:
    state_file.save(IdentityState(attempts=3))
    text = json.dumps({"version": 2, "attempts": {"in a row": 3}})
    state_file.path.write_text(text)
    before = state_file.load()
    assert (before.attempts, state_file.path.read_text()) == (0, text)
    assert "has version 2" in before.damage
    assert os.listdir(state_file.path.parent) == ["state.json"]
    assert "keeps that one as state.json.version-2" in before.damage_remedy
    state_file.save(replace(before, attempts=1))
    assert state_file.load() == IdentityState(attempts=1)
    assert state_file.path.with_name("state.json.version-2").read_text() == text
    state_file.save(IdentityState(attempts=2))
    assert sorted(os.listdir(state_file.path.parent)) == ["state.json", "state.json.version-2"]


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 300], ids=["empty", "cut short", "zeros"])
def test_a_record_a_crash_destroyed_is_put_aside_in_place_of_the_last_one(
    state_file: StateFile, content: bytes
) -> None:
    state_file.save(IdentityState())
    state_file.path.with_name("state.json.damaged").write_bytes(b"an older one")
    state_file.path.write_bytes(content)
    assert state_file.load().damage
    state_file.save(IdentityState(attempts=1))
    assert state_file.path.with_name("state.json.damaged").read_bytes() == content
    assert state_file.load() == IdentityState(attempts=1)


def test_a_directory_in_the_place_of_the_record_is_put_aside_too(state_file: StateFile) -> None:
    state_file.path.mkdir(parents=True)
    assert "is not a file" in state_file.load().damage
    state_file.save(IdentityState(attempts=1))
    assert state_file.load() == IdentityState(attempts=1)


def test_a_record_that_cannot_be_put_aside_is_reported(state_file: StateFile) -> None:
    state_file.path.parent.mkdir(parents=True)
    state_file.path.write_bytes(b"")
    state_file.path.with_name("state.json.damaged").mkdir()
    with pytest.raises(StateError, match="cannot put aside"):
        state_file.save(IdentityState())


def test_saving_goes_on_while_a_worker_cleans_up(state_file: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor writes without the lock: a worker that starts must not take its file for a left-over."""
    state_file.save(IdentityState())
    replace, swept = os.replace, []

    def replaced(source: Path, target: Path) -> None:
        swept.append(atomic.sweep(state_file.path.parent))
        replace(source, target)

    monkeypatch.setattr(os, "replace", replaced)
    state_file.save(IdentityState(attempts=5))
    assert swept == [()]
    assert state_file.load().attempts == 5


def test_no_transaction_is_open_at_first(transaction: TransactionDirectory) -> None:
    assert transaction.load_snapshot() is None
    assert transaction.key_reference is None
    transaction.clear()
    transaction.sweep()


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_a_snapshot_is_loaded_as_it_was_saved(
    tmp_path_factory: pytest.TempPathFactory, snapshot: dict[str, Any]
) -> None:
    directory = tmp_path_factory.getbasetemp() / "transactions"
    directory.mkdir(exist_ok=True)
    transaction = TransactionDirectory(directory)
    transaction.save_snapshot(snapshot)
    assert transaction.load_snapshot() == snapshot


def test_what_json_cannot_hold_leaves_the_snapshot_as_it_was(transaction: TransactionDirectory) -> None:
    transaction.save_snapshot({"nonce": "00"})
    with pytest.raises(TypeError):
        transaction.save_snapshot({"nonce": b"00"})  # type: ignore[dict-item]
    assert transaction.load_snapshot() == {"nonce": "00"}


@pytest.mark.parametrize(
    "change",
    [
        lambda _data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: bytes(len(data)),
        lambda data: data.replace(b"4711", b"4712"),
        lambda data: data.replace(b"snapshot", b"snapshut"),
        lambda data: data.replace(b'"version": 1', b'"version": 0'),
    ],
    ids=["empty", "cut short", "zeros", "one digit", "no snapshot", "another version"],
)
def test_a_damaged_snapshot_is_an_error_that_says_what_to_do(transaction: TransactionDirectory, change: Any) -> None:
    transaction.save_snapshot({"transaction_id": "4711"})
    path = transaction.path / "snapshot.json"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(StateCorrupt) as caught:
        transaction.load_snapshot()
    assert str(path) in str(caught.value)
    assert "ask the CA whether it issued a certificate for ike" in caught.value.remedy


def test_a_snapshot_of_a_newer_version_is_left_as_it_is(transaction: TransactionDirectory) -> None:
    transaction.save_snapshot({"transaction_id": "4711"})
    path = transaction.path / "snapshot.json"
    newer = path.read_bytes().replace(b'"version": 1', b'"version": 2')
    path.write_bytes(newer)
    with pytest.raises(StateNewer, match="has version 2"):
        transaction.load_snapshot()
    assert path.read_bytes() == newer


def test_a_key_made_for_the_transaction_is_found_by_its_reference(transaction: TransactionDirectory) -> None:
    transaction.prepare()
    transaction.key_path.write_bytes(b"key")
    assert transaction.key_reference == transaction.key_path.as_uri()


def test_a_key_elsewhere_is_remembered(transaction: TransactionDirectory) -> None:
    transaction.write_key_reference(TOKEN_KEY)
    assert transaction.key_reference == TOKEN_KEY
    with pytest.raises(ValueError, match="no URI"):
        transaction.write_key_reference("pkcs11:object=a\nb")
    assert transaction.key_reference == TOKEN_KEY


@pytest.mark.parametrize("content", [b"", b"\xff", b"pkcs11:object=ike\nmore"])
def test_a_damaged_reference_is_an_error(transaction: TransactionDirectory, content: bytes) -> None:
    transaction.write_key_reference(TOKEN_KEY)
    (transaction.path / "private-key.uri").write_bytes(content)
    with pytest.raises(StateCorrupt, match="does not name a key"):
        _ = transaction.key_reference


def test_a_closed_transaction_leaves_nothing(transaction: TransactionDirectory, directory: Path) -> None:
    transaction.write_key_reference(TOKEN_KEY)
    transaction.save_snapshot({"nonce": "00"})
    transaction.clear()
    assert os.listdir(directory) == []
    assert transaction.load_snapshot() is None
    transaction.save_snapshot({"nonce": "01"})
    assert transaction.key_reference is None


def test_a_half_written_snapshot_is_swept(transaction: TransactionDirectory, directory: Path) -> None:
    transaction.save_snapshot({"nonce": "00"})
    atomic.temporary_name(transaction.path / "snapshot.json").write_bytes(b"{")
    transaction.sweep()
    assert left_overs(directory) == []
    assert transaction.load_snapshot() == {"nonce": "00"}
