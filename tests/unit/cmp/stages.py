"""Every moment at which a device awaits an answer, and who protects: what the tests of refused answers run through."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import pytest

from agent.cmp import algorithms
from agent.cmp.errors import RemoteError
from agent.cmp.events import Event
from agent.cmp.memory import recall
from agent.cmp.messages import BodyType
from agent.cmp.protection import Kind
from agent.cmp.request import Originator, by_secret
from agent.cmp.states import State
from agent.labca import LabCa, Misbehaviour
from agent.labca.certificates import Credential, Plan, end_entity_extensions, plan_for, sign
from agent.labca.keys import LabKey
from tests.unit.cmp.device import (
    DELAYED,
    NOW,
    PBM,
    PBMAC1,
    REFERENCE,
    SECOND,
    SECRET,
    Change,
    Device,
    by_vendor,
    enrolled,
    lab,
    question,
    revocation,
)

Answerer = Callable[[Kind], Device]


def originator(ca: LabCa, kind: Kind) -> Originator:
    """Return who asks with a protection of ``kind``."""
    return by_vendor(ca) if kind is Kind.SIGNATURE else by_secret(REFERENCE, SECRET, PBM)


def requesting(kind: Kind, type_: BodyType = BodyType.IR, **settings: Any) -> Device:
    """Return a device about to send its first message."""
    ca = lab(**settings)
    return Device(ca, type_, by=originator(ca, kind))


def _brought_to(state: State, **settings: Any) -> Answerer:
    def bring(kind: Kind) -> Device:
        device = requesting(kind, **settings)
        device.run(until=state)
        device.now += 2 * SECOND
        return device

    return bring


def _after_polling(kind: Kind) -> Device:
    device = requesting(kind, polls=1)
    device.run(until=State.WAITING)
    device.exchange()
    return device


def _refusing(kind: Kind) -> Device:
    device = requesting(kind)
    device.ca.misbehave(Misbehaviour.WRONG_KEY)
    device.run(until=State.REFUSING)
    return device


def _key_update(_: Kind) -> Device:
    ca = lab()
    return Device(ca, BodyType.KUR, old=enrolled(ca).credential())


STAGES: Final[dict[str, Answerer]] = {
    "ip": requesting,
    "cp": lambda kind: requesting(kind, BodyType.P10CR),
    "ip waiting": lambda kind: requesting(kind, polls=2),
    "pollRep": _brought_to(State.WAITING, polls=2),
    "ip after polling": _after_polling,
    "pkiconf": _brought_to(State.ISSUED),
    "error waiting to certConf": _brought_to(State.ISSUED, polls=1, delayed=frozenset({BodyType.CERTCONF})),
    "pkiconf after polling": _brought_to(State.CONFIRM_WAITING, polls=0, poll_delay=SECOND, delayed=DELAYED),
    "pkiconf to a refusal": _refusing,
    "kup": _key_update,
    "rp": lambda _: revocation(enrolled(lab())),
    "genp": lambda _: question(lab()),
}
"""Name -> a device whose next message gets such an answer."""

CASES: Final = [
    (name, kind)
    for name in STAGES
    for kind in Kind
    if (name, kind) not in {("kup", Kind.MAC), ("rp", Kind.MAC), ("genp", Kind.SIGNATURE)}
]
AT_EVERY_STAGE: Final = pytest.mark.parametrize(("name", "kind"), CASES)
"""For tests that change an answer on its way; see :func:`awaiting`."""
AT_SOME_STAGES: Final = pytest.mark.parametrize(
    ("name", "kind"), [("ip", Kind.MAC), ("ip", Kind.SIGNATURE), ("pkiconf", Kind.SIGNATURE), ("pollRep", Kind.MAC)]
)
"""For tests in which the CA itself misbehaves."""
WITH_EITHER_PROTECTION: Final = pytest.mark.parametrize("kind", list(Kind))
REQUESTS: Final = (BodyType.IR, BodyType.CR, BodyType.P10CR)
PROTECTIONS: Final = pytest.mark.parametrize(
    "originator",
    [
        lambda _: by_secret(REFERENCE, SECRET, PBM),
        lambda _: by_secret(REFERENCE, SECRET, PBMAC1),
        by_vendor,
    ],
    ids=["PBM", "PBMAC1", "signature"],
)
"""Gives a function from the CA to who asks."""


@dataclass(frozen=True)
class Moment:
    """A device that awaits an answer: its snapshot, the true ``answer``, and what that means."""

    device: Device
    snapshot: str
    answer: bytes
    event: Event

    def again(self) -> Device:
        """Return the device as it was at that moment, as often as it takes. Its CA has answered already."""
        device = copy.copy(self.device)
        device.events, device.sent = [], []
        device.transaction = device._transaction(memory=recall(json.loads(self.snapshot)))
        return device


@cache
def awaiting(name: str, kind: Kind) -> Moment:
    """Bring a device to the stage ``name``, once for all tests."""
    device = STAGES[name](kind)
    answer = device.ca.answer(device.send(), device.now)
    snapshot = json.dumps(device.transaction.snapshot())
    return Moment(device, snapshot, answer, device.hear(answer))


def refused_at(name: str, kind: Kind, error: type[RemoteError], change: Callable[[LabCa], Change]) -> RemoteError:
    """Expect that the answer, after ``change``, is refused without a trace, and that the true one is taken then."""
    moment = awaiting(name, kind)
    device = moment.again()
    found = device.refuses_octets(error, change(device.ca)(moment.answer))
    assert device.hear(moment.answer) == moment.event
    return found


def signer(
    ca: LabCa,
    subject: bytes,
    *usages: str,
    issuer: Credential | None = None,
    key: LabKey | None = None,
    scheme: str | None = None,
    **changes: Any,
) -> Credential:
    """Make somebody who can sign, below the lab's issuing CA; ``changes`` replace fields of the plan."""
    issuer, key = issuer or ca.pki.issuing, key or LabKey.generate()
    plan = plan_for(subject, key, NOW - 86_400 * SECOND, 30 * 86_400 * SECOND, end_entity_extensions(*usages))
    chain = () if issuer is ca.pki.root else (issuer.certificate, *issuer.chain)
    return Credential(signed(replace(plan, **changes), issuer, scheme), key, chain)


def signed(plan: Plan, issuer: Credential, scheme: str | None = None) -> bytes:
    """Return the certificate of ``plan``, signed with ``scheme``, be it as weak as it may."""
    if scheme is None:
        return sign(plan, issuer)
    assert scheme in algorithms.SIGNATURES
    key = LabKey(issuer.key.private)
    key.schemes = (scheme,)
    return sign(plan, Credential(issuer.certificate, key, issuer.chain))
