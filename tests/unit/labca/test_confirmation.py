from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from agent.cmp import algorithms
from agent.cmp.bodies import CertConfirm, CertStatus, ErrorMessage, StatusInfo
from agent.cmp.failures import PKIFailureInfo, PKIStatus
from agent.cmp.messages import BodyType, Info
from agent.labca import encoding
from agent.labca.keys import KeyKind
from agent.labca.records import CertificateStatus, TransactionState
from tests.unit.labca.entity import Entity, certificate_in, failures_in, lab

REJECTION = StatusInfo(
    status=PKIStatus.REJECTION, text=("wrong key",), failures=frozenset({PKIFailureInfo.INCORRECT_DATA})
)


def outcome(entity: Entity) -> tuple[TransactionState, CertificateStatus]:
    record = entity.ca.record()
    return record.transactions[0].state, record.certificates[0].status


@pytest.mark.parametrize("status", [None, StatusInfo(status=PKIStatus.ACCEPTED)], ids=["without", "with"])
def test_a_certificate_is_confirmed_with_and_without_status(status: StatusInfo | None) -> None:
    entity = Entity(lab())
    certificate = certificate_in(entity.ask(entity.request()))
    assert outcome(entity) == (TransactionState.ISSUED, CertificateStatus.ISSUED)
    assert entity.ask(entity.confirm(certificate, status=status)).type is BodyType.PKICONF
    assert outcome(entity) == (TransactionState.CONFIRMED, CertificateStatus.CONFIRMED)


@pytest.mark.parametrize("empty", [True, False])
def test_a_rejected_certificate_is_marked_as_refused(empty: bool) -> None:
    entity = Entity(lab())
    certificate = certificate_in(entity.ask(entity.request()))
    body = CertConfirm(()) if empty else entity.confirm(certificate, status=REJECTION)
    assert entity.ask(body).type is BodyType.PKICONF
    assert outcome(entity) == (TransactionState.REFUSED, CertificateStatus.REFUSED)


def test_the_same_octets_again_get_the_same_answer_again() -> None:
    entity = Entity(lab())
    certificate = certificate_in(entity.ask(entity.request()))
    octets = entity.message(entity.confirm(certificate))
    first = entity.ca.answer(octets)
    assert [entity.ca.answer(octets), entity.ca.answer(octets)] == [first, first]
    assert outcome(entity) == (TransactionState.CONFIRMED, CertificateStatus.CONFIRMED)


def test_another_confirmation_hears_that_it_is_confirmed() -> None:
    entity = Entity(lab())
    certificate = certificate_in(entity.ask(entity.request()))
    before = entity.heard
    entity.ask(entity.confirm(certificate))
    for heard in (before, entity.heard):  # whether or not pkiConf arrived
        assert failures_in(entity.ask(entity.confirm(certificate), recip_nonce=heard)) == ("certConfirmed",)


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        ({"cert_hash": bytes(32)}, "badCertId"),
        ({"cert_req_id": 1}, "badCertId"),
        ({"status": StatusInfo(status=PKIStatus.WAITING)}, "badRequest"),
    ],
    ids=["hash", "certReqId", "status"],
)
def test_a_confirmation_that_does_not_fit_leaves_the_certificate_waiting(
    change: dict[str, object], failure: str
) -> None:
    entity = Entity(lab())
    body = entity.confirm(certificate_in(entity.ask(entity.request())))
    assert isinstance(body, CertConfirm)
    wrong = CertConfirm((replace(body.statuses[0], **change),))  # type: ignore[arg-type]
    got = entity.ask(wrong)
    assert got.type is BodyType.ERROR
    assert failures_in(got) == (failure,)
    assert failures_in(entity.ask(CertConfirm(body.statuses * 2))) == ("badRequest",)
    assert outcome(entity) == (TransactionState.ISSUED, CertificateStatus.ISSUED)
    assert entity.ask(body).type is BodyType.PKICONF


def test_a_named_hash_needs_version_3() -> None:
    entity = Entity(lab())
    certificate = certificate_in(entity.ask(entity.request()))
    status = CertStatus(
        cert_hash=hashlib.sha512(certificate).digest(),
        cert_req_id=0,
        hash_alg=algorithms.build_algorithm(algorithms.HASHES["sha512"].oid),
    )
    assert failures_in(entity.ask(CertConfirm((status,)))) == ("badDataFormat",)
    assert entity.ask(CertConfirm((status,)), pvno=3).type is BodyType.PKICONF


def test_the_hash_goes_by_the_signature_of_the_certificate() -> None:
    entity = Entity(lab(key=KeyKind.ED25519))
    certificate = certificate_in(entity.ask(entity.request()))
    assert failures_in(entity.ask(entity.confirm(certificate))) == ("badCertId",)
    status = CertStatus(cert_hash=hashlib.sha512(certificate).digest(), cert_req_id=0)
    assert entity.ask(CertConfirm((status,))).type is BodyType.PKICONF


def test_what_is_not_confirmed_in_time_counts_as_refused() -> None:
    ca = lab(confirm_wait=timedelta(minutes=1))
    entity, late = Entity(ca), Entity(ca)
    answer = entity.ask(entity.request())
    info = answer.header.info(Info.CONFIRM_WAIT_TIME)
    assert info is not None
    assert info.value == encoding.generalized_time(entity.now + timedelta(minutes=1))
    assert answer.header.info(Info.IMPLICIT_CONFIRM) is None
    certificate = certificate_in(late.ask(late.request()))
    entity.now += timedelta(seconds=59)
    assert entity.ask(entity.confirm(certificate_in(answer))).type is BodyType.PKICONF
    late.now += timedelta(seconds=61)
    assert failures_in(late.ask(late.confirm(certificate))) == ("badCertId",)
    assert [one.status for one in ca.record().certificates] == [CertificateStatus.CONFIRMED, CertificateStatus.REFUSED]


def test_an_error_ends_the_transaction_and_is_answered_with_pkiconf() -> None:
    entity = Entity(lab())
    certificate = certificate_in(entity.ask(entity.request()))
    assert entity.ask(ErrorMessage(REJECTION)).type is BodyType.PKICONF
    assert outcome(entity) == (TransactionState.ENDED, CertificateStatus.REFUSED)
    assert failures_in(entity.ask(entity.confirm(certificate))) == ("badCertId",)


def test_an_error_after_confirmation_changes_nothing() -> None:
    entity = Entity(lab())
    entity.enroll()
    assert entity.ask(ErrorMessage(REJECTION)).type is BodyType.PKICONF
    assert outcome(entity) == (TransactionState.CONFIRMED, CertificateStatus.CONFIRMED)
