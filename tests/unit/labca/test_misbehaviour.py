"""Each fault does what its name says, where it is meant to, and the CA behaves again afterwards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509

from agent.cmp import der, messages, names
from agent.cmp.bodies import PollRequest, PollResponse
from agent.cmp.errors import MalformedMessage, ProtectionError
from agent.cmp.failures import PKIFailureInfo, PKIStatus
from agent.cmp.messages import BodyType, Message
from agent.cmp.protection import Kind, ProtectionRules, kind_of, verify_mac, verify_signature
from agent.errors import ConfigurationError
from agent.labca import ConnectionDropped, LabCa, Misbehaviour, fault
from agent.labca.outgoing import CMP_TYPE, Reply
from agent.labca.records import CertificateStatus
from agent.labca.spoiling import CERTIFICATE, INSTEAD, MESSAGE, OCTETS, REPLY, SEALING
from tests.unit.labca.entity import (
    NOW,
    SAN,
    SUBJECT,
    Entity,
    certificate_in,
    failures_in,
    lab,
    loaded,
    response_in,
    status_in,
)

RULES = ProtectionRules()


@pytest.fixture
def ca() -> LabCa:
    return lab()


def issued(ca: LabCa) -> x509.Certificate:
    """Return the certificate an entity gets, after checking that it was handed out as if nothing were wrong."""
    entity = Entity(ca)
    got = entity.ask(entity.request(extensions=names.extensions([SAN])))
    verify_mac(got, b"one-time", RULES)
    certificate = loaded(certificate_in(got))
    assert certificate.public_key() == entity.key.private.public_key()
    return certificate


# --- handling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", PKIFailureInfo)
def test_a_request_is_rejected_with_each_failure(ca: LabCa, failure: PKIFailureInfo) -> None:
    ca.misbehave(Misbehaviour.REJECT, failure.label)
    entity = Entity(ca)
    got = entity.ask(entity.request())
    verify_mac(got, b"one-time", RULES)
    assert got.type is BodyType.IP
    assert status_in(got).status == PKIStatus.REJECTION
    assert failures_in(got) == (failure.label,)
    assert ca.record().certificates == ()


def test_a_request_waits_and_is_then_rejected(ca: LabCa) -> None:
    ca.misbehave(Misbehaviour.WAIT_THEN_REJECT, "badPOP")
    entity = Entity(ca)
    assert status_in(entity.ask(entity.request())).status == PKIStatus.WAITING
    assert failures_in(entity.poll()) == ("badPOP",)


@pytest.mark.parametrize("kind", ["reject", "wait-then-reject"])
def test_a_confirmation_is_rejected_when_that_is_asked_for(ca: LabCa, kind: str) -> None:
    ca.misbehave(f"{kind}=systemFailure@certConf*1")
    entity = Entity(ca)
    body = entity.confirm(certificate_in(entity.ask(entity.request())))
    got = entity.ask(body)
    assert got.type is BodyType.ERROR
    if kind == "wait-then-reject":
        assert status_in(got).status == PKIStatus.WAITING
        got = entity.poll(-1)
    assert failures_in(got) == ("systemFailure",)
    assert entity.ask(body).type is BodyType.PKICONF


# --- certificates ---------------------------------------------------------------------------------------------------


def test_a_certificate_has_another_key(ca: LabCa) -> None:
    ca.misbehave(Misbehaviour.WRONG_KEY)
    entity = Entity(ca)
    got = loaded(certificate_in(entity.ask(entity.request())))
    assert got.public_key() != entity.key.private.public_key()
    got.verify_directly_issued_by(ca.pki.issuing.loaded)


def test_a_certificate_has_another_subject(ca: LabCa) -> None:
    ca.misbehave(Misbehaviour.WRONG_SUBJECT)
    assert issued(ca).subject.public_bytes() != SUBJECT


def test_a_certificate_has_another_alternative_name(ca: LabCa) -> None:
    ca.misbehave(Misbehaviour.WRONG_ALTERNATIVE_NAME)
    assert issued(ca).extensions.get_extension_for_class(x509.SubjectAlternativeName).value != SAN[0]


def test_a_certificate_is_a_cas(ca: LabCa) -> None:
    ca.misbehave(Misbehaviour.CA_CERTIFICATE)
    extensions = issued(ca).extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


@pytest.mark.parametrize(
    ("kind", "value", "begin", "end"),
    [
        (Misbehaviour.EXPIRED, "", timedelta(days=-30), timedelta(days=-1)),
        (Misbehaviour.NOT_YET_VALID, "", timedelta(days=30), timedelta(days=60)),
        (Misbehaviour.SHORTENED, 5, timedelta(), timedelta(seconds=5)),
        (Misbehaviour.BACKDATED, 100, timedelta(days=-100), timedelta(days=90)),
    ],
)
def test_a_certificate_is_valid_at_another_time(
    ca: LabCa, kind: Misbehaviour, value: object, begin: timedelta, end: timedelta
) -> None:
    ca.misbehave(kind, value)
    certificate = issued(ca)
    assert certificate.not_valid_before_utc == NOW + begin
    assert certificate.not_valid_after_utc == NOW + end


def test_a_certificate_is_from_an_issuer_nobody_knows_with_its_chain(ca: LabCa) -> None:
    ca.misbehave(Misbehaviour.UNKNOWN_ISSUER)
    entity = Entity(ca)
    got = entity.ask(entity.request())
    loaded(certificate_in(got)).verify_directly_issued_by(ca.pki.other_root.loaded)
    assert got.extra_certs == (ca.pki.other_root.certificate,)


# --- messages -------------------------------------------------------------------------------------------------------


def well_protected(got: Message, _: Entity) -> None:
    verify_mac(got, b"one-time", RULES)


def wrong_nonce(got: Message, entity: Entity) -> None:
    assert got.header.recip_nonce not in {None, entity.nonce}
    well_protected(got, entity)


def no_nonce(got: Message, entity: Entity) -> None:
    assert got.header.recip_nonce is None
    well_protected(got, entity)


def no_sender_nonce(got: Message, entity: Entity) -> None:
    assert got.header.sender_nonce is None
    well_protected(got, entity)


def other_transaction_id(got: Message, entity: Entity) -> None:
    assert got.header.transaction_id not in {None, entity.transaction_id}
    well_protected(got, entity)


def badly_protected(got: Message, _: Entity) -> None:
    assert kind_of(got) is Kind.MAC
    with pytest.raises(ProtectionError):
        verify_mac(got, b"one-time", RULES)


def unprotected(got: Message, _: Entity) -> None:
    assert kind_of(got) is None
    assert got.type is BodyType.IP


def unprotected_error(got: Message, _: Entity) -> None:
    assert kind_of(got) is None
    assert failures_in(got) == ("badRequest",)


def signed_by_bystander(got: Message, entity: Entity) -> None:
    verify_signature(got, entity.ca.pki.bystander.loaded.public_key(), RULES)
    assert got.extra_certs[:2] == (entity.ca.pki.bystander.certificate, entity.ca.pki.issuing.certificate)


def signed_by_stranger(got: Message, entity: Entity) -> None:
    verify_signature(got, entity.ca.pki.other_ra.loaded.public_key(), RULES)
    assert got.extra_certs[0] == entity.ca.pki.other_ra.certificate


def without_certificates(got: Message, entity: Entity) -> None:
    assert got.extra_certs == ()
    well_protected(got, entity)


def costly(got: Message, _: Entity) -> None:
    with pytest.raises(ProtectionError, match="2147483647 iterations"):
        verify_mac(got, b"one-time", RULES)


def other_number(got: Message, entity: Entity) -> None:
    assert response_in(got).cert_req_id == 7
    well_protected(got, entity)


def other_body(got: Message, entity: Entity) -> None:
    assert got.type is BodyType.CP
    well_protected(got, entity)


def old_error(got: Message, _: Entity) -> None:
    assert got.header.pvno == 1
    assert got.type is BodyType.ERROR
    assert kind_of(got) is None


ON_MESSAGES: dict[Misbehaviour, Callable[[Message, Entity], None]] = {
    Misbehaviour.WRONG_RECIP_NONCE: wrong_nonce,
    Misbehaviour.NO_RECIP_NONCE: no_nonce,
    Misbehaviour.WRONG_TRANSACTION_ID: other_transaction_id,
    Misbehaviour.NO_SENDER_NONCE: no_sender_nonce,
    Misbehaviour.BAD_PROTECTION: badly_protected,
    Misbehaviour.WRONG_SECRET: badly_protected,
    Misbehaviour.UNPROTECTED: unprotected,
    Misbehaviour.UNPROTECTED_ERROR: unprotected_error,
    Misbehaviour.UNAUTHORISED_SIGNER: signed_by_bystander,
    Misbehaviour.STRANGE_SIGNER: signed_by_stranger,
    Misbehaviour.NO_EXTRA_CERTS: without_certificates,
    Misbehaviour.HUGE_ITERATIONS: costly,
    Misbehaviour.WRONG_CERT_REQ_ID: other_number,
    Misbehaviour.WRONG_BODY: other_body,
    Misbehaviour.ERROR_WITH_PVNO_1: old_error,
}


@pytest.mark.parametrize("kind", ON_MESSAGES)
def test_a_message_is_spoiled_once_and_the_next_one_is_good(ca: LabCa, kind: Misbehaviour) -> None:
    ca.misbehave(kind, times=1)
    entity = Entity(ca)
    ON_MESSAGES[kind](entity.ask(entity.request()), entity)
    again = Entity(ca)
    well_protected(again.ask(again.request()), again)


def test_a_signature_is_spoiled_too(ca: LabCa) -> None:
    ca.misbehave(Misbehaviour.BAD_PROTECTION)
    entity = Entity(ca, ca.make_device("enb-4711", now=NOW))
    got = entity.ask(entity.request())
    with pytest.raises(ProtectionError):
        verify_signature(got, ca.pki.ra.loaded.public_key(), RULES)


def test_every_answer_has_a_wrong_body_it_can_become() -> None:
    ca = lab(polls=1, delayed=frozenset({BodyType.IR}))
    ca.misbehave(Misbehaviour.WRONG_BODY)
    entity, polling = Entity(ca), Entity(ca)
    got = entity.ask(entity.request(BodyType.CR))
    assert got.type is BodyType.IP
    assert entity.ask(entity.confirm(certificate_in(got))).type is BodyType.GENP
    assert polling.ask(polling.request()).type is BodyType.CP
    assert polling.poll().type is BodyType.PKICONF


@pytest.mark.parametrize("seconds", [0, -1, 31_536_000])
def test_check_after_is_any_number(seconds: int) -> None:
    ca = lab(polls=1)
    ca.misbehave(Misbehaviour.CHECK_AFTER, seconds)
    entity = Entity(ca)
    entity.ask(entity.request())
    body = entity.poll().body()
    assert isinstance(body, PollResponse)
    assert body.polls[0].check_after == seconds


def test_a_poll_is_answered_with_another_number() -> None:
    ca = lab(polls=1)
    ca.misbehave("wrong-cert-req-id=3@pollReq")
    entity = Entity(ca)
    assert response_in(entity.ask(entity.request())).cert_req_id == 0
    body = entity.poll().body()
    assert isinstance(body, PollResponse)
    assert body.polls[0].cert_req_id == 3


# --- octets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Misbehaviour.TRUNCATED, "longer than what holds it"),
        (Misbehaviour.TRAILING_OCTETS, "2 octets follow"),
        (Misbehaviour.LONG_LENGTH, "not in its shortest form"),
        (Misbehaviour.OVERSIZE, "5242890 octets"),
    ],
)
def test_octets_are_no_message(ca: LabCa, kind: Misbehaviour, reason: str) -> None:
    ca.misbehave(kind)
    entity = Entity(ca)
    octets = ca.answer(entity.message(entity.request()), NOW)
    with pytest.raises(MalformedMessage, match=reason):
        messages.parse(octets)
    assert ca.record().messages[-1].octets == octets


def test_a_long_length_holds_the_good_message(ca: LabCa) -> None:
    ca.misbehave(Misbehaviour.LONG_LENGTH)
    entity = Entity(ca)
    octets = ca.answer(entity.message(entity.request()), NOW)
    well_protected(messages.parse(der.wrap(der.SEQUENCE, octets[6:])), entity)


def test_the_answer_of_another_transaction_is_sent(ca: LabCa) -> None:
    first = Entity(ca)
    first.ask(first.request())
    ca.misbehave(Misbehaviour.OTHER_TRANSACTION)
    second = Entity(ca)
    assert second.ask(second.request()).header.transaction_id == first.transaction_id


def test_without_another_transaction_its_own_answer_is_sent(ca: LabCa) -> None:
    ca.misbehave(Misbehaviour.OTHER_TRANSACTION)
    entity = Entity(ca)
    assert entity.ask(entity.request()).header.transaction_id == entity.transaction_id


# --- transfer -------------------------------------------------------------------------------------------------------

ON_REPLIES: dict[Misbehaviour, tuple[object, Callable[[Reply], bool]]] = {
    Misbehaviour.LATE: (2.5, lambda reply: reply.delay == 2.5 and reply.status == 200),
    Misbehaviour.DUPLICATE: ("", lambda reply: reply.copies == 2),
    Misbehaviour.DROP_AFTER: ("", lambda reply: reply.dropped),
    Misbehaviour.STATUS_WITH_ANSWER: (500, lambda reply: reply.status == 500 and reply.content_type == CMP_TYPE),
    Misbehaviour.DROP_BEFORE: ("", lambda reply: reply.dropped),
    Misbehaviour.HTML: ("", lambda reply: b"<html>" in reply.octets and reply.content_type == "text/html"),
    Misbehaviour.HTTP_STATUS: (404, lambda reply: reply.status == 404 and reply.content_type == "text/html"),
    Misbehaviour.RETRY_AFTER: (7, lambda reply: reply.status == 503 and reply.headers == {"Retry-After": "7"}),
}


@pytest.mark.parametrize("kind", ON_REPLIES)
def test_a_transfer_goes_wrong_after_or_instead_of_processing(ca: LabCa, kind: Misbehaviour) -> None:
    value, expected = ON_REPLIES[kind]
    ca.misbehave(kind, value, on=BodyType.IR)
    entity = Entity(ca)
    assert expected(ca.respond(entity.message(entity.request()), NOW))
    assert len(ca.record().certificates) == (kind in REPLY)
    assert ca.record().messages[0].type is BodyType.IR


def test_a_dropped_answer_raises_where_there_is_no_connection(ca: LabCa) -> None:
    ca.misbehave(Misbehaviour.DROP_AFTER, on=BodyType.CERTCONF, times=1)
    entity = Entity(ca)
    certificate = certificate_in(entity.ask(entity.request()))
    octets = entity.message(entity.confirm(certificate))
    with pytest.raises(ConnectionDropped):
        ca.answer(octets, NOW)
    assert ca.record().certificates[0].status is CertificateStatus.CONFIRMED
    assert messages.parse(ca.answer(octets, NOW)).type is BodyType.PKICONF


def test_a_poll_that_was_dropped_before_it_was_read_can_be_sent_again() -> None:
    ca = lab(polls=1)
    ca.misbehave("drop-before@pollReq*1")
    entity = Entity(ca)
    entity.ask(entity.request())
    octets = entity.message(PollRequest((0,)))
    with pytest.raises(ConnectionDropped):
        ca.answer(octets, NOW)
    assert entity.send(octets).type is BodyType.POLLREP


# --- all of them ----------------------------------------------------------------------------------------------------


def test_every_fault_belongs_to_exactly_one_point() -> None:
    points = [set(table) for table in (CERTIFICATE, SEALING, MESSAGE, OCTETS, REPLY, INSTEAD)]
    points.append({Misbehaviour.REJECT, Misbehaviour.WAIT_THEN_REJECT})
    points.append({Misbehaviour.UNKNOWN_ISSUER, Misbehaviour.OTHER_TRANSACTION})
    assert sorted(kind for point in points for kind in point) == sorted(Misbehaviour)


def test_faults_add_up_and_are_switched_off_together(ca: LabCa) -> None:
    ca.misbehave(Misbehaviour.WRONG_SUBJECT)
    ca.misbehave(Misbehaviour.NO_RECIP_NONCE)
    entity = Entity(ca)
    got = entity.ask(entity.request())
    assert got.header.recip_nonce is None
    assert loaded(certificate_in(got)).subject.public_bytes() != SUBJECT
    ca.behave()
    assert issued(ca).subject.public_bytes() == SUBJECT


def test_a_fault_for_one_message_waits_for_it(ca: LabCa) -> None:
    ca.misbehave(Misbehaviour.NO_RECIP_NONCE, on=BodyType.CERTCONF, times=1)
    entity = Entity(ca)
    got = entity.ask(entity.request())
    assert got.header.recip_nonce is not None
    assert entity.ask(entity.confirm(certificate_in(got))).header.recip_nonce is None


@pytest.mark.parametrize(
    "text",
    ["reject=badPOP", "reject=badPOP@ir*1", "late=2.5@certConf", "drop-after@pollReq*3", "html", "check-after=-1"],
)
def test_a_fault_is_read_as_it_is_written(text: str) -> None:
    assert str(fault.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("nonsense", "there is no 'nonsense'"),
        ("reject=badLuck", "there is no failure 'badLuck'"),
        ("late=soon", "'soon' is not a number"),
        ("html=5", "html takes no value"),
        ("html@letter", "there is no message 'letter'"),
        ("html*often", "'often' is not a number of times"),
    ],
)
def test_a_fault_that_does_not_exist_is_named_with_those_that_do(text: str, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what) as caught:
        fault.parse(text)
    assert caught.value.remedy.startswith("Use one of: ")
