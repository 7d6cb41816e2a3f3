"""What the caps promise about the size of a snapshot, and what is beyond them."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest

from agent.cmp import material, sizes
from agent.cmp.failures import PKIFailureInfo
from agent.cmp.memory import Memory, freeze
from agent.cmp.messages import BodyType
from agent.cmp.states import State
from agent.labca import spoiling
from agent.labca.encoding import Extension, octet_string
from agent.labca.fault import Misbehaviour
from tests.unit.cmp.device import Device, lab

MESSAGE = 3000
MANY = tuple(bytes((number,)) for number in range(sizes.MAXIMUM_CERTIFICATES))
LARGEST = {
    "transaction_id": bytes(16),
    "delayed_nonce": bytes(16),
    "last_nonce": bytes(16),
    "last_message": bytes(MESSAGE + 2 * sizes.MAXIMUM_NAME),
    "peer_nonce": bytes(sizes.MAXIMUM_NONCE),
    "peer_name": bytes(sizes.MAXIMUM_NAME),
    "certificate": bytes(sizes.MAXIMUM_CERTIFICATE),
    "peer_certificates": tuple(one + bytes(sizes.MAXIMUM_ALONG // len(MANY) - 1) for one in MANY),
    "learned": tuple(one + bytes(sizes.MAXIMUM_LEARNED // len(MANY) - 1) for one in MANY),
}
"""Every field that holds octets, as long as the caps let it be."""


def test_no_snapshot_with_an_accepted_certificate_is_larger_than_the_caps_say() -> None:
    octets = {one.name for one in fields(Memory) if "bytes" in str(one.type)}
    assert octets == set(LARGEST), "how long is the new one at most?"
    memory = Memory(
        type=BodyType.IR,
        state=State.CONFIRM_WAITING,
        sent_at=datetime.now(UTC),
        check_at=datetime.now(UTC),
        number=2**512,
        **LARGEST,  # type: ignore[arg-type]
    )
    written = len(json.dumps(freeze(memory)))
    assert written < sizes.largest_snapshot(MESSAGE) < 1.05 * written


def test_what_is_kept_of_lists_stays_within_the_caps() -> None:
    much = [bytes((number,)) * 10_000 for number in range(40)]
    along, learned = material.merged(much), material.merged(much, room=sizes.MAXIMUM_LEARNED)
    assert along == tuple(much[: sizes.MAXIMUM_ALONG // 10_000])
    assert learned == tuple(much[: sizes.MAXIMUM_LEARNED // 10_000])


def test_a_certificate_that_is_too_large_to_be_kept_is_refused_and_the_ca_told(monkeypatch: pytest.MonkeyPatch) -> None:
    filling = Extension("1.3.6.1.4.1.32473.1", critical=False, value=octet_string(bytes(sizes.MAXIMUM_CERTIFICATE)))
    monkeypatch.setitem(
        spoiling.CERTIFICATE,
        Misbehaviour.WRONG_SUBJECT,
        lambda plan, _: replace(plan, extensions=(*plan.extensions, filling)),
    )
    device = Device(lab())
    device.ca.misbehave(Misbehaviour.WRONG_SUBJECT)
    objection = device.refuses_certificate("readable", PKIFailureInfo.BAD_DATA_FORMAT)
    assert "more than the cap of 32768" in objection.text
