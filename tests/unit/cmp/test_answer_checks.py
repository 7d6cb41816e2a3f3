"""Checks 2 to 12 of docs/conformance.md: an answer that fails one changes nothing, and the true one still counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from agent.cmp import der, messages, names
from agent.cmp.bodies import (
    Body,
    CertRepMessage,
    CertResponse,
    ErrorMessage,
    General,
    PkiConf,
    Poll,
    PollResponse,
    RevRep,
    StatusInfo,
    Unread,
)
from agent.cmp.errors import (
    MalformedMessage,
    ProtectionError,
    ProtocolViolation,
    RemoteError,
    UntrustedPeer,
    WrongMac,
)
from agent.cmp.events import Concluded, Declined, Issued, Undecided
from agent.cmp.failures import PKIFailureInfo, PKIStatus
from agent.cmp.messages import BodyType
from agent.cmp.peer import ERROR_WITH_PVNO_1
from agent.cmp.protection import Kind, MacParameters, MacProtector, SignatureProtector
from agent.cmp.states import ENDED, State
from agent.cmp.trust import UntrustedPath
from agent.labca import LabCa, Misbehaviour
from agent.labca.certificates import CMC_RA, KEY_USAGE
from agent.labca.encoding import Extension, named_bits
from agent.labca.keys import KeyKind, LabKey
from agent.labca.settings import Nonce
from tests.unit.cmp.device import NOW, SECRET, Change, Device, enrolled, lab, revocation, rewritten
from tests.unit.cmp.stages import (
    AT_EVERY_STAGE,
    AT_SOME_STAGES,
    STAGES,
    WITH_EITHER_PROTECTION,
    awaiting,
    originator,
    refused_at,
    requesting,
    signer,
)


def goes_on(device: Device, true_answer: bytes) -> None:
    """Expect that the true answer still counts after a wrong one, and that all ends as if nothing had been."""
    device.hear(true_answer)
    device.run()
    assert device.state in {State.CONFIRMED, State.REFUSED, State.ANSWERED}


def refused(device: Device, error: type[RemoteError], change: Change) -> RemoteError:
    """Expect that the next answer, after ``change``, is refused, and that the true one is taken then."""
    true_answer = device.ca.answer(device.send(), device.now)
    found = device.refuses_octets(error, change(true_answer))
    goes_on(device, true_answer)
    return found


# --- 2: the octets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [Misbehaviour.TRUNCATED, Misbehaviour.TRAILING_OCTETS, Misbehaviour.LONG_LENGTH, Misbehaviour.OVERSIZE],
)
@AT_SOME_STAGES
def test_check_2_octets_that_are_not_one_canonical_message_are_refused(
    name: str, kind: Kind, fault: Misbehaviour
) -> None:
    device = STAGES[name](kind)
    device.ca.misbehave(fault, times=1)
    error = device.refuses(MalformedMessage)
    assert str(error).startswith("the answer is not a well-formed CMP message: ")
    assert "URL of the authority" in error.remedy


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "ends in the middle"),
        (b"<!DOCTYPE html><html></html>", "not a well-formed"),
        (b"\x30\x80\x00\x00", "indefinite"),
        (der.wrap(der.SEQUENCE), "parts of a PKIMessage"),
        (b"\x30\x84\x7f\xff\xff\xff", "longer than what holds it"),
        (bytes(1_048_577), "more than the cap"),
    ],
)
def test_check_2_what_is_no_message_at_all_is_refused(octets: bytes, words: str) -> None:
    device = Device(lab())
    device.send()
    assert words in str(device.refuses_octets(MalformedMessage, octets))


def test_check_2_a_message_nested_too_deep_or_with_too_many_parts_is_refused() -> None:
    deep = b"\x05\x00"
    for _ in range(40):
        deep = der.wrap(der.SEQUENCE, deep)
    device = Device(lab())
    true_answer = device.ca.answer(device.send(), NOW)
    for certificates, words in (((deep,), "nested deeper"), ((b"\x30\x00",) * 33, "32"), ((b"\x05\x00" * 20_001,), "")):
        with_them = rewritten(device.ca, extra_certs=certificates)(true_answer)
        assert words in str(device.refuses_octets(MalformedMessage, with_them))
    goes_on(device, true_answer)


# --- 3, 4, 5: the header ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"sender_nonce": bytes(129)}, "senderNonce has 129 octets"),
        ({"sender": der.wrap(0x86, b"x" * 4096)}, "a sender in 4100 octets"),
    ],
)
@AT_SOME_STAGES
def test_a_name_or_nonce_that_is_too_long_to_be_kept_is_refused(
    name: str, kind: Kind, header: dict[str, Any], words: str
) -> None:
    error = refused_at(name, kind, ProtocolViolation, lambda ca: rewritten(ca, **header))
    assert words in str(error)


@pytest.mark.parametrize("version", [-1, 0, 1, 4, 1000])
@AT_EVERY_STAGE
def test_check_3_a_version_of_cmp_that_nobody_agreed_on_is_refused(name: str, kind: Kind, version: int) -> None:
    error = refused_at(name, kind, ProtocolViolation, lambda ca: rewritten(ca, pvno=version))
    assert f"version {version} of CMP" in str(error)


@AT_EVERY_STAGE
def test_check_3_the_other_of_the_two_known_versions_is_borne_and_remarked(name: str, kind: Kind) -> None:
    moment = awaiting(name, kind)
    event = moment.again().hear(rewritten(moment.device.ca, pvno=3)(moment.answer))
    assert event.notes[0] == "the CA answered in version 3 of CMP to version 2"


def test_check_3_an_error_in_version_1_shows_its_reason_and_is_not_trusted() -> None:
    ca = lab()
    ca.misbehave(Misbehaviour.ERROR_WITH_PVNO_1, "signerNotTrusted")
    error = Device(ca).refuses(ProtocolViolation)
    assert "version 1 of CMP" in str(error)
    assert "does not trust the certificate that signed" in error.hint
    assert error.claimed == {PKIFailureInfo.SIGNER_NOT_TRUSTED}


def old_error(status: PKIStatus = PKIStatus.REJECTION) -> ErrorMessage:
    failures = frozenset() if status is PKIStatus.WAITING else frozenset({PKIFailureInfo.SIGNER_NOT_TRUSTED})
    return ErrorMessage(StatusInfo(status=status, failures=failures))


def test_field_old_servers_an_error_in_version_1_is_a_no_by_quirk_if_its_protection_is_good() -> None:
    ca = lab()
    device = Device(ca, rules={"quirks": frozenset({ERROR_WITH_PVNO_1})})
    declined = device.exchange(rewritten(ca, pvno=1, body=old_error()))
    assert isinstance(declined, Declined)
    assert declined.failures == {PKIFailureInfo.SIGNER_NOT_TRUSTED}
    assert declined.notes == ("quirk error-with-pvno-1: the CA reports an error in version 1 of CMP",)


def test_field_old_servers_an_unproven_error_in_version_1_stays_a_claim_even_by_quirk() -> None:
    ca = lab()
    ca.misbehave(Misbehaviour.ERROR_WITH_PVNO_1, "signerNotTrusted")
    error = Device(ca, rules={"quirks": frozenset({ERROR_WITH_PVNO_1})}).refuses(ProtectionError)
    assert error.claimed == {PKIFailureInfo.SIGNER_NOT_TRUSTED}


def test_field_old_servers_nothing_but_a_no_is_heard_in_version_1() -> None:
    ca = lab()
    quirk = {"quirks": frozenset({ERROR_WITH_PVNO_1})}
    Device(ca, rules=quirk).refuses(ProtocolViolation, rewritten(ca, pvno=1, body=old_error(PKIStatus.WAITING)))
    Device(ca, rules=quirk).refuses(ProtocolViolation, rewritten(ca, pvno=1))


@AT_SOME_STAGES
def test_check_4_an_answer_that_belongs_to_another_transaction_is_refused(name: str, kind: Kind) -> None:
    device = STAGES[name](kind)
    device.ca.misbehave(Misbehaviour.WRONG_TRANSACTION_ID, times=1)
    assert "another transaction" in str(device.refuses(ProtocolViolation))


@AT_EVERY_STAGE
def test_check_4_an_answer_that_names_no_transaction_is_refused(name: str, kind: Kind) -> None:
    error = refused_at(name, kind, ProtocolViolation, lambda ca: rewritten(ca, transaction_id=None))
    assert "names no transaction" in str(error)


def test_check_4_the_same_kind_of_answer_from_another_transaction_is_refused() -> None:
    ca = lab()
    enrolled(ca)
    ca.misbehave(Misbehaviour.OTHER_TRANSACTION)
    assert "another transaction" in str(Device(ca).refuses(ProtocolViolation))


_SOME: Final = StatusInfo(status=PKIStatus.ACCEPTED)
_BODIES: Final[dict[BodyType, Body]] = {
    BodyType.IP: CertRepMessage(BodyType.IP, (CertResponse(cert_req_id=0, status=_SOME),)),
    BodyType.CP: CertRepMessage(BodyType.CP, (CertResponse(cert_req_id=0, status=_SOME),)),
    BodyType.KUP: CertRepMessage(BodyType.KUP, (CertResponse(cert_req_id=0, status=_SOME),)),
    BodyType.RP: RevRep((_SOME,)),
    BodyType.PKICONF: PkiConf(),
    BodyType.GENP: General(BodyType.GENP, ()),
    BodyType.GENM: General(BodyType.GENM, ()),
    BodyType.POLLREP: PollResponse((Poll(cert_req_id=0, check_after=1),)),
    BodyType.KRP: Unread(BodyType.KRP, b"\x30\x00"),
    BodyType.CCP: Unread(BodyType.CCP, b"\x30\x00"),
    BodyType.CKUANN: Unread(BodyType.CKUANN, b"\x30\x00"),
    BodyType.CANN: Unread(BodyType.CANN, b"\x30\x00"),
    BodyType.RANN: Unread(BodyType.RANN, b"\x30\x00"),
    BodyType.CRLANN: Unread(BodyType.CRLANN, b"\x30\x00"),
    BodyType.NESTED: Unread(BodyType.NESTED, b"\x30\x00"),
    BodyType.POPDECC: Unread(BodyType.POPDECC, b"\x30\x00"),
}
_TAKEN: Final = {
    "ip": {BodyType.IP},
    "ip waiting": {BodyType.IP},
    "cp": {BodyType.CP},
    "kup": {BodyType.KUP},
    "rp": {BodyType.RP},
    "genp": {BodyType.GENP},
    "pollRep": {BodyType.IP, BodyType.POLLREP},
    "ip after polling": {BodyType.IP, BodyType.POLLREP},
    "pkiconf": {BodyType.PKICONF},
    "error waiting to certConf": {BodyType.PKICONF},
    "pkiconf after polling": {BodyType.PKICONF, BodyType.POLLREP},
    "pkiconf to a refusal": {BodyType.PKICONF},
}
"""What may come besides an error, by stage."""


@pytest.mark.parametrize("name", STAGES)
def test_check_5_a_body_that_this_state_does_not_await_is_refused(name: str) -> None:
    protection = Kind.SIGNATURE if name in {"kup", "rp"} else Kind.MAC
    state = awaiting(name, protection).again().state
    for kind in _BODIES.keys() - _TAKEN[name]:
        error = refused_at(
            name,
            protection,
            ProtocolViolation,
            lambda ca, kind=kind: rewritten(ca, body=_BODIES[kind]),  # type: ignore[misc]
        )
        assert f"a transaction that is {state} cannot take {kind.label}" in str(error)


@pytest.mark.parametrize("name", sorted(STAGES.keys() - {"error waiting to certConf"}))
def test_check_5_a_ca_that_answers_with_something_else_is_refused(name: str) -> None:
    device = STAGES[name](Kind.MAC)
    device.ca.misbehave(Misbehaviour.WRONG_BODY, times=1)
    assert "cannot take" in str(device.refuses(ProtocolViolation))


def test_check_5_an_answer_while_nothing_was_asked_is_refused() -> None:
    device = Device(lab(polls=1))
    device.exchange()
    last = device.ca.record().messages[-1].octets
    assert "waiting cannot take ip" in str(device.refuses_octets(ProtocolViolation, last))


# --- 6: the kind and the parameters of protection ---------------------------------------------------------------------


@AT_SOME_STAGES
def test_check_6_an_unprotected_answer_is_refused(name: str, kind: Kind) -> None:
    device = STAGES[name](kind)
    device.ca.misbehave(Misbehaviour.UNPROTECTED, times=1)
    error = device.refuses(ProtectionError)
    assert "is not protected, so nothing in it can be trusted" in str(error)


@AT_SOME_STAGES
def test_check_6_an_unprotected_error_is_shown_as_unproven_and_changes_nothing(name: str, kind: Kind) -> None:
    device = STAGES[name](kind)
    device.ca.misbehave(Misbehaviour.UNPROTECTED_ERROR, "badRequest", times=1)
    error = device.refuses(ProtectionError)
    assert "does not permit" in error.hint
    assert error.claimed == {PKIFailureInfo.BAD_REQUEST}


def test_check_6_an_unprotected_waiting_is_not_waited_for() -> None:
    device = Device(lab(polls=2, delayed=frozenset({BodyType.IR})))
    device.ca.misbehave(Misbehaviour.UNPROTECTED, times=1)
    device.refuses(ProtectionError)
    assert device.state is not State.WAITING


@AT_EVERY_STAGE
def test_check_6_protection_without_its_algorithm_and_the_reverse_are_refused(name: str, kind: Kind) -> None:
    message = messages.parse(awaiting(name, kind).answer)
    body = message.body()
    without_algorithm = messages.build(replace(message.header, protection_alg=None), body, protect=lambda _: bytes(32))
    without_protection = messages.build(message.header, body)
    for octets in (without_algorithm, without_protection):
        error = refused_at(name, kind, ProtectionError, lambda _, octets=octets: lambda _: octets)  # type: ignore[misc]
        assert "without protection, or the reverse" in str(error)


def test_check_6_a_signed_answer_to_a_mac_is_refused() -> None:
    error = Device(lab(sign_mac_answers=True)).refuses(ProtectionError)
    assert "the request was protected by MAC, the answer (ip) by signature" in str(error)
    assert "signed-response-to-mac" in error.remedy


@AT_EVERY_STAGE
def test_check_6_protection_of_the_other_kind_is_refused(name: str, kind: Kind) -> None:
    def change(ca: LabCa) -> Change:
        mac = MacProtector(SECRET, MacParameters(iterations=100, salt=bytes(16)))
        return rewritten(ca, protector=SignatureProtector(ca.pki.ra.key) if kind is Kind.MAC else mac)

    error = refused_at(name, kind, ProtectionError, change)
    assert f"the request was protected by {kind}" in str(error)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (MacParameters(iterations=99, salt=bytes(16)), "99 iterations; 100 to 1000000"),
        (MacParameters(iterations=100, salt=bytes(257)), "salt of 257 octets"),
        (MacParameters(iterations=100, salt=bytes(16), one_way_function="md5"), "PasswordBasedMac with md5"),
        (MacParameters(iterations=100, salt=bytes(16), one_way_function="sha1"), "PasswordBasedMac with sha1"),
        (MacParameters(algorithm="pbmac1", iterations=99, salt=bytes(16)), "99 iterations"),
        (MacParameters(algorithm="pbmac1", iterations=100, salt=bytes(257)), "salt of 257 octets"),
    ],
    ids=str,
)
def test_check_6_mac_parameters_out_of_bounds_are_refused_before_they_are_used(
    parameters: MacParameters, words: str
) -> None:
    device = Device(lab())
    protector = MacProtector(SECRET, parameters)
    assert words in str(refused(device, ProtectionError, rewritten(device.ca, protector=protector)))


class Scheme:
    """A protector with any algorithm and any octets."""

    def __init__(self, kind: Kind, algorithm: bytes, protection: bytes = bytes(32)) -> None:
        self.kind = kind
        self.algorithm = algorithm
        self._protection = protection

    def protect(self, _: bytes) -> bytes:
        return self._protection


@pytest.mark.parametrize(
    "oid",
    [
        "06092a864886f67d07421e",  # DHBasedMac
        "06092a864886f67d074210",  # KemBasedMac
        "06082a864886f70d0209",  # hmacWithSHA256 without any derivation
        "060960864801650304022f",  # unknown
    ],
)
@WITH_EITHER_PROTECTION
def test_check_6_an_algorithm_that_is_not_on_the_list_is_refused(kind: Kind, oid: str) -> None:
    device = requesting(kind)
    odd = Scheme(kind, der.wrap(der.SEQUENCE, bytes.fromhex(oid)))
    refused(device, ProtectionError, rewritten(device.ca, protector=odd))


@pytest.mark.parametrize("scheme", ["ecdsa-sha1", "rsa-pkcs1-sha1", "rsa-pkcs1-md5"])
def test_check_6_a_signature_with_a_broken_hash_is_refused(scheme: str) -> None:
    device = requesting(Kind.SIGNATURE, key=KeyKind.RSA_2048 if "rsa" in scheme else KeyKind.EC_P256)
    key = LabKey(device.ca.pki.ra.key.private)
    key.schemes = (scheme,)
    error = refused(device, ProtectionError, rewritten(device.ca, protector=SignatureProtector(key)))
    assert f"signature with {scheme}" in str(error)


# --- 7: the protection itself -----------------------------------------------------------------------------------------


@AT_SOME_STAGES
def test_check_7_protection_that_does_not_verify_is_refused(name: str, kind: Kind) -> None:
    device = STAGES[name](kind)
    device.ca.misbehave(Misbehaviour.BAD_PROTECTION, times=1)
    error = device.refuses(ProtectionError if device.signs else WrongMac)
    assert "is wrong" in str(error)


@pytest.mark.parametrize("name", ["ip", "ip waiting", "pollRep", "pkiconf", "rp", "genp"])
def test_check_7_what_a_refused_answer_claims_is_shown_only_where_it_is_a_no(name: str) -> None:
    device = STAGES[name](Kind.MAC)
    device.ca.misbehave(Misbehaviour.BAD_PROTECTION, times=1)
    error = device.refuses(ProtectionError if device.signs else WrongMac)
    assert (error.hint, error.claimed) == ("", frozenset())


@pytest.mark.parametrize("parameters", [MacParameters(), MacParameters(algorithm="pbmac1")], ids=["PBM", "PBMAC1"])
def test_check_7_a_mac_with_another_secret_is_refused(parameters: MacParameters) -> None:
    device = Device(lab())
    protector = MacProtector(b"not the secret", replace(parameters, salt=bytes(16)))
    error = refused(device, WrongMac, rewritten(device.ca, protector=protector))
    assert "does not have the same secret" in str(error)
    assert "reference and secret" in error.remedy


@pytest.mark.parametrize("name", ["ip", "rp"])
def test_check_7_a_no_in_the_body_that_answers_the_request_is_shown_as_unproven_too(name: str) -> None:
    device = STAGES[name](Kind.MAC)
    device.ca.misbehave(Misbehaviour.REJECT, "notAuthorized")
    device.ca.misbehave(Misbehaviour.UNPROTECTED)
    error = device.refuses(ProtectionError)
    assert 'it says: "refused by misbehaviour"' in error.hint
    assert error.claimed == {PKIFailureInfo.NOT_AUTHORIZED}


def test_check_7_a_ca_that_has_another_secret_is_refused() -> None:
    ca = lab()
    ca.misbehave(Misbehaviour.WRONG_SECRET)
    Device(ca).refuses(WrongMac)


def test_check_7_a_signature_by_somebody_the_header_does_not_name_is_refused() -> None:
    device = requesting(Kind.SIGNATURE)
    sender = names.directory_name(device.ca.pki.issuing.subject)
    error = refused(device, UntrustedPeer, rewritten(device.ca, sender=sender))
    assert "no certificate at hand is that of its sender" in str(error)


def test_check_7_a_sender_that_is_no_directory_name_is_refused() -> None:
    device = requesting(Kind.SIGNATURE)
    refused(device, UntrustedPeer, rewritten(device.ca, sender=der.wrap(0x82, b"ra.operator.example")))


def test_check_7_a_sender_key_identifier_of_no_certificate_at_hand_is_refused() -> None:
    device = requesting(Kind.SIGNATURE)
    refused(device, UntrustedPeer, rewritten(device.ca, sender_kid=bytes(20)))


def test_check_7_a_signer_whose_certificate_did_not_come_along_is_refused() -> None:
    device = requesting(Kind.SIGNATURE)
    error = refused(device, UntrustedPeer, rewritten(device.ca, extra_certs=()))
    assert "extraCerts" in error.remedy


def signed_by(ca: LabCa, *usages: str, **changes: Any) -> Change:
    """Return a change that lets somebody else sign, with his certificate and its chain along."""
    other = signer(ca, names.common_name("Other RA"), *usages, **changes)
    return lambda octets: rewritten(
        ca,
        protector=SignatureProtector(other.key),
        sender=names.directory_name(other.subject),
        sender_kid=other.key_identifier,
        extra_certs=(other.certificate, *other.chain, *messages.parse(octets).extra_certs),
    )(octets)


def test_check_7_a_signer_whose_key_usage_forbids_signatures_is_refused_unless_a_quirk_bears_it() -> None:
    usage = Extension(KEY_USAGE, critical=True, value=named_bits(2))
    extensions = (*signer(lab(), names.EMPTY, CMC_RA).loaded.extensions,)
    assert extensions
    device = requesting(Kind.SIGNATURE)
    purpose = Extension("2.5.29.37", critical=False, value=bytes.fromhex("300a06082b0601050507031c"))
    change = signed_by(device.ca, extensions=(usage, purpose))
    error = refused(device, UntrustedPeer, change)
    assert "does not include digitalSignature" in str(error)
    assert "ignore-key-usage" in error.remedy
    device = Device(
        device.ca, by=originator(device.ca, Kind.SIGNATURE), rules={"quirks": frozenset({"ignore-key-usage"})}
    )
    event = device.exchange(change)
    assert isinstance(event, Issued)
    assert any("ignore-key-usage" in note for note in event.notes)


# --- 8: the signer's path and right -----------------------------------------------------------------------------------


def test_check_8_a_signer_under_another_root_is_refused() -> None:
    device = requesting(Kind.SIGNATURE)
    device.ca.misbehave(Misbehaviour.STRANGE_SIGNER)
    error = device.refuses(UntrustedPath)
    assert "neither among the trust anchors" in str(error)
    assert "trust-anchors" in error.remedy


def test_check_8_another_base_station_of_the_same_operator_is_refused() -> None:
    device = requesting(Kind.SIGNATURE)
    device.ca.misbehave(Misbehaviour.UNAUTHORISED_SIGNER)
    error = device.refuses(UntrustedPeer)
    assert "may not answer for the CA" in str(error)


@pytest.mark.parametrize(
    ("start", "life"), [(timedelta(days=-9), timedelta(days=8)), (timedelta(days=1), timedelta(days=8))]
)
def test_check_8_a_signer_whose_certificate_is_expired_or_not_yet_valid_is_refused(
    start: timedelta, life: timedelta
) -> None:
    device = requesting(Kind.SIGNATURE)
    change = signed_by(device.ca, CMC_RA, not_before=NOW + start, not_after=NOW + start + life)
    assert "clock" in refused(device, UntrustedPath, change).remedy


def test_check_8_a_signer_with_a_weak_certificate_is_refused() -> None:
    device = requesting(Kind.SIGNATURE, key=KeyKind.RSA_2048)
    assert "sha1" in str(refused(device, UntrustedPath, signed_by(device.ca, CMC_RA, scheme="rsa-pkcs1-sha1")))


def test_check_8_a_signer_certified_by_another_device_is_refused() -> None:
    device = requesting(Kind.SIGNATURE)
    change = signed_by(device.ca, CMC_RA, issuer=device.ca.pki.bystander)
    assert "is not a CA" in str(refused(device, UntrustedPath, change))


@WITH_EITHER_PROTECTION
def test_check_8_the_operators_ra_is_refused_where_another_sender_or_a_pin_is_configured(kind: Kind) -> None:
    ca = lab()
    for rules in (
        {"expected_sender": names.name_from_text("CN=Another RA,O=Operator")},
        {"pins": frozenset({bytes(32)})},
    ):
        device = Device(ca, by=originator(ca, kind), rules=rules)
        if kind is Kind.SIGNATURE:
            device.refuses(UntrustedPeer)
        else:  # the secret proves the CA, whatever it is called
            assert isinstance(device.exchange(), Issued)


# --- 9: nonces --------------------------------------------------------------------------------------------------------


@AT_SOME_STAGES
def test_check_9_an_answer_to_something_else_is_refused(name: str, kind: Kind) -> None:
    device = STAGES[name](kind)
    device.ca.misbehave(Misbehaviour.WRONG_RECIP_NONCE, times=1)
    assert "recipNonce" in str(device.refuses(ProtocolViolation))


@AT_SOME_STAGES
def test_check_9_an_answer_without_recip_nonce_is_refused(name: str, kind: Kind) -> None:
    device = STAGES[name](kind)
    device.ca.misbehave(Misbehaviour.NO_RECIP_NONCE, times=1)
    assert "recipNonce" in str(device.refuses(ProtocolViolation))


@AT_SOME_STAGES
def test_check_9_an_answer_without_sender_nonce_is_refused(name: str, kind: Kind) -> None:
    device = STAGES[name](kind)
    device.ca.misbehave(Misbehaviour.NO_SENDER_NONCE, times=1)
    error = device.refuses(ProtocolViolation)
    assert "senderNonce" in str(error)
    assert "missing-sender-nonce" in error.remedy


@pytest.mark.parametrize("nonce", [b"", bytes(15)])
@AT_EVERY_STAGE
def test_check_9_a_sender_nonce_that_is_too_short_is_refused(name: str, kind: Kind, nonce: bytes) -> None:
    refused_at(name, kind, ProtocolViolation, lambda ca: rewritten(ca, sender_nonce=nonce))


def test_check_9_a_missing_sender_nonce_is_borne_with_the_quirk_and_remarked() -> None:
    ca = lab()
    device = Device(ca, rules={"quirks": frozenset({"missing-sender-nonce"})})
    event = device.exchange(rewritten(ca, sender_nonce=None))
    assert any("missing-sender-nonce" in note for note in event.notes)
    assert messages.parse(device.send()).header.recip_nonce is None


@pytest.mark.parametrize("nonce", list(Nonce))
def test_check_9_a_pollrep_must_answer_the_pollreq_itself(nonce: Nonce) -> None:
    device = Device(lab(polls=3, nonce_after_polling=nonce))
    device.exchange()
    first = messages.parse(device.sent[0]).header.sender_nonce
    refused(device, ProtocolViolation, rewritten(device.ca, recip_nonce=first))


def test_check_9_the_nonce_of_a_poll_before_the_last_is_refused() -> None:
    device = Device(lab(polls=1))
    device.exchange()
    device.exchange()
    second = messages.parse(device.sent[1]).header.sender_nonce
    refused(device, ProtocolViolation, rewritten(device.ca, recip_nonce=second))


@pytest.mark.parametrize("stage", ["request", "certConf"])
def test_check_9_the_first_waiting_replayed_to_a_poll_is_refused(stage: str) -> None:
    device = Device(lab(polls=2, delayed=frozenset({BodyType.IR if stage == "request" else BodyType.CERTCONF})))
    device.run(until=State.WAITING if stage == "request" else State.CONFIRM_WAITING)
    waiting = device.ca.record().messages[-1].octets
    true_answer = device.ca.answer(device.send(), device.now)
    assert "recipNonce" in str(device.refuses_octets(ProtocolViolation, waiting))
    goes_on(device, true_answer)


# --- 10: time ---------------------------------------------------------------------------------------------------------


@AT_EVERY_STAGE
def test_check_10_a_clock_that_is_off_is_remarked_and_costs_nothing(name: str, kind: Kind) -> None:
    moment = awaiting(name, kind)
    device = moment.again()
    event = device.hear(rewritten(device.ca, message_time=device.now - timedelta(minutes=6))(moment.answer))
    assert event.notes[0].startswith("the CA's clock says 2027-03-01 11:5")


@pytest.mark.parametrize("time", [None, NOW - timedelta(minutes=5), NOW + timedelta(minutes=5)])
def test_check_10_no_time_or_a_little_difference_is_not_worth_a_word(time: Any) -> None:
    device = Device(lab())
    assert device.exchange(rewritten(device.ca, message_time=time)).notes == ()


def test_check_10_a_clock_that_is_not_trusted_is_not_compared() -> None:
    device = Device(lab(), clock_trusted=False, expected={"clock_trusted": False})
    assert device.exchange(rewritten(device.ca, message_time=NOW + timedelta(days=900))).notes == ()


# --- 11: status -------------------------------------------------------------------------------------------------------


def answered(ca: LabCa, *, certificate: bool = True, **response: Any) -> Change:
    """Return a change to the one CertResponse: its status, and whether it still brings its certificate."""

    def body(before: CertRepMessage) -> CertRepMessage:
        old = before.responses[0]
        kept = old.certificate if certificate else None
        return replace(before, responses=(replace(old, **{"certificate": kept, **response}),))

    return rewritten(ca, body=body)


_ENCRYPTED_VALUE: Final = der.wrap(der.SEQUENCE, b"\x03\x02\x00\x00")


def status(number: int, *failures: int) -> StatusInfo:
    return StatusInfo(status=number, failures=frozenset(failures))


@pytest.mark.parametrize("stage", ["ip", "cp", "ip after polling", "kup"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": status(0), "certificate": False}, "brings none that we could read"),
        ({"status": status(1), "certificate": False}, "brings none that we could read"),
        ({"status": status(0, 2)}, "grants the certificate and names a failure"),
        ({"status": status(1, 2)}, "grants the certificate and names a failure"),
        ({"status": status(2, 2)}, "says no, or not yet, and brings a certificate"),
        ({"status": status(3)}, "says no, or not yet, and brings a certificate"),
        ({"status": status(3, 2), "certificate": False}, "says not yet, and names a failure"),
        ({"status": status(4)}, "does not answer a certificate request"),
        ({"status": status(5)}, "does not answer a certificate request"),
        ({"status": status(6)}, "was renewed already"),
        ({"status": status(6), "certificate": False}, "was renewed already"),
        ({"status": status(7)}, "unknown status 7"),
        ({"status": status(-1)}, "unknown status -1"),
        ({"status": status(2**40)}, "unknown status"),
        (
            {"status": status(0), "certificate": False, "encrypted_certificate": _ENCRYPTED_VALUE},
            "brings none that we could read",
        ),
        ({"status": status(2), "certificate": False, "encrypted_certificate": _ENCRYPTED_VALUE}, "says no"),
    ],
    ids=str,
)
def test_check_11_a_status_that_contradicts_what_came_with_it_is_refused(
    stage: str, change: dict[str, Any], words: str
) -> None:
    error = refused_at(stage, Kind.SIGNATURE, ProtocolViolation, lambda ca: answered(ca, **change))
    assert words in str(error)


def test_check_11_a_private_key_nobody_asked_for_is_refused() -> None:
    device = Device(lab())
    error = refused(device, ProtocolViolation, answered(device.ca, private_key=_ENCRYPTED_VALUE))
    assert "we have our own" in str(error)


@pytest.mark.parametrize("count", [0, 2])
def test_check_11_any_number_of_responses_but_one_is_refused(count: int) -> None:
    device = Device(lab())
    change = rewritten(device.ca, body=lambda body: replace(body, responses=body.responses * count))
    assert f"{count} responses" in str(refused(device, ProtocolViolation, change))


@pytest.mark.parametrize("number", [0, 1])
def test_check_11_an_error_that_reports_success_is_refused(number: int) -> None:
    for name in ("ip", "pollRep", "pkiconf", "pkiconf to a refusal", "genp"):
        device = STAGES[name](Kind.MAC)
        change = rewritten(device.ca, body=ErrorMessage(status(number)))
        assert "reports success" in str(refused(device, ProtocolViolation, change))


@pytest.mark.parametrize("number", [2, 4, 5, 6, 7])
@AT_EVERY_STAGE
def test_check_11_any_other_error_ends_the_transaction_and_brings_nothing(name: str, kind: Kind, number: int) -> None:
    moment = awaiting(name, kind)
    device = moment.again()
    error = ErrorMessage(status(number, PKIFailureInfo.BAD_REQUEST))
    event = device.hear(rewritten(device.ca, body=error)(moment.answer))
    assert isinstance(event, Declined)
    assert device.state in ENDED - {State.CONFIRMED, State.ANSWERED}


@pytest.mark.parametrize("count", [0, 2])
def test_check_11_any_number_of_revocation_statuses_but_one_is_refused(count: int) -> None:
    device = revocation(enrolled(lab()))
    change = rewritten(device.ca, body=lambda body: replace(body, statuses=body.statuses * count))
    assert f"{count} statuses" in str(refused(device, ProtocolViolation, change))


@pytest.mark.parametrize("what", ["serial number", "issuer", "two"])
def test_check_11_the_revocation_of_another_certificate_is_no_answer(what: str) -> None:
    device = revocation(enrolled(lab()))

    def body(before: RevRep) -> RevRep:
        (ours,) = before.certificates
        other = {
            "serial number": (replace(ours, serial_number=ours.serial_number + 1),),
            "issuer": (replace(ours, issuer=names.directory_name(names.common_name("Another CA"))),),
            "two": (ours, ours),
        }
        return replace(before, certificates=other[what])

    change: Callable[[bytes], bytes] = rewritten(device.ca, body=body)
    assert "another certificate" in str(refused(device, ProtocolViolation, change))


# --- 12: numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [-2, 1, 7, 2**31])
@pytest.mark.parametrize("stage", ["ip", "cp", "kup", "ip waiting", "pollRep", "ip after polling"])
def test_check_12_an_answer_to_another_request_is_refused(stage: str, number: int) -> None:
    device = STAGES[stage](Kind.SIGNATURE)
    device.ca.misbehave(Misbehaviour.WRONG_CERT_REQ_ID, number, times=1)
    error = device.refuses(ProtocolViolation)
    assert "request" in str(error)


def test_check_12_minus_one_is_the_number_of_a_pkcs10_request_alone() -> None:
    for number in (-1, 0):
        device = Device(lab(p10cr_cert_req_id=number), BodyType.P10CR)
        device.run()
        assert device.confirmation.cert_req_id == number
        assert device.state is State.CONFIRMED
    device = Device(lab())
    device.ca.misbehave(Misbehaviour.WRONG_CERT_REQ_ID, -1)
    device.refuses(ProtocolViolation)


def saying(status: StatusInfo, number: int) -> Callable[[CertRepMessage], CertRepMessage]:
    """Return a change to a certificate response: this status, without a certificate, for the request ``number``."""
    return lambda body: replace(body, responses=(CertResponse(cert_req_id=number, status=status),), ca_pubs=())


@pytest.mark.parametrize("stage", ["ip", "cp", "kup", "ip waiting", "ip after polling"])
def test_check_12_a_rejection_without_the_number_of_the_request_is_the_ca_s_no(stage: str) -> None:
    device = STAGES[stage](Kind.SIGNATURE)
    no = StatusInfo(
        status=PKIStatus.REJECTION, text=("not before Monday",), failures=frozenset({PKIFailureInfo.NOT_AUTHORIZED})
    )
    declined = device.exchange(rewritten(device.ca, body=saying(no, -1)))
    assert isinstance(declined, Declined)
    assert declined.text == "not before Monday"
    assert declined.failures == frozenset({int(PKIFailureInfo.NOT_AUTHORIZED)})
    assert device.state is State.REJECTED


@pytest.mark.parametrize("stage", ["ip", "kup", "ip waiting"])
@pytest.mark.parametrize(("status", "number"), [(PKIStatus.REJECTION, 7), (PKIStatus.WAITING, -1)])
def test_check_12_no_other_number_and_nothing_but_a_rejection_passes_so(
    stage: str, status: PKIStatus, number: int
) -> None:
    device = STAGES[stage](Kind.SIGNATURE)
    change = rewritten(device.ca, body=saying(StatusInfo(status=status), number))
    assert f"the request number {number}" in str(refused(device, ProtocolViolation, change))


@pytest.mark.parametrize("count", [0, 2])
def test_check_12_a_pollrep_about_several_requests_or_none_is_refused(count: int) -> None:
    device = STAGES["pollRep"](Kind.MAC)
    change = rewritten(device.ca, body=lambda body: PollResponse(body.polls * count))
    assert "not about our request" in str(refused(device, ProtocolViolation, change))


def test_the_true_answer_after_a_refused_one_ends_well() -> None:
    device = Device(lab())
    assert isinstance(device.exchange(), Issued)
    true_answer = device.ca.answer(device.send(), NOW)
    device.refuses_octets(WrongMac, true_answer[:-1] + bytes((true_answer[-1] ^ 1,)))
    assert isinstance(device.hear(true_answer), Concluded)
    assert not any(isinstance(event, Undecided) for event in device.events)
