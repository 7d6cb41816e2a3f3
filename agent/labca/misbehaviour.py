"""Faults a real CA, network or attacker shows, switched on and off at run time.

Every kind of fault belongs to one point of the way from request to answer, and has one row in one table of
``spoiling``. A fault is spent only where it changed something.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from agent.cmp.messages import BodyType
from agent.labca import spoiling
from agent.labca.fault import Fault, Misbehaviour, check
from agent.labca.gate import FOLLOW_UPS

if TYPE_CHECKING:
    from agent.cmp.failures import PKIFailureInfo
    from agent.labca.certificates import Credential, Plan
    from agent.labca.enveloping import Sealing
    from agent.labca.outgoing import Outgoing, Reply
    from agent.labca.pki import Pki
    from agent.labca.spoiling import Circumstances

_T = TypeVar("_T")


class Faults:
    """The faults that are switched on. Safe to change while the CA answers."""

    def __init__(self) -> None:
        """Begin with a CA that behaves."""
        self._faults: list[Fault] = []
        self.shown: list[str] = []
        """The faults that showed in the present exchange."""
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Switch ``fault`` on, beside what is on already."""
        with self._lock:
            self._faults.append(check(fault))

    def clear(self) -> None:
        """Behave again."""
        with self._lock:
            self._faults.clear()

    def handling(self, request: BodyType) -> tuple[Misbehaviour, PKIFailureInfo] | None:
        """Return how a request is to be refused, if it is. Messages that follow up are refused by name only."""
        for fault in self._on(request):
            wanted = fault.on is request or request not in FOLLOW_UPS
            waits = fault.kind is Misbehaviour.WAIT_THEN_REJECT and request is not BodyType.POLLREQ
            if wanted and (waits or fault.kind is Misbehaviour.REJECT):
                self._spend(fault)
                return fault.kind, fault.failure
        return None

    def certificate(self, request: BodyType, plan: Plan, pki: Pki) -> tuple[Plan, Credential]:
        """Return the certificate to issue instead of ``plan``, and by whom."""
        issuer = pki.issuing
        for fault in self._on(request):
            if fault.kind is Misbehaviour.UNKNOWN_ISSUER:
                self._spend(fault)
                issuer = pki.other_root
            plan = self._apply(fault, spoiling.CERTIFICATE, plan)
        return plan, issuer

    def sealing(self, request: BodyType, sealing: Sealing) -> Sealing:
        """Return what to encrypt instead of ``sealing``, and for whom."""
        for fault in self._on(request):
            change = spoiling.SEALING.get(fault.kind)
            changed = change(sealing) if change else sealing
            if changed is not sealing:
                self._spend(fault)
            sealing = changed
        return sealing

    def message(self, outgoing: Outgoing, circumstances: Circumstances) -> Outgoing:
        """Return the message to send instead of ``outgoing``."""
        for fault in self._on(circumstances.request.type):
            change = spoiling.MESSAGE.get(fault.kind)
            changed = change(outgoing, fault, circumstances) if change else outgoing
            if changed is not outgoing:
                self._spend(fault)
            outgoing = changed
        return outgoing

    def octets(self, octets: bytes, answer: BodyType, circumstances: Circumstances) -> bytes:
        """Return the octets to send instead of ``octets``, an answer of type ``answer``."""
        for fault in self._on(circumstances.request.type):
            if fault.kind is Misbehaviour.OTHER_TRANSACTION:
                other = circumstances.answer_of_another(answer)
                if other is not None:
                    self._spend(fault)
                    octets = other
            octets = self._apply(fault, spoiling.OCTETS, octets)
        return octets

    def instead(self, request: BodyType) -> Reply | None:
        """Return what is answered without even reading the request; None to go on."""
        for fault in self._on(request):
            if fault.kind in spoiling.INSTEAD:
                self._spend(fault)
                return spoiling.INSTEAD[fault.kind](fault)
        return None

    def reply(self, request: BodyType, reply: Reply) -> Reply:
        """Return the HTTP answer to give instead of ``reply``."""
        for fault in self._on(request):
            reply = self._apply(fault, spoiling.REPLY, reply)
        return reply

    def _on(self, request: BodyType) -> list[Fault]:
        with self._lock:
            return [fault for fault in self._faults if fault.on in {None, request} and fault.times != 0]

    def _apply(self, fault: Fault, table: Mapping[Misbehaviour, Callable[[_T, Fault], _T]], value: _T) -> _T:
        change = table.get(fault.kind)
        if change is None:
            return value
        self._spend(fault)
        return change(value, fault)

    def _spend(self, fault: Fault) -> None:
        self.shown.append(f"{fault.kind}={fault.value}" if fault.value else fault.kind)
        with self._lock:
            if fault.times is not None:
                fault.times -= 1
