"""What a renewal asks for, how, and who vouches for it, through the whole worker against the lab CA."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509

from agent.cmp import messages
from agent.cmp.bodies import CertReqMessages, CertTemplate, Control
from agent.cmp.certificates import read
from agent.cmp.messages import Message
from agent.contract import Action, Verdict
from agent.labca import encoding
from agent.settings import (
    ExtendedKeyUsage,
    KeyAlgorithm,
    KeySettings,
    KeyUsage,
    RenewalContents,
    RenewalMethod,
    RenewalSettings,
    RequestType,
)
from agent.store.generations import IdentityStore
from agent.supervisor.jobs import needs_secret
from tests.unit.worker.desk import Desk

DECIPHERS = KeySettings(algorithm=KeyAlgorithm.RSA_2048, usage=KeyUsage.ENCIPHERMENT)


def first_message(desk: Desk) -> Message:
    number = next(one["fields"]["CMP_TRANSACTION_ID"] for one in desk.told if one["event"] == "sent")
    recorded = next(one for one in desk.ca.record().transactions if one.id.hex() == number)
    return messages.parse(recorded.messages[0].octets)


def asked(desk: Desk) -> CertReqMessages:
    body = first_message(desk).body()
    assert isinstance(body, CertReqMessages)
    return body


def template(desk: Desk) -> CertTemplate:
    return asked(desk).requests[0].request.template


def extensions(octets: bytes | None) -> dict[str, bytes]:
    """Extensions by their OID."""
    return {one.oid: one.value for one in encoding.read_extensions(octets or b"\x30\x00")}


def certificate(desk: Desk) -> x509.Certificate:
    assert desk.current is not None
    return x509.load_der_x509_certificate(desk.current.certificate)


def test_a_key_update_asks_for_names_and_usages_of_the_old_certificate_and_not_for_key_identifiers(desk: Desk) -> None:
    assert desk.do().verdict is Verdict.ISSUED
    old = certificate(desk)
    # What the configuration says meanwhile does not matter.
    desk.configure(identity={"subject": "CN=other", "alternative_names": ("dns:other.example",)})
    assert desk.do(Action.RENEW).verdict is Verdict.ISSUED
    assert template(desk).subject == old.subject.public_bytes()
    wanted = extensions(template(desk).extensions)
    copied = {one.oid.dotted_string: one.value.public_bytes() for one in old.extensions}
    assert wanted == {oid: copied[oid] for oid in ("2.5.29.17", "2.5.29.15")}
    new = certificate(desk)
    assert new.subject == old.subject
    own = x509.SubjectKeyIdentifier
    assert new.extensions.get_extension_for_class(own).value != old.extensions.get_extension_for_class(own).value


SERVER, INTERMEDIATE = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.8.2.2"


def test_the_usages_of_a_security_gateway_are_asked_for_demanded_and_asked_for_again(desk: Desk) -> None:
    """TS 33.310 6.1.3: digitalSignature and keyEncipherment; serverAuth and IKE intermediate if there are any."""
    key = KeySettings(algorithm=KeyAlgorithm.RSA_2048, certified_for=(KeyUsage.ENCIPHERMENT,))
    purposes = (ExtendedKeyUsage.SERVER_AUTH, ExtendedKeyUsage.IKE_INTERMEDIATE)
    desk.configure(identity={"key": key, "extended_key_usage": purposes})
    assert desk.do().verdict is Verdict.ISSUED
    for action in (Action.ENROLL, Action.RENEW):
        assert desk.do(action, again=True).verdict is Verdict.ISSUED
        facts = read(certificate(desk))
        assert facts.key_usage == frozenset({"digitalSignature", "keyEncipherment"})
        assert facts.extended_key_usage == frozenset({SERVER, INTERMEDIATE})
        assert facts.critical == {"2.5.29.15"}


def test_a_key_update_names_the_certificate_it_renews_unless_the_configuration_says_no(desk: Desk) -> None:
    assert desk.do().verdict is Verdict.ISSUED
    assert desk.do(Action.RENEW).verdict is Verdict.ISSUED
    assert asked(desk).requests[0].request.control(Control.OLD_CERT_ID) is not None
    desk.configure(identity={"renewal": RenewalSettings(old_cert_id=False)})
    assert desk.do(Action.RENEW).verdict is Verdict.ISSUED
    assert asked(desk).requests[0].request.control(Control.OLD_CERT_ID) is None


def test_names_of_the_configuration_are_asked_for_where_that_is_wanted(desk: Desk) -> None:
    assert desk.do().verdict is Verdict.ISSUED
    before = desk.credential()
    desk.configure(
        identity={
            "alternative_names": ("dns:new.example",),
            "renewal": RenewalSettings(contents=RenewalContents.CONFIGURATION),
        }
    )
    outcome = desk.do(Action.RENEW)
    # The lab CA is one of those that let nothing change; what matters is what was asked for.
    assert outcome.verdict is Verdict.REJECTED
    assert b"new.example" in extensions(template(desk).extensions)["2.5.29.17"]
    assert desk.credential() == before


@pytest.mark.parametrize("usage", [KeyUsage.ENCIPHERMENT, KeyUsage.AGREEMENT])
def test_a_key_that_does_not_sign_is_not_renewed_by_kur_even_if_nobody_looked_at_the_configuration(
    desk: Desk, usage: KeyUsage
) -> None:
    algorithm = KeyAlgorithm.RSA_2048 if usage is KeyUsage.ENCIPHERMENT else KeyAlgorithm.EC_P256
    desk.configure(identity={"key": KeySettings(algorithm=algorithm, usage=usage)})
    assert desk.do().verdict is Verdict.ISSUED
    outcome = desk.do(Action.RENEW)
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert "`renewal.method`" in outcome.remedy
    assert desk.sent == []


def test_a_key_that_does_not_sign_is_renewed_by_an_identity_that_does(desk: Desk) -> None:
    signing = replace(desk, job=replace(desk.job, name="sign"))
    assert signing.do().verdict is Verdict.ISSUED
    by_other = RenewalSettings(method=RenewalMethod.CR, signer="sign")
    desk.configure(identity={"key": DECIPHERS, "renewal": by_other})
    assert desk.do().verdict is Verdict.ISSUED
    old = certificate(desk)
    outcome = desk.do(Action.RENEW, secret=None)
    assert outcome.verdict is Verdict.ISSUED, outcome
    assert desk.sent == ["cr", "certConf"]
    signer = IdentityStore(desk.job.state_directory, "sign").current
    assert signer is not None
    assert first_message(desk).extra_certs[0] == signer.certificate
    assert template(desk).subject == old.subject.public_bytes()
    assert asked(desk).requests[0].request.control(Control.OLD_CERT_ID) is None
    assert certificate(desk).serial_number != old.serial_number
    assert not needs_secret(replace(desk.job, action=Action.RENEW))


def test_without_the_other_identitys_certificate_nothing_is_sent(desk: Desk) -> None:
    desk.configure(
        identity={"key": DECIPHERS, "renewal": RenewalSettings(method=RenewalMethod.CR, signer="sign")},
    )
    assert desk.do().verdict is Verdict.ISSUED
    outcome = desk.do(Action.RENEW)
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert "enrollctl enroll sign" in outcome.remedy
    assert desk.sent == []


@pytest.mark.parametrize("request_", [RequestType.IR, RequestType.CR])
def test_a_renewal_can_be_asked_for_as_the_first_certificate_was(desk: Desk, request_: RequestType) -> None:
    anew = {"key": DECIPHERS, "request": request_, "renewal": RenewalSettings(method=RenewalMethod.ENROLL)}
    desk.configure(identity=anew)
    assert desk.do().verdict is Verdict.ISSUED
    before = certificate(desk)
    assert needs_secret(replace(desk.job, action=Action.RENEW))
    assert desk.do(Action.RENEW, secret=None).verdict is Verdict.NEEDS_SECRET
    assert desk.do(Action.RENEW).verdict is Verdict.ISSUED
    assert desk.sent == [request_.value, "certConf"]
    assert certificate(desk).serial_number != before.serial_number


def test_an_interrupted_renewal_by_secret_asks_for_the_secret_again(slow_desk: Desk) -> None:
    anew: dict[str, Any] = {"renewal": RenewalSettings(method=RenewalMethod.ENROLL)}
    slow_desk.configure(identity=anew)
    assert slow_desk.do().verdict is Verdict.ISSUED
    assert slow_desk.do(Action.RENEW, patience=0.0).verdict is Verdict.WAITING
    assert needs_secret(replace(slow_desk.job, action=Action.RENEW))
    assert slow_desk.do(Action.RENEW).verdict is Verdict.ISSUED
