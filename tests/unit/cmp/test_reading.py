from __future__ import annotations

import ipaddress
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import AttributeOID, AuthorityInformationAccessOID, ExtendedKeyUsageOID

from agent.cmp import algorithms, der, messages, names
from agent.cmp.bodies import (
    Attribute,
    CertConfirm,
    CertId,
    CertRepMessage,
    CertReqMessages,
    CertReqMsg,
    CertRequest,
    CertResponse,
    CertStatus,
    CertTemplate,
    Challenge,
    ErrorMessage,
    General,
    Pkcs10,
    PkiConf,
    Poll,
    PollRequest,
    PollResponse,
    PopDecChallenges,
    PopDecResponses,
    PopKey,
    PopSignature,
    PopSubsequent,
    RaVerified,
    RevDetails,
    RevRep,
    RevReq,
    StatusInfo,
    SubsequentMessage,
    Unread,
)
from agent.cmp.failures import FAILURES, PKIFailureInfo, PKIStatus
from agent.cmp.messages import BodyType, Header, Info, InfoTypeAndValue
from agent.cmp.protection import MacParameters, MacProtector
from agent.cmp.reading import read
from tests.unit.cmp import wire
from tests.unit.cmp.pki import issue, spki, usage
from tests.unit.cmp.wire import DEVICE, ROOT, SECRET

NULL = b"\x05\x00"
ROOT_NAME = names.name_from_text("CN=Operator Root,O=Operator")
ENVELOPED = bytes.fromhex("a04a") + der.wrap(
    der.SEQUENCE,
    b"\x02\x01\x02",
    der.wrap(der.SET, der.wrap(der.SEQUENCE, b"\x02\x01\x02")),
    der.wrap(
        der.SEQUENCE,
        bytes.fromhex("06092a864886f70d010701"),
        bytes.fromhex("301d060960864801650304012a0410") + bytes(16),
        der.wrap(0x80, bytes(12)),
    ),
)
ENVELOPED = der.wrap(0xA0, der.unwrap(ENVELOPED[2:]))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return wire.messages(tmp_path_factory.mktemp("openssl"))


def words(octets: bytes, *, secret: bytes | None = None, understood: bool = True) -> str:
    """The reading as one line a thing, without indents: each line must hold on 80 columns when it is printed."""
    reading = read(octets, secret=secret)
    assert reading.understood is understood, list(reading.lines())
    assert all(len(line) <= 80 for line in reading.lines())
    json.dumps(reading.to_json())
    items = (one for item in reading.items for one in item.walk())
    return "\n".join(f"{item.name}: {item.value}" if item.value else item.name for item in items)


def built(body: Any, **header: Any) -> bytes:
    return messages.build(Header(**header), body)


def unread(kind: BodyType, *contents: bytes) -> bytes:
    return built(Unread(kind, der.wrap(der.SEQUENCE, *contents)))


# --- real messages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "lines"),
    {
        "ir": (
            "message: ir (initialization request)",
            "as received: canonical DER, all its parts fit the standard",
            "pvno: 2 (cmp2000)",
            "sender: CN=enb-4711.example,O=Operator",
            "recipient: (nobody: an empty name)",
            "protectionAlg: PasswordBasedMac",
            "salt: 16 octets",
            "owf: sha256",
            "iterationCount: 500",
            "mac: hmac-sha256",
            'senderKID: "enb-4711"',
            "publicKey: EC P-256",
            "subjectAltName: dns:enb-4711.example, ip:192.0.2.7",
            "proof of possession: signature, ecdsa-sha256; verifies with the key of the request",
        ),
        "ip": (
            "caPubs",
            "certificate: CN=Operator Root,O=Operator",
            "basicConstraints: a CA, path length 1 (critical)",
            "keyUsage: digitalSignature, keyCertSign, cRLSign (critical)",
            "status: accepted (0): the CA did what was asked for",
            "certificate: CN=enb-4711.example,O=Operator",
            "issuer: CN=Operator Root,O=Operator",
            "validity: 2020-01-01 00:00:00 UTC to 2080-01-01 00:00:00 UTC",
        ),
        "certConf": ("certReqId: 0", "statusInfo: accepted (0): the certificate is taken"),
        "pkiconf": ("body pkiconf: the CA has taken the confirmation (or the error message) it got",),
        "kur": (
            "oldCertID",
            "protectionAlg: ecdsa-sha256",
            "protection: signature, ecdsa-sha256",
            "verifies with the key of the certificate",
            "this alone is no trust",
        ),
        "kup": ("certificate: CN=enb-4711.example,O=Operator", "key: EC P-256"),
        "kur-certConf": ("message: certConf (certificate confirmation)",),
        "kur-pkiconf": ("message: pkiconf (confirmation)",),
    }.items(),
)
def test_real_messages_are_understood_whole(real: dict[str, bytes], name: str, lines: tuple[str, ...]) -> None:
    text = words(real[name])
    assert [line for line in lines if line not in text] == []


def test_the_identifiers_of_a_real_message_are_those_in_it(real: dict[str, bytes]) -> None:
    header = messages.parse(real["ip"]).header
    text = words(real["ip"])
    for octets in (header.transaction_id, header.sender_nonce, header.recip_nonce):
        assert octets
        assert octets.hex() in text
    assert f"messageTime: {header.message_time:%Y-%m-%d %H:%M:%S} UTC" in text
    assert f"serialNumber: {DEVICE.certificate.serial_number:x}" in text


# --- protection -----------------------------------------------------------------------------------------------------


def test_a_mac_is_withheld_and_only_checked_with_a_secret(real: dict[str, bytes]) -> None:
    protection = messages.parse(real["ir"]).protection
    assert protection
    reading = read(real["ir"])
    shown = json.dumps(reading.to_json()) + "".join(reading.lines())
    assert protection.hex() not in shown
    assert "MAC, PasswordBasedMac, 32 octets, withheld; not checked: no secret was given" in words(real["ir"])


@pytest.mark.parametrize(("secret", "verdict"), [(SECRET, "verifies with the secret"), (b"x", "DOES NOT VERIFY")])
def test_a_mac_is_checked_with_the_secret(real: dict[str, bytes], secret: bytes, verdict: str) -> None:
    assert f"withheld; {verdict}" in words(real["ir"], secret=secret)


def test_pbmac1_is_told_with_its_parameters_and_checked() -> None:
    protector = MacProtector(b"geheim", MacParameters(algorithm="pbmac1", iterations=1000, salt=b"saltsalt"))
    octets = messages.build(Header(protection_alg=protector.algorithm), PkiConf(), protect=protector.protect)
    text = words(octets, secret=b"geheim")
    for line in (
        "protectionAlg: PBMAC1",
        "keyDerivationFunc: PBKDF2",
        "salt: 8 octets",
        "iterationCount: 1000",
        "keyLength: 32",
        "prf: hmac-sha256",
        "messageAuthScheme: hmac-sha256",
        "MAC, PBMAC1, 32 octets, withheld; verifies with the secret",
    ):
        assert line in text


def test_a_key_derivation_that_names_no_hash_uses_sha_1() -> None:
    kdf = algorithms.build_algorithm("1.2.840.113549.1.5.12", bytes.fromhex("300a04046162636402020400"))
    parameters = der.wrap(der.SEQUENCE, kdf, algorithms.build_algorithm("1.2.840.113549.2.9"))
    algorithm = algorithms.build_algorithm("1.2.840.113549.1.5.14", parameters)
    text = words(messages.build(Header(protection_alg=algorithm), PkiConf(), protect=lambda _: bytes(32)))
    assert "iterationCount: 1024\nprf: hmac-sha1, since none is named" in text


def test_key_derivation_that_takes_too_long_is_not_done() -> None:
    parameters = MacParameters(algorithm="pbmac1", iterations=600_000, salt=b"saltsalt")
    header = Header(protection_alg=MacProtector(b"geheim", parameters).algorithm)
    octets = messages.build(header, PkiConf(), protect=lambda _: bytes(32))
    first, second = words(octets * 2, secret=b"geheim").split("message: pkiconf")[1:]
    assert "DOES NOT VERIFY" in first
    assert "not checked: the message asks for 600000 iterations; 1 to 400000 are accepted" in second


def test_a_changed_message_does_not_verify(real: dict[str, bytes]) -> None:
    changed = real["kup"].replace(b"Operator Root", b"Operator Loot", 1)
    assert "DOES NOT VERIFY with any certificate that came along (1 tried)" in words(changed)


def test_a_signature_without_a_certificate_is_not_checked(real: dict[str, bytes]) -> None:
    parts = der.values(real["kup"])
    assert "not checked: no certificate came along" in words(der.wrap(der.SEQUENCE, *parts[:3]))


def test_signatures_without_end_are_not_all_checked(real: dict[str, bytes]) -> None:
    text = words(real["kur"] * 20)
    assert text.count("verifies with the key of the request") == 16
    assert text.count("not checked: too many signatures in one input") == 8


def test_an_unprotected_message_is_said_to_prove_nothing() -> None:
    assert "protection: none: nothing in this message is proven" in words(built(PkiConf()))


def test_protection_and_its_algorithm_must_come_together() -> None:
    half = built(PkiConf(), protection_alg=algorithms.build_algorithm("1.2.840.10045.4.3.2"))
    assert "protection: none" in words(half)
    other = messages.build(Header(), PkiConf(), protect=lambda _: b"12345")
    assert "5 octets, withheld; not checked: the header names no algorithm" in words(other)


def test_an_unknown_signature_algorithm_is_named(real: dict[str, bytes]) -> None:
    ecdsa = bytes.fromhex("06082a8648ce3d040302")
    octets = real["kup"].replace(ecdsa, bytes.fromhex("06082a8648ce3d04037f"), 1)
    text = words(octets)
    assert "protectionAlg: unknown algorithm 1.2.840.10045.4.3.127" in text
    assert "not checked: the CA uses an algorithm that is not accepted here" in text


def test_rsassa_pss_is_told_with_its_hash_and_salt() -> None:
    algorithm = algorithms.signature_identifier(algorithms.SIGNATURES["rsa-pss-sha256"])
    text = words(messages.build(Header(protection_alg=algorithm), PkiConf(), protect=lambda _: b"x"))
    assert (
        "protectionAlg: RSASSA-PSS\nhashAlgorithm: sha256\nmaskGenAlgorithm: MGF1 with sha256\nsaltLength: 32" in text
    )


# --- requests -------------------------------------------------------------------------------------------------------


def request(**changes: Any) -> bytes:
    template = CertTemplate(subject=ROOT_NAME, public_key=DEVICE.spki)
    fields: dict[str, Any] = {"request": CertRequest(template=template)}
    return built(CertReqMessages(BodyType.IR, (CertReqMsg(**fields | changes),)))


def test_a_proof_of_possession_that_does_not_verify_is_told(real: dict[str, bytes]) -> None:
    assert "proof of possession: signature, ecdsa-sha256; DOES NOT VERIFY with the key of the request" in words(
        real["ir"].replace(b"enb-4711.example\x87", b"enb-4712.example\x87", 1)
    )


@pytest.mark.parametrize(
    ("possession", "line"),
    [
        (RaVerified(), "proof of possession: raVerified: an RA vouches for it"),
        (None, "proof of possession: none"),
        (
            PopSubsequent(PopKey.ENCIPHERMENT, SubsequentMessage.ENCR_CERT),
            "proof of possession: keyEncipherment, subsequentMessage: by an encrypted certificate (encrCert)",
        ),
        (
            PopSubsequent(PopKey.AGREEMENT, SubsequentMessage.CHALLENGE_RESP),
            "proof of possession: keyAgreement, subsequentMessage: by a challenge (challengeResp)",
        ),
    ],
)
def test_other_proofs_of_possession_are_told(possession: Any, line: str) -> None:
    assert line in words(request(possession=possession))


def test_a_mac_inside_a_proof_of_possession_is_withheld() -> None:
    mac = der.wrap(der.BIT_STRING, b"\x00", b"a MAC to guess the secret with!!")
    value = der.wrap(0xA3, algorithms.build_algorithm("1.2.840.113549.2.9"), mac)
    octets = request(possession=PopSubsequent(PopKey.AGREEMENT, SubsequentMessage.ENCR_CERT))
    old = bytes.fromhex("a303810100")
    changed = _swap(octets, old, der.wrap(0xA3, value))
    text = words(changed)
    assert "keyAgreement, agreeMAC" in text
    assert "value: withheld: it is secret (33 octets)" in text
    assert mac[2:].hex() not in text


def _swap(octets: bytes, old: bytes, new: bytes) -> bytes:
    """Replace one value in DER; the lengths around it follow."""
    if octets == old:
        return new
    if not octets[0] & 0x20 or old not in octets:
        return octets
    return der.wrap(octets[0], *(_swap(one, old, new) for one in der.values(octets)))


@pytest.mark.parametrize("template", [CertTemplate(), CertTemplate(public_key=DEVICE.spki)])
def test_a_signature_over_its_own_input_is_checked_as_that(template: CertTemplate) -> None:
    mac = der.wrap(der.SEQUENCE, algorithms.build_algorithm("1.2.840.113549.2.9"), b"\x03\x05\x00abcd")
    signed = der.wrap(der.SEQUENCE, mac, DEVICE.spki)
    possession = PopSignature(
        algorithm=algorithms.build_algorithm("1.2.840.10045.4.3.2"),
        signature=DEVICE.key.sign(signed, ec.ECDSA(hashes.SHA256())),
        input=signed,
    )
    text = words(request(request=CertRequest(template=template), possession=possession))
    assert "signature, ecdsa-sha256; verifies with the key of the request\npoposkInput\npublicKeyMAC" in text
    assert "value: withheld" in text


def test_a_whole_template_is_told() -> None:
    template = CertTemplate(
        version=2,
        serial_number=0x4711,
        signing_alg=algorithms.build_algorithm("1.2.840.10045.4.3.2"),
        issuer=ROOT_NAME,
        not_before=datetime(2027, 1, 1, tzinfo=UTC),
        not_after=datetime(2057, 1, 1, tzinfo=UTC),
        subject=ROOT_NAME,
        public_key=DEVICE.spki,
        extensions=names.extensions([(usage("key_agreement"), True)]),
    )
    text = words(request(request=CertRequest(cert_req_id=7, template=template)))
    for line in (
        "certReqId: 7",
        "version: 3",
        "serialNumber: 4711",
        "signingAlg: ecdsa-sha256",
        "issuer: CN=Operator Root,O=Operator",
        "notBefore: 2027-01-01 00:00:00 UTC",
        "notAfter: 2057-01-01 00:00:00 UTC",
        "publicKey: EC P-256",
        "keyUsage: keyAgreement (critical)",
    ):
        assert line in text


def test_a_key_that_the_ca_is_to_make_is_told() -> None:
    empty = der.wrap(der.SEQUENCE, algorithms.build_algorithm("1.2.840.113549.1.1.1", NULL), b"\x03\x01\x00")
    text = words(request(request=CertRequest(template=CertTemplate(public_key=empty))))
    assert "publicKey: RSA: none is given, the CA is to make the key" in text


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), "RSA 2048 bits"),
        (lambda: ec.generate_private_key(ec.SECP521R1()), "EC P-521"),
        (ed25519.Ed25519PrivateKey.generate, "Ed25519"),
        (lambda: dsa.generate_private_key(1024), "DSA 1024 bits"),
    ],
)
def test_keys_are_told_by_kind_and_size(key: Any, line: str) -> None:
    template = CertTemplate(public_key=spki(key()))
    assert f"publicKey: {line}" in words(request(request=CertRequest(template=template)))


def controls(*attributes: Attribute) -> bytes:
    return request(request=CertRequest(template=CertTemplate(), controls=attributes), reg_info=attributes)


CONTROL = "1.3.6.1.5.5.7.5.1."


def test_controls_are_told_by_name() -> None:
    text = words(
        controls(
            Attribute(CONTROL + "11", algorithms.build_algorithm("1.2.840.10045.2.1", bytes.fromhex("06052b81040022"))),
            Attribute(CONTROL + "12", bytes.fromhex("02020c00")),
            Attribute(CONTROL + "6", DEVICE.spki),
            Attribute(CONTROL + "4", der.wrap(0xA0, ENVELOPED)),
            Attribute("1.2.3.4", NULL),
        )
    )
    for line in ("algId: EC P-384", "rsaKeyLen: 3072", "protocolEncrKey: EC P-256", "unknown type 1.2.3.4"):
        assert line in text
    assert "pkiArchiveOptions: encrypted (EnvelopedData)" in text
    assert "contentEncryptionAlgorithm: AES-256-CBC\nencryptedContent: 12 octets, encrypted" in text


@pytest.mark.parametrize("oid", [CONTROL + "1", CONTROL + "2", "1.3.6.1.5.5.7.5.2.1", "1.2.3.4"])
def test_secrets_in_controls_are_withheld_even_from_damaged_messages(oid: str) -> None:
    secret = "password?geheim-4711%"
    octets = controls(Attribute(oid, der.wrap(der.UTF8_STRING, secret.encode())))
    assert "geheim" not in words(octets)
    first = octets.index(secret.encode()) - 30
    for at in range(first, first + 30):
        for bit in range(8):
            damaged = bytearray(octets)
            damaged[at] ^= 1 << bit
            reading = read(bytes(damaged))
            assert "geheim" not in json.dumps(reading.to_json()), (at, bit)


# --- answers --------------------------------------------------------------------------------------------------------


def test_every_failure_is_told_with_its_meaning_and_remedy() -> None:
    status = StatusInfo(status=2, text=('bad "luck"',), failures=frozenset({*PKIFailureInfo, 40}))
    text = words(built(ErrorMessage(status, 4711, ("details", "more"))))
    assert "pKIStatusInfo: rejection (2): the CA refused" in text
    assert "statusString: \"bad 'luck'\"" in text
    for bit, rule in FAILURES.items():
        assert f"{bit.label}: {rule.meaning}\nwhat to do: {rule.remedy}" in text
    assert "bit 40: nobody has defined it yet" in text
    assert 'errorCode: 4711\nerrorDetails: "details", "more"' in text


@pytest.mark.parametrize("status", PKIStatus)
def test_every_status_is_told(status: PKIStatus) -> None:
    assert f"{status.label} ({status.value}): the CA" in words(built(ErrorMessage(StatusInfo(status=status))))
    assert "unknown status 77" in words(built(ErrorMessage(StatusInfo(status=77))))


def test_an_encrypted_certificate_and_key_are_told_without_their_octets() -> None:
    response = CertResponse(
        cert_req_id=0, status=StatusInfo(status=0), encrypted_certificate=ENVELOPED, private_key=ENVELOPED
    )
    text = words(built(CertRepMessage(BodyType.CP, (response,))))
    assert "encryptedCert: encrypted (EnvelopedData)" in text
    assert "privateKey: encrypted (EnvelopedData)" in text
    assert "recipientInfos: key transport" in text


def test_the_old_form_of_an_encrypted_certificate_is_told() -> None:
    value = der.wrap(
        der.SEQUENCE,
        der.wrap(0xA1, der.unwrap(algorithms.build_algorithm("1.2.840.113549.3.7", b"\x04\x08" + bytes(8)))),
        der.wrap(0x82, b"\x00" + bytes(128)),
        der.wrap(der.BIT_STRING, b"\x00", bytes(64)),
    )
    response = CertResponse(cert_req_id=0, status=StatusInfo(status=0), encrypted_certificate=value)
    text = words(built(CertRepMessage(BodyType.IP, (response,))))
    assert "encryptedCert: encrypted (EncryptedValue, deprecated)\nsymmAlg: DES-EDE3-CBC" in text
    assert "encSymmKey: 129 octets, encrypted\nencValue: 65 octets, encrypted" in text


def test_polling_is_told_with_its_time() -> None:
    assert "certReqId: -1" in words(built(PollRequest((-1,))))
    text = words(built(PollResponse((Poll(cert_req_id=0, check_after=172_800, reason=("the boss is out",)),))))
    assert 'checkAfter: ask again after 172800 seconds (about 2 days)\nreason: "the boss is out"' in text
    assert "checkAfter: ask again after 90 seconds" in words(
        built(PollResponse((Poll(cert_req_id=0, check_after=90),)))
    )


def test_a_confirmation_is_told_from_our_side() -> None:
    rejected = StatusInfo(status=2, failures=frozenset({PKIFailureInfo.INCORRECT_DATA}))
    text = words(
        built(
            CertConfirm(
                (
                    CertStatus(cert_hash=b"hash", cert_req_id=0, status=rejected),
                    CertStatus(
                        cert_hash=b"hash",
                        cert_req_id=1,
                        hash_alg=algorithms.build_algorithm(algorithms.HASHES["sha512"].oid),
                    ),
                )
            )
        )
    )
    assert "statusInfo: rejection (2): the certificate is refused\nfailInfo: incorrectData" in text
    assert "hashAlg: sha512\nstatusInfo: absent: the certificate is accepted" in text
    assert "no certificate is named: everything is rejected" in words(built(CertConfirm(())))


def test_revocation_is_told() -> None:
    reason = names.extensions([(x509.CRLReason(x509.ReasonFlags.key_compromise), False)])
    details = RevDetails(template=CertTemplate(issuer=ROOT_NAME, serial_number=0xABC), crl_entry_details=reason)
    text = words(built(RevReq((details,))))
    assert "serialNumber: abc\nissuer: CN=Operator Root,O=Operator" in text
    assert "cRLReason: keyCompromise (1)" in text
    answer = RevRep((StatusInfo(status=5),), (CertId(names.directory_name(ROOT_NAME), 0xABC),), (crl(),))
    text = words(built(answer))
    assert "status: revocationNotification (5): the CA has revoked the certificate" in text
    assert "revCerts\ncertificate\nissuer: CN=Operator Root,O=Operator\nserialNumber: abc" in text
    assert "crls\nCRL\n" in text


def test_a_challenge_and_its_answer_are_told_by_size_only() -> None:
    challenge = Challenge(
        owf=algorithms.build_algorithm(algorithms.HASHES["sha256"].oid),
        witness=b"w" * 32,
        challenge=b"",
        encrypted_rand=None,
    )
    text = words(built(PopDecChallenges((challenge,))))
    assert "owf: sha256\nwitness: 32 octets\nchallenge: 0 octets, encrypted" in text
    assert "number: withheld (3 octets)" in words(built(PopDecResponses((0x474747,))))


# --- general messages -----------------------------------------------------------------------------------------------


def test_what_the_header_says_beside_itself_is_told_by_name() -> None:
    when = der.wrap(0x18, b"20270301120000Z")
    text = words(
        built(
            PkiConf(),
            general_info=(
                InfoTypeAndValue(Info.IMPLICIT_CONFIRM, NULL),
                InfoTypeAndValue(Info.CONFIRM_WAIT_TIME, when),
                InfoTypeAndValue(Info.CERT_PROFILE, names.utf8_sequence("gnb")),
                InfoTypeAndValue("1.2.3.4", names.utf8_sequence("what is this?")),
            ),
            free_text=("hello\nworld",),
            recip_kid=b"\x00\x01",
            sender_nonce=b"short",
        )
    )
    for line in (
        "implicitConfirm: the certificate needs no confirmation message (certConf)",
        "confirmWaitTime: 2027-03-01 12:00:00 UTC (the confirmation is awaited until then)",
        'certProfile: "gnb"',
        "unknown type 1.2.3.4",
        'UTF8String: "what is this?"',
        'freeText: "hello\\nworld"',
        "recipKID: 0001",
        "senderNonce: 73686f7274 (only 5 octets; RFC 9483 wants 16)",
    ):
        assert line in text


def test_general_answers_are_told_by_name() -> None:
    certificates = der.wrap(der.SEQUENCE, ROOT.octets, DEVICE.octets)
    update = der.wrap(der.SEQUENCE, ROOT.octets, der.wrap(0xA0, ROOT.octets))
    template = der.wrap(
        der.SEQUENCE,
        der.wrap(der.SEQUENCE, der.wrap(0xA5, b"\x30\x00")),
        der.wrap(der.SEQUENCE, der.wrap(der.SEQUENCE, bytes.fromhex("06082b0601050507050102"[:20]), b"\x02\x01\x05")),
    )
    place = der.wrap(0xA0, der.wrap(0xA0, der.wrap(0x86, b"http://ca.example/x.crl")))
    status = der.wrap(der.SEQUENCE, der.wrap(der.SEQUENCE, place, der.wrap(0x17, b"270301120000Z")))
    id_it = "1.3.6.1.5.5.7.4."
    text = words(
        built(
            General(
                BodyType.GENP,
                (
                    InfoTypeAndValue(Info.CA_CERTS, certificates),
                    InfoTypeAndValue(Info.ROOT_CA_KEY_UPDATE, update),
                    InfoTypeAndValue(Info.CERT_REQ_TEMPLATE, template),
                    InfoTypeAndValue(Info.CRL_STATUS_LIST, status),
                    InfoTypeAndValue(Info.CURRENT_CRL, crl()),
                    InfoTypeAndValue(id_it + "2", der.wrap(der.SEQUENCE, algorithms.build_algorithm("1.3.101.112"))),
                    InfoTypeAndValue(id_it + "7", der.wrap(der.SEQUENCE, bytes.fromhex("06032a0304"))),
                    InfoTypeAndValue(id_it + "12", ENVELOPED),
                    InfoTypeAndValue(id_it + "16", names.utf8_sequence("en", "de")),
                    InfoTypeAndValue(Info.CRLS),
                ),
            )
        )
    )
    for line in (
        "certificate 1: CN=Operator Root,O=Operator",
        "newWithNew: CN=Operator Root,O=Operator",
        "newWithOld: CN=Operator Root,O=Operator",
        "certReqTemplate\ncertTemplate\nsubject: (nobody: an empty name)\nkeySpec",
        "source: uri:http://ca.example/x.crl\nthisUpdate: 2027-03-01 12:00:00 UTC",
        "currentCRL\nversion: 2",
        "signKeyPairTypes: Ed25519",
        "unsupportedOIDs: 1.2.3.4",
        "revPassphrase: encrypted (EnvelopedData)",
        'suppLangTags: "en", "de"',
        "crls: (without a value)",
    ):
        assert line in text


def test_messages_within_messages_are_told_to_a_bounded_depth(real: dict[str, bytes]) -> None:
    inner = real["kur"]
    text = words(unread(BodyType.NESTED, inner, real["ir"]))
    assert "message 1: kur (key update request)" in text
    assert "message 2: ir (initialization request)" in text
    for _ in range(6):
        inner = unread(BodyType.NESTED, inner)
    assert "messages are nested too deep" in words(inner, understood=False)
    origin = InfoTypeAndValue("1.3.6.1.5.5.7.4.15", der.wrap(der.SEQUENCE, real["ir"]))
    assert "origPKIMessage\nmessage: ir" in words(built(PkiConf(), general_info=(origin,)))


def test_bodies_that_we_never_send_are_told_too() -> None:
    status = bytes.fromhex("3003020100")
    named = der.wrap(der.SEQUENCE, names.directory_name(ROOT_NAME), b"\x02\x01\x05")
    when = der.wrap(0x18, b"20270301120000Z")
    recovered = words(unread(BodyType.KRP, status, der.wrap(0xA0, DEVICE.octets)))
    assert "newSigCert: CN=enb-4711.example,O=Operator" in recovered
    assert "oldWithNew: CN=Operator Root" in words(unread(BodyType.CKUANN, ROOT.octets, ROOT.octets, ROOT.octets))
    update = der.wrap(0xA0, der.wrap(der.SEQUENCE, ROOT.octets))
    assert "newWithNew: CN=Operator Root" in words(built(Unread(BodyType.CKUANN, update)))
    assert "body cann: CN=enb-4711.example" in words(built(Unread(BodyType.CANN, DEVICE.octets)))
    announced = words(unread(BodyType.RANN, b"\x02\x01\x04", named, when, when))
    assert "status: revocationWarning (4)" in announced
    assert "willBeRevokedAt: 2027-03-01 12:00:00 UTC" in announced
    assert "body crlann\nCRL\n" in words(unread(BodyType.CRLANN, crl()))
    response = der.wrap(der.SEQUENCE, b"\x02\x01\x00", status)
    assert "status: accepted (0)" in words(unread(BodyType.CCP, der.wrap(der.SEQUENCE, response)))


# --- certificates, requests and CRLs --------------------------------------------------------------------------------


def crl() -> bytes:
    now = datetime(2027, 3, 1, tzinfo=UTC)
    revoked = (
        x509.RevokedCertificateBuilder()
        .serial_number(0xDEF)
        .revocation_date(now)
        .add_extension(x509.CRLReason(x509.ReasonFlags.superseded), critical=False)
        .build()
    )
    builder = x509.CertificateRevocationListBuilder().issuer_name(ROOT.certificate.subject).last_update(now)
    builder = builder.next_update(now + timedelta(days=1)).add_revoked_certificate(revoked)
    builder = builder.add_extension(x509.CRLNumber(17), critical=False)
    return builder.sign(ROOT.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def csr(*attributes: tuple[x509.ObjectIdentifier, bytes]) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(DEVICE.certificate.subject)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("enb.example")]), critical=False)
    for oid, value in attributes:
        builder = builder.add_attribute(oid, value)
    return builder.sign(DEVICE.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_a_certificate_is_told_with_all_its_extensions() -> None:
    oid = x509.ObjectIdentifier
    holder = issue(
        "CN=x",
        ROOT,
        key_usage=usage("digital_signature", "content_commitment"),
        add=[
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.IPSEC_IKE, oid("1.3.6.1.5.5.7.3.28"), oid("1.2.3")]),
            x509.SubjectAlternativeName(
                [
                    x509.RFC822Name("a@b.example"),
                    x509.UniformResourceIdentifier("urn:x"),
                    x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
                    x509.DirectoryName(ROOT.certificate.subject),
                    x509.RegisteredID(oid("1.2.3.4")),
                    x509.OtherName(oid("1.3.6.1.4.1.311.20.2.3"), der.wrap(der.UTF8_STRING, b"me")),
                ]
            ),
            x509.CRLDistributionPoints(
                [x509.DistributionPoint([x509.UniformResourceIdentifier("http://c.example/1")], None, None, None)]
            ),
            x509.AuthorityInformationAccess(
                [
                    x509.AccessDescription(
                        AuthorityInformationAccessOID.CA_ISSUERS,
                        x509.UniformResourceIdentifier("http://c.example/2"),
                    )
                ]
            ),
            x509.CertificatePolicies([x509.PolicyInformation(oid("2.5.29.32.0"), None)]),
            x509.NameConstraints([x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))], None),
            x509.UnrecognizedExtension(oid("1.2.3.5"), der.wrap(der.UTF8_STRING, b"hidden")),
        ],
    )
    text = words(holder.octets)
    for line in (
        "certificate: CN=x",
        "keyUsage: digitalSignature, nonRepudiation (critical)",
        "extKeyUsage: ipsecIKE, cmcRA, 1.2.3",
        "subjectAltName: email:a@b.example, uri:urn:x, ip:2001:db8::1, dir:CN=Operator Root,O=Operator, oid:1.2.3.4, ",
        ', other:userPrincipalName (Microsoft) (1.3.6.1.4.1.311.20.2.3) "me"',
        "cRLDistributionPoints: uri:http://c.example/1",
        "authorityInfoAccess: caIssuers uri:http://c.example/2",
        "certificatePolicies: any policy",
        "permitted: ip:192.0.2.0/24",
        "extension 1.2.3.5",
    ):
        assert line in text
    assert "hidden" not in text


def test_a_certificate_that_would_be_refused_says_why() -> None:
    twice = bytearray(DEVICE.octets)
    twice[DEVICE.octets.index(bytes.fromhex("0603551d0f")) + 4] = 0x11
    text = words(bytes(twice), understood=False)
    assert "note: refused when received: " in text
    assert "keyUsage" not in text


def test_a_pkcs10_request_is_told_and_checked() -> None:
    password = (AttributeOID.CHALLENGE_PASSWORD, b"geheim")
    text = words(csr(password))
    assert text.startswith("PKCS#10 request\nversion: 1\nsubject: CN=enb-4711.example,O=Operator\nkey: EC P-256")
    assert "subjectAltName: dns:enb.example" in text
    assert "proof of possession: signature, ecdsa-sha256; verifies with the key of the request" in text
    assert "challengePassword: withheld" in text
    assert "geheim" not in text
    assert "DOES NOT VERIFY" in words(csr().replace(b"enb.example", b"xnb.example"))
    assert "message: p10cr" in words(built(Pkcs10(csr())))


def test_a_crl_is_told() -> None:
    text = words(crl())
    assert "CRL\nversion: 2\nsigned with: ecdsa-sha256\nissuer: CN=Operator Root,O=Operator" in text
    assert "certificate: def, 2027-03-01 00:00:00 UTC, superseded (4)" in text
    assert "cRLNumber: 17" in text


def test_a_long_crl_is_cut_without_complaint() -> None:
    octets = crl()
    content = der.values(octets)
    fields = der.values(content[0])
    fields[5] = der.wrap(der.SEQUENCE, *der.values(fields[5]) * 150)
    text = words(der.wrap(der.SEQUENCE, der.wrap(der.SEQUENCE, *fields), *content[1:]))
    assert "certificate 100: def" in text
    assert "certificate 101" not in text
    assert "further octets of this list are not shown" in text


def test_bare_requests_are_told(real: dict[str, bytes]) -> None:
    body = messages.parse(real["ir"]).body_octets
    assert words(body).startswith("CertReqMessages\nrequest\ncertReqId: 0")
    message = der.values(body)[0]
    assert words(message).startswith("CertReqMsg\ncertReqId: 0")
    assert words(der.values(message)[0]).startswith("CertRequest\ncertReqId: 0")


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("encoding", [serialization.Encoding.DER, serialization.Encoding.PEM])
@pytest.mark.parametrize("key", [DEVICE.key, rsa.generate_private_key(65537, 2048)])
def test_nothing_of_a_private_key_is_shown(key: Any, encoding: Any, form: Any) -> None:
    octets = key.private_bytes(encoding, form, serialization.NoEncryption())
    text = words(octets)
    assert text.startswith("private key: it is secret: nothing of it is read or shown")
    assert len(text) < 100


# --- what is not as it should be ------------------------------------------------------------------------------------


def indefinite(octets: bytes) -> bytes:
    """The same value in BER: constructed values without a length."""
    if not octets[0] & 0x20:
        return octets
    return octets[:1] + b"\x80" + b"".join(map(indefinite, der.values(octets))) + b"\x00\x00"


def test_ber_is_read_in_the_same_words_and_noted(real: dict[str, bytes]) -> None:
    for name, octets in real.items():
        told = words(octets).splitlines()
        lenient = words(indefinite(octets)).splitlines()
        assert lenient[1].startswith("as received: not canonical DER: the length at offset 0 is indefinite")
        assert lenient[1].endswith("; refused when received"), name
        changing = ("message", "protection:", "as received", "certificate", "note", "proof of possession")
        proofs = [line for line in lenient if line.startswith("proof of possession")]
        assert all("not checked: the length at offset 0 is indefinite" in line for line in proofs)
        kept = [line for line in told if not line.startswith(changing)]
        assert [line for line in lenient if not line.startswith(changing)] == kept
        assert any("not checked: the message is refused as it came" in line for line in lenient)


def test_an_old_version_is_read_and_refused() -> None:
    assert "pvno: 1 (cmp1999: refused when received)" in words(built(PkiConf(), pvno=1))
    assert "pvno: 9 (unknown: refused when received)" in words(built(PkiConf(), pvno=9))


def test_fields_out_of_order_are_read_and_noted() -> None:
    octets = built(PkiConf(), transaction_id=b"12", sender_nonce=bytes(16))
    header, body = der.values(octets)
    *first, transaction, nonce = der.values(header)
    text = words(der.wrap(der.SEQUENCE, der.wrap(der.SEQUENCE, *first, nonce, transaction), body))
    assert "transactionID: 3132\nnote: out of order; refused when received" in text
    assert "as received: canonical DER, but refused when received: it does not fit PKIHeader" in text


def test_what_is_missing_and_what_is_too_much_is_named() -> None:
    header, body = der.values(built(PkiConf()))
    fields = der.values(header)
    text = words(der.wrap(der.SEQUENCE, der.wrap(der.SEQUENCE, *fields[:2], b"\x04\x03abc"), body), understood=False)
    assert "recipient: missing" in text
    assert "unexpected: nothing with the tag OCTET STRING is expected at offset" in text
    assert "body pkiconf: the CA" in text


def test_an_unknown_body_is_shown_as_structure() -> None:
    header, _ = der.values(built(PkiConf()))
    text = words(der.wrap(der.SEQUENCE, header, der.wrap(0xBD, b"\x30\x03\x02\x01\x05")), understood=False)
    assert "message: of an unknown type" in text
    assert "not understood at offset 15: there is no body with the tag [29]" in text
    assert "offset 17: SEQUENCE: 3 octets\noffset 19: INTEGER: 5" in text


def test_one_damaged_field_costs_only_itself(real: dict[str, bytes]) -> None:
    octets = real["ir"].replace(b"enb-4711.example,", b"")
    at = octets.index(bytes.fromhex("180f")) + 2
    damaged = octets[:at] + b"2026-yesterday" + octets[at + 14 :]
    text = words(damaged, understood=False)
    assert f'messageTime: not understood at offset {at - 2}: "2026-yesterdayZ" is not a time' in text
    assert "publicKey: EC P-256" in text
    assert len(read(damaged).stops) == 1


@pytest.mark.parametrize("name", ["ir", "ip", "kur"])
def test_a_message_cut_off_is_read_up_to_there(real: dict[str, bytes], name: str) -> None:
    for length in range(20, len(real[name]), 13):
        reading = read(real[name][:length])
        assert not reading.understood
        lines = list(reading.lines())
        assert any("cut off" in line or "ends in the middle" in line or "missing" in line for line in lines), lines
        if length > 300:
            assert any("pvno: 2" in line for line in lines)
            assert any("transactionID" in line for line in lines)


def test_octets_of_no_kind_are_shown_as_structure_without_what_may_be_secret() -> None:
    values = (
        b"\x01\x01\xff",
        b"\x02\x09\x01geheim!!",
        b"\x02\x01\x2a",
        b"\x04\x06geheim",
        b"\x06\x03\x55\x04\x03",
        b"\x0c\x06geheim",
        der.wrap(0x17, b"270301120000Z"),
        b"\x9f\x8f\x01\x01x",
        b"\x63\x00",
    )
    text = words(der.wrap(der.SEQUENCE, *values), understood=False)
    assert "unknown: neither a CMP message, nor a certificate, a request or a CRL" in text
    for line in (
        "INTEGER: 9 octets",
        "INTEGER: 42",
        "BOOLEAN: yes",
        "CN (2.5.4.3)",
        "UTCTime: 2027-03-01",
        "[31 or more]",
    ):
        assert line in text
    assert "[APPLICATION 3]: 0 octets" in text
    assert "geheim" not in text


def test_text_of_a_peer_cannot_steer_the_terminal() -> None:
    text = words(built(ErrorMessage(StatusInfo(status=2, text=("\x1b[2Jgone\r\u202e",)))))
    assert '"\\x1b[2Jgone\\r\\u202e"' in text
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "\x1b[2J")]).public_bytes()
    assert "\x1b" not in words(built(PkiConf(), sender=names.directory_name(name)))


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (b"\x17\x0b2703011200Z", "2027-03-01 12:00:00 UTC"),
        (b"\x18\x1320270301120000+0130", "2027-03-01 10:30:00 UTC"),
        (b"\x18\x1220270301120000.50Z", "2027-03-01 12:00:00 UTC"),
        (b"\x18\x0e20270301120000", "2027-03-01 12:00:00 UTC (no time zone is given)"),
        (b"\x17\x0d991231235959Z", "1999-12-31 23:59:59 UTC"),
    ],
)
def test_times_are_read_in_forms_that_der_does_not_allow(written: bytes, told: str) -> None:
    info = InfoTypeAndValue(Info.CONFIRM_WAIT_TIME, written)
    assert f"confirmWaitTime: {told} (the" in words(built(General(BodyType.GENP, (info,))))


@pytest.mark.parametrize("written", [b"\x18\x0f20271301120000Z", b"\x18\x0f00010101000000Z", b"\x18\x0d270301120000Z"])
def test_times_that_are_none_are_named(written: bytes) -> None:
    info = InfoTypeAndValue(Info.CONFIRM_WAIT_TIME, written)
    understood = b"0001" in written
    text = words(built(General(BodyType.GENP, (info,))), understood=understood)
    assert understood or "is not a time" in text


def test_every_item_says_where_it_stands(real: dict[str, bytes]) -> None:
    (item,) = read(real["ir"]).items
    found = {one.name: one.offset for one in item.walk() if one.offset is not None}
    octets = real["ir"]
    assert octets[found["messageTime"]] == 0x18
    assert octets[found["publicKey"]] == 0xA6
    assert found["message"] == 0


def test_the_reading_names_the_places_where_it_stopped(real: dict[str, bytes]) -> None:
    octets = real["ir"]
    (mac, whole) = read(octets[:-10]).stops
    assert (mac.name, whole.name) == (f"stopped at offset {len(octets) - 35}", "stopped at offset 0")
    assert mac.value == "the value that begins there is cut off: it announces 33 octets, but only 23 are there"
    assert read(real["ir"]).stops == ()


def test_the_package_needs_no_path(tmp_path: Path) -> None:
    """Reading does not touch files: a name of one is only text."""
    (tmp_path / "x").write_bytes(b"")
    assert not read(str(tmp_path / "x").encode()).understood
