from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.cmp import algorithms, der, names
from agent.cmp.bodies import (
    Attribute,
    CertReqMessages,
    CertRequest,
    CertTemplate,
    Control,
    Pkcs10,
    PopSignature,
    RaVerified,
)
from agent.cmp.failures import PKIStatus
from agent.cmp.messages import BodyType, Info, InfoTypeAndValue
from agent.cmp.protection import MacParameters, MacProtector
from agent.labca import encoding
from agent.labca.certificates import Credential
from agent.labca.keys import LabKey
from agent.labca.records import CertificateStatus, TransactionState
from tests.unit.labca.entity import (
    NOW,
    SAN,
    SUBJECT,
    Entity,
    certificate_in,
    changed,
    csr,
    failures_in,
    lab,
    loaded,
    prove,
    response_in,
    status_in,
)

CN_OTHER = names.name_from_text("CN=somebody-else")
EKU = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.IPSEC_IKE]), False)
IMPLICIT = (InfoTypeAndValue(Info.IMPLICIT_CONFIRM, algorithms.NULL),)


def usage(**bits: bool) -> tuple[x509.KeyUsage, bool]:
    every = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**{**every, **bits}), True


def holder(ca_certificate: bytes, entity: Entity) -> Credential:
    """Return what the entity holds after it was given a certificate."""
    return Credential(ca_certificate, entity.key)


# --- what is issued -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "answer"), [(BodyType.IR, BodyType.IP), (BodyType.CR, BodyType.CP)])
def test_a_secret_gets_a_certificate_for_key_and_subject_asked_for(kind: BodyType, answer: BodyType) -> None:
    ca = lab()
    entity = Entity(ca)
    got = entity.ask(entity.request(kind))
    assert got.type is answer
    certificate = loaded(certificate_in(got))
    certificate.verify_directly_issued_by(ca.pki.issuing.loaded)
    assert certificate.subject.public_bytes() == SUBJECT
    assert _spki(certificate) == entity.key.public_key
    assert certificate.not_valid_before_utc == NOW
    assert certificate.not_valid_after_utc == NOW + timedelta(days=90)
    assert certificate.serial_number.bit_length() == 159
    assert status_in(got).status == PKIStatus.ACCEPTED
    assert got.extra_certs == (ca.pki.issuing.certificate,)


def test_a_certificate_has_key_usage_and_key_identifiers_also_when_nobody_asks() -> None:
    ca = lab()
    certificate = loaded(Entity(ca).enroll())
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    issuer = ca.pki.issuing.loaded.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert certificate.extensions.get_extension_for_class(
        x509.AuthorityKeyIdentifier
    ).value == x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer)


def test_extensions_are_copied_from_the_template() -> None:
    wanted = names.extensions([SAN, EKU, usage(digital_signature=True, key_agreement=True)])
    certificate = loaded(Entity(lab()).enroll(extensions=wanted))
    for extension, _ in (SAN, EKU):
        assert certificate.extensions.get_extension_for_class(type(extension)).value == extension
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_agreement


def test_a_string_type_in_the_subject_comes_back_as_it_was() -> None:
    printable = bytes.fromhex("3013311130") + bytes.fromhex("0f0603550403") + b"\x13\x08enb-4711"
    der.check(printable)
    assert loaded(Entity(lab()).enroll(subject=printable)).subject.public_bytes() == printable


def test_an_alternative_name_is_enough_without_subject() -> None:
    certificate = loaded(Entity(lab()).enroll(subject=names.EMPTY, extensions=names.extensions([SAN])))
    assert certificate.subject.public_bytes() == names.EMPTY


def test_validity_goes_down_to_seconds_and_may_begin_in_the_past() -> None:
    certificate = loaded(Entity(lab(validity=timedelta(seconds=3), backdate=timedelta(seconds=5))).enroll())
    assert certificate.not_valid_before_utc == NOW - timedelta(seconds=5)
    assert certificate.not_valid_after_utc == NOW + timedelta(seconds=3)


def test_a_shorter_validity_is_granted_and_a_longer_one_is_not() -> None:
    ca = lab()
    entity = Entity(ca)
    short = entity.ask(entity.request(not_after=NOW + timedelta(days=3)))
    assert loaded(certificate_in(short)).not_valid_after_utc == NOW + timedelta(days=3)
    assert status_in(short).status == PKIStatus.ACCEPTED
    entity = Entity(ca)
    long = entity.ask(entity.request(not_after=NOW + timedelta(days=3000)))
    assert loaded(certificate_in(long)).not_valid_after_utc == NOW + timedelta(days=90)
    assert status_in(long).status == PKIStatus.GRANTED_WITH_MODS


def test_an_extension_that_is_left_out_is_said_so() -> None:
    wanted = names.extensions([(x509.OCSPNoCheck(), False)])
    entity = Entity(lab())
    assert status_in(entity.ask(entity.request(extensions=wanted))).status == PKIStatus.GRANTED_WITH_MODS


def test_a_crl_distribution_point_is_written_when_the_ca_is_served_somewhere() -> None:
    ca = lab(crl_distribution_point=True)
    ca.served_at("http://127.0.0.1:8080/", "http://127.0.0.1:8080/crl")
    certificate = loaded(Entity(ca).enroll())
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert points == x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier("http://127.0.0.1:8080/crl")], None, None, None)]
    )


def test_pkcs10_is_served_with_its_extensions() -> None:
    ca = lab()
    entity = Entity(ca)
    got = entity.ask(Pkcs10(csr(entity.key, SAN)))
    assert got.type is BodyType.CP
    assert response_in(got).cert_req_id == -1
    certificate = loaded(certificate_in(got))
    assert certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value == SAN[0]
    assert entity.ask(entity.confirm(certificate_in(got), number=-1)).type is BodyType.PKICONF


def test_the_root_may_issue_itself_and_protect_answers_itself() -> None:
    ca = lab(intermediate=False, ra_protects=False, sign_mac_answers=True)
    entity = Entity(ca)
    got = entity.ask(entity.request())
    loaded(certificate_in(got)).verify_directly_issued_by(ca.pki.root.loaded)
    assert got.extra_certs == (ca.pki.root.certificate,)


# --- who may ask ----------------------------------------------------------------------------------------------------


def test_a_vendors_certificate_gets_a_first_certificate() -> None:
    ca = lab()
    entity = Entity(ca, ca.make_device("enb-4711", now=NOW))
    got = entity.ask(entity.request())
    assert got.extra_certs == (ca.pki.ra.certificate, ca.pki.issuing.certificate)
    assert response_in(got).certificate is not None
    assert got.body().ca_pubs == ()  # type: ignore[union-attr]


def test_the_root_is_handed_out_in_ca_pubs_to_a_mac_protected_ir_only() -> None:
    ca = lab()
    for kind, expected in ((BodyType.IR, (ca.pki.root.certificate,)), (BodyType.CR, ())):
        entity = Entity(ca)
        assert entity.ask(entity.request(kind)).body().ca_pubs == expected  # type: ignore[union-attr]
    entity = Entity(lab(ca_pubs=False))
    assert entity.ask(entity.request()).body().ca_pubs == ()  # type: ignore[union-attr]


def test_a_key_update_keeps_names_and_extensions_and_takes_the_new_key() -> None:
    ca = lab()
    entity = Entity(ca)
    old = entity.enroll(extensions=names.extensions([SAN, EKU]))
    renewing = Entity(ca, holder(old, entity))
    got = renewing.ask(renewing.request(BodyType.KUR, subject=None))
    assert failures_in(got) == ("badPOP",)  # without a subject there must be poposkInput
    renewing.begin()
    new = loaded(renewing.enroll(BodyType.KUR))
    assert new.subject.public_bytes() == SUBJECT
    assert new.serial_number != loaded(old).serial_number
    assert _spki(new) == renewing.key.public_key
    for extension in (SAN[0], EKU[0]):
        assert new.extensions.get_extension_for_class(type(extension)).value == extension


@pytest.mark.parametrize(
    ("template", "failure"),
    [
        ({"subject": CN_OTHER}, "badCertTemplate"),
        ({"extensions": names.extensions([SAN])}, "badCertTemplate"),
    ],
)
def test_a_key_update_may_not_change_names(template: dict[str, Any], failure: str) -> None:
    ca = lab()
    entity = Entity(ca)
    renewing = Entity(ca, holder(entity.enroll(), entity))
    assert failures_in(renewing.ask(renewing.request(BodyType.KUR, **template))) == (failure,)


def test_old_cert_id_must_be_the_certificate_that_signs() -> None:
    ca = lab()
    entity, stranger = Entity(ca), Entity(ca)
    mine, other = entity.enroll(), stranger.enroll()
    issuer = names.directory_name(ca.pki.issuing.subject)
    for certificate, expected in ((mine, ()), (other, ("badCertId",))):
        renewing = Entity(ca, holder(mine, entity))
        serial = encoding.integer(loaded(certificate).serial_number)
        control = Attribute(Control.OLD_CERT_ID, der.wrap(der.SEQUENCE, issuer, serial))
        assert failures_in(renewing.ask(renewing.request(BodyType.KUR, controls=(control,)))) == expected


def test_a_key_update_under_a_mac_renews_only_what_was_issued_under_the_same_secret() -> None:
    ca = lab(secrets={"enb-4711": "one-time", "enb-4712": "one-time"})
    entity, neighbour = Entity(ca), Entity(ca)
    neighbour.sender, neighbour.kid = names.directory_name(names.common_name("enb-4712")), b"enb-4712"
    old = loaded(entity.enroll())
    reference = der.wrap(
        der.SEQUENCE, names.directory_name(ca.pki.issuing.subject), encoding.integer(old.serial_number)
    )
    for who, expected in ((neighbour, ("notAuthorized",)), (entity, ())):
        who.begin()
        got = who.ask(who.request(BodyType.KUR, controls=(Attribute(Control.OLD_CERT_ID, reference),)))
        assert failures_in(got) == expected
    entity.begin()
    assert failures_in(entity.ask(entity.request(BodyType.KUR))) == ("badCertId",)


def test_a_secret_good_for_one_certificate_is_used_up_by_it() -> None:
    ca = lab()
    ca.add_secret("enb-4711", "one-time", uses=1)
    entity = Entity(ca)
    certificate = certificate_in(entity.ask(entity.request()))
    again = Entity(ca)
    assert failures_in(again.ask(again.request())) == ("notAuthorized",)
    assert entity.ask(entity.confirm(certificate)).type is BodyType.PKICONF


def test_a_key_can_be_refused_a_second_time() -> None:
    ca = lab(refuse_known_keys=True)
    entity = Entity(ca)
    entity.enroll()
    entity.begin()
    assert failures_in(entity.ask(entity.request())) == ("duplicateCertReq",)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "failure"),
    [
        ({"serial_number": 4711}, "badCertTemplate"),
        ({"signing_alg": algorithms.build_algorithm("1.2.840.10045.4.3.2")}, "badCertTemplate"),
        ({"version": 0}, "badCertTemplate"),
        ({"issuer": CN_OTHER}, "wrongAuthority"),
        ({"subject": names.EMPTY}, "badCertTemplate"),
        ({"public_key": None}, "badCertTemplate"),
        (
            {"extensions": names.extensions([(x509.BasicConstraints(ca=True, path_length=None), True)])},
            "badCertTemplate",
        ),
        ({"extensions": names.extensions([usage(key_cert_sign=True)])}, "badCertTemplate"),
        ({"extensions": names.extensions([(x509.OCSPNoCheck(), True)])}, "unacceptedExtension"),
        ({"extensions": der.wrap(der.SEQUENCE, *[names.extensions([SAN])[2:]] * 2)}, "badCertTemplate"),  # type: ignore[index]
        ({"not_after": NOW - timedelta(days=1)}, "badCertTemplate"),
        ({"not_before": NOW + timedelta(days=365)}, "badCertTemplate"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_a_template_that_cannot_be_granted_is_refused_in_ip(template: dict[str, Any], failure: str) -> None:
    ca = lab()
    entity = Entity(ca)
    got = entity.ask(entity.request(**template))
    assert got.type is BodyType.IP
    assert failures_in(got) == (failure,)
    assert status_in(got).text
    assert ca.record().certificates == ()
    assert ca.record().transactions[0].state is TransactionState.REJECTED


def test_a_name_nobody_can_read_is_not_signed() -> None:
    broken = encoding.extensions((encoding.Extension("2.5.29.17", critical=False, value=b"\x30\x03\x87\x01\x00"),))
    entity = Entity(lab())
    assert failures_in(entity.ask(entity.request(extensions=broken))) == ("badCertTemplate",)


def test_a_short_rsa_key_is_refused_unless_it_is_allowed() -> None:
    key = LabKey(rsa.generate_private_key(65537, 1024))
    for bits, expected in ((2048, ("badCertTemplate",)), (1024, ())):
        entity = Entity(lab(minimum_rsa_bits=bits))
        entity.key = key
        assert failures_in(entity.ask(entity.request())) == expected


def test_a_wrong_signature_proves_no_possession() -> None:
    entity = Entity(lab())
    other = LabKey.generate()
    request = CertRequest(template=CertTemplate(subject=SUBJECT, public_key=entity.key.public_key))
    body = CertReqMessages(BodyType.IR, (prove(request, other),))
    assert failures_in(entity.ask(body)) == ("badPOP",)


@pytest.mark.parametrize("possession", [None, RaVerified()])
def test_possession_must_be_proved_by_a_signature(possession: RaVerified | None) -> None:
    entity = Entity(lab())
    assert failures_in(entity.ask(changed(entity.request(), possession=possession))) == ("badPOP",)


def test_pkcs10_with_a_wrong_signature_is_refused() -> None:
    entity = Entity(lab())
    good = csr(entity.key)
    for bad in (good[:-1] + bytes((good[-1] ^ 1,)), good.replace(b"enb-4711", b"enb-4712")):
        entity.begin()
        assert failures_in(entity.ask(Pkcs10(bad))) == ("badPOP",)


def test_pkcs10_asking_for_a_ca_is_refused() -> None:
    entity = Entity(lab())
    request = csr(entity.key, (x509.BasicConstraints(ca=True, path_length=None), True))
    assert failures_in(entity.ask(Pkcs10(request))) == ("badCertTemplate",)


def test_one_request_in_a_message_with_number_0_is_served() -> None:
    entity = Entity(lab())
    body = entity.request()
    assert isinstance(body, CertReqMessages)
    assert failures_in(entity.ask(replace(body, requests=body.requests * 2))) == ("badRequest",)
    entity.begin()
    other = prove(replace(body.requests[0].request, cert_req_id=1), entity.key)
    got = entity.ask(replace(body, requests=(other,)))
    assert failures_in(got) == ("badRequest",)
    assert response_in(got).cert_req_id == 1


def test_a_certificate_profile_is_accepted_or_must_be_a_known_one() -> None:
    def profiles(*texts: str) -> tuple[InfoTypeAndValue, ...]:
        return (InfoTypeAndValue(Info.CERT_PROFILE, names.utf8_sequence(*texts)),)

    for known, asked, expected in (
        ((), ("gnb",), ()),
        (("enb",), ("gnb",), ("badRequest",)),
        ((), ("a", "b"), ("badRequest",)),
    ):
        entity = Entity(lab(certificate_profiles=known))
        assert failures_in(entity.ask(entity.request(), general_info=profiles(*asked))) == expected


# --- poposkInput ----------------------------------------------------------------------------------------------------


def with_input(entity: Entity, auth_info: bytes, *, key: bytes | None = None) -> CertReqMessages:
    octets = der.wrap(der.SEQUENCE, auth_info, key or entity.key.public_key)
    scheme = entity.key.schemes[0]
    possession = PopSignature(
        algorithm=algorithms.signature_identifier(algorithms.SIGNATURES[scheme]),
        signature=entity.key.sign(octets, scheme),
        input=octets,
    )
    extensions = names.extensions([SAN])
    body = changed(entity.request(subject=None, extensions=extensions), possession=possession)
    assert isinstance(body, CertReqMessages)
    return body


def test_poposkinput_with_a_sender_proves_possession_without_a_subject() -> None:
    ca = lab()
    entity = Entity(ca, ca.make_device("enb-4711", now=NOW))
    got = entity.ask(with_input(entity, der.wrap(0xA0, entity.sender)))
    assert loaded(certificate_in(got)).subject.public_bytes() == names.EMPTY


@pytest.mark.parametrize(("secret", "expected"), [(b"one-time", ()), (b"another", ("badPOP",))])
def test_poposkinput_with_a_mac_needs_the_secret(secret: bytes, expected: tuple[str, ...]) -> None:
    entity = Entity(lab())
    protector = MacProtector(secret, MacParameters(salt=b"fedcba9876543210", iterations=100))
    value = encoding.bit_string(protector.protect(entity.key.public_key))
    body = with_input(entity, der.wrap(der.SEQUENCE, protector.algorithm, value))
    assert failures_in(entity.ask(body)) == expected


def test_poposkinput_must_name_the_key_of_the_template_and_fit_the_subject() -> None:
    ca = lab()
    entity = Entity(ca, ca.make_device("enb-4711", now=NOW))
    sender = der.wrap(0xA0, entity.sender)
    assert failures_in(entity.ask(with_input(entity, sender, key=LabKey.generate().public_key))) == ("badPOP",)
    entity.begin()
    possession = with_input(entity, sender).requests[0].possession
    assert failures_in(entity.ask(changed(entity.request(), possession=possession))) == ("badPOP",)


# --- confirmation ---------------------------------------------------------------------------------------------------


def test_implicit_confirmation_is_granted_to_whoever_asks_where_it_is_configured() -> None:
    for configured, asked, granted in ((True, True, True), (True, False, False), (False, True, False)):
        ca = lab(implicit_confirm=configured)
        entity = Entity(ca)
        got = entity.ask(entity.request(), general_info=IMPLICIT if asked else ())
        assert (got.header.info(Info.IMPLICIT_CONFIRM) is not None) is granted
        expected = CertificateStatus.CONFIRMED if granted else CertificateStatus.ISSUED
        assert [one.status for one in ca.record().certificates] == [expected]


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
