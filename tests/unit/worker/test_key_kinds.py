"""Every kind of key and signature through the whole worker: enrolled, renewed, refused; against lab CAs over HTTP."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.cmp import algorithms, messages
from agent.cmp.bodies import CertConfirm, CertReqMessages, Pkcs10, PopSignature
from agent.cmp.messages import BodyType, Message
from agent.cmp.protection import MacParameters
from agent.contract import Action, Verdict
from agent.labca import LabCa, LabCaSettings, running
from agent.labca.keys import KeyKind, LabKey
from agent.labca.records import CertificateStatus
from agent.settings import (
    BootstrapSettings,
    HashName,
    HmacName,
    KeyAlgorithm,
    KeySettings,
    KeyUsage,
    MacSettings,
    ProfileName,
    RequestType,
    SignatureName,
    VendorCertificateSettings,
)
from hsm import software
from hsm.algorithms import Family
from hsm.software import SoftwareKeyStore
from tests.unit.worker.desk import SECRET, Desk, desk_at

OLD: Final[dict[str, Any]] = {"legacy_algorithms": True, "minimum_rsa_bits": 1024}

LABS: Final[dict[str, dict[str, Any]]] = {
    "ec": {},
    "ed448": {"key": KeyKind.ED448},
    "ml-dsa-44": {"key": KeyKind.ML_DSA_44},
    "ml-dsa-65": {"key": KeyKind.ML_DSA_65},
    "ml-dsa-87": {"key": KeyKind.ML_DSA_87},
    "pss": {"key": KeyKind.RSA_2048, "signature": "rsa-pss-sha384"},
    "rsa with sha1": {"key": KeyKind.RSA_1024, "signature": "rsa-pkcs1-sha1", **OLD},
    "rsa with md5": {"key": KeyKind.RSA_1024, "signature": "rsa-pkcs1-md5", **OLD},
    "dsa with sha1": {"key": KeyKind.DSA_1024, **OLD},
    "ecdsa with sha1": {"key": KeyKind.EC_P256, "signature": "ecdsa-sha1", **OLD},
    "short rsa": {"key": KeyKind.RSA_1024},
    "mac with sha1": {"mac": MacParameters(one_way_function="sha1", mac="hmac-sha1-ietf", salt=bytes(16))},
}
"""The CAs of this module, by what is peculiar about them."""

LabOf = Callable[[str], LabCa]


@pytest.fixture(scope="module")
def lab_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabOf]:
    """Give the CA of that name; it is started when it is first asked for."""
    started: dict[str, LabCa] = {}
    with ExitStack() as stack:

        def lab(name: str) -> LabCa:
            if name not in started:
                settings = LabCaSettings(
                    directory=tmp_path_factory.mktemp("lab"),
                    secrets={"enb": SECRET.decode()},
                    durable=False,
                    **LABS[name],
                )
                ca = LabCa(settings)
                stack.callback(ca.close)
                stack.enter_context(running(ca))
                started[name] = ca
            return started[name]

        yield lab


def desk_for(ca: LabCa, place: Path, key: KeyAlgorithm = KeyAlgorithm.EC_P256, **authority: Any) -> Desk:
    """Return an identity with a key of that algorithm; ``authority`` are settings of its authority."""
    assert ca.settings.directory is not None
    desk = desk_at(ca, ca.settings.directory / "root.pem", place / "state")
    desk.configure(identity={"key": KeySettings(algorithm=key)}, **authority)
    return desk


def by_vendor(desk: Desk, place: Path, kind: KeyKind = KeyKind.EC_P256) -> None:
    """Let the identity prove itself by a vendor's certificate with a key of ``kind``."""
    device = desk.ca.make_device("enb-4711", key=LabKey.generate(kind))
    (place / "vendor.pem").write_bytes(device.pem)
    (place / "vendor.key").write_bytes(device.key.pem())
    (place / "vendor.key").chmod(0o600)
    vendor = VendorCertificateSettings(certificate=place / "vendor.pem", key=str(place / "vendor.key"))
    desk.configure(identity={"bootstrap": BootstrapSettings(vendor_certificate=vendor)})


def said(desk: Desk, *, by_ca: bool = False) -> list[Message]:
    """Return the messages of the last job, ours or the CA's."""
    (number,) = {one["fields"]["CMP_TRANSACTION_ID"] for one in desk.told if one["event"] == "sent"}
    transaction = next(one for one in desk.ca.record().transactions if one.id.hex() == number)
    return [messages.parse(one.octets) for one in transaction.messages if one.sent is by_ca]


def protection_of(message: Message) -> str:
    return algorithms.signature_algorithm(message.header.protection_alg or b"").name


def proof_in(message: Message) -> str:
    """Return the signature algorithm of the proof of possession, in CRMF or PKCS#10."""
    body = message.body()
    if isinstance(body, Pkcs10):
        # cryptography calls every old signature invalid.
        command = ["openssl", "req", "-verify", "-noout", "-inform", "DER"]
        judged = subprocess.run(command, input=body.request, check=True, capture_output=True, timeout=30)
        assert b"verify OK" in judged.stderr
        oid = x509.load_der_x509_csr(body.request).signature_algorithm_oid.dotted_string
        return next(rule.name for rule in algorithms.SIGNATURES.values() if rule.oid == oid)
    assert isinstance(body, CertReqMessages)
    possession = body.requests[0].possession
    assert isinstance(possession, PopSignature)
    return algorithms.signature_algorithm(possession.algorithm).name


def installed_key(desk: Desk) -> KeyAlgorithm:
    assert desk.current is not None
    key = SoftwareKeyStore(desk.job.state_directory).find(desk.current.key_reference)
    certificate = x509.load_der_x509_certificate(desk.current.certificate)
    assert algorithms.load_public_key(key.public_key) == certificate.public_key()
    assert key.algorithm is not None
    return KeyAlgorithm(key.algorithm.value)


def openssl_verifies(desk: Desk, place: Path) -> bool:
    """Ask OpenSSL whether the certificate in use leads to the root, as strong as the algorithms may be."""
    assert desk.current is not None
    certificates = {"leaf": desk.current.certificate, "chain": desk.current.chain[0]}
    for name, octets in certificates.items():
        (place / name).write_bytes(x509.load_der_x509_certificate(octets).public_bytes(Encoding.PEM))
    assert desk.ca.settings.directory is not None
    root = desk.ca.settings.directory / "root.pem"
    arguments = ["-auth_level", "0", "-CAfile", str(root), "-untrusted", str(place / "chain"), str(place / "leaf")]
    return (
        subprocess.run(["openssl", "verify", *arguments], check=False, capture_output=True, timeout=30).returncode == 0
    )


# --- what every profile does ------------------------------------------------------------------------------------------

SIGNS_WITH: Final = {
    KeyAlgorithm.RSA_2048: "rsa-pkcs1-sha256",
    KeyAlgorithm.RSA_3072: "rsa-pkcs1-sha256",
    KeyAlgorithm.EC_P256: "ecdsa-sha256",
    KeyAlgorithm.EC_P384: "ecdsa-sha384",
    KeyAlgorithm.EC_P521: "ecdsa-sha512",
    KeyAlgorithm.ED25519: "ed25519",
    KeyAlgorithm.ED448: "ed448",
    KeyAlgorithm.ML_DSA_44: "ml-dsa-44",
    KeyAlgorithm.ML_DSA_65: "ml-dsa-65",
    KeyAlgorithm.ML_DSA_87: "ml-dsa-87",
}


@pytest.mark.parametrize("algorithm", SIGNS_WITH)
def test_a_key_of_every_kind_is_enrolled_and_renewed(lab_of: LabOf, tmp_path: Path, algorithm: KeyAlgorithm) -> None:
    desk = desk_for(lab_of("ec"), tmp_path, algorithm)
    assert desk.do().verdict is Verdict.ISSUED
    assert proof_in(said(desk)[0]) == SIGNS_WITH[algorithm]
    first = desk.credential()
    assert desk.do(Action.RENEW).verdict is Verdict.ISSUED
    update, confirmation = said(desk)
    assert update.type is BodyType.KUR
    assert {protection_of(update), protection_of(confirmation), proof_in(update)} == {SIGNS_WITH[algorithm]}
    assert desk.credential()["private-key.pem"] != first["private-key.pem"]
    assert installed_key(desk) is algorithm


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.ML_DSA_44, KeyAlgorithm.ML_DSA_65, KeyAlgorithm.ML_DSA_87])
def test_a_ca_with_ml_dsa_is_confirmed_by_a_hash_that_is_named(
    lab_of: LabOf, tmp_path: Path, algorithm: KeyAlgorithm
) -> None:
    """The certificate's signature names no hash, so certConf does, in the version that can (RFC 9810 5.3.18)."""
    desk = desk_for(lab_of(algorithm), tmp_path, algorithm)
    for action in (Action.ENROLL, Action.RENEW):
        assert desk.do(action).verdict is Verdict.ISSUED
        request, confirmation = said(desk)
        body = confirmation.body()
        assert isinstance(body, CertConfirm)
        assert (request.header.pvno, confirmation.header.pvno) == (2, 3)
        assert body.statuses[0].hash_alg == bytes.fromhex("300b0609608648016503040203")
        assert len(body.statuses[0].cert_hash) == 64
    assert {protection_of(answer) for answer in said(desk, by_ca=True)} == {algorithm.value}
    assert {one.status for one in desk.ca.record().certificates} == {CertificateStatus.CONFIRMED}


@pytest.mark.parametrize("request_type", RequestType)
def test_a_ca_with_ed448_is_confirmed_by_a_hash_that_needs_no_name(
    lab_of: LabOf, tmp_path: Path, request_type: RequestType
) -> None:
    desk = desk_for(lab_of("ed448"), tmp_path, KeyAlgorithm.ED448)
    desk.configure(identity={"request": request_type})
    assert desk.do().verdict is Verdict.ISSUED
    request, confirmation = said(desk)
    body = confirmation.body()
    assert isinstance(body, CertConfirm)
    assert (confirmation.header.pvno, body.statuses[0].hash_alg, len(body.statuses[0].cert_hash)) == (2, None, 64)
    assert proof_in(request) == "ed448"
    assert openssl_verifies(desk, tmp_path)


@pytest.mark.parametrize("request_type", RequestType)
def test_pss_is_used_for_messages_and_proofs_where_the_setting_says_so(
    lab_of: LabOf, tmp_path: Path, request_type: RequestType
) -> None:
    desk = desk_for(lab_of("pss"), tmp_path, KeyAlgorithm.RSA_2048, signature=SignatureName.RSA_PSS_SHA256)
    by_vendor(desk, tmp_path, KeyKind.RSA_2048)
    desk.configure(identity={"request": request_type})
    assert desk.do(secret=None).verdict is Verdict.ISSUED
    request, confirmation = said(desk)
    assert {protection_of(request), protection_of(confirmation)} == {"rsa-pss-sha256"}
    assert {protection_of(answer) for answer in said(desk, by_ca=True)} == {"rsa-pss-sha384"}
    assert algorithms.SIGNATURES[proof_in(request)].pss
    assert openssl_verifies(desk, tmp_path)


def test_a_signature_setting_is_for_keys_of_its_kind_only(lab_of: LabOf, tmp_path: Path) -> None:
    """The vendor's key is RSA, the new one EC: one setting must not make either of them useless."""
    desk = desk_for(lab_of("ec"), tmp_path, KeyAlgorithm.EC_P384, signature=SignatureName.RSA_PSS_SHA512)
    by_vendor(desk, tmp_path, KeyKind.RSA_2048)
    assert desk.do(secret=None).verdict is Verdict.ISSUED
    request, _ = said(desk)
    assert (protection_of(request), proof_in(request)) == ("rsa-pss-sha512", "ecdsa-sha384")


# --- what profile backhaul does ---------------------------------------------------------------------------------------

SHA1_MAC: Final = MacSettings(one_way_function=HashName.SHA1, mac=HmacName.HMAC_SHA1_IETF)
BACKHAUL: Final[dict[str, Any]] = {"profile": ProfileName.BACKHAUL, "mac": SHA1_MAC}
SHA1: Final = bytes.fromhex("06052b0e03021a")
HMAC_SHA1: Final = bytes.fromhex("06082b06010505080102")

OLD_WAYS: Final = [
    ("rsa with sha1", KeyAlgorithm.RSA_1024, None, "rsa-pkcs1-sha1"),
    ("rsa with md5", KeyAlgorithm.RSA_1024, SignatureName.RSA_PKCS1_MD5, "rsa-pkcs1-md5"),
    ("dsa with sha1", KeyAlgorithm.DSA_1024, None, "dsa-sha1"),
    ("rsa with sha1", KeyAlgorithm.RSA_2048, None, "rsa-pkcs1-sha1"),
    ("ecdsa with sha1", KeyAlgorithm.EC_P256, SignatureName.ECDSA_SHA1, "ecdsa-sha1"),
    ("rsa with sha1", KeyAlgorithm.EC_P256, None, "ecdsa-sha256"),
]


@pytest.mark.parametrize(("lab", "algorithm", "signature", "used"), OLD_WAYS)
def test_backhaul_speaks_with_servers_of_its_days_from_first_to_last(
    lab_of: LabOf,
    tmp_path: Path,
    lab: str,
    algorithm: KeyAlgorithm,
    signature: SignatureName | None,
    used: str,
) -> None:
    desk = desk_for(lab_of(lab), tmp_path, algorithm, signature=signature, **BACKHAUL)
    assert desk.do().verdict is Verdict.ISSUED
    for message in (*said(desk), *said(desk, by_ca=True)):
        assert SHA1 in (message.header.protection_alg or b"")
        assert HMAC_SHA1 in (message.header.protection_alg or b"")
    assert proof_in(said(desk)[0]) == used
    assert "note: the profile backhaul allows SHA-1, MD5, DSA" in desk.texts
    assert openssl_verifies(desk, tmp_path)
    assert desk.do(Action.RENEW).verdict is Verdict.ISSUED
    update, confirmation = said(desk)
    assert {protection_of(update), protection_of(confirmation), proof_in(update)} == {used}
    ca_signs_with = desk.ca.pki.ra.key.schemes[0]
    assert {protection_of(answer) for answer in said(desk, by_ca=True)} == {ca_signs_with}
    assert installed_key(desk) is algorithm
    assert openssl_verifies(desk, tmp_path)


@pytest.mark.parametrize(
    ("lab", "algorithm", "kind", "used"),
    [
        ("rsa with sha1", KeyAlgorithm.RSA_1024, KeyKind.RSA_1024, "rsa-pkcs1-sha1"),
        ("dsa with sha1", KeyAlgorithm.DSA_1024, KeyKind.DSA_1024, "dsa-sha1"),
    ],
)
def test_backhaul_takes_an_old_vendors_key_and_asks_by_pkcs10(
    lab_of: LabOf, tmp_path: Path, lab: str, algorithm: KeyAlgorithm, kind: KeyKind, used: str
) -> None:
    desk = desk_for(lab_of(lab), tmp_path, algorithm, profile=ProfileName.BACKHAUL)
    by_vendor(desk, tmp_path, kind)
    desk.configure(identity={"request": RequestType.P10CR})
    assert desk.do(secret=None).verdict is Verdict.ISSUED
    request, confirmation = said(desk)
    assert request.type is BodyType.P10CR
    assert {protection_of(request), protection_of(confirmation), proof_in(request)} == {used}


def test_other_profiles_do_not_mention_its_weakness(lab_of: LabOf, tmp_path: Path) -> None:
    desk = desk_for(lab_of("ec"), tmp_path)
    assert desk.do().verdict is Verdict.ISSUED
    assert "note" not in desk.events


# --- what the other profiles refuse -----------------------------------------------------------------------------------

OTHER_PROFILES: Final = [ProfileName.LIGHTWEIGHT, ProfileName.THREE_GPP]
OLD_LABS: Final = {
    "rsa with sha1": "rsa-pkcs1-sha1",
    "rsa with md5": "rsa-pkcs1-md5",
    "dsa with sha1": "dsa-sha1",
    "ecdsa with sha1": "ecdsa-sha1",
}


def nothing_is_left_of_it(desk: Desk) -> bool:
    return desk.current is None and not desk.store.generations


@pytest.mark.parametrize("profile", OTHER_PROFILES)
@pytest.mark.parametrize("lab", OLD_LABS)
def test_an_answer_with_an_old_signature_is_refused(
    lab_of: LabOf, tmp_path: Path, lab: str, profile: ProfileName
) -> None:
    desk = desk_for(lab_of(lab), tmp_path, profile=profile)
    by_vendor(desk, tmp_path)
    outcome = desk.do(secret=None)
    assert outcome.verdict is Verdict.REFUSED
    assert f"not accepted here: signature with {OLD_LABS[lab]}" in outcome.text
    assert "only the profile `backhaul`" in outcome.remedy
    assert desk.sent == ["ir"]
    assert nothing_is_left_of_it(desk)


@pytest.mark.parametrize("profile", OTHER_PROFILES)
@pytest.mark.parametrize(
    ("lab", "why"),
    [
        ("rsa with sha1", "a signature over sha1"),
        ("rsa with md5", "a signature over md5"),
        ("dsa with sha1", "a signature over sha1"),
        ("ecdsa with sha1", "a signature over sha1"),
        ("short rsa", "an RSA key of 1024 bits"),
    ],
)
def test_an_old_certificate_is_refused_and_the_ca_is_told(
    lab_of: LabOf, tmp_path: Path, lab: str, why: str, profile: ProfileName
) -> None:
    desk = desk_for(lab_of(lab), tmp_path, profile=profile)
    outcome = desk.do()
    assert outcome.verdict is Verdict.REFUSED
    assert why in outcome.text
    assert desk.sent == ["ir", "certConf (rejecting)"]
    assert desk.ca.record().certificates[-1].status is CertificateStatus.REFUSED
    assert nothing_is_left_of_it(desk)


@pytest.mark.parametrize("profile", OTHER_PROFILES)
def test_a_mac_with_an_old_one_way_function_is_refused(lab_of: LabOf, tmp_path: Path, profile: ProfileName) -> None:
    desk = desk_for(lab_of("mac with sha1"), tmp_path, profile=profile)
    outcome = desk.do()
    assert outcome.verdict is Verdict.REFUSED
    assert "not accepted here: PasswordBasedMac with sha1" in outcome.text
    assert nothing_is_left_of_it(desk)
    desk.configure(profile=ProfileName.BACKHAUL)
    assert desk.do().verdict is Verdict.ISSUED


@pytest.mark.parametrize("profile", OTHER_PROFILES)
@pytest.mark.parametrize("algorithm", [KeyAlgorithm.RSA_1024, KeyAlgorithm.DSA_1024])
def test_a_weak_key_is_not_certified_even_if_nobody_looked_at_the_configuration(
    lab_of: LabOf, tmp_path: Path, algorithm: KeyAlgorithm, profile: ProfileName
) -> None:
    desk = desk_for(lab_of("ec"), tmp_path, algorithm, profile=profile)
    outcome = desk.do()
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert f"is too weak for the profile {profile}" in outcome.text
    assert desk.sent == []


def test_a_weak_key_is_not_certified_for_encipherment_either(lab_of: LabOf, tmp_path: Path) -> None:
    desk = desk_for(lab_of("ec"), tmp_path)
    desk.configure(identity={"key": KeySettings(algorithm=KeyAlgorithm.RSA_1024, usage=KeyUsage.ENCIPHERMENT)})
    outcome = desk.do()
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert "is too weak for the profile lightweight" in outcome.text
    assert desk.sent == []


@pytest.mark.parametrize("bits", [1024, 1536])
def test_a_weak_key_made_elsewhere_is_for_backhaul_only(lab_of: LabOf, tmp_path: Path, bits: int) -> None:
    factory = tmp_path / "factory.key"
    subprocess.run(["openssl", "genrsa", "-out", factory, str(bits)], check=True, capture_output=True, timeout=30)
    factory.chmod(0o600)
    desk = desk_for(lab_of("rsa with sha1"), tmp_path)
    desk.configure(identity={"key": KeySettings(existing=str(factory))})
    outcome = desk.do()
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert "less than 2048 bits" in outcome.text
    assert "choose profile backhaul only for" in outcome.remedy
    assert desk.sent == []
    desk.configure(profile=ProfileName.BACKHAUL)
    assert desk.do().verdict is Verdict.ISSUED


@pytest.mark.parametrize("kind", [KeyKind.RSA_1024, KeyKind.DSA_1024])
def test_a_vendors_weak_key_protects_nothing(lab_of: LabOf, tmp_path: Path, kind: KeyKind) -> None:
    desk = desk_for(lab_of("ec"), tmp_path)
    by_vendor(desk, tmp_path, kind)
    outcome = desk.do(secret=None)
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert "is too weak for the profile lightweight" in outcome.text
    assert desk.sent == []


@pytest.mark.parametrize(
    ("algorithm", "signature"),
    [
        (KeyAlgorithm.RSA_2048, SignatureName.RSA_PKCS1_MD5),
        (KeyAlgorithm.RSA_2048, SignatureName.RSA_PKCS1_SHA1),
        (KeyAlgorithm.EC_P256, SignatureName.ECDSA_SHA1),
        (KeyAlgorithm.EC_P256, SignatureName.DSA_SHA1),
    ],
)
def test_an_old_signature_is_not_made_even_if_nobody_looked_at_the_configuration(
    lab_of: LabOf, tmp_path: Path, algorithm: KeyAlgorithm, signature: SignatureName
) -> None:
    desk = desk_for(lab_of("ec"), tmp_path, algorithm, signature=signature)
    outcome = desk.do()
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert f"lightweight does not allow the signature algorithm {signature}" in outcome.text
    assert desk.sent == []


def test_a_weak_credential_is_not_renewed_once_the_profile_is_a_better_one(lab_of: LabOf, tmp_path: Path) -> None:
    """Its key would protect the request. The way out is a new enrollment, and the old credential stays until then."""
    desk = desk_for(lab_of("rsa with sha1"), tmp_path, KeyAlgorithm.RSA_1024, **BACKHAUL)
    assert desk.do().verdict is Verdict.ISSUED
    before = desk.credential()
    desk.configure(profile=ProfileName.LIGHTWEIGHT, mac=MacSettings())
    outcome = desk.do(Action.RENEW)
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert desk.sent == []
    assert desk.credential() == before


def test_a_library_without_ml_dsa_is_named_before_anything_is_sent(
    lab_of: LabOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: object) -> None:
        raise ImportError("no mldsa")

    monkeypatch.setitem(software._GENERATORS, Family.ML_DSA_65, missing)
    desk = desk_for(lab_of("ec"), tmp_path, KeyAlgorithm.ML_DSA_65)
    outcome = desk.do()
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert "cannot make ml-dsa-65 keys" in outcome.text
    assert "install cryptography 50 or later" in outcome.remedy
    assert desk.sent == []
    desk.job = replace(desk.job, identity=replace(desk.job.identity, key=KeySettings()))
    assert desk.do().verdict is Verdict.ISSUED
