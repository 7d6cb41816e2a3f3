from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cmp.errors import LocalError
from agent.cmp.memory import VERSION, Memory, freeze, recall
from agent.cmp.messages import BodyType
from agent.cmp.request import ANSWER_TO
from agent.cmp.states import State

octets = st.binary(max_size=20)
lists = st.lists(octets, max_size=3).map(tuple)
moments = st.none() | st.datetimes(timezones=st.just(UTC))
_BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "State": st.sampled_from(State),
    "BodyType": st.sampled_from(list(ANSWER_TO)),
    "bool": st.booleans(),
    "int": st.integers(-(2**62), 2**62),
    "int | None": st.none() | st.integers(0, 2**512),
    "str": st.text(max_size=20),
    "bytes": octets,
    "tuple[bytes, ...]": lists,
    "datetime | None": moments,
}
MEMORIES = st.fixed_dictionaries(
    {one.name: _BY_TYPE[str(one.type)] for one in fields(Memory)} | {"transaction_id": st.binary(min_size=1)}
).map(lambda values: Memory(**values))
FROZEN = freeze(Memory(type=BodyType.IR, transaction_id=bytes(16), check_at=datetime(2026, 6, 1, tzinfo=UTC)))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(MEMORIES)
def test_a_memory_survives_the_disk(memory: Memory) -> None:
    assert recall(json.loads(json.dumps(freeze(memory)))) == memory


@given(st.sampled_from(sorted(FROZEN)), JSON)
def test_a_damaged_field_is_found_at_once(name: str, value: Any) -> None:
    """A snapshot either comes back as something that can be frozen again, or is refused as a whole."""
    damaged = FROZEN | {name: value}
    try:
        memory = recall(damaged)
    except LocalError:
        return
    assert recall(json.loads(json.dumps(freeze(memory)))) == memory


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_a_missing_field_is_found_at_once(name: str) -> None:
    with pytest.raises(LocalError, match="cannot be used") as caught:
        recall({key: value for key, value in FROZEN.items() if key != name})
    assert "new transaction" in caught.value.remedy


@pytest.mark.parametrize(
    "damage",
    [
        {"version": VERSION + 1},
        {"version": None},
        {"state": "lost"},
        {"type": 23},
        {"type": 99},
        {"type": "ir"},
        {"transaction_id": ""},
        {"transaction_id": "0g"},
        {"last_nonce": 7},
        {"cert_req_id": "0"},
        {"cert_req_id": True},
        {"poll_id": 0.5},
        {"granted_with_mods": 0},
        {"refusal": None},
        {"check_at": "tomorrow"},
        {"check_at": "2026-06-01T00:00:00"},
        {"peer_certificates": ["00", None]},
        {"peer_certificates": "3000"},
        {"state": "\x1b[31m" + "x" * 10_000},
    ],
)
def test_damage_is_named_in_a_line(damage: dict[str, Any]) -> None:
    with pytest.raises(LocalError) as caught:
        recall(FROZEN | damage)
    assert len(str(caught.value)) < 300
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("snapshot", [None, [], "", 1, {}])
def test_another_document_is_no_snapshot(snapshot: Any) -> None:
    with pytest.raises(LocalError):
        recall(snapshot)


def test_a_snapshot_has_no_field_for_secrets() -> None:
    assert not [name for name in FROZEN if "secret" in name or "key" in name or "pin" in name]
