from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from agent.cmp import algorithms, codec, der, names
from agent.cmp.bodies import CertId, CertReqMessages, Control, General, Pkcs10, PopSignature, PopSubsequent, RevReq
from agent.cmp.errors import LocalError
from agent.cmp.messages import PVNO_2, PVNO_3, BodyType, Header, Info, Message, build, parse
from agent.cmp.possession import PopMethod
from agent.cmp.protection import Kind, MacParameters, ProtectionRules, kind_of, verify_mac, verify_signature
from agent.cmp.reasons import REVOCATION_REASONS
from agent.cmp.request import (
    ANSWER_TO,
    Inquiry,
    Originator,
    Request,
    Revocation,
    Wanted,
    by_certificate,
    by_secret,
    wanted_extensions,
)
from tests.unit.cmp import openssl, pki
from tests.unit.cmp.signers import KeyInMemory

PARAMETERS = MacParameters(iterations=100, salt=bytes(16))
SUBJECT = names.name_from_text("CN=enb-4711.ran.operator.example,O=Operator")
SIGNER = KeyInMemory(pki.new_key())
HOLDER = pki.issue(names.parse_name(SUBJECT), key=SIGNER.key)


def sent(originator: Originator, request: Request) -> Message:
    header = Header(
        sender=originator.sender, sender_kid=originator.sender_kid, protection_alg=originator.protector.algorithm
    )
    octets = build(header, request.body(), protect=originator.protector.protect, extra_certs=originator.extra_certs)
    return parse(octets)


def wanted(**changes: Any) -> Wanted:
    return Wanted(**{"type": BodyType.IR, "signer": SIGNER, "subject": SUBJECT, **changes})


def test_a_shared_secret_is_named_in_sender_and_sender_kid_alike() -> None:
    originator = by_secret("enb-4711", b"3gpp-secret", PARAMETERS)
    message = sent(originator, wanted())
    sender = names.name_of(message.header.sender)
    assert sender == names.name_from_text("CN=enb-4711")
    assert message.header.sender_kid == b"enb-4711"
    assert (originator.kind, kind_of(message), originator.extra_certs) == (Kind.MAC, Kind.MAC, ())
    verify_mac(message, b"3gpp-secret", ProtectionRules())


def test_the_secret_is_in_no_repr() -> None:
    assert "3gpp" not in repr(by_secret("enb-4711", b"3gpp-secret", PARAMETERS))


@pytest.mark.parametrize("reference", ["", "a" * 65, "\udc80"])
def test_a_reference_that_cannot_be_a_name_is_our_own_error(reference: str) -> None:
    with pytest.raises(LocalError, match="cannot be used as a name") as caught:
        by_secret(reference, b"secret", PARAMETERS)
    assert "1 to 64" in caught.value.remedy


def test_an_empty_secret_or_salt_is_our_own_error() -> None:
    with pytest.raises(LocalError, match="secret is empty"):
        by_secret("enb-4711", b"", PARAMETERS)
    with pytest.raises(LocalError, match="not safe"):
        by_secret("enb-4711", b"secret", replace(PARAMETERS, salt=b""))


def test_a_certificate_goes_along_with_its_chain_and_names_the_sender() -> None:
    originator = by_certificate(SIGNER, HOLDER.octets, (b"\x30\x00",))
    message = sent(originator, wanted())
    assert names.name_of(message.header.sender) == SUBJECT
    identifier = HOLDER.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert message.header.sender_kid == identifier
    assert message.extra_certs == (HOLDER.octets, b"\x30\x00")
    assert kind_of(message) is originator.kind is Kind.SIGNATURE
    assert verify_signature(message, SIGNER.key.public_key(), ProtectionRules()).name == "ecdsa-sha256"


def test_a_certificate_without_key_identifier_sends_none() -> None:
    plain = pki.version_1(HOLDER, SIGNER.key)
    assert by_certificate(SIGNER, plain.octets).sender_kid is None


def test_the_scheme_of_the_protection_can_be_chosen() -> None:
    key = rsa.generate_private_key(65537, 2048)
    signer = KeyInMemory(key, ("rsa-pkcs1-sha256", "rsa-pss-sha256"))
    originator = by_certificate(signer, pki.issue("CN=a", key=key).octets, scheme="rsa-pss-sha256")
    assert algorithms.signature_algorithm(originator.protector.algorithm).name == "rsa-pss-sha256"


def test_an_absent_null_in_the_key_of_an_rsa_certificate_does_no_harm() -> None:
    key = rsa.generate_private_key(65537, 2048)

    class Bare(KeyInMemory):
        @property
        def public_key(self) -> bytes:
            algorithm, bits = der.values(pki.spki(self.key))
            return der.wrap(der.SEQUENCE, algorithm[:1] + b"\x0b" + algorithm[2:-2], bits)

    assert by_certificate(Bare(key, ("rsa-pkcs1-sha256",)), pki.issue("CN=a", key=key).octets).kind is Kind.SIGNATURE


def test_a_certificate_of_another_key_is_our_own_error() -> None:
    with pytest.raises(LocalError, match="belongs to another key"):
        by_certificate(KeyInMemory(pki.new_key()), HOLDER.octets)


@pytest.mark.parametrize("octets", [b"", b"\x30\x00", HOLDER.octets[:-1], HOLDER.octets + b"\x00"])
def test_an_unreadable_certificate_is_our_own_error(octets: bytes) -> None:
    with pytest.raises(LocalError, match="our own certificate cannot be used"):
        by_certificate(SIGNER, octets)


@pytest.mark.parametrize("kind", [BodyType.IR, BodyType.CR, BodyType.KUR])
def test_a_request_holds_subject_key_extensions_and_its_proof(kind: BodyType) -> None:
    extensions = wanted_extensions([x509.DNSName("enb.operator.example")])
    old = CertId(names.directory_name(SUBJECT), 4711)
    body = wanted(type=kind, extensions=extensions, old=old).body()
    assert isinstance(body, CertReqMessages)
    assert body.type is kind
    request = body.requests[0].request
    assert (request.cert_req_id, request.template.subject) == (0, SUBJECT)
    assert (request.template.public_key, request.template.extensions) == (SIGNER.public_key, extensions)
    assert request.template.serial_number is None
    named = request.control(Control.OLD_CERT_ID)
    assert named is not None
    assert codec.decode_cert_id(named) == old
    proof = body.requests[0].possession
    assert isinstance(proof, PopSignature)
    assert algorithms.verify(
        SIGNER.key.public_key(),
        algorithms.signature_algorithm(proof.algorithm),
        proof.signature,
        codec.encode_request(request),
    )


def test_without_an_old_certificate_there_are_no_controls() -> None:
    body = wanted().body()
    assert isinstance(body, CertReqMessages)
    assert body.requests[0].request.controls == ()


def test_a_pkcs10_request_is_what_openssl_verifies(openssl_folder: Path) -> None:
    body = wanted(type=BodyType.P10CR, extensions=wanted_extensions([])).body()
    assert isinstance(body, Pkcs10)
    openssl.run("req", "-verify", "-noout", "-inform", "DER", folder=openssl_folder, stdin=body.request)


def test_a_pkcs10_request_without_a_name_has_an_empty_one(openssl_folder: Path) -> None:
    body = wanted(type=BodyType.P10CR, subject=None).body()
    assert isinstance(body, Pkcs10)
    openssl.run("req", "-verify", "-noout", "-inform", "DER", folder=openssl_folder, stdin=body.request)


def test_what_is_asked_for_is_a_key_for_signatures_and_the_names() -> None:
    octets = wanted_extensions([x509.DNSName("enb.operator.example"), x509.DNSName("enb2.operator.example")])
    assert octets is not None
    names_part, usage_part = der.values(octets)
    assert b"enb.operator.example" in names_part
    assert usage_part.hex() == "300e0603551d0f0101ff040403020780"
    assert wanted_extensions([]) == der.wrap(der.SEQUENCE, usage_part)


def test_the_version_is_2_unless_something_of_3_is_expected() -> None:
    assert wanted().pvno == PVNO_2
    assert wanted(proof=PopMethod.CHALLENGE).pvno == PVNO_3
    assert wanted(proof=PopMethod.CHALLENGE, enveloped=False).pvno == PVNO_2


class Opener:
    """Stands for a key that decrypts; these tests never ask it to."""


def test_a_key_that_does_not_sign_says_how_it_will_prove_itself() -> None:
    body = wanted(proof=PopMethod.CHALLENGE, decryptor=Opener()).body()
    assert isinstance(body, CertReqMessages)
    assert isinstance(body.requests[0].possession, PopSubsequent)


@pytest.mark.parametrize(
    "changes",
    [
        {"proof": PopMethod.CHALLENGE},
        {"proof": PopMethod.ENCRYPTED_CERTIFICATE, "decryptor": Opener(), "implicit_confirmation": True},
        {"proof": PopMethod.CHALLENGE, "decryptor": Opener(), "type": BodyType.P10CR},
    ],
)
def test_a_proof_that_cannot_be_given_is_our_own_error(changes: dict[str, Any]) -> None:
    with pytest.raises(LocalError):
        wanted(**changes).body()


@pytest.mark.parametrize("reason", REVOCATION_REASONS.values())
def test_a_revocation_names_issuer_number_and_reason(reason: int) -> None:
    request = Revocation(issuer=SUBJECT, serial_number=2**159, reason=reason)
    body = request.body()
    assert isinstance(body, RevReq)
    template = body.details[0].template
    assert (template.issuer, template.serial_number) == (SUBJECT, 2**159)
    assert (template.subject, template.public_key) == (None, None)
    expected = bytes.fromhex("300c300a0603551d1504030a01") + bytes((reason,))
    assert body.details[0].crl_entry_details == expected
    assert request.type is BodyType.RR


def test_a_question_is_one_info() -> None:
    request = Inquiry(info_type=Info.CA_CERTS.value)
    body = request.body()
    assert isinstance(body, General)
    assert [(one.type, one.value) for one in body.infos] == [(Info.CA_CERTS, None)]
    assert body.type is request.type is BodyType.GENM


def test_every_request_has_its_answer() -> None:
    assert {kind.label: answer.label for kind, answer in ANSWER_TO.items()} == {
        "ir": "ip",
        "cr": "cp",
        "p10cr": "cp",
        "kur": "kup",
        "rr": "rp",
        "genm": "genp",
    }
