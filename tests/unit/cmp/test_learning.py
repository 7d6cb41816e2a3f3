"""Roots that come along in extraCerts (TS 33.310 9.5.4.3): believed once, only by choice, and bound from then on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from agent.cmp.bodies import CertRepMessage, ErrorMessage, StatusInfo
from agent.cmp.certificates import read
from agent.cmp.errors import UntrustedPeer
from agent.cmp.events import Concluded, Issued, Unacceptable, Undecided
from agent.cmp.failures import PKIFailureInfo, PKIStatus
from agent.cmp.states import State
from agent.cmp.terms import Learning, Source
from agent.cmp.trust import UntrustedPath
from agent.labca import LabCa, Misbehaviour
from tests.unit.cmp.device import Device, by_vendor, lab, rewritten

TRUSTING = Learning(Source.EXTRA_CERTS)


def pin(ca: LabCa) -> bytes:
    return hashlib.sha256(read(ca.pki.root.loaded).spki).digest()


def without_root(ca: LabCa, learning: Learning | None = TRUSTING, **options: Any) -> Device:
    return Device(ca, by=by_vendor(ca), rules={"anchors": ()}, learning=learning, **options)


def test_the_root_that_comes_along_with_ip_is_trusted_and_kept() -> None:
    ca = lab(root_in_extra_certs=True)
    device = without_root(ca)
    issued = device.exchange()
    assert isinstance(issued, Issued)
    assert issued.anchors == device.transaction.learned == (ca.pki.root.certificate,)
    assert isinstance(device.run(), Concluded)


def test_without_that_choice_a_root_in_extra_certs_proves_nothing() -> None:
    ca = lab(root_in_extra_certs=True)
    for learning in (None, Learning(Source.CA_PUBS)):
        without_root(ca, learning).refuses(UntrustedPath)


def test_a_configured_root_makes_one_that_comes_along_worthless() -> None:
    ca, stranger = lab(root_in_extra_certs=True), lab()
    device = Device(ca, by=by_vendor(ca), rules={"anchors": (stranger.pki.root.loaded,)}, learning=TRUSTING)
    device.refuses(UntrustedPath)


def test_only_a_root_with_a_pinned_key_is_taken() -> None:
    ca = lab(root_in_extra_certs=True)
    another = frozenset({hashlib.sha256(b"another").digest()})
    without_root(ca, replace(TRUSTING, root_pins=another)).refuses(UntrustedPath)
    device = without_root(ca, replace(TRUSTING, root_pins=frozenset({pin(ca)})))
    assert isinstance(device.exchange(), Issued)


def test_a_pinned_root_that_did_not_sign_the_answer_helps_nobody() -> None:
    """Anybody may put the operator's root into extraCerts: the answer must lead to it."""
    ca, stranger = lab(root_in_extra_certs=True), lab()
    device = without_root(ca, replace(TRUSTING, root_pins=frozenset({pin(stranger)})))
    extra = (stranger.pki.root.certificate, ca.pki.ra.certificate, *ca.pki.chain, ca.pki.root.certificate)
    device.refuses(UntrustedPath, rewritten(ca, extra_certs=extra))


def test_only_ip_brings_a_root() -> None:
    ca = lab(root_in_extra_certs=True)
    device = without_root(ca)
    status = StatusInfo(status=PKIStatus.REJECTION, failures=frozenset({PKIFailureInfo.NOT_AUTHORIZED}))
    error = device.refuses(UntrustedPath, rewritten(ca, body=ErrorMessage(status)))
    assert "not allowed to ask" in error.hint
    assert device.transaction.learned == ()


def test_what_the_first_answer_brought_binds_the_rest_of_the_transaction() -> None:
    """A CA that lets us wait has shown its root: an answer under another one is not from it."""
    ca, stranger = lab(root_in_extra_certs=True, polls=1), lab()
    device = without_root(ca)
    assert isinstance(device.exchange(), Undecided)
    assert device.transaction.learned == (ca.pki.root.certificate,)
    device.restart()
    assert device.transaction.learned == (ca.pki.root.certificate,)
    ca.misbehave(Misbehaviour.STRANGE_SIGNER, times=1)
    device.refuses(UntrustedPath)
    assert isinstance(device.run(), Concluded)
    assert stranger.pki.root.certificate not in device.transaction.learned


def test_a_certificate_under_another_root_than_the_signers_is_refused_and_the_ca_is_told() -> None:
    ca = lab(root_in_extra_certs=True)
    device = without_root(ca)
    ca.misbehave(Misbehaviour.UNKNOWN_ISSUER)
    refused = device.exchange()
    assert isinstance(refused, Unacceptable)
    assert refused.objection.check == "chain"
    assert isinstance(device.exchange(), Concluded)
    assert device.state is State.REFUSED


def test_more_roots_may_come_in_ca_pubs_of_that_answer() -> None:
    ca, other = lab(root_in_extra_certs=True), lab()

    def more(body: CertRepMessage) -> CertRepMessage:
        return replace(body, ca_pubs=(other.pki.root.certificate, other.pki.issuing.certificate))

    device = without_root(ca)
    issued = device.exchange(rewritten(ca, body=more))
    assert isinstance(issued, Issued)
    assert issued.anchors == (ca.pki.root.certificate, other.pki.root.certificate)


def test_pins_say_whose_key_may_sign_answers() -> None:
    ca = lab()
    ra = hashlib.sha256(read(ca.pki.ra.loaded).spki).digest()
    assert isinstance(Device(ca, by=by_vendor(ca), rules={"pins": frozenset({ra})}).exchange(), Issued)
    # cmcRA alone is not enough once the operator has said whose key it is.
    error = Device(ca, by=by_vendor(ca), rules={"pins": frozenset({bytes(32)})}).refuses(UntrustedPeer)
    assert ra.hex() in str(error)
