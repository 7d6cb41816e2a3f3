from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from agent.cmp import messages, names
from agent.cmp.bodies import CertConfirm, ErrorMessage, PollRequest, Unread
from agent.cmp.messages import NULL_DN, BodyType, Header
from agent.cmp.protection import (
    Kind,
    MacParameters,
    MacProtector,
    ProtectionRules,
    kind_of,
    verify_mac,
    verify_signature,
)
from agent.labca import LabCa, pki
from agent.labca.certificates import DIGITAL_SIGNATURE, KEY_USAGE, Credential, plan_for, sign
from agent.labca.encoding import Extension, named_bits
from agent.labca.keys import LabKey
from tests.unit.labca.entity import NOW, Entity, certificate_in, failures_in, lab, status_in

MAC = MacParameters(salt=b"0123456789abcdef", iterations=200)


def device(ca: LabCa, **changes: Any) -> Credential:
    return ca.make_device("enb-4711", now=NOW, **changes)


# --- header ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "failure"),
    [
        ({"pvno": 1}, "unsupportedVersion"),
        ({"pvno": 4}, "unsupportedVersion"),
        ({"transaction_id": None}, "badDataFormat"),
        ({"sender_nonce": None}, "badSenderNonce"),
        ({"sender_nonce": b"short"}, "badSenderNonce"),
        ({"recip_nonce": b"0123456789abcdef"}, "badRecipientNonce"),
        ({"message_time": NOW - timedelta(hours=1)}, "badTime"),
        ({"message_time": NOW + timedelta(hours=1)}, "badTime"),
    ],
    ids=str,
)
def test_a_faulty_header_is_answered_with_an_error(header: dict[str, Any], failure: str) -> None:
    ca = lab(clock_tolerance=timedelta(minutes=5))
    entity = Entity(ca)
    got = entity.ask(entity.request(), **header)
    assert got.type is BodyType.ERROR
    assert failures_in(got) == (failure,)
    assert ca.record().certificates == ()
    assert ca.record().transactions == ()


@pytest.mark.parametrize(("asked", "answered"), [(0, 2), (1, 2), (2, 2), (3, 3), (9, 3)])
def test_the_version_of_the_answer_is_the_nearest_there_is(asked: int, answered: int) -> None:
    entity = Entity(lab())
    assert entity.ask(entity.request(), pvno=asked).header.pvno == answered


def test_without_a_tolerance_nobody_looks_at_the_clock() -> None:
    entity = Entity(lab())
    assert entity.ask(entity.request(), message_time=NOW - timedelta(days=3650)).type is BodyType.IP


def test_the_answer_repeats_transaction_and_nonce_and_has_a_nonce_of_its_own() -> None:
    entity = Entity(lab())
    got = entity.ask(entity.request()).header
    assert got.transaction_id == entity.transaction_id
    assert got.recip_nonce == entity.nonce
    assert got.recipient == entity.sender
    assert got.sender_nonce is not None
    assert len(got.sender_nonce) == 16
    assert got.message_time == NOW


def test_what_cannot_be_read_is_answered_with_a_signed_error() -> None:
    ca = lab()
    for octets in (b"", b"GET / HTTP/1.1", b"\x30\x80\x00\x00", b"\x30\x00"):
        got = messages.parse(ca.answer(octets, NOW))
        assert failures_in(got) == ("badDataFormat",)
        verify_signature(got, ca.pki.ra.loaded.public_key(), ProtectionRules())
    assert [one.type for one in ca.record().messages] == [None, BodyType.ERROR] * 4


# --- MAC ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        MAC,
        MacParameters(one_way_function="sha512", mac="hmac-sha384", salt=b"0123456789abcdef", iterations=200),
        MacParameters(mac="hmac-sha1-ietf", salt=b"0123456789abcdef", iterations=200),
        MacParameters(algorithm="pbmac1", salt=b"0123456789abcdef", iterations=200),
        MacParameters(
            algorithm="pbmac1", one_way_function="sha512", mac="hmac-sha512", salt=b"01234567", iterations=200
        ),
        MacParameters(algorithm="pbmac1", one_way_function="sha1", salt=b"01234567", iterations=200),
    ],
    ids=str,
)
def test_a_mac_is_answered_with_a_mac_of_the_same_kind(parameters: MacParameters) -> None:
    entity = Entity(lab())
    entity.protector = MacProtector(b"one-time", parameters)
    got = entity.ask(entity.request())
    certificate_in(got)
    verify_mac(got, b"one-time", ProtectionRules())
    assert got.header.sender_kid == b"enb-4711"
    assert names.name_of(got.header.sender) == names.common_name("enb-4711")


@pytest.mark.parametrize("algorithm", ["pbm", "pbmac1"])
def test_the_parameters_of_answers_can_be_chosen_and_the_salt_lasts_for_the_transaction(algorithm: str) -> None:
    entity = Entity(lab(mac=MacParameters(one_way_function="sha384", mac="hmac-sha512", iterations=300)))
    entity.protector = MacProtector(b"one-time", MacParameters(algorithm=algorithm, salt=b"0123456789abcdef"))
    first = entity.ask(entity.request())
    second = entity.ask(entity.confirm(certificate_in(first)))
    assert first.header.protection_alg == second.header.protection_alg != entity.protector.algorithm
    verify_mac(second, b"one-time", ProtectionRules(minimum_iterations=300, maximum_iterations=300))


def test_answers_to_a_mac_can_be_signed() -> None:
    ca = lab(sign_mac_answers=True)
    entity = Entity(ca)
    got = entity.ask(entity.request())
    verify_signature(got, ca.pki.ra.loaded.public_key(), ProtectionRules())
    assert entity.ask(entity.confirm(certificate_in(got))).type is BodyType.PKICONF


@pytest.mark.parametrize(
    ("header", "served"),
    [
        ({"sender": NULL_DN}, True),  # OpenSSL
        ({"sender_kid": None}, True),
        ({"sender": names.directory_name(names.common_name("Somebody"))}, True),
        ({"sender": NULL_DN, "sender_kid": None}, False),
        ({"sender_kid": b"unknown"}, False),
    ],
    ids=str,
)
def test_the_reference_is_in_sender_kid_or_else_in_the_senders_name(header: dict[str, Any], served: bool) -> None:
    entity = Entity(lab())
    got = entity.ask(entity.request(), **header)
    assert failures_in(got) == (() if served else ("badMessageCheck",))


def test_a_strict_ca_wants_both_and_wants_them_equal() -> None:
    for header, served in (({}, True), ({"sender": NULL_DN}, False), ({"sender_kid": None}, False)):
        entity = Entity(lab(strict_sender=True))
        assert failures_in(entity.ask(entity.request(), **header)) == (() if served else ("badMessageCheck",))


def test_a_wrong_secret_is_answered_under_the_right_one_and_an_unknown_reference_without_protection() -> None:
    entity = Entity(lab())
    entity.protector = MacProtector(b"wrong", MAC)
    got = entity.ask(entity.request())
    assert failures_in(got) == ("badMessageCheck",)
    (said,) = status_in(got).text
    assert said == "the MAC of the request is not made with the secret of the reference 'enb-4711'"
    verify_mac(got, b"one-time", ProtectionRules())
    got = entity.ask(entity.request(), sender_kid=b"unknown")
    assert got.protection is None


@pytest.mark.parametrize(
    "parameters",
    [
        MacParameters(one_way_function="sha1", salt=b"0123456789abcdef", iterations=200),
        MacParameters(salt=b"0123456789abcdef", iterations=99),
        MacParameters(salt=bytes(257), iterations=200),
    ],
    ids=["sha1", "iterations", "salt"],
)
def test_weak_or_costly_parameters_are_refused(parameters: MacParameters) -> None:
    entity = Entity(lab())
    entity.protector = MacProtector(b"one-time", parameters)
    assert failures_in(entity.ask(entity.request())) == ("badMessageCheck",)


def test_sha1_is_accepted_where_that_is_configured() -> None:
    entity = Entity(lab(legacy_algorithms=True))
    entity.protector = MacProtector(
        b"one-time", MacParameters(one_way_function="sha1", mac="hmac-sha1", salt=b"0123456789abcdef", iterations=200)
    )
    assert failures_in(entity.ask(entity.request())) == ()


# --- signature ------------------------------------------------------------------------------------------------------


def test_a_request_without_protection_is_refused() -> None:
    entity = Entity(lab())
    assert failures_in(entity.ask(entity.request(), protection_alg=None, sender_kid=None)) == ("badMessageCheck",)


def test_a_device_whose_vendor_is_unknown_is_not_trusted() -> None:
    ca = lab()
    entity = Entity(ca, device(ca, issuer=ca.pki.other_root))
    assert failures_in(entity.ask(entity.request())) == ("signerNotTrusted",)


def test_another_vendors_root_can_be_added(tmp_path: Any) -> None:
    stranger = pki.make(lab().settings.key, NOW)
    (tmp_path / "vendor.pem").write_bytes(stranger.vendor_root.pem)
    ca = lab(vendor_roots=(tmp_path / "vendor.pem",))
    entity = Entity(ca, pki.make_device(stranger, "enb-4711", NOW))
    assert failures_in(entity.ask(entity.request())) == ()


def test_a_chain_with_two_links_is_followed_through_extra_certs() -> None:
    ca = lab()
    entity = Entity(ca, device(ca, issuer=pki.make_vendor_intermediate(ca.pki, NOW)))
    assert failures_in(entity.ask(entity.request())) == ()
    entity.begin()
    entity.extra_certs = entity.extra_certs[:1]
    assert failures_in(entity.ask(entity.request())) == ("signerNotTrusted",)


def test_a_device_certificate_cannot_issue_another_one() -> None:
    ca = lab()
    middle = device(ca)
    entity = Entity(ca, device(ca, issuer=middle))
    assert failures_in(entity.ask(entity.request())) == ("signerNotTrusted",)


def test_an_expired_device_certificate_is_not_trusted() -> None:
    ca = lab()
    entity = Entity(ca, device(ca, life=timedelta(days=1)), now=NOW + timedelta(days=2))
    assert failures_in(entity.ask(entity.request())) == ("signerNotTrusted",)


def test_a_certificate_not_meant_for_signatures_is_not_trusted() -> None:
    ca = lab()
    key = LabKey.generate()
    usage = Extension(KEY_USAGE, critical=True, value=named_bits(DIGITAL_SIGNATURE + 4))
    plan = plan_for(names.common_name("enb-4711"), key, NOW, timedelta(days=1), (usage,))
    entity = Entity(ca, Credential(sign(plan, ca.pki.vendor_root), key))
    assert failures_in(entity.ask(entity.request())) == ("signerNotTrusted",)


@pytest.mark.parametrize(
    "header",
    [{"sender": NULL_DN}, {"sender": names.directory_name(names.common_name("other"))}, {"sender_kid": b"other"}],
    ids=str,
)
def test_sender_and_key_identifier_must_fit_the_certificate(header: dict[str, Any]) -> None:
    ca = lab()
    entity = Entity(ca, device(ca))
    assert failures_in(entity.ask(entity.request(), **header)) == ("badMessageCheck",)


def test_a_signature_by_another_key_is_refused() -> None:
    ca = lab()
    entity = Entity(ca, device(ca))
    entity.extra_certs = (device(ca).certificate,)
    got = entity.ask(entity.request())
    assert failures_in(got) == ("badMessageCheck",)
    verify_signature(got, ca.pki.ra.loaded.public_key(), ProtectionRules())


def test_the_signers_certificate_must_come_with_the_first_message_and_may_be_left_out_later() -> None:
    ca = lab()
    entity = Entity(ca, device(ca))
    extra_certs, entity.extra_certs = entity.extra_certs, ()
    assert failures_in(entity.ask(entity.request())) == ("badMessageCheck",)
    entity.begin()
    entity.extra_certs = extra_certs
    certificate = certificate_in(entity.ask(entity.request()))
    entity.extra_certs = ()
    assert entity.ask(entity.confirm(certificate)).type is BodyType.PKICONF


def test_answers_may_leave_out_certificates_that_were_sent_before() -> None:
    for repeat in (True, False):
        ca = lab(repeat_extra_certs=repeat)
        entity = Entity(ca, device(ca))
        got = entity.ask(entity.request())
        assert got.extra_certs == (ca.pki.ra.certificate, ca.pki.issuing.certificate)
        assert bool(entity.ask(entity.confirm(certificate_in(got))).extra_certs) is repeat


def test_each_request_needs_the_certificate_it_is_for() -> None:
    ca = lab()
    entity = Entity(ca)
    own = Credential(entity.enroll(), entity.key)
    for credential, kind, expected in (
        (device(ca), BodyType.KUR, ("notAuthorized",)),
        (own, BodyType.IR, ("notAuthorized",)),
        (own, BodyType.CR, ()),
    ):
        asking = Entity(ca, credential)
        got = asking.ask(asking.request(kind))
        assert failures_in(got) == expected
        assert got.type is (BodyType.ERROR if expected else BodyType.CP)


def test_a_certificate_that_was_refused_speaks_for_nobody() -> None:
    ca = lab()
    entity = Entity(ca)
    certificate = certificate_in(entity.ask(entity.request()))
    entity.ask(CertConfirm(()))
    asking = Entity(ca, Credential(certificate, entity.key))
    assert failures_in(asking.ask(asking.request(BodyType.KUR))) == ("signerNotTrusted",)


# --- one transaction ------------------------------------------------------------------------------------------------


def test_a_transaction_id_is_used_once() -> None:
    entity = Entity(lab())
    entity.enroll()
    got = entity.ask(entity.request(), recip_nonce=None)
    assert failures_in(got) == ("transactionIdInUse",)


def test_a_transaction_keeps_to_one_sender_and_one_kind_of_protection() -> None:
    ca = lab(secrets={"enb-4711": "one-time", "enb-4712": "one-time"})
    entity = Entity(ca)
    certificate = certificate_in(entity.ask(entity.request()))
    intruder = Entity(ca, device(ca))
    intruder.transaction_id, intruder.heard = entity.transaction_id, entity.heard
    assert failures_in(intruder.ask(intruder.confirm(certificate))) == ("wrongIntegrity",)
    got = entity.ask(entity.confirm(certificate), sender_kid=b"enb-4712")
    assert failures_in(got) == ("notAuthorized",)
    assert x509.load_der_x509_certificate(certificate).serial_number == ca.record().transactions[0].serial


@pytest.mark.parametrize("nonce", [None, b"0123456789abcdef", b""])
def test_a_wrong_recip_nonce_is_refused(nonce: bytes | None) -> None:
    entity = Entity(lab())
    certificate = certificate_in(entity.ask(entity.request()))
    assert failures_in(entity.ask(entity.confirm(certificate), recip_nonce=nonce)) == ("badRecipientNonce",)


@pytest.mark.parametrize(
    ("body", "failure"),
    [(CertConfirm(()), "badCertId"), (PollRequest((0,)), "badRequest")],
    ids=["certConf", "pollReq"],
)
def test_a_message_out_of_nowhere_is_refused(body: Any, failure: str) -> None:
    entity = Entity(lab())
    assert failures_in(entity.ask(body, recip_nonce=b"0123456789abcdef")) == (failure,)


def test_a_message_for_a_ca_only_is_refused() -> None:
    entity = Entity(lab())
    got = entity.ask(Unread(BodyType.KRR, b"\x30\x00"))
    assert isinstance(got.body(), ErrorMessage)
    assert failures_in(got) == ("badRequest",)


def test_protection_of_a_message_is_what_it_says() -> None:
    octets = messages.build(
        Header(protection_alg=MacProtector(b"x", MAC).algorithm, transaction_id=b"1"), CertConfirm(())
    )
    got = messages.parse(lab().answer(octets, NOW))
    assert got.type is BodyType.ERROR
    assert kind_of(got) in {None, Kind.SIGNATURE}
