"""A device that enrolls at a lab CA without HTTP: simulated clock, seeded randomness, every answer open to a change."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from cryptography import x509

from agent.cmp import messages, names
from agent.cmp.acceptance import Expectation, Objection
from agent.cmp.bodies import Body, CertConfirm, CertId, CertStatus
from agent.cmp.certificates import MODERN, load
from agent.cmp.errors import RemoteError
from agent.cmp.events import Concluded, Event, Issued, Unacceptable
from agent.cmp.failures import PKIFailureInfo, PKIStatus
from agent.cmp.memory import recall
from agent.cmp.messages import BodyType, Info, Message
from agent.cmp.peer import PeerRules
from agent.cmp.protection import Kind, MacParameters, MacProtector, Protector, SignatureProtector, kind_of
from agent.cmp.request import (
    Inquiry,
    Originator,
    Request,
    Revocation,
    Wanted,
    by_certificate,
    by_secret,
    wanted_extensions,
)
from agent.cmp.states import ENDED, State
from agent.cmp.transaction import Transaction
from agent.labca import LabCa, LabCaSettings
from agent.labca.certificates import Credential
from agent.labca.keys import LabKey
from agent.labca.records import Certificate, CertificateStatus

NOW: Final = datetime(2027, 3, 1, 12, 0, 0, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
REFERENCE, SECRET = "enb-4711", b"one-time secret"
SUBJECT: Final = names.name_from_text("CN=enb-4711.ran.operator.example,O=Operator")
DNS: Final = x509.DNSName("enb-4711.ran.operator.example")
PBM: Final = MacParameters(iterations=120, salt=b"salt of a device")
PBMAC1: Final = replace(PBM, algorithm="pbmac1")
DELAYED: Final = frozenset(
    {BodyType.IR, BodyType.CR, BodyType.P10CR, BodyType.KUR, BodyType.RR, BodyType.GENM, BodyType.CERTCONF}
)
"""All that a CA can take its time with."""
Change = Callable[[bytes], bytes]
_SEEDS: Final = itertools.count()
_MORE_THAN_ENOUGH: Final = 30
"""Messages in one transaction."""


def lab(**settings: Any) -> LabCa:
    """Return a CA in memory that knows the secret of ``enb-4711``."""
    return LabCa(LabCaSettings(**{"secrets": {REFERENCE: SECRET.decode()}, **settings}), now=NOW)


def by_vendor(ca: LabCa) -> Originator:
    """Return who signs with a vendor certificate."""
    credential = ca.make_device("enb-4711", now=NOW)
    return by_certificate(credential.key, credential.certificate, credential.chain)


class Device:
    """One transaction at ``ca``. ``options`` go to :class:`Transaction`, ``rules`` and ``expected`` to their kind."""

    def __init__(
        self,
        ca: LabCa,
        kind: BodyType = BodyType.IR,
        *,
        by: Originator | None = None,
        request: Request | None = None,
        key: LabKey | None = None,
        old: Credential | None = None,
        rules: dict[str, Any] | None = None,
        expected: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Protect with the secret unless ``by`` says otherwise; ``old`` is the certificate a kur renews."""
        self.ca = ca
        self.now = NOW + SECOND * len(ca.record().messages)
        self.key = key or LabKey.generate()
        self.old = old
        if old is not None:
            by = by or by_certificate(old.key, old.certificate, old.chain)
        self.originator = by or by_secret(REFERENCE, SECRET, PBM)
        wanted = {
            name: options.pop(name) for name in ("implicit_confirmation", "certificate_profile") if name in options
        }
        self.request = request or self._wanted(kind, **wanted)
        self.rules = PeerRules(**{"anchors": (ca.pki.root.loaded,), **(rules or {})})
        self.expected = self._expectation(**(expected or {})) if isinstance(self.request, Wanted) else None
        self.options = options
        self.random = random.Random(next(_SEEDS))  # noqa: S311 - the same in every run
        self.events: list[Event] = []
        self.sent: list[bytes] = []
        self.transaction = self._transaction()

    @property
    def state(self) -> State:
        return self.transaction.state

    @property
    def signs(self) -> bool:
        return self.originator.kind is Kind.SIGNATURE

    # --- going on -----------------------------------------------------------------------------------------------------

    def send(self) -> bytes:
        """Return what the device sends now."""
        self.sent.append(self.transaction.send(self.now))
        return self.sent[-1]

    def hear(self, answer: bytes) -> Event:
        """Take an answer."""
        self.events.append(self.transaction.receive(answer, self.now))
        return self.events[-1]

    def exchange(self, change: Change = bytes) -> Event:
        """Send, and take the answer after ``change``."""
        return self.hear(change(self.ca.answer(self.send(), self.now)))

    def step(self) -> Event | None:
        """Do what comes next, a second later; None: no message was due."""
        self.now += SECOND
        last = self.events[-1] if self.events else None
        if (
            isinstance(last, Issued | Unacceptable)
            and not last.confirm
            and self.state in {State.ISSUED, State.REFUSING}
        ):
            self.transaction.excuse()
            return None
        return self.exchange()

    def run(self, until: State | None = None) -> Event:
        """Go on until ``until``, or to the end; return the last event."""
        for _ in range(_MORE_THAN_ENOUGH):
            if self.state in ENDED or self.state is until:
                return self.events[-1]
            self.step()
        raise AssertionError(self.heard_by_ca())

    def restart(self, **changes: Any) -> None:
        """Lose everything but the snapshot, which goes through JSON text; ``changes`` replace attributes."""
        text = json.dumps(self.transaction.snapshot())
        for name, value in changes.items():
            setattr(self, name, value)
        self.transaction = self._transaction(memory=recall(json.loads(text)))

    # --- what is refused ----------------------------------------------------------------------------------------------

    def refuses(self, kind: type[RemoteError], change: Change = bytes) -> RemoteError:
        """Expect that the answer to the next message, after ``change``, is refused and leaves no trace."""
        return self.refuses_octets(kind, change(self.ca.answer(self.send(), self.now)))

    def refuses_octets(self, kind: type[RemoteError], answer: bytes) -> RemoteError:
        """Expect that ``answer`` is refused with exactly this ``kind`` of error and leaves no trace."""
        before = self.transaction.snapshot()
        with pytest.raises(kind) as caught:
            self.transaction.receive(answer, self.now)
        error = caught.value
        assert type(error) is kind
        assert self.transaction.snapshot() == before
        assert error.remedy.endswith(".")
        return error

    def refuses_certificate(self, check: str, failure: PKIFailureInfo) -> Objection:
        """Expect that the certificate is refused by certConf, that the CA hears why, and that nothing is learned."""
        self.run(until=State.REFUSING)
        event = self.events[-1]
        assert isinstance(event, Unacceptable), event
        assert event.confirm
        assert event.objection.check == check
        assert event.objection.remedy
        assert self.transaction.snapshot()["learned"] == []
        assert isinstance(self.exchange(), Concluded)
        assert self.state is State.REFUSED
        status = self.confirmation.status
        assert status is not None
        assert status.status == PKIStatus.REJECTION
        assert status.failures == {failure}
        assert status.text == (event.objection.text,)
        assert self.certificate.status is CertificateStatus.REFUSED
        return event.objection

    # --- what the CA knows --------------------------------------------------------------------------------------------

    @property
    def certificate(self) -> Certificate:
        """The one certificate the CA issued in this transaction."""
        (found,) = (
            one for one in self.ca.record().certificates if one.transaction_id == self.transaction.transaction_id
        )
        return found

    @property
    def confirmation(self) -> CertStatus:
        """What we said last in certConf, as the CA received it."""
        received = [one for one in self.ca.record().messages if not one.sent and one.type is BodyType.CERTCONF]
        body = messages.parse(received[-1].octets).body()
        assert isinstance(body, CertConfirm)
        return body.statuses[0]

    def heard_by_ca(self) -> list[str]:
        """Return the types of messages the CA received in this transaction, in their order."""
        mine = self.transaction.transaction_id
        received = [one for one in self.ca.record().messages if not one.sent and one.transaction_id == mine]
        return [one.type.label for one in received if one.type is not None]

    # --- made from the above ------------------------------------------------------------------------------------------

    def credential(self) -> Credential:
        """Return what was issued, as a credential to sign with."""
        return Credential(self.transaction.certificate, self.key, self.ca.pki.chain)

    def _wanted(self, kind: BodyType, **options: Any) -> Wanted:
        old = None
        if self.old is not None:
            old = CertId(names.directory_name(self.ca.pki.issuing.subject), self.old.loaded.serial_number)
        return Wanted(
            type=kind, signer=self.key, subject=SUBJECT, extensions=wanted_extensions([DNS]), old=old, **options
        )

    def _expectation(self, **changes: Any) -> Expectation:
        values: dict[str, Any] = {
            "public_key": self.key.public_key,
            "subject": names.parse_name(SUBJECT),
            "alternative_names": frozenset({DNS}),
            "anchors": self.rules.anchors,
            "rules": MODERN,
            "now": NOW,
            "old": load(self.old.certificate) if self.old else None,
        }
        return Expectation(**{**values, **changes})

    def _transaction(self, **more: Any) -> Transaction:
        return Transaction(
            self.request,
            self.originator,
            self.rules,
            self.expected,
            **{"random": self.random.randbytes, **self.options, **more},
        )


def enrolled(ca: LabCa, **options: Any) -> Device:
    """Return a device that has its certificate, confirmed."""
    device = Device(ca, **options)
    assert isinstance(device.run(), Concluded)
    assert device.state is State.CONFIRMED
    return device


def revocation(device: Device, **changes: Any) -> Device:
    """Return a device that revokes what ``device`` was issued, signed with it."""
    credential = device.credential()
    request = Revocation(
        **{"issuer": device.ca.pki.issuing.subject, "serial_number": credential.loaded.serial_number, **changes}
    )
    return Device(device.ca, by=by_certificate(device.key, credential.certificate, credential.chain), request=request)


def question(ca: LabCa, info_type: Info = Info.CA_CERTS) -> Device:
    """Return a device that asks the CA something."""
    return Device(ca, request=Inquiry(info_type=info_type.value))


def protector_of(ca: LabCa, message: Message) -> Protector:
    """Return what protects like the CA did, with the same kind."""
    if kind_of(message) is Kind.MAC:
        return MacProtector(SECRET, PBM)
    return SignatureProtector(ca.pki.ra.key)


def rewritten(
    ca: LabCa,
    *,
    body: Body | Callable[[Any], Body] | None = None,
    protector: Protector | None = None,
    extra_certs: tuple[bytes, ...] | None = None,
    **header: Any,
) -> Change:
    """Return a change to an answer as the CA itself could make it: other header or body, and a good protection."""

    def change(octets: bytes) -> bytes:
        message = messages.parse(octets)
        guard = protector or protector_of(ca, message)
        contents = message.body() if body is None else body(message.body()) if callable(body) else body
        return messages.build(
            replace(message.header, **{"protection_alg": guard.algorithm, **header}),
            contents,
            protect=guard.protect,
            extra_certs=message.extra_certs if extra_certs is None else extra_certs,
        )

    return change
