"""The pitfalls of docs/conformance.md, by number: what clients of CMP fell for, tried on ours."""

from __future__ import annotations

import hashlib
import json
import math
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from agent.cmp import algorithms, der, messages, names
from agent.cmp.bodies import (
    CertRepMessage,
    ErrorMessage,
    PollResponse,
    StatusInfo,
    Unread,
)
from agent.cmp.certificates import MODERN, Facts, signature_verifies
from agent.cmp.errors import (
    LocalError,
    MalformedMessage,
    ProtectionError,
    ProtocolViolation,
    Rejected,
    RemoteError,
    UntrustedPeer,
    WrongMac,
)
from agent.cmp.events import Concluded, Declined, Issued, Unacceptable, Undecided
from agent.cmp.failures import TEXT_LIMIT, PKIFailureInfo, PKIStatus
from agent.cmp.messages import BodyType
from agent.cmp.protection import Kind, MacParameters, MacProtector, ProtectionRules, SignatureProtector
from agent.cmp.request import by_secret
from agent.cmp.states import State
from agent.cmp.terms import Learning, Source
from agent.cmp.trust import MAXIMUM_CHECKS_IN_ALL, UntrustedPath
from agent.labca import LabCa, Misbehaviour, certificates
from agent.labca.certificates import CMC_RA, Credential, Plan
from agent.labca.encoding import Extension
from agent.labca.keys import KeyKind, LabKey
from agent.labca.records import CertificateStatus
from tests.unit.cmp.device import (
    NOW,
    PBM,
    PBMAC1,
    REFERENCE,
    SECRET,
    Device,
    by_vendor,
    enrolled,
    lab,
    rewritten,
)
from tests.unit.cmp.stages import (
    AT_EVERY_STAGE,
    AT_SOME_STAGES,
    STAGES,
    WITH_EITHER_PROTECTION,
    awaiting,
    refused_at,
    requesting,
    signer,
)

_QUICK: Final = 1.0
"""Seconds in which every answer is judged, however hostile. Those of this process count, not those of others."""


def quickly(judge: Callable[[], Any]) -> Any:
    """Return what ``judge`` returns, which must not take long."""
    began = time.process_time()
    result = judge()
    assert time.process_time() - began < _QUICK
    return result


@AT_SOME_STAGES
def test_pitfall_1_another_device_of_the_operator_cannot_pose_as_the_ra(name: str, kind: Kind) -> None:
    device = STAGES[name](kind)
    device.ca.misbehave(Misbehaviour.UNAUTHORISED_SIGNER, times=1)
    if device.signs:
        assert "may not answer for the CA" in str(device.refuses(UntrustedPeer))
    else:
        device.refuses(ProtectionError)


def with_ca_pubs(*certificates: bytes) -> Callable[[CertRepMessage], CertRepMessage]:
    return lambda body: replace(body, ca_pubs=certificates)


def test_pitfall_2_roots_in_a_signed_answer_are_not_trusted() -> None:
    ca, stranger = lab(), lab()
    device = Device(ca, by=by_vendor(ca), learning=Learning(Source.CA_PUBS))
    issued = device.exchange(rewritten(ca, body=with_ca_pubs(stranger.pki.root.certificate)))
    assert isinstance(issued, Issued)
    assert issued.anchors == (ca.pki.root.certificate,)
    assert device.transaction.snapshot()["learned"] == []


def test_pitfall_2_a_certificate_under_a_root_that_only_a_signed_answer_brought_is_refused() -> None:
    ca = lab()
    device = Device(ca, by=by_vendor(ca), learning=Learning(Source.CA_PUBS))
    ca.misbehave(Misbehaviour.UNKNOWN_ISSUER)
    device.exchange(rewritten(ca, body=with_ca_pubs(ca.pki.other_root.certificate)))
    device.refuses_certificate("chain", PKIFailureInfo.SIGNER_NOT_TRUSTED)


def test_pitfall_3_roots_in_a_mac_protected_answer_are_trusted_only_if_that_is_wanted() -> None:
    ca = lab()
    device = Device(ca, rules={"anchors": ()}, learning=None)
    device.refuses_certificate("chain", PKIFailureInfo.SIGNER_NOT_TRUSTED)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Misbehaviour.WRONG_TRANSACTION_ID, ProtocolViolation),
        (Misbehaviour.WRONG_RECIP_NONCE, ProtocolViolation),
        (Misbehaviour.NO_SENDER_NONCE, ProtocolViolation),
        (Misbehaviour.BAD_PROTECTION, WrongMac),
        (Misbehaviour.UNPROTECTED, ProtectionError),
        (Misbehaviour.WRONG_CERT_REQ_ID, ProtocolViolation),
    ],
)
def test_pitfall_3_roots_are_learned_after_every_other_check_and_not_before(
    fault: Misbehaviour, error: type[ProtocolViolation | ProtectionError]
) -> None:
    ca = lab()
    device = Device(ca, rules={"anchors": ()}, learning=Learning(Source.CA_PUBS))
    ca.misbehave(fault)
    device.refuses(error)
    assert device.transaction.snapshot()["learned"] == []


def test_pitfall_3_only_self_signed_ca_certificates_become_anchors() -> None:
    ca = lab()
    pki = ca.pki
    not_a_ca = Credential(certificates.sign(plan(ca, pki.root.subject), None, pki.root.key), pki.root.key)
    forged = Credential(
        certificates.sign(authority_plan(pki.root.subject, pki.root.key), None, LabKey.generate()), pki.root.key
    )
    device = Device(ca, rules={"anchors": ()}, learning=Learning(Source.CA_PUBS))
    offered = (
        pki.issuing.certificate,
        pki.ra.certificate,
        not_a_ca.certificate,
        forged.certificate,
        b"\x30\x00",
        pki.root.certificate,
    )
    issued = device.exchange(rewritten(ca, body=with_ca_pubs(*offered)))
    assert isinstance(issued, Issued)
    assert issued.anchors == (pki.root.certificate,)


def plan(ca: LabCa, subject: bytes) -> Plan:
    return certificates.plan_for(subject, ca.pki.root.key, NOW, timedelta(days=1), certificates.end_entity_extensions())


def authority_plan(subject: bytes, key: LabKey) -> Plan:
    return certificates.plan_for(subject, key, NOW, timedelta(days=1), certificates.authority_extensions())


def test_pitfall_3_a_key_update_teaches_no_anchors() -> None:
    ca, stranger = lab(), lab()
    first = enrolled(ca)
    device = Device(
        ca,
        BodyType.KUR,
        old=first.credential(),
        by=by_secret(REFERENCE, SECRET, PBM),
        learning=Learning(Source.CA_PUBS),
    )
    issued = device.exchange(rewritten(ca, body=with_ca_pubs(stranger.pki.root.certificate)))
    assert isinstance(issued, Issued)
    assert issued.anchors == (ca.pki.root.certificate,)


@WITH_EITHER_PROTECTION
def test_pitfall_4_a_root_among_extra_certs_is_not_trusted(kind: Kind) -> None:
    device = requesting(kind)
    ca = device.ca
    ca.misbehave(Misbehaviour.UNKNOWN_ISSUER)
    roots = (ca.pki.other_root.certificate,)
    device.exchange(lambda octets: rewritten(ca, extra_certs=(*messages.parse(octets).extra_certs, *roots))(octets))
    device.refuses_certificate("chain", PKIFailureInfo.SIGNER_NOT_TRUSTED)


def test_pitfall_4_a_signer_who_brings_his_own_root_is_refused() -> None:
    device = requesting(Kind.SIGNATURE)
    other = device.ca.pki.other_ra
    change = rewritten(
        device.ca,
        protector=SignatureProtector(other.key),
        sender=names.directory_name(other.subject),
        sender_kid=other.key_identifier,
        extra_certs=(other.certificate, device.ca.pki.other_root.certificate),
    )
    error = device.refuses(UntrustedPath, change)
    assert "was sent along but is not among the trust anchors" in str(error)


@AT_EVERY_STAGE
def test_pitfall_5_a_no_without_protection_is_shown_and_does_nothing(name: str, kind: Kind) -> None:
    moment = awaiting(name, kind)
    device, message = moment.again(), messages.parse(moment.answer)
    status = StatusInfo(status=PKIStatus.REJECTION, text=("go away",), failures=frozenset({PKIFailureInfo.BAD_REQUEST}))
    header = replace(message.header, protection_alg=None)
    bare = messages.build(header, ErrorMessage(status), extra_certs=message.extra_certs)
    error = device.refuses_octets(ProtectionError, bare)
    assert 'it says: "go away"' in error.hint
    assert error.claimed == {PKIFailureInfo.BAD_REQUEST}
    invalid = messages.build(
        message.header, ErrorMessage(status), protect=lambda _: bytes(64), extra_certs=message.extra_certs
    )
    error = device.refuses_octets(WrongMac if not device.signs else ProtectionError, invalid)
    assert 'it says: "go away"' in error.hint


@pytest.mark.parametrize("fault", [Misbehaviour.UNPROTECTED, Misbehaviour.BAD_PROTECTION])
@WITH_EITHER_PROTECTION
def test_pitfall_5_a_pkiconf_without_good_protection_confirms_nothing(kind: Kind, fault: Misbehaviour) -> None:
    device = requesting(kind)
    device.exchange()
    device.ca.misbehave(fault, times=1)
    wrong = fault is Misbehaviour.BAD_PROTECTION and not device.signs
    device.refuses(WrongMac if wrong else ProtectionError)
    device.exchange()
    assert device.state is State.CONFIRMED
    assert device.sent[-1] == device.sent[-2]


@pytest.mark.parametrize("stage", ["ip", "pollRep", "pkiconf"])
def test_pitfall_6_a_transaction_keeps_to_one_kind_of_protection(stage: str) -> None:
    ca = lab(polls=2 if stage == "pollRep" else 0)
    device = Device(ca)
    if stage != "ip":
        device.exchange()
    signed = rewritten(
        ca,
        protector=SignatureProtector(ca.pki.ra.key),
        sender=names.directory_name(ca.pki.ra.subject),
        sender_kid=ca.pki.ra.key_identifier,
        extra_certs=(ca.pki.ra.certificate, *ca.pki.chain),
    )
    error = device.refuses(ProtectionError, signed)
    assert "protected by MAC, the answer" in str(error)


@pytest.mark.parametrize(
    ("protector", "kind"),
    [
        (lambda _: MacProtector(SECRET, replace(PBM, one_way_function="md5")), Kind.MAC),
        (lambda _: MacProtector(SECRET, replace(PBM, one_way_function="sha1")), Kind.MAC),
        (lambda _: MacProtector(SECRET, replace(PBM, mac="hmac-sha1")), Kind.MAC),
        (lambda _: MacProtector(SECRET, replace(PBM, mac="hmac-sha1-ietf")), Kind.MAC),
        (lambda _: MacProtector(SECRET, replace(PBMAC1, one_way_function="sha1")), Kind.MAC),
        (lambda ca: SignatureProtector(weak(ca.pki.ra.key, "rsa-pkcs1-sha1")), Kind.SIGNATURE),
        (lambda ca: SignatureProtector(weak(ca.pki.ra.key, "rsa-pkcs1-md5")), Kind.SIGNATURE),
    ],
    ids=["PBM-md5", "PBM-sha1", "hmac-sha1", "hmac-sha1-ietf", "PBMAC1-sha1", "rsa-sha1", "rsa-md5"],
)
def test_pitfall_7_an_answer_cannot_choose_a_weaker_algorithm_than_the_profile_allows(
    protector: Callable[[LabCa], MacProtector | SignatureProtector], kind: Kind
) -> None:
    ca = lab(key=KeyKind.RSA_2048)
    device = Device(
        ca,
        by=by_vendor(ca) if kind is Kind.SIGNATURE else None,
        rules={"protection": ProtectionRules(legacy_mac=False)},
    )
    error = device.refuses(ProtectionError, rewritten(ca, protector=protector(ca)))
    assert "an algorithm that is not accepted here" in str(error)
    assert "RFC 9481" in error.remedy


def weak(key: LabKey, scheme: str) -> LabKey:
    other = LabKey(key.private)
    other.schemes = (scheme,)
    return other


@pytest.mark.parametrize("kind", [KeyKind.RSA_2048, KeyKind.ED25519])
def test_pitfall_8_a_certificate_for_another_key_is_refused_whatever_kind_of_key_was_asked_for(kind: KeyKind) -> None:
    ca = lab()
    device = Device(ca, key=LabKey.generate(kind))
    ca.misbehave(Misbehaviour.WRONG_KEY)
    device.refuses_certificate("public-key", PKIFailureInfo.INCORRECT_DATA)


def test_pitfall_9_what_the_ca_changed_is_compared_field_by_field() -> None:
    def with_mods(body: CertRepMessage) -> CertRepMessage:
        (one,) = body.responses
        return replace(body, responses=(replace(one, status=StatusInfo(status=PKIStatus.GRANTED_WITH_MODS)),))

    for fault, check, failure in (
        (Misbehaviour.WRONG_KEY, "public-key", PKIFailureInfo.INCORRECT_DATA),
        (Misbehaviour.WRONG_SUBJECT, "subject", PKIFailureInfo.INCORRECT_DATA),
        (Misbehaviour.WRONG_ALTERNATIVE_NAME, "alternative-names", PKIFailureInfo.INCORRECT_DATA),
        (Misbehaviour.CA_CERTIFICATE, "not-a-ca", PKIFailureInfo.UNACCEPTED_EXTENSION),
        (Misbehaviour.EXPIRED, "validity", PKIFailureInfo.BAD_TIME),
    ):
        device = Device(lab())
        device.ca.misbehave(fault)
        device.exchange(rewritten(device.ca, body=with_mods))
        assert "the CA said that it changed the request" in device.refuses_certificate(check, failure).text


def test_pitfall_10_a_certificate_is_always_validated_up_to_an_anchor_of_the_operator() -> None:
    device = Device(lab(), rules={"anchors": ()})
    objection = device.refuses_certificate("chain", PKIFailureInfo.SIGNER_NOT_TRUSTED)
    assert "no trust anchor is configured" in objection.text
    assert "trust-anchors" in objection.remedy


def test_pitfall_11_every_transaction_and_every_message_has_fresh_octets_of_its_own() -> None:
    ca = lab(polls=3)
    devices = [enrolled(ca) for _ in range(3)]
    headers = [messages.parse(octets).header for device in devices for octets in device.sent]
    assert len({header.transaction_id for header in headers}) == 3
    assert len({header.sender_nonce for header in headers}) == len(headers) == 18
    assert {len(header.sender_nonce or b"") for header in headers} == {16}


def test_pitfall_11_without_randomness_nothing_is_sent() -> None:
    device = Device(lab())

    def broken(_: int) -> bytes:
        raise OSError("no entropy")

    device.transaction._random = broken
    before = device.transaction.snapshot()
    with pytest.raises(OSError, match="no entropy"):
        device.send()
    assert device.transaction.snapshot() == before
    device.transaction._random = lambda _: b""
    with pytest.raises(LocalError):
        device.send()


def test_pitfall_12_old_answers_are_no_answers() -> None:
    ca = lab(polls=2)
    before = enrolled(ca)
    device = Device(ca)
    old = [one.octets for one in ca.record().messages if one.sent]
    while device.state not in {State.CONFIRMED, State.REJECTED}:
        true_answer = ca.answer(device.send(), device.now)
        for octets in old:
            device.refuses_octets(ProtocolViolation, octets)
        old.append(true_answer)
        device.hear(true_answer)
    assert device.state is before.state is State.CONFIRMED


@WITH_EITHER_PROTECTION
def test_pitfall_13_the_time_in_a_message_nobody_vouches_for_is_not_even_remarked(kind: Kind) -> None:
    device = requesting(kind)
    wild = rewritten(device.ca, message_time=NOW + timedelta(days=9999))
    device.refuses(ProtectionError if device.signs else WrongMac, lambda octets: flipped(wild(octets)))
    assert device.events == []


def flipped(octets: bytes) -> bytes:
    """Return a message with the last bit of its protection flipped."""
    message = messages.parse(octets)
    at = octets.rindex(message.protection or b"?") + len(message.protection or b"") - 1
    return octets[:at] + bytes((octets[at] ^ 1,)) + octets[at + 1 :]


@pytest.mark.parametrize("count", [0, 1, 99, 1_000_001, 2**31 - 1, 2**62])
def test_pitfall_14_an_iteration_count_out_of_bounds_is_refused_before_anything_is_hashed(count: int) -> None:
    ca = lab()
    ca.misbehave(Misbehaviour.HUGE_ITERATIONS, count)
    error = quickly(lambda: Device(ca).refuses(ProtectionError))
    assert f"{count} iterations" in str(error)


@pytest.mark.parametrize("count", [1, 99, 1_000_001, 2**31])
def test_pitfall_14_the_same_holds_for_pbmac1(count: int) -> None:
    class Costly:
        kind = Kind.MAC
        algorithm = MacProtector(SECRET, replace(PBMAC1, iterations=count)).algorithm

        def protect(self, _: bytes) -> bytes:
            return bytes(32)

    device = Device(lab(), by=by_secret(REFERENCE, SECRET, PBMAC1))
    error = quickly(lambda: device.refuses(ProtectionError, rewritten(device.ca, protector=Costly())))
    assert f"{count} iterations" in str(error)


def test_pitfall_15_the_secrets_the_lab_ca_makes_cannot_be_guessed() -> None:
    ca = lab()
    made = {ca.secret(f"device-{number}") for number in range(50)}
    assert len(made) == 50
    assert all(len(secret) * math.log2(64) >= 128 for secret in made)


def test_pitfall_16_bombs_are_refused_quickly() -> None:
    device = Device(lab())
    device.send()
    deep = b"\x30\x80" * 300_000
    wide = der.wrap(der.SEQUENCE, b"\x05\x00" * 500_000)
    number = der.wrap(der.SEQUENCE, der.wrap(der.INTEGER, b"\x7f" + bytes(1_000_000)))
    tag = der.wrap(der.SEQUENCE, b"\x1f" + b"\xff" * 1_000_000 + b"\x00\x00")
    for bomb in (deep, wide, number, tag, bytes(2_000_000)):
        quickly(lambda bomb=bomb: device.refuses_octets(MalformedMessage, bomb))  # type: ignore[misc]


def test_pitfall_17_certificates_anybody_can_add_neither_hide_the_signer_nor_cost_time() -> None:
    """Forged ones with the RA's name, key and key identifier, and with the names of its issuers, come first."""
    device = requesting(Kind.SIGNATURE)
    ca = device.ca
    forger = LabKey.generate()

    def flood(octets: bytes) -> bytes:
        forged = [
            signer(ca, ca.pki.ra.subject, CMC_RA, key=ca.pki.ra.key, issuer=Credential(issuing, forger)).certificate
            for issuing in (forged_authority(ca, forger) for _ in range(14))
        ]
        authorities = [forged_authority(ca, LabKey.generate()) for _ in range(14)]
        true_ones = messages.parse(octets).extra_certs
        return rewritten(ca, extra_certs=(*forged, *authorities, *true_ones)[:32])(octets)

    for _ in range(2):
        octets = flood(ca.answer(device.send(), device.now))
        quickly(lambda octets=octets: device.hear(octets))  # type: ignore[misc]
    assert device.state is State.CONFIRMED


def test_pitfall_17_keys_that_are_dear_to_verify_with_are_not_used() -> None:
    """RSA allows an exponent as long as the modulus; a flood of certificates with it took seconds."""
    device = requesting(Kind.SIGNATURE)
    ca, forger = device.ca, LabKey(slow_key())
    authorities = [forged_authority(ca, forger) for _ in range(14)]
    forged = [
        signer(ca, ca.pki.ra.subject, CMC_RA, key=forger, issuer=Credential(one, forger)).certificate
        for one in authorities
    ]

    flood = rewritten(ca, extra_certs=(*forged, *authorities), protector=SignatureProtector(forger), sender_kid=None)
    octets = flood(ca.answer(device.send(), device.now))

    def judge() -> None:
        with pytest.raises(RemoteError):
            device.hear(octets)

    quickly(judge)


def test_pitfall_17_the_checks_for_one_answer_are_bounded_however_many_might_have_signed_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each forged signer has a mesh of authorities above it, all of the same name, each signed by all the others."""
    device = requesting(Kind.SIGNATURE)
    ca = device.ca
    keys = [LabKey.generate() for _ in range(4)]
    mesh = [
        certificates.sign(authority_plan(ca.pki.issuing.subject, below), Credential(forged_authority(ca, above), above))
        for below in keys
        for above in keys
        if below is not above
    ]
    forged = [
        signer(ca, ca.pki.ra.subject, CMC_RA, key=ca.pki.ra.key, issuer=Credential(mesh[0], keys[0])).certificate
        for _ in range(20)
    ]
    true_answer = ca.answer(device.send(), device.now)
    checks: list[str] = []

    def counted(facts: Facts, issuer: Facts) -> bool:
        checks.append(facts.who)
        return signature_verifies(facts, issuer)

    monkeypatch.setattr("agent.cmp.trust.signature_verifies", counted)
    flood = rewritten(ca, extra_certs=(*forged, *mesh))(true_answer)
    error = quickly(lambda: device.refuses_octets(UntrustedPath, flood))
    assert len(checks) == MAXIMUM_CHECKS_IN_ALL
    assert "within 512 signature checks for the answer: too many certificates" in str(error)
    assert "see what lies between here and the CA" in error.remedy
    device.hear(true_answer)
    device.run()
    assert device.state is State.CONFIRMED


def slow_key() -> rsa.RSAPrivateKey:
    """Return an RSA key with a public exponent of 3072 bits."""
    numbers = rsa.generate_private_key(65537, 3072).private_numbers()
    p, q = numbers.p, numbers.q
    order = (p - 1) * (q - 1)
    d = next(one for one in range(1 << 3000 | 1, 1 << 3001, 2) if math.gcd(one, order) == 1)
    e = pow(d, -1, order)
    public = rsa.RSAPublicNumbers(e, p * q)
    return rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), public
    ).private_key()


def forged_authority(ca: LabCa, key: LabKey) -> bytes:
    """Return a certificate with the name of the issuing CA, for ``key``, that the root did not sign."""
    return certificates.sign(authority_plan(ca.pki.issuing.subject, key), Credential(ca.pki.root.certificate, key))


def test_pitfall_17_what_was_proven_is_not_pushed_out_by_what_anybody_can_add() -> None:
    ca = lab(polls=3, repeat_extra_certs=False)
    device = Device(ca, by=by_vendor(ca))
    device.exchange()
    for _ in range(2):
        junk = tuple(forged_authority(ca, LabKey.generate()) for _ in range(32))
        device.exchange(rewritten(ca, extra_certs=junk))
    assert device.transaction.snapshot()["peer_certificates"][:2] == [
        ca.pki.ra.certificate.hex(),
        ca.pki.issuing.certificate.hex(),
    ]
    device.run()
    assert device.state is State.CONFIRMED


def test_pitfall_17_a_snapshot_stays_small_whatever_anybody_adds() -> None:
    """A snapshot that the store refuses to read again for its size would cost the transaction."""
    ca = lab(polls=6)
    device = Device(ca)
    device.exchange()
    for number in range(6):
        large = der.wrap(der.SEQUENCE, der.wrap(0x04, bytes((number,)) * 150_000))
        device.exchange(lambda octets, large=large: with_extra_certs(octets, large))  # type: ignore[misc]
    assert len(json.dumps(device.transaction.snapshot())) < 1_048_576
    device.run()
    assert device.state is State.CONFIRMED


def with_extra_certs(octets: bytes, *certificates: bytes) -> bytes:
    """Add certificates to a message on its way, before those that it has."""
    true_ones = messages.parse(octets).extra_certs
    listed = der.wrap(0xA1, der.wrap(der.SEQUENCE, *certificates, *true_ones))
    return der.wrap(der.SEQUENCE, *der.values(octets)[:3], listed)


def test_pitfall_18_weak_algorithms_are_refused_in_the_signers_certificate_and_in_ours() -> None:
    weak_rules = replace(MODERN, rsa_bits=3072)
    ca = lab(key=KeyKind.RSA_2048)
    device = Device(ca, by=by_vendor(ca), rules={"algorithms": weak_rules})
    assert "RSA key of 2048 bits, less than 3072" in str(device.refuses(UntrustedPath))
    device = Device(ca, expected={"rules": weak_rules})
    objection = device.refuses_certificate("chain", PKIFailureInfo.BAD_ALG)
    assert "RSA key of 2048 bits, less than 3072" in objection.text


def test_pitfall_19_addresses_in_certificates_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    ca = lab()
    url = der.wrap(0x86, b"http://127.0.0.1:9/attack")
    access = der.wrap(der.SEQUENCE, der.wrap(der.SEQUENCE, bytes.fromhex("06082b06010505073002"), url))
    point = der.wrap(der.SEQUENCE, der.wrap(der.SEQUENCE, der.wrap(0xA0, der.wrap(0xA0, url))))
    honest = ca._office.faults.certificate

    def with_addresses(request: BodyType, plan: Plan, pki: Any) -> tuple[Plan, Credential]:
        planned, issuer = honest(request, plan, pki)
        more = (
            Extension("1.3.6.1.5.5.7.1.1", critical=False, value=access),
            Extension("2.5.29.31", critical=False, value=point),
        )
        return replace(planned, extensions=(*planned.extensions, *more)), issuer

    def no_socket(*_: Any, **__: Any) -> None:
        raise AssertionError("somebody wants to talk")

    monkeypatch.setattr(ca._office.faults, "certificate", with_addresses)
    monkeypatch.setattr(socket, "socket", no_socket)
    monkeypatch.setattr(socket, "getaddrinfo", no_socket)
    device = Device(ca, by=by_vendor(ca))
    device.run()
    assert device.state is State.CONFIRMED


@pytest.mark.parametrize("lost", ["certConf", "pkiconf"])
def test_pitfall_20_a_lost_confirmation_is_made_good(lost: str) -> None:
    device = Device(lab())
    device.exchange()
    octets = device.send()
    if lost == "pkiconf":
        device.ca.answer(octets, device.now)
    device.restart()
    assert isinstance(device.exchange(), Concluded)
    assert device.sent[-1] == octets
    assert device.certificate.status is CertificateStatus.CONFIRMED


def test_pitfall_20_a_ca_that_is_out_of_order_does_not_cost_the_certificate() -> None:
    device = Device(lab())
    device.exchange()
    device.ca.misbehave(Misbehaviour.REJECT, "systemUnavail", on=BodyType.CERTCONF, times=1)
    octets = device.ca.answer(device.send(), device.now)
    error = device.refuses_octets(Rejected, octets)
    assert isinstance(error, Rejected)
    assert error.failures == ("systemUnavail",)
    assert error.hint == ""
    device.restart(now=NOW + timedelta(minutes=10))
    device.exchange()
    assert device.certificate.status is CertificateStatus.CONFIRMED


def test_pitfall_21_a_bad_certificate_that_needs_no_confirmation_is_dropped() -> None:
    device = Device(lab(implicit_confirm=True), implicit_confirmation=True)
    device.ca.misbehave(Misbehaviour.WRONG_KEY)
    event = device.exchange()
    assert isinstance(event, Unacceptable)
    device.restart()
    device.transaction.excuse()
    assert device.state is State.REFUSED
    with pytest.raises(LocalError):
        device.transaction.issued(NOW)


def test_pitfall_22_a_pinned_signer_still_needs_a_valid_certificate() -> None:
    ca = lab()
    pins = frozenset({hashlib.sha256(ca.pki.ra.key.public_key).digest()})
    device = Device(ca, by=by_vendor(ca), rules={"pins": pins})
    true_answer = ca.answer(device.send(), NOW)
    device.now = NOW + timedelta(days=3651)
    assert "expired" in str(device.refuses_octets(UntrustedPath, true_answer))
    device.now = NOW
    assert isinstance(device.hear(true_answer), Issued)


def test_pitfall_23_neither_secret_nor_private_key_is_in_anything_that_is_written() -> None:
    ca = lab()
    device = Device(ca)
    ca.misbehave(Misbehaviour.BAD_PROTECTION, times=1)
    error = device.refuses(WrongMac)
    private = f"{device.key.private.private_numbers().private_value:x}"
    written = "\n".join(
        (str(error), error.remedy, error.hint, json.dumps(device.transaction.snapshot()), repr(device.originator))
    )
    for secret in (SECRET.decode(), SECRET.hex(), private, repr(SECRET)):
        assert secret not in written


def test_pitfall_24_nothing_is_decrypted_for_anybody() -> None:
    device = Device(lab())
    true_answer = device.ca.answer(device.send(), NOW)
    challenge = rewritten(device.ca, body=Unread(BodyType.POPDECC, b"\x30\x00"))(true_answer)
    assert "cannot take popdecc" in str(device.refuses_octets(ProtocolViolation, challenge))
    encrypted = der.wrap(der.SEQUENCE, b"\x03\x02\x00\x00")

    def hidden(body: CertRepMessage) -> CertRepMessage:
        return replace(body, responses=(replace(body.responses[0], certificate=None, encrypted_certificate=encrypted),))

    device.refuses_octets(ProtocolViolation, rewritten(device.ca, body=hidden)(true_answer))
    assert isinstance(device.hear(true_answer), Issued)


_NASTY: Final = "one\ntwo\r\x1b[2J\x00\u202ethree\u2028" + "x" * 10_000


def harmless(text: str) -> None:
    assert text.isprintable()
    assert "\u202e" not in text
    assert len(text) < 3 * TEXT_LIMIT


@pytest.mark.parametrize("protected", [True, False])
def test_pitfall_25_the_words_of_a_peer_are_cleaned_and_cut(*, protected: bool) -> None:
    status = StatusInfo(status=PKIStatus.REJECTION, text=(_NASTY,) * 9, failures=frozenset({2}))
    device = Device(lab())
    change = rewritten(device.ca, body=ErrorMessage(status, 7, (_NASTY,) * 9))
    if protected:
        event = device.exchange(change)
        assert isinstance(event, Declined)
        harmless(event.text)
        assert event.text.startswith("one")
    else:
        error = device.refuses(WrongMac, lambda octets: flipped(change(octets)))
        harmless(error.hint)
        harmless(str(error))


def test_pitfall_25_words_while_waiting_and_names_in_certificates_are_cleaned_too() -> None:
    device = Device(lab(polls=2))
    device.exchange()

    def talkative(body: PollResponse) -> PollResponse:
        return PollResponse(tuple(replace(one, reason=(_NASTY,)) for one in body.polls))

    event = device.exchange(rewritten(device.ca, body=talkative))
    assert isinstance(event, Undecided)
    harmless(event.reason)
    other = requesting(Kind.SIGNATURE)
    liar = signer(other.ca, names.common_name("evil\n\x1b[31mname"))
    error = other.refuses(
        UntrustedPeer,
        rewritten(
            other.ca,
            protector=SignatureProtector(liar.key),
            sender=names.directory_name(liar.subject),
            sender_kid=liar.key_identifier,
            extra_certs=(liar.certificate, *liar.chain),
        ),
    )
    harmless(str(error))


@AT_EVERY_STAGE
def test_pitfall_26_a_message_that_only_another_encoding_makes_good_is_refused(name: str, kind: Kind) -> None:
    """The protection would verify if the parts were encoded again: that is what must not be done."""
    true_answer = awaiting(name, kind).answer
    outer = der.read(true_answer)
    header, body, *rest = der.values(true_answer)
    element = der.read(body)
    contents = body[element.contents :]
    long_form = bytes((body[0], 0x84)) + len(contents).to_bytes(4, "big") + contents
    indefinite = bytes((body[0], 0x80)) + contents + b"\x00\x00"
    for other in (long_form, indefinite):
        octets = der.wrap(true_answer[outer.start], header, other, *rest)
        refused_at(name, kind, MalformedMessage, lambda _, octets=octets: lambda _: octets)  # type: ignore[misc]


@pytest.mark.parametrize("seconds", [-1, -(2**40)])
def test_pitfall_27_a_time_before_now_is_refused(seconds: int) -> None:
    ca = lab(polls=2)
    device = Device(ca)
    device.exchange()
    ca.misbehave(Misbehaviour.CHECK_AFTER, seconds, times=1)
    assert f"come back in {seconds} seconds" in str(device.refuses(ProtocolViolation))


def test_pitfall_27_a_time_far_away_is_handed_on_as_it_is_for_the_caller_to_bound() -> None:
    ca = lab(polls=2)
    device = Device(ca)
    device.exchange()
    ca.misbehave(Misbehaviour.CHECK_AFTER, 2**31, times=1)
    event = device.exchange()
    assert isinstance(event, Undecided)
    assert event.check_after == 2**31
    assert device.transaction.check_at is None


def test_pitfall_27_a_number_of_a_thousand_digits_is_refused() -> None:
    device = Device(lab(polls=2))
    device.exchange()
    change = rewritten(
        device.ca, body=lambda body: PollResponse(tuple(replace(one, check_after=2**1000) for one in body.polls))
    )
    assert "where" in str(device.refuses(MalformedMessage, change))


@pytest.mark.parametrize(
    "parameters", [PBM, PBMAC1, replace(PBM, mac="hmac-sha512"), replace(PBMAC1, mac="hmac-sha384")], ids=str
)
def test_pitfall_28_pbmac1_is_a_mac_like_pbm(parameters: MacParameters) -> None:
    device = Device(lab(), by=by_secret(REFERENCE, SECRET, parameters))
    device.run()
    assert device.state is State.CONFIRMED


@pytest.mark.parametrize(
    "oid",
    [
        "1.2.840.113533.7.66.30",
        "1.2.840.113533.7.66.16",
        "1.2.840.113549.2.9",
        "2.16.840.1.101.3.4.2.19",
        "2.16.840.1.101.3.4.1.9",
    ],
)
def test_pitfall_28_a_mac_we_do_not_make_is_refused_as_a_mac_and_not_as_a_signature(oid: str) -> None:
    class Other:
        kind = Kind.MAC
        algorithm = algorithms.build_algorithm(oid)

        def protect(self, _: bytes) -> bytes:
            return bytes(32)

    device = Device(lab())
    error = device.refuses(ProtectionError, rewritten(device.ca, protector=Other()))
    assert f"MAC protection {oid}" in str(error)
