"""Keys that do not sign are certified all the same: whole transactions with the lab CA, and how those go wrong."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cmp import cms, messages, names
from agent.cmp.acceptance import DIGITAL_SIGNATURE
from agent.cmp.bodies import CertConfirm, CertRepMessage, CertReqMessages, ErrorMessage, StatusInfo, Unread
from agent.cmp.errors import CmpError, LocalError, ProtocolViolation
from agent.cmp.events import Challenged, Concluded, Declined, Issued, Unacceptable, Undecided
from agent.cmp.failures import PKIFailureInfo, PKIStatus
from agent.cmp.messages import PVNO_2, PVNO_3, BodyType
from agent.cmp.possession import PopMethod
from agent.cmp.proving import NOT_ENCRYPTED
from agent.cmp.request import Wanted, wanted_extensions
from agent.cmp.states import State
from agent.labca import LabCa, Misbehaviour, enveloping
from agent.labca.keys import LabKey
from agent.labca.records import CertificateStatus, TransactionState
from hsm.algorithms import KeyAlgorithm
from hsm.errors import KeyUnusable
from tests.unit.cmp.decryptors import P256, RSA, X25519, key_of, pem_of
from tests.unit.cmp.device import DNS, SUBJECT, Device, by_vendor, enrolled, lab, rewritten
from tests.unit.cmp.mutations import grafted

CHALLENGE, SEALED = PopMethod.CHALLENGE, PopMethod.ENCRYPTED_CERTIFICATE
EVERY_KEY = pytest.mark.parametrize("algorithm", [RSA, P256, X25519])
EVERY_PROOF = pytest.mark.parametrize("proof", [CHALLENGE, SEALED])


def usage_of(algorithm: KeyAlgorithm) -> frozenset[str]:
    return frozenset({"keyEncipherment" if algorithm is RSA else "keyAgreement"})


def keeper(
    ca: LabCa,
    algorithm: KeyAlgorithm,
    proof: PopMethod,
    kind: BodyType = BodyType.IR,
    *,
    device: Any = None,
    **wanted: Any,
) -> Device:
    """Return a device that wants a certificate for a key that does not sign; ``wanted`` replaces fields."""
    key = LabKey.from_pem(pem_of(algorithm))
    usage = usage_of(algorithm)
    values = {
        "type": kind,
        "signer": key,
        "subject": SUBJECT,
        "extensions": wanted_extensions([DNS], usage),
        "proof": proof,
        "decryptor": key_of(algorithm),
        **wanted,
    }
    return Device(ca, key=key, request=Wanted(**values), expected={"key_usage": usage}, **(device or {}))


def versions(device: Device) -> set[int]:
    """Return the versions of CMP in all messages of the transaction, in both directions."""
    mine = device.transaction.transaction_id
    return {messages.parse(one.octets).header.pvno for one in device.ca.record().messages if one.transaction_id == mine}


def stands(device: Device, state: State) -> bool:
    """Tell whether the transaction is in ``state`` now."""
    return device.state is state


def state_at_ca(device: Device) -> TransactionState:
    (found,) = (one for one in device.ca.record().transactions if one.id == device.transaction.transaction_id)
    return found.state


# --- certified ------------------------------------------------------------------------------------------------------


@EVERY_KEY
@pytest.mark.parametrize("signed", [False, True])
def test_a_key_is_certified_by_a_challenge(algorithm: KeyAlgorithm, *, signed: bool) -> None:
    ca = lab()
    device = keeper(ca, algorithm, CHALLENGE, device={"by": by_vendor(ca)} if signed else None)
    assert isinstance(device.run(), Concluded)
    assert stands(device, State.CONFIRMED)
    assert device.heard_by_ca() == ["ir", "popdecr", "certConf"]
    assert [type(one) for one in device.events] == [Challenged, Issued, Concluded]
    assert versions(device) == {PVNO_3}
    assert device.certificate.status is CertificateStatus.CONFIRMED
    assert device.certificate.octets == device.transaction.certificate


@EVERY_KEY
@pytest.mark.parametrize("signed", [False, True])
def test_a_key_is_certified_by_an_encrypted_certificate(algorithm: KeyAlgorithm, *, signed: bool) -> None:
    ca = lab()
    device = keeper(ca, algorithm, SEALED, device={"by": by_vendor(ca)} if signed else None)
    assert isinstance(device.run(), Concluded)
    assert stands(device, State.CONFIRMED)
    assert device.heard_by_ca() == ["ir", "certConf"]
    assert versions(device) == {PVNO_3}
    assert device.certificate.status is CertificateStatus.CONFIRMED
    answer = next(one for one in ca.record().messages if one.sent and one.type is BodyType.IP)
    assert device.certificate.octets not in answer.octets


@EVERY_PROOF
def test_the_certificate_is_for_what_the_key_can_do(proof: PopMethod) -> None:
    for algorithm in (RSA, P256):
        device = keeper(lab(), algorithm, proof)
        device.run()
        usage = x509.load_der_x509_certificate(device.transaction.certificate).extensions.get_extension_for_class(
            x509.KeyUsage
        )
        assert usage.critical
        assert usage.value.key_encipherment is (algorithm is RSA)
        assert usage.value.key_agreement is (algorithm is P256)
        assert not usage.value.digital_signature


@EVERY_PROOF
def test_a_certificate_without_the_right_key_usage_is_refused(proof: PopMethod) -> None:
    device = keeper(lab(), RSA, proof, extensions=wanted_extensions([DNS], DIGITAL_SIGNATURE))
    device.refuses_certificate("key-usage", PKIFailureInfo.UNACCEPTED_EXTENSION)


@EVERY_PROOF
def test_an_rsa_key_is_certified_by_the_forms_of_rfc_4210(proof: PopMethod) -> None:
    device = keeper(lab(), RSA, proof, enveloped=False)
    device.run()
    assert stands(device, State.CONFIRMED)
    assert versions(device) == {PVNO_2}


@EVERY_PROOF
def test_other_keys_need_version_3(proof: PopMethod) -> None:
    device = keeper(lab(), P256, proof, enveloped=False)
    event = device.run()
    assert isinstance(event, Declined)
    assert event.failures == {PKIFailureInfo.BAD_POP}
    assert device.ca.record().certificates == ()


@EVERY_PROOF
@pytest.mark.parametrize("kind", [BodyType.CR, BodyType.KUR])
def test_further_certificates_and_renewals_too(proof: PopMethod, kind: BodyType) -> None:
    ca = lab()
    old = enrolled(ca).credential()
    device = keeper(ca, P256, proof, kind, device={"old": old})
    device.run()
    assert stands(device, State.CONFIRMED)


@EVERY_PROOF
@pytest.mark.parametrize("form", ["response", "error"])
def test_a_ca_that_takes_its_time_asks_for_the_proof_later(proof: PopMethod, form: str) -> None:
    device = keeper(lab(polls=2, waiting_form=form), P256, proof)
    device.run()
    assert stands(device, State.CONFIRMED)
    polls = ["pollReq"] * 3
    assert device.heard_by_ca() == ["ir", *polls, *(["popdecr"] if proof is CHALLENGE else []), "certConf"]


def test_after_a_challenge_implicit_confirmation_is_as_good_as_ever() -> None:
    device = keeper(lab(implicit_confirm=True), P256, CHALLENGE, implicit_confirmation=True)
    device.run()
    assert stands(device, State.CONFIRMED)
    assert device.heard_by_ca() == ["ir", "popdecr"]


def test_an_encrypted_certificate_must_be_confirmed() -> None:
    with pytest.raises(LocalError, match="must be confirmed"):
        keeper(lab(), P256, SEALED, implicit_confirmation=True).send()


def test_a_certificate_that_comes_plain_is_taken_with_a_remark() -> None:
    ca = lab()
    device = keeper(ca, P256, SEALED)
    plain = lambda body: replace(  # noqa: E731 - the certificate exists only once the CA has answered
        body, responses=(replace(body.responses[0], certificate=device.certificate.octets, encrypted_certificate=None),)
    )
    event = device.exchange(rewritten(ca, body=plain))
    assert isinstance(event, Issued)
    assert NOT_ENCRYPTED in event.notes


# --- interrupted ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.CHALLENGED, State.ISSUED, State.CONFIRMING])
@EVERY_PROOF
def test_an_interruption_loses_nothing(proof: PopMethod, state: State) -> None:
    device = keeper(lab(), X25519, proof)
    for _ in range(5):
        if device.state is state:
            device.restart()
        if device.state is State.CONFIRMED:
            break
        if device.state is State.ISSUED and state is State.CONFIRMING:
            device.send()
            device.restart()
        device.step()
    assert stands(device, State.CONFIRMED)


def test_a_lost_answer_to_the_number_is_asked_for_again() -> None:
    device = keeper(lab(), P256, CHALLENGE)
    device.run(until=State.CHALLENGED)
    first = device.send()
    device.ca.answer(first, device.now)
    device.restart()
    assert stands(device, State.PROVING)
    assert device.send() == first
    assert isinstance(device.hear(device.ca.answer(first, device.now)), Issued)
    device.run()
    assert stands(device, State.CONFIRMED)
    assert len(device.ca.record().certificates) == 1


def test_the_ca_may_take_its_time_with_the_number() -> None:
    ca = lab()
    device = keeper(ca, P256, CHALLENGE)
    device.run(until=State.CHALLENGED)
    waiting = ErrorMessage(StatusInfo(status=PKIStatus.WAITING))
    assert isinstance(device.exchange(rewritten(ca, body=waiting)), Undecided)
    assert stands(device, State.WAITING)


# --- the CA does wrong ----------------------------------------------------------------------------------------------


@EVERY_KEY
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Misbehaviour.WRONG_WITNESS, "witness"),
        (Misbehaviour.NOT_A_CHALLENGE, "no number with a name"),
        (Misbehaviour.CHALLENGE_OF_ANOTHER, "somebody else"),
        (Misbehaviour.SEALED_FOR_ANOTHER, "does not open|no number with a name"),
    ],
)
@pytest.mark.parametrize("enveloped", [True, False])
def test_a_challenge_that_is_none_is_not_answered(
    algorithm: KeyAlgorithm, fault: Misbehaviour, said: str, *, enveloped: bool
) -> None:
    if not enveloped:
        algorithm = RSA
    ca = lab()
    ca.misbehave(fault)
    device = keeper(ca, algorithm, CHALLENGE, enveloped=enveloped)
    error = device.refuses(ProtocolViolation)
    assert any(one in str(error) for one in said.split("|"))
    assert stands(device, State.REQUESTED)
    with pytest.raises(LocalError):
        device.send()
    assert device.heard_by_ca() == ["ir"]
    assert ca.record().certificates == ()


def test_a_wrong_number_is_no_proof() -> None:
    ca = lab()
    device = keeper(ca, P256, CHALLENGE)
    device.run(until=State.CHALLENGED)
    memory = device.transaction._memory
    device.transaction._memory = replace(memory, number=(memory.number or 0) + 1)
    event = device.exchange()
    assert isinstance(event, Declined)
    assert event.failures == {PKIFailureInfo.BAD_POP}
    assert stands(device, State.REJECTED)
    assert ca.record().certificates == ()


def test_a_second_challenge_is_not_answered() -> None:
    ca = lab()
    device = keeper(ca, P256, CHALLENGE)
    posed = device.ca.answer(device.send(), device.now)
    device.hear(posed)
    again = messages.parse(posed).body()
    error = device.refuses(ProtocolViolation, rewritten(ca, body=again))
    assert "proving cannot take popdecc" in str(error)


@pytest.mark.parametrize("proof", [SEALED, PopMethod.SIGNATURE])
def test_a_challenge_nobody_asked_for_is_not_answered(proof: PopMethod) -> None:
    ca = lab()
    posed = messages.parse(ca.answer(keeper(ca, P256, CHALLENGE).send())).body()
    device = keeper(ca, P256, proof)
    error = device.refuses(ProtocolViolation, rewritten(ca, body=posed))
    assert "cannot take popdecc" in str(error)


@pytest.mark.parametrize("proof", [CHALLENGE, PopMethod.SIGNATURE])
def test_an_encrypted_certificate_nobody_asked_for_is_refused(proof: PopMethod) -> None:
    ca = lab()
    sealed = messages.parse(ca.answer(keeper(ca, P256, SEALED).send())).body()
    device = keeper(ca, P256, proof)
    if proof is CHALLENGE:
        device.run(until=State.CHALLENGED)
    error = device.refuses(ProtocolViolation, rewritten(ca, body=sealed))
    assert "none that we could read" in str(error)


@EVERY_KEY
@pytest.mark.parametrize("enveloped", [True, False])
def test_a_certificate_encrypted_for_another_is_refused_as_a_whole(algorithm: KeyAlgorithm, *, enveloped: bool) -> None:
    if not enveloped:
        algorithm = RSA
    ca = lab()
    ca.misbehave(Misbehaviour.SEALED_FOR_ANOTHER)
    device = keeper(ca, algorithm, SEALED, enveloped=enveloped)
    event = device.exchange()
    assert isinstance(event, Unacceptable)
    assert event.objection.check == "decryption"
    assert event.confirm
    assert stands(device, State.REFUSING)
    device.restart()
    assert isinstance(device.exchange(), Concluded)
    assert stands(device, State.REFUSED)
    received = [one for one in ca.record().messages if not one.sent][-1]
    # Its hash is unknown: a certConf without any status refuses all there is (RFC 9810 5.3.18).
    assert messages.parse(received.octets).body() == CertConfirm(())
    assert device.certificate.status is CertificateStatus.REFUSED


def test_rubbish_in_place_of_the_certificate_is_refused() -> None:
    ca = lab()
    device = keeper(ca, P256, SEALED)
    rubbish = enveloping.envelop(b"no certificate at all", key_of(P256).public_key)
    octets = cms.encode_encrypted_key(rubbish)

    def change(body: CertRepMessage) -> CertRepMessage:
        return replace(body, responses=(replace(body.responses[0], encrypted_certificate=octets),))

    event = device.exchange(rewritten(ca, body=change))
    assert isinstance(event, Unacceptable)
    assert event.objection.check == "readable"
    assert isinstance(device.exchange(), Concluded)
    assert stands(device, State.REFUSED)


@EVERY_PROOF
def test_a_key_that_is_gone_is_no_fault_of_the_ca(proof: PopMethod) -> None:
    """The error of the key store comes through, and the transaction stands where it stood."""

    class Gone:
        public_key, ciphers, agrees = key_of(P256).public_key, (), True

        def decrypt(self, *_: object) -> bytes:
            raise NotImplementedError

        def agree(self, *_: object) -> bytes:
            raise KeyUnusable("the token is gone", remedy="plug it in")

    device = keeper(lab(), P256, proof, decryptor=Gone())
    answer = device.ca.answer(device.send(), device.now)
    before = device.transaction.snapshot()
    with pytest.raises(KeyUnusable):
        device.hear(answer)
    assert device.transaction.snapshot() == before


# --- what cannot be asked for ---------------------------------------------------------------------------------------


@EVERY_PROOF
def test_a_pkcs10_request_is_signed_or_none(proof: PopMethod) -> None:
    with pytest.raises(LocalError, match="PKCS#10") as caught:
        keeper(lab(), RSA, proof, BodyType.P10CR).send()
    assert caught.value.remedy.endswith(".")


@EVERY_PROOF
def test_a_key_that_only_signs_signs(proof: PopMethod) -> None:
    key = key_of(KeyAlgorithm.ED25519)
    with pytest.raises(LocalError, match="only signs"):
        keeper(lab(), P256, proof, signer=key, decryptor=key).send()


@EVERY_PROOF
def test_a_key_that_does_not_decrypt_is_not_asked_to(proof: PopMethod) -> None:
    with pytest.raises(LocalError, match="must decrypt"):
        keeper(lab(), P256, proof, decryptor=None).send()


# --- without a subject ----------------------------------------------------------------------------------------------


def nameless(ca: LabCa, vouched_by: Any, **device: Any) -> Device:
    """Return a device that leaves its name to the CA and signs (TS 33.310 clause 9.5.4.2)."""
    key = LabKey.generate()
    wanted = Wanted(
        type=BodyType.IR, signer=key, subject=None, extensions=wanted_extensions([DNS]), vouched_by=vouched_by
    )
    expected = {"subject": names.parse_name(names.EMPTY)}
    return Device(ca, key=key, request=wanted, expected=expected, **device)


def test_the_vendors_name_vouches_for_a_request_without_a_subject() -> None:
    ca = lab()
    vendor = by_vendor(ca)
    device = nameless(ca, vendor.sender, by=vendor)
    body = messages.parse(device.send()).body()
    assert isinstance(body, CertReqMessages)
    assert body.requests[0].request.template.subject is None
    device.hear(ca.answer(device.sent[0], device.now))
    device.run()
    assert stands(device, State.CONFIRMED)
    assert versions(device) == {PVNO_2}


def test_another_name_does_not_vouch() -> None:
    ca = lab()
    other = names.directory_name(names.name_from_text("CN=enb-4712,O=Vendor"))
    event = nameless(ca, other, by=by_vendor(ca)).run()
    assert isinstance(event, Declined)
    assert event.failures == {PKIFailureInfo.BAD_POP}


def test_a_name_does_not_vouch_under_a_shared_secret() -> None:
    event = nameless(lab(), names.directory_name(SUBJECT)).run()
    assert isinstance(event, Declined)
    assert event.failures == {PKIFailureInfo.BAD_POP}


def test_the_secret_vouches_for_a_request_without_a_subject() -> None:
    ca = lab()
    by = Device(ca).originator
    device = nameless(ca, by.protector, by=by)
    device.run()
    assert stands(device, State.CONFIRMED)


@pytest.mark.parametrize("vouched_by", [None, "signature"])
def test_somebody_must_vouch(vouched_by: str | None) -> None:
    ca = lab()
    vendor = by_vendor(ca)
    with pytest.raises(LocalError, match="without a subject"):
        nameless(ca, vouched_by and vendor.protector, by=vendor).send()


# --- given up -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.REQUESTED, State.WAITING, State.POLLING, State.CHALLENGED, State.PROVING])
def test_the_ca_is_told_that_a_request_is_given_up(state: State) -> None:
    ca = lab(polls=9) if state in {State.WAITING, State.POLLING} else lab()
    device = keeper(ca, P256, CHALLENGE)
    before = {State.POLLING: State.WAITING, State.PROVING: State.CHALLENGED}
    if state is not State.REQUESTED:
        device.run(until=before.get(state, state))
    if not stands(device, state):
        ca.answer(device.send(), device.now)
    assert stands(device, state)
    told = device.transaction.give_up(device.now)
    body = messages.parse(told).body()
    assert isinstance(body, ErrorMessage)
    assert body.status.status == PKIStatus.REJECTION
    assert stands(device, State.GIVING_UP)
    assert isinstance(device.hear(ca.answer(told, device.now)), Concluded)
    assert stands(device, State.ABANDONED)
    assert state_at_ca(device) is TransactionState.ENDED
    assert not any(one.status is CertificateStatus.CONFIRMED for one in ca.record().certificates)


def test_what_was_refused_is_given_up_in_words_that_say_nothing() -> None:
    """A CA that tries out ciphertexts must not see by our answer how far each of them came."""
    told = set()
    for fault in (Misbehaviour.WRONG_WITNESS, Misbehaviour.NOT_A_CHALLENGE, Misbehaviour.SEALED_FOR_ANOTHER):
        ca = lab()
        ca.misbehave(fault)
        device = keeper(ca, RSA, CHALLENGE)
        device.refuses(ProtocolViolation)
        told.add(messages.parse(device.transaction.give_up(device.now)).body_octets)
    assert len(told) == 1


def test_an_answer_other_than_pkiconf_changes_nothing_about_giving_up() -> None:
    ca = lab()
    device = keeper(ca, P256, CHALLENGE)
    device.run(until=State.CHALLENGED)
    told = ca.answer(device.transaction.give_up(device.now), device.now)
    refusal = ErrorMessage(StatusInfo(status=PKIStatus.WAITING))
    device.refuses_octets(ProtocolViolation, rewritten(ca, body=Unread(BodyType.IP, b"\x30\x02\x30\x00"))(told))
    assert isinstance(device.hear(rewritten(ca, body=refusal)(told)), Declined)
    assert stands(device, State.ABANDONED)


@pytest.mark.parametrize("state", [State.READY, State.ISSUED, State.CONFIRMED])
def test_what_was_not_begun_or_is_decided_is_not_given_up(state: State) -> None:
    device = Device(lab())
    if state is not State.READY:
        device.run(until=state)
    with pytest.raises(LocalError):
        device.transaction.give_up(device.now)
    assert stands(device, state)


# --- anything at all ------------------------------------------------------------------------------------------------

POSING = lab()
POSED = POSING.answer(keeper(POSING, P256, CHALLENGE).send())


@settings(max_examples=40)
@given(grafted(st.just(messages.parse(POSED).body_octets)))
def test_a_spoiled_challenge_raises_nothing_but_our_errors(octets: bytes) -> None:
    device = keeper(POSING, P256, CHALLENGE)
    answer = POSING.answer(device.send(), device.now)
    before = device.transaction.snapshot()
    try:
        spoiled = rewritten(POSING, body=Unread(BodyType.POPDECC, octets))(answer)
        device.transaction.receive(spoiled, device.now)
    except CmpError:
        assert device.transaction.snapshot() == before


SEALING = lab()


@settings(max_examples=40)
@given(st.data())
def test_a_spoiled_certificate_raises_nothing_but_our_errors(data: st.DataObject) -> None:
    device = keeper(SEALING, P256, SEALED)
    answer = SEALING.answer(device.send(), device.now)
    octets = data.draw(grafted(st.just(messages.parse(answer).body_octets)))
    with contextlib.suppress(CmpError):
        event = device.transaction.receive(rewritten(SEALING, body=Unread(BodyType.IP, octets))(answer), device.now)
        # What came through was the very certificate, or is refused.
        genuine = device.transaction.certificate == device.certificate.octets
        assert genuine or not isinstance(event, Issued)
