"""Checks 13 to 21 of docs/conformance.md: a certificate that fails one is refused by certConf; the CA hears why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent.cmp import der, messages, names
from agent.cmp.bodies import CertConfirm, CertRepMessage
from agent.cmp.errors import UntrustedPeer
from agent.cmp.events import Concluded, Issued, Unacceptable
from agent.cmp.failures import PKIFailureInfo, PKIStatus
from agent.cmp.messages import BodyType
from agent.cmp.protection import Kind, SignatureProtector
from agent.cmp.states import State
from agent.cmp.terms import Learning, Source
from agent.labca import LabCa, Misbehaviour, certificates, enrollment
from agent.labca.certificates import EXTENDED_KEY_USAGE, KEY_USAGE, Credential, Plan, authority_extensions, sign
from agent.labca.encoding import Extension, integer, named_bits, oid, time
from agent.labca.keys import KeyKind, LabKey
from agent.labca.records import CertificateStatus
from tests.unit.cmp.device import NOW, Change, Device, enrolled, lab, rewritten
from tests.unit.cmp.stages import WITH_EITHER_PROTECTION, originator, requesting, signed, signer

Planner = Callable[[Plan], Plan]


def planning(monkeypatch: pytest.MonkeyPatch, ca: LabCa, change: Planner) -> None:
    """Let ``ca`` issue certificates with other contents from now on."""
    honest = ca._office.faults.certificate

    def certificate(request: BodyType, plan: Plan, pki: Any) -> tuple[Plan, Credential]:
        planned, issuer = honest(request, plan, pki)
        return change(planned), issuer

    monkeypatch.setattr(ca._office.faults, "certificate", certificate)


def signing(monkeypatch: pytest.MonkeyPatch, ca: LabCa, made: Callable[[Plan, Credential], bytes]) -> None:
    """Let ``ca`` issue whatever ``made`` returns from now on, readable or not."""
    monkeypatch.setattr(certificates, "sign", made)
    monkeypatch.setattr(enrollment, "_readable", lambda _: ca.pki.ra.loaded)


def with_extension(extension: Extension) -> Planner:
    def change(plan: Plan) -> Plan:
        others = [one for one in plan.extensions if one.oid != extension.oid]
        return replace(plan, extensions=(*others, extension))

    return change


def granted_with_mods(ca: LabCa) -> Change:
    def body(before: CertRepMessage) -> CertRepMessage:
        (one,) = before.responses
        return replace(
            before, responses=(replace(one, status=replace(one.status, status=PKIStatus.GRANTED_WITH_MODS)),)
        )

    return rewritten(ca, body=body)


# --- 13: a certificate at all -----------------------------------------------------------------------------------------


def _version_1(plan: Plan, issuer: Credential) -> bytes:
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    validity = der.wrap(der.SEQUENCE, time(plan.not_before), time(plan.not_after))
    content = der.wrap(
        der.SEQUENCE, integer(plan.serial), algorithm, issuer.subject, validity, plan.subject, plan.public_key
    )
    signature = der.wrap(der.BIT_STRING, b"\x00", issuer.key.sign(content, "ecdsa-sha256"))
    return der.wrap(der.SEQUENCE, content, algorithm, signature)


@WITH_EITHER_PROTECTION
def test_check_13_a_certificate_of_x509_version_1_is_refused_by_certconf(
    monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    device = requesting(kind)
    signing(monkeypatch, device.ca, _version_1)
    assert "version 3" in device.refuses_certificate("version", PKIFailureInfo.BAD_DATA_FORMAT).text


@pytest.mark.parametrize(
    "octets",
    [
        b"\x30\x00",
        der.wrap(der.SEQUENCE, b"\x02\x01\x07"),
        der.wrap(der.SEQUENCE, b"\x30\x00", b"\x30\x00", b"\x03\x01\x00"),
        der.wrap(der.SEQUENCE, b"\x30\x00", der.wrap(der.SEQUENCE, oid("1.2.3.4")), b"\x03\x01\x00"),
    ],
    ids=bytes.hex,
)
@WITH_EITHER_PROTECTION
def test_check_13_something_that_is_no_certificate_is_refused_by_an_empty_certconf(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, octets: bytes
) -> None:
    """What cannot be hashed cannot be named: no CertStatus at all rejects everything."""
    device = requesting(kind)
    signing(monkeypatch, device.ca, lambda _, __: octets)
    event = device.exchange()
    assert isinstance(event, Unacceptable)
    assert event.objection.check == "readable"
    assert isinstance(device.exchange(), Concluded)
    assert messages.parse(device.sent[-1]).body() == CertConfirm(())
    assert device.state is State.REFUSED
    assert device.certificate.status is CertificateStatus.REFUSED


def test_check_13_a_certificate_whose_signature_is_described_wrongly_is_refused_by_certconf(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = Device(lab())

    def made(plan: Plan, issuer: Credential) -> bytes:
        content, _, signature = der.values(sign(plan, issuer))
        return der.wrap(der.SEQUENCE, content, der.wrap(der.SEQUENCE, oid("1.2.840.10045.4.3.3")), signature)

    signing(monkeypatch, device.ca, made)
    device.refuses_certificate("readable", PKIFailureInfo.BAD_DATA_FORMAT)


# --- 14: the key ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", [BodyType.IR, BodyType.CR, BodyType.P10CR], ids=lambda one: one.label)
@WITH_EITHER_PROTECTION
def test_check_14_a_certificate_for_another_key_is_refused_by_certconf(kind: Kind, type_: BodyType) -> None:
    device = requesting(kind, type_)
    device.ca.misbehave(Misbehaviour.WRONG_KEY)
    objection = device.refuses_certificate("public-key", PKIFailureInfo.INCORRECT_DATA)
    assert "a key that is not ours" in objection.text
    assert "mixed up two requests" in objection.remedy


def test_check_14_a_key_update_that_brings_the_old_key_again_is_refused_by_certconf(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ca = lab()
    first = enrolled(ca)
    device = Device(ca, BodyType.KUR, old=first.credential())
    planning(monkeypatch, ca, lambda plan: replace(plan, public_key=first.key.public_key))
    objection = device.refuses_certificate("public-key", PKIFailureInfo.INCORRECT_DATA)
    assert "the old key again" in objection.text


def test_check_14_a_certificate_for_another_key_is_refused_after_days_of_polling_and_restarts_too() -> None:
    device = requesting(Kind.MAC, polls=3)
    device.ca.misbehave(Misbehaviour.WRONG_KEY)
    for _ in range(3):
        device.exchange()
        device.now += timedelta(days=1)
        device.restart()
    device.refuses_certificate("public-key", PKIFailureInfo.INCORRECT_DATA)


# --- 15: names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_mods", [False, True])
@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        (Misbehaviour.WRONG_SUBJECT, "subject", 'is for "CN=somebody-else.example", but'),
        (Misbehaviour.WRONG_ALTERNATIVE_NAME, "alternative-names", "lacks the requested dns:enb-4711"),
    ],
)
def test_check_15_other_names_are_refused_by_certconf_whatever_the_ca_says_about_changes(
    fault: Misbehaviour, check: str, words: str, *, with_mods: bool
) -> None:
    device = Device(lab())
    device.ca.misbehave(fault)
    device.exchange(granted_with_mods(device.ca) if with_mods else bytes)
    objection = device.refuses_certificate(check, PKIFailureInfo.INCORRECT_DATA)
    assert words in objection.text
    assert ("the CA said that it changed the request" in objection.text) is with_mods


def test_check_15_an_assigned_name_that_does_not_fit_the_pattern_is_refused_by_certconf() -> None:
    device = Device(lab(), expected={"subject_pattern": r"CN=enb-\d+.*"})
    device.ca.misbehave(Misbehaviour.WRONG_SUBJECT)
    objection = device.refuses_certificate("subject", PKIFailureInfo.INCORRECT_DATA)
    assert "the subject pattern does not match" in objection.text


# --- 16: usage and extensions -----------------------------------------------------------------------------------------


def test_check_16_a_certificate_that_may_not_sign_is_refused_by_certconf(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(lab())
    planning(monkeypatch, device.ca, with_extension(Extension(KEY_USAGE, critical=True, value=named_bits(2))))
    objection = device.refuses_certificate("key-usage", PKIFailureInfo.UNACCEPTED_EXTENSION)
    assert "lacks digitalSignature" in objection.text


def test_check_16_a_certificate_for_another_purpose_is_refused_by_certconf(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(lab(), expected={"extended_key_usage": frozenset({"1.3.6.1.5.5.7.3.17"})})
    other = Extension(EXTENDED_KEY_USAGE, critical=False, value=der.wrap(der.SEQUENCE, oid("1.3.6.1.5.5.7.3.4")))
    planning(monkeypatch, device.ca, with_extension(other))
    device.refuses_certificate("extended-key-usage", PKIFailureInfo.UNACCEPTED_EXTENSION)


@WITH_EITHER_PROTECTION
def test_check_16_the_certificate_of_a_ca_is_refused_by_certconf(kind: Kind) -> None:
    device = requesting(kind)
    device.ca.misbehave(Misbehaviour.CA_CERTIFICATE)
    objection = device.refuses_certificate("not-a-ca", PKIFailureInfo.UNACCEPTED_EXTENSION)
    assert "is that of a CA" in objection.text


def test_check_16_an_unknown_critical_extension_is_refused_by_certconf(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(lab())
    planning(monkeypatch, device.ca, with_extension(Extension("1.2.3.4.5", critical=True, value=b"\x05\x00")))
    objection = device.refuses_certificate("chain", PKIFailureInfo.UNACCEPTED_EXTENSION)
    assert "unknown critical extension 1.2.3.4.5" in objection.text


# --- 17: validity -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"),
    [(Misbehaviour.EXPIRED, "expired on 2027-02-28"), (Misbehaviour.NOT_YET_VALID, "begins only on 2027-03-31")],
)
@WITH_EITHER_PROTECTION
def test_check_17_a_certificate_that_is_not_valid_now_is_refused_by_certconf(
    kind: Kind, fault: Misbehaviour, words: str
) -> None:
    device = requesting(kind)
    device.ca.misbehave(fault)
    objection = device.refuses_certificate("validity", PKIFailureInfo.BAD_TIME)
    assert words in objection.text
    assert "clock" in objection.remedy


def test_check_17_a_certificate_that_ends_before_it_begins_is_refused_by_certconf(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = Device(lab())
    planning(monkeypatch, device.ca, lambda plan: replace(plan, not_before=plan.not_after, not_after=plan.not_before))
    device.refuses_certificate("validity", PKIFailureInfo.BAD_TIME)


def test_check_17_a_certificate_that_lives_longer_than_policy_allows_is_refused_by_certconf() -> None:
    device = Device(lab(validity=timedelta(days=90)), expected={"maximum_lifetime": timedelta(days=30)})
    objection = device.refuses_certificate("lifetime", PKIFailureInfo.BAD_TIME)
    assert "lives 90 days, more than 30 allowed" in objection.text


def test_check_17_without_a_clock_only_a_certificate_that_ended_before_now_can_be_is_refused() -> None:
    options: dict[str, Any] = {"clock_trusted": False, "expected": {"clock_trusted": False}}
    device = Device(lab(), **options)
    device.ca.misbehave(Misbehaviour.NOT_YET_VALID)
    assert isinstance(device.exchange(), Issued)
    device = Device(lab(), **options)
    device.ca.misbehave(Misbehaviour.EXPIRED)
    device.refuses_certificate("validity", PKIFailureInfo.BAD_TIME)


# --- 18: the chain ----------------------------------------------------------------------------------------------------


@WITH_EITHER_PROTECTION
def test_check_18_a_certificate_under_another_root_is_refused_by_certconf(kind: Kind) -> None:
    device = requesting(kind)
    device.ca.misbehave(Misbehaviour.UNKNOWN_ISSUER)
    objection = device.refuses_certificate("chain", PKIFailureInfo.SIGNER_NOT_TRUSTED)
    assert "is not among the trust anchors" in objection.text


def test_check_18_a_certificate_whose_issuer_did_not_come_along_is_refused_by_certconf() -> None:
    device = Device(lab())
    device.exchange(rewritten(device.ca, extra_certs=()))
    objection = device.refuses_certificate("chain", PKIFailureInfo.SIGNER_NOT_TRUSTED)
    assert "nor sent along" in objection.text
    assert "intermediate certificates" in objection.remedy


def test_check_18_a_certificate_issued_by_another_device_is_refused_by_certconf(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = Device(lab())
    bystander = device.ca.pki.bystander
    monkeypatch.setattr(device.ca._office.faults, "certificate", lambda _, plan, __: (plan, bystander))
    device.exchange(rewritten(device.ca, extra_certs=(bystander.certificate, *bystander.chain)))
    objection = device.refuses_certificate("chain", PKIFailureInfo.SIGNER_NOT_TRUSTED)
    assert "is not a CA, yet it issued" in objection.text


def test_check_18_a_path_that_is_longer_than_its_ca_allows_is_refused_by_certconf(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = Device(lab())
    issuing = device.ca.pki.issuing
    below = signer(device.ca, names.common_name("CA below"), extensions=authority_extensions())
    monkeypatch.setattr(device.ca._office.faults, "certificate", lambda _, plan, __: (plan, below))
    device.exchange(rewritten(device.ca, extra_certs=(below.certificate, issuing.certificate)))
    objection = device.refuses_certificate("chain", PKIFailureInfo.SIGNER_NOT_TRUSTED)
    assert "allows 0 CAs below it" in objection.text


def test_check_18_an_answer_signed_by_a_ca_that_did_not_issue_the_certificate_is_refused_as_such() -> None:
    """Any CA below the root may make us wait, but only the issuing one may hand out a certificate."""
    device = requesting(Kind.SIGNATURE)
    ca = device.ca
    other = signer(ca, names.common_name("Another CA"), issuer=ca.pki.root, extensions=authority_extensions())
    true_answer = ca.answer(device.send(), device.now)
    changed = rewritten(
        ca,
        protector=SignatureProtector(other.key),
        sender=names.directory_name(other.subject),
        sender_kid=other.key_identifier,
        extra_certs=(other.certificate, *messages.parse(true_answer).extra_certs),
    )(true_answer)
    error = device.refuses_octets(UntrustedPeer, changed)
    assert "it is a CA, but not the one that issued our certificate" in str(error)
    assert isinstance(device.hear(true_answer), Issued)


def test_check_18_the_issuing_ca_itself_may_answer() -> None:
    device = requesting(Kind.SIGNATURE, ra_protects=False)
    device.run()
    assert device.state is State.CONFIRMED


# --- 19: algorithms ---------------------------------------------------------------------------------------------------


def test_check_19_a_certificate_signed_over_sha1_is_refused_by_certconf(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(lab(key=KeyKind.RSA_2048, legacy_algorithms=True))
    monkeypatch.setattr(certificates, "sign", lambda plan, issuer: signed(plan, issuer, "rsa-pkcs1-sha1"))
    objection = device.refuses_certificate("chain", PKIFailureInfo.BAD_ALG)
    assert "a signature over sha1" in objection.text


def test_check_19_a_key_on_a_weak_curve_is_refused_by_certconf() -> None:
    weak = LabKey(ec.generate_private_key(ec.SECP224R1()))
    device = Device(lab(), key=weak)
    objection = device.refuses_certificate("chain", PKIFailureInfo.BAD_ALG)
    assert "a key on the curve secp224r1" in objection.text


# --- 20: another one than before --------------------------------------------------------------------------------------


def test_check_20_a_key_update_that_brings_the_old_certificate_again_is_refused_by_certconf(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ca = lab()
    old = enrolled(ca).credential()
    device = Device(ca, BodyType.KUR, old=old, key=old.key)
    # The lab CA keeps each certificate once: one octet of the signature, which nobody looks at before, is another.
    again = old.certificate[:-1] + bytes((old.certificate[-1] ^ 1,))
    signing(monkeypatch, device.ca, lambda _, __: again)
    objection = device.refuses_certificate("renewed", PKIFailureInfo.INCORRECT_DATA)
    assert "the certificate we already have" in objection.text


def test_check_20_a_renewal_with_the_same_key_brings_another_certificate() -> None:
    ca = lab()
    first = enrolled(ca)
    second = enrolled(ca, kind=BodyType.KUR, old=first.credential(), key=first.key)
    assert second.certificate.serial != first.certificate.serial


# --- 21: the private key ----------------------------------------------------------------------------------------------


class Changeling(LabKey):
    """A key whose private half becomes another one, or goes away, after the request was made."""

    failure: Exception | None = None

    def sign(self, data: bytes, scheme: str) -> bytes:
        if self.failure is not None:
            raise self.failure
        return super().sign(data, scheme)


@WITH_EITHER_PROTECTION
def test_check_21_a_private_key_that_does_not_fit_the_certificate_has_it_refused_by_certconf(kind: Kind) -> None:
    ca = lab(polls=1)
    key = Changeling(LabKey.generate().private)
    device = Device(ca, by=originator(ca, kind), key=key)
    device.exchange()
    key.private = LabKey.generate().private
    objection = device.refuses_certificate("possession", PKIFailureInfo.INCORRECT_DATA)
    assert "does not verify with the new certificate" in objection.text


def test_check_21_a_token_that_cannot_sign_at_this_moment_does_not_cost_the_certificate() -> None:
    ca = lab(polls=1)
    key = Changeling(LabKey.generate().private)
    device = Device(ca, key=key)
    device.exchange()
    device.exchange()
    key.failure = RuntimeError("CKR_DEVICE_REMOVED\x1b[31m")
    issued = device.exchange()
    assert isinstance(issued, Issued)
    assert issued.notes == (r"the new key could not be tried with its certificate: CKR_DEVICE_REMOVED\x1b[31m",)
    device.run()
    assert device.state is State.CONFIRMED


# --- and when the CA cannot be told -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [Misbehaviour.WRONG_KEY, Misbehaviour.WRONG_SUBJECT, Misbehaviour.EXPIRED, Misbehaviour.UNKNOWN_ISSUER]
)
def test_a_certificate_that_counts_as_confirmed_already_is_refused_silently(fault: Misbehaviour) -> None:
    device = Device(lab(implicit_confirm=True), implicit_confirmation=True)
    device.ca.misbehave(fault)
    event = device.exchange()
    assert isinstance(event, Unacceptable)
    assert not event.confirm
    device.transaction.excuse()
    assert device.state is State.REFUSED
    assert device.heard_by_ca() == ["ir"]


def test_an_answer_that_cannot_be_accepted_teaches_no_anchors_either() -> None:
    device = Device(lab(), rules={"anchors": ()}, learning=Learning(Source.CA_PUBS))
    device.ca.misbehave(Misbehaviour.WRONG_SUBJECT)
    device.refuses_certificate("subject", PKIFailureInfo.INCORRECT_DATA)


@pytest.mark.parametrize("answer", ["pkiconf", "error", "error waiting", "systemUnavail"])
def test_whatever_the_ca_says_to_a_refusal_it_is_over(answer: str) -> None:
    device = Device(lab(polls=1, delayed=frozenset({BodyType.CERTCONF}) if answer == "error waiting" else frozenset()))
    device.ca.misbehave(Misbehaviour.WRONG_KEY)
    if answer in {"error", "systemUnavail"}:
        device.ca.misbehave(Misbehaviour.REJECT, "badCertId" if answer == "error" else answer, on=BodyType.CERTCONF)
    device.run()
    assert device.state is State.REFUSED
    assert device.certificate.octets == device.transaction.certificate
    assert device.now < NOW + timedelta(minutes=1)
