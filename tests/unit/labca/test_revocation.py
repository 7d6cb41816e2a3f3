from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from agent.cmp import names
from agent.cmp.bodies import CertTemplate, RevDetails, RevRep, RevReq
from agent.cmp.failures import PKIStatus
from agent.cmp.messages import BodyType
from agent.labca import LabCa, encoding
from agent.labca.certificates import REASON_CODE, Credential
from agent.labca.records import CertificateStatus
from tests.unit.labca.entity import NOW, Entity, failures_in, lab, status_in


def revocation(ca: LabCa, certificate: bytes, reason: int | None = 4, **template: Any) -> RevReq:
    serial = x509.load_der_x509_certificate(certificate).serial_number
    details = (
        encoding.extensions((encoding.Extension(REASON_CODE, critical=False, value=encoding.enumerated(reason)),))
        if reason is not None
        else None
    )
    values = {"serial_number": serial, "issuer": ca.pki.issuing.subject, **template}
    return RevReq((RevDetails(template=CertTemplate(**values), crl_entry_details=details),))


def crl(ca: LabCa, **kwargs: Any) -> x509.CertificateRevocationList:
    loaded = x509.load_der_x509_crl(ca.crl(**kwargs))
    assert loaded.is_signature_valid(ca.pki.issuing.loaded.public_key())  # type: ignore[arg-type]
    return loaded


def test_a_certificate_is_revoked_under_its_own_signature_and_stands_in_the_crl() -> None:
    ca = lab()
    entity = Entity(ca)
    certificate = entity.enroll()
    assert list(crl(ca, now=NOW)) == []
    asking = Entity(ca, Credential(certificate, entity.key))
    got = asking.ask(revocation(ca, certificate))
    assert got.type is BodyType.RP
    assert status_in(got).status == PKIStatus.ACCEPTED
    body = got.body()
    assert isinstance(body, RevRep)
    serial = x509.load_der_x509_certificate(certificate).serial_number
    assert body.certificates[0].serial_number == serial
    assert body.certificates[0].issuer == names.directory_name(ca.pki.issuing.subject)
    entry = crl(ca, now=NOW).get_revoked_certificate_by_serial_number(serial)
    assert entry is not None
    assert entry.revocation_date_utc == NOW
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.superseded
    assert ca.record().certificates[0].status is CertificateStatus.REVOKED


def test_a_revoked_certificate_may_ask_for_nothing_more() -> None:
    ca = lab()
    entity = Entity(ca)
    certificate = entity.enroll()
    asking = Entity(ca, Credential(certificate, entity.key))
    asking.ask(revocation(ca, certificate))
    for body in (revocation(ca, certificate), asking.request(BodyType.KUR)):
        asking.begin()
        assert failures_in(asking.ask(body)) == ("certRevoked",)


def test_the_secret_a_certificate_was_issued_under_revokes_it_too_but_no_other() -> None:
    ca = lab(secrets={"enb-4711": "one-time", "enb-4712": "one-time"})
    entity = Entity(ca)
    certificate = entity.enroll()
    entity.begin()
    assert failures_in(entity.ask(revocation(ca, certificate), sender_kid=b"enb-4712")) == ("notAuthorized",)
    entity.begin()
    assert failures_in(entity.ask(revocation(ca, certificate, reason=None))) == ()
    entity.begin()
    assert failures_in(entity.ask(revocation(ca, certificate))) == ("certRevoked",)


def test_a_certificate_does_not_revoke_its_predecessor() -> None:
    ca = lab()
    entity = Entity(ca)
    old = entity.enroll()
    renewing = Entity(ca, Credential(old, entity.key))
    new = renewing.enroll(BodyType.KUR)
    asking = Entity(ca, Credential(new, renewing.key))
    assert failures_in(asking.ask(revocation(ca, old))) == ("notAuthorized",)


@pytest.mark.parametrize(
    ("template", "failure"),
    [
        ({"serial_number": None}, "badCertTemplate"),
        ({"issuer": None}, "badCertTemplate"),
        ({"serial_number": 4711}, "badCertId"),
        ({"serial_number": -4711}, "badCertId"),
        ({"issuer": names.common_name("Another CA")}, "badCertId"),
    ],
    ids=str,
)
def test_the_certificate_must_be_named_and_ours(template: dict[str, Any], failure: str) -> None:
    ca = lab()
    entity = Entity(ca)
    certificate = entity.enroll()
    asking = Entity(ca, Credential(certificate, entity.key))
    got = asking.ask(revocation(ca, certificate, **template))
    assert got.type is BodyType.RP
    assert failures_in(got) == (failure,)


@pytest.mark.parametrize("reason", [2, 7, 8, 99])
def test_a_reason_that_is_no_end_entitys_is_refused(reason: int) -> None:
    ca = lab()
    entity = Entity(ca)
    certificate = entity.enroll()
    asking = Entity(ca, Credential(certificate, entity.key))
    assert failures_in(asking.ask(revocation(ca, certificate, reason=reason))) == ("badRequest",)


def test_the_crl_is_signed_anew_when_it_grows_old_and_its_number_grows() -> None:
    ca = lab(crl_life=timedelta(hours=1))
    numbers = [
        crl(ca, now=NOW + timedelta(minutes=minutes))
        .extensions.get_extension_for_class(x509.CRLNumber)
        .value.crl_number
        for minutes in (0, 59, 60, 61, 121)
    ]
    assert numbers == [1, 1, 2, 2, 3]
