"""The client against the lab CA, message by message: every request that goes well, and every plain no."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from agent.cmp import messages
from agent.cmp.bodies import CertRepMessage, General, RevRep
from agent.cmp.certificates import load
from agent.cmp.errors import LocalError
from agent.cmp.events import Answered, Concluded, Declined, Issued
from agent.cmp.failures import PKIFailureInfo, PKIStatus
from agent.cmp.memory import recall
from agent.cmp.messages import BodyType, Info
from agent.cmp.request import Originator, by_certificate
from agent.cmp.states import State
from agent.cmp.terms import Learning, Source
from agent.cmp.trust import UntrustedPath
from agent.labca import LabCa, Misbehaviour
from agent.labca.certificates import CMC_RA, end_entity_extensions, plan_for, sign
from agent.labca.keys import KeyKind, LabKey
from agent.labca.records import CertificateStatus
from tests.unit.cmp.device import (
    DELAYED,
    NOW,
    Device,
    by_vendor,
    enrolled,
    lab,
    question,
    revocation,
    rewritten,
)
from tests.unit.cmp.stages import PROTECTIONS, REQUESTS


def known_as(device: Device) -> CertificateStatus:
    """Return what the CA thinks of the device's certificate."""
    return device.certificate.status


# --- each request -----------------------------------------------------------------------------------------------------


@PROTECTIONS
@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.label)
def test_a_certificate_is_requested_checked_and_confirmed(
    kind: BodyType, originator: Callable[[LabCa], Originator]
) -> None:
    ca = lab()
    device = Device(ca, kind, by=originator(ca))
    issued = device.exchange()
    assert isinstance(issued, Issued)
    assert issued.confirm
    assert issued.certificate == device.transaction.certificate == device.certificate.octets
    assert issued.chain == (ca.pki.issuing.certificate,)
    assert issued.anchors == (ca.pki.root.certificate,)
    assert known_as(device) is CertificateStatus.ISSUED
    assert isinstance(device.exchange(), Concluded)
    assert device.state is State.CONFIRMED
    assert known_as(device) is CertificateStatus.CONFIRMED
    assert device.heard_by_ca() == [kind.label, "certConf"]


def test_a_key_update_is_signed_with_the_old_certificate_and_brings_another_one() -> None:
    ca = lab()
    first = enrolled(ca)
    second = enrolled(ca, kind=BodyType.KUR, old=first.credential())
    assert second.heard_by_ca() == ["kur", "certConf"]
    old, new = load(first.transaction.certificate), load(second.transaction.certificate)
    assert new.subject == old.subject
    assert new.serial_number != old.serial_number
    assert second.certificate.status is CertificateStatus.CONFIRMED


def test_a_revocation_is_answered_and_one_done_already_counts_as_done() -> None:
    device = enrolled(lab())
    first = revocation(device)
    answered = first.run()
    assert isinstance(answered, Answered)
    assert isinstance(answered.body, RevRep)
    assert first.state is State.ANSWERED
    assert device.certificate.status is CertificateStatus.REVOKED
    assert isinstance(revocation(device).run(), Answered)


def test_a_revocation_the_ca_did_before_counts_as_done() -> None:
    device = enrolled(lab())
    device.ca.misbehave(Misbehaviour.REJECT, "certRevoked", on=BodyType.RR)
    assert isinstance(revocation(device).run(), Answered)


def test_a_revocation_that_is_refused_is_declined() -> None:
    device = enrolled(lab())
    device.ca.misbehave(Misbehaviour.REJECT, "notAuthorized", on=BodyType.RR)
    declined = revocation(device).run()
    assert isinstance(declined, Declined)
    assert declined.failures == {PKIFailureInfo.NOT_AUTHORIZED}
    assert device.certificate.status is CertificateStatus.CONFIRMED


@pytest.mark.parametrize("info", [Info.CA_CERTS, Info.CERT_REQ_TEMPLATE, Info.CURRENT_CRL])
def test_a_question_is_answered(info: Info) -> None:
    asking = question(lab(), info)
    answered = asking.run()
    assert isinstance(answered, Answered)
    assert isinstance(answered.body, General)
    assert [one.type for one in answered.body.infos] == [info.value]
    assert asking.state is State.ANSWERED


@pytest.mark.parametrize("kind", [KeyKind.RSA_2048, KeyKind.EC_P384, KeyKind.ED25519, KeyKind.ML_DSA_44])
def test_keys_of_every_kind_are_certified_by_a_ca_of_the_same_kind(kind: KeyKind) -> None:
    ca = lab(key=kind)
    device = enrolled(ca, key=LabKey.generate(kind), by=by_vendor(ca))
    # Where the algorithm of the certificate names no hash, certConf does, and that is CMP of 2021.
    assert (device.confirmation.hash_alg is not None) is (kind is KeyKind.ML_DSA_44)
    assert messages.parse(device.sent[-1]).header.pvno == (3 if kind is KeyKind.ML_DSA_44 else 2)
    assert all(event.notes == () for event in device.events)


def test_no_is_no() -> None:
    ca = lab()
    ca.misbehave(Misbehaviour.REJECT, "badPOP", on=BodyType.IR)
    device = Device(ca)
    declined = device.run()
    assert isinstance(declined, Declined)
    assert declined.status == PKIStatus.REJECTION
    assert declined.failures == {PKIFailureInfo.BAD_POP}
    assert declined.text == "refused by misbehaviour"
    assert device.state is State.REJECTED
    assert device.heard_by_ca() == ["ir"]


def test_no_after_a_wait_is_no() -> None:
    ca = lab()
    ca.misbehave(Misbehaviour.WAIT_THEN_REJECT, "badCertTemplate", on=BodyType.IR)
    device = Device(ca)
    assert isinstance(device.run(), Declined)
    assert device.state is State.REJECTED
    assert device.heard_by_ca() == ["ir", "pollReq"]


# --- what the first message says --------------------------------------------------------------------------------------


def test_the_profile_and_the_wish_for_no_confirmation_are_in_the_header_of_the_first_message_only() -> None:
    ca = lab(polls=1, certificate_profiles=("gnb",))
    device = Device(ca, certificate_profile="gnb", implicit_confirmation=True)
    device.run()
    infos = [{info.type for info in messages.parse(octets).header.general_info} for octets in device.sent]
    assert infos[0] == {Info.IMPLICIT_CONFIRM, Info.CERT_PROFILE}
    assert set().union(*infos[1:]) == set()


def test_every_message_has_a_new_nonce_and_repeats_that_of_the_answer_before() -> None:
    ca = lab(polls=2, delayed=DELAYED)
    device = Device(ca)
    device.run()
    headers = [messages.parse(octets).header for octets in device.sent]
    assert len({header.sender_nonce for header in headers}) == len(headers) == 8
    assert {header.transaction_id for header in headers} == {device.transaction.transaction_id}
    answers = [messages.parse(one.octets).header.sender_nonce for one in ca.record().messages if one.sent]
    assert [header.recip_nonce for header in headers] == [None, *answers[:-1]]
    assert headers[0].recipient == messages.NULL_DN
    assert headers[1].recipient == messages.parse(ca.record().messages[1].octets).header.sender


def test_a_clock_that_is_not_trusted_is_not_shown_and_does_not_judge() -> None:
    ca = lab()
    device = Device(ca, clock_trusted=False, expected={"clock_trusted": False})
    device.run()
    assert device.state is State.CONFIRMED
    assert {messages.parse(octets).header.message_time for octets in device.sent} == {None}


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_source_of_randomness_that_gives_something_else_ends_everything(length: int) -> None:
    with pytest.raises(LocalError, match="randomness"):
        Device(lab(), random=lambda _: bytes(length))


# --- implicit confirmation --------------------------------------------------------------------------------------------


def test_granted_implicit_confirmation_leaves_certconf_out() -> None:
    device = Device(lab(implicit_confirm=True), implicit_confirmation=True)
    issued = device.exchange()
    assert isinstance(issued, Issued)
    assert not issued.confirm
    device.transaction.excuse()
    assert device.state is State.CONFIRMED
    assert device.heard_by_ca() == ["ir"]


def test_implicit_confirmation_that_is_not_granted_means_certconf() -> None:
    device = Device(lab(implicit_confirm=False), implicit_confirmation=True)
    issued = device.exchange()
    assert isinstance(issued, Issued)
    assert issued.confirm
    with pytest.raises(LocalError):
        device.transaction.excuse()
    device.run()
    assert device.heard_by_ca() == ["ir", "certConf"]


def test_implicit_confirmation_nobody_asked_for_is_not_believed() -> None:
    ca = lab()
    device = Device(ca)
    grant = (messages.InfoTypeAndValue(Info.IMPLICIT_CONFIRM, b"\x05\x00"),)
    issued = device.exchange(rewritten(ca, general_info=grant))
    assert isinstance(issued, Issued)
    assert issued.confirm
    device.run()
    assert device.certificate.status is CertificateStatus.CONFIRMED


def test_whether_implicit_confirmation_was_asked_for_is_remembered_and_not_read_from_a_new_configuration() -> None:
    ca = lab(polls=1)
    device = Device(ca)
    device.run(until=State.WAITING)
    device.restart(request=Device(ca, key=device.key, implicit_confirmation=True).request)
    grant = (messages.InfoTypeAndValue(Info.IMPLICIT_CONFIRM, b"\x05\x00"),)
    device.exchange()
    issued = device.exchange(rewritten(ca, general_info=grant))
    assert isinstance(issued, Issued)
    assert issued.confirm


# --- granted with changes ---------------------------------------------------------------------------------------------


def granted_with_mods(body: CertRepMessage) -> CertRepMessage:
    changed = [replace(one, status=replace(one.status, status=PKIStatus.GRANTED_WITH_MODS)) for one in body.responses]
    return replace(body, responses=tuple(changed))


def test_granted_with_changes_is_accepted_if_what_we_need_is_in_it() -> None:
    ca = lab()
    device = Device(ca)
    assert isinstance(device.exchange(rewritten(ca, body=granted_with_mods)), Issued)
    device.run()
    assert device.certificate.status is CertificateStatus.CONFIRMED


def test_a_name_assigned_by_the_ca_is_accepted_if_the_pattern_fits_and_remarked() -> None:
    ca = lab()
    ca.misbehave(Misbehaviour.WRONG_SUBJECT)
    device = Device(ca, expected={"subject_pattern": r"CN=somebody-else\.example"})
    issued = device.exchange(rewritten(ca, body=granted_with_mods))
    assert isinstance(issued, Issued)
    assert any("assigned the subject" in note for note in issued.notes)


def test_names_the_ca_adds_are_remarked() -> None:
    device = Device(lab(), expected={"alternative_names": frozenset()})
    issued = device.exchange()
    assert isinstance(issued, Issued)
    assert issued.notes == ("the CA added dns:enb-4711.ran.operator.example",)


# --- trust ------------------------------------------------------------------------------------------------------------


def test_anchors_are_learned_from_capubs_of_a_mac_protected_answer_and_kept_with_the_certificate() -> None:
    ca = lab()
    device = Device(ca, rules={"anchors": ()}, learning=Learning(Source.CA_PUBS))
    issued = device.exchange()
    assert isinstance(issued, Issued)
    assert issued.anchors == (ca.pki.root.certificate,)
    device.restart()
    assert device.transaction.issued(NOW) == issued


def test_after_a_restart_the_configured_anchors_of_today_count_and_not_those_of_yesterday() -> None:
    ca, stranger = lab(polls=1), lab()
    device = Device(ca, by=by_vendor(ca))
    device.run(until=State.WAITING)
    rules = Device(stranger).rules
    device.restart(rules=rules)
    device.refuses(UntrustedPath)
    device.restart(rules=Device(ca).rules)
    device.run()
    assert device.state is State.CONFIRMED


def test_a_signed_answer_to_a_mac_is_accepted_with_the_quirk_alone_and_remarked() -> None:
    ca = lab(sign_mac_answers=True)
    device = Device(ca, rules={"quirks": frozenset({"signed-response-to-mac"})})
    device.run()
    assert device.state is State.CONFIRMED
    assert all(any("signed-response-to-mac" in note for note in event.notes) for event in device.events)


def test_a_renewed_signer_is_found_beside_the_one_known_from_before() -> None:
    """The RA's certificate expires while people think; the new one has the same name and key."""
    ca = lab(polls=1)
    device = Device(ca, by=by_vendor(ca))
    device.exchange()
    memory = device.transaction.snapshot()
    assert memory["peer_certificates"][0] == ca.pki.ra.certificate.hex()
    week_ago = NOW - timedelta(days=9)
    plan = plan_for(ca.pki.ra.subject, ca.pki.ra.key, week_ago, timedelta(days=8), end_entity_extensions(CMC_RA))
    expired = sign(plan, ca.pki.issuing).hex()
    device.transaction._memory = recall({**memory, "peer_certificates": [expired, *memory["peer_certificates"][1:]]})
    device.run()
    assert device.state is State.CONFIRMED


def test_an_originator_by_certificate_shows_its_chain() -> None:
    ca = lab()
    device = enrolled(ca)
    credential = device.credential()
    originator = by_certificate(device.key, credential.certificate, credential.chain)
    assert originator.extra_certs == (credential.certificate, ca.pki.issuing.certificate)
