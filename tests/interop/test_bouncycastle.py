"""Against Bouncy Castle: its own code judges what we send, and makes what we judge."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from agent.cmp import messages, names
from agent.cmp.algorithms import Signer
from agent.cmp.bodies import Body, CertConfirm, CertId, CertRepMessage, CertStatus, ErrorMessage
from agent.cmp.failures import PKIFailureInfo, PKIStatus
from agent.cmp.messages import BodyType, Header, Message
from agent.cmp.protection import MacParameters
from agent.cmp.request import Originator, Wanted, by_certificate, by_secret, wanted_extensions
from agent.config import load
from agent.contract import Action, Job, Outcome, Verdict
from agent.net.http import CmpClient
from agent.settings import HttpSettings
from agent.store import pem
from agent.worker.enrollment import perform
from agent.worker.reporting import Reporter
from hsm.software import SoftwareKey, SoftwareKeyStore
from tests.interop import record
from tests.interop.bouncycastle import peer
from tests.interop.bouncycastle.peer import REFERENCE, SECRET, BouncyCastle
from tests.interop.combinations import PBM_WITH_SHA1, PSS, Combination, Course, Peer, of
from tests.interop.conftest import NEW_KEY
from tests.unit.cmp import pki

ENROLLCTL: Final = Path(sysconfig.get_path("scripts"), "enrollctl")
SUBJECT: Final = "CN=enb-4711,O=Operator"
HOST: Final = "enb-4711.ran.operator.example"
LIFE: Final[dict[str, Any]] = {
    "start": datetime.now(UTC) - timedelta(days=1),
    "end": datetime.now(UTC) + timedelta(days=30),
}

QUICK_POLLING: Final = {"polling": {"minimum": "100ms"}}
"""The first pollReq goes out at once; after that the peer says one second."""

HASHES: Final = {
    "sha1": "1.3.14.3.2.26",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
MACS: Final = {
    "hmac-sha1": "1.2.840.113549.2.7",
    "hmac-sha1-ietf": "1.3.6.1.5.5.8.1.2",
    "hmac-sha256": "1.2.840.113549.2.9",
    "hmac-sha384": "1.2.840.113549.2.10",
    "hmac-sha512": "1.2.840.113549.2.11",
}
KEYS: Final = {
    "rsa-2048": "1.2.840.113549.1.1.1",
    "ec-p256": "1.2.840.10045.2.1",
    "ec-p384": "1.2.840.10045.2.1",
    "ec-p521": "1.2.840.10045.2.1",
    "ed25519": "1.3.101.112",
    "ed448": "1.3.101.113",
}
SIGNATURES: Final = {
    "rsa-2048": "1.2.840.113549.1.1.11",
    "ec-p256": "1.2.840.10045.4.3.2",
    "ec-p384": "1.2.840.10045.4.3.3",
    "ec-p521": "1.2.840.10045.4.3.4",
    "ed25519": "1.3.101.112",
    "ed448": "1.3.101.113",
}
"""What a key of each kind signs with when nothing else is asked for."""

OF_PSS: Final = "1.2.840.113549.1.1.10"


# ---- the peer, the vendor, and stations ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Vendor:
    """The maker of base stations: a root, and the CA of a factory below it that certifies devices."""

    root: pki.Holder = field(default_factory=lambda: pki.authority("CN=Vendor root", **LIFE))

    def bootstrap(self, folder: Path, kind: str = "ec-p256") -> dict[str, Any]:
        """Put a device's certificate, key and chain into ``folder``; return the setting that names them."""
        factory = pki.authority("CN=Vendor factory", self.root, **LIFE)
        usage = pki.usage("digital_signature")
        device = pki.issue("CN=serial 0815,O=Vendor", factory, key=NEW_KEY[kind](), key_usage=usage, **LIFE)
        write_certificate(folder / "vendor.pem", device)
        write_certificate(folder / "vendor-chain.pem", factory)
        write_key(folder / "vendor.key", device.key)
        return {"vendor-certificate": {"certificate": "vendor.pem", "key": "vendor.key", "chain": "vendor-chain.pem"}}


@pytest.fixture(scope="module")
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture(scope="module")
def bouncy_castle(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config, vendor: Vendor
) -> Iterator[BouncyCastle]:
    assert pytestconfig.cache is not None
    classes = peer.compiled(pytestconfig.cache.mkdir("bouncycastle"))
    folder = tmp_path_factory.mktemp("bouncycastle")
    write_certificate(folder / "vendor-root.pem", vendor.root)
    with peer.running(folder, classes, folder / "vendor-root.pem") as running:
        yield running


@dataclass(frozen=True)
class Station:
    """A base station with its own files, configured for the peer."""

    bouncy_castle: BouncyCastle
    folder: Path
    options: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return self.bouncy_castle.url(self.folder.name, *self.options)

    @property
    def found(self) -> list[dict[str, Any]]:
        """What Bouncy Castle found in our messages."""
        return self.bouncy_castle.journal(self.folder.name)

    @property
    def current(self) -> Path:
        return self.folder / "state/identities/ike/current"

    def configure(self, *, authority: dict[str, Any] | None = None, **identity: Any) -> None:
        """Write the configuration; ``identity`` and ``authority`` add to one that works by secret."""
        write_private(self.folder / "secret", SECRET.encode())
        operator = {"urls": [self.url], "trust-anchors": [str(self.bouncy_castle.root)]} | (authority or {})
        ike = {
            "authority": "operator",
            "subject": SUBJECT,
            "alternative-names": [f"dns:{HOST}", "ip:192.0.2.7"],
            "bootstrap": {"shared-secret": {"reference": REFERENCE, "secret": "file:secret"}},
        } | identity
        document = {"state-directory": "state", "authorities": {"operator": operator}, "identities": {"ike": ike}}
        (self.folder / "enrolld.yaml").write_text(json.dumps(document))  # JSON is YAML

    def enrollctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "state").mkdir(mode=0o700, exist_ok=True)
        return subprocess.run(
            [str(ENROLLCTL), "--config", "enrolld.yaml", *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def obtain(self, command: str = "enroll") -> x509.Certificate:
        """Run ``command`` and return the certificate it installed, after both sides' word on it was heard."""
        before = len(self.found)
        done = self.enrollctl(command, "--json")
        assert done.returncode == 0, done.stderr
        return self._both_agree(json.loads(done.stdout)["fields"], before)

    def obtain_quickly(self, action: Action = Action.ENROLL) -> x509.Certificate:
        """Do the same in this process: starting the command and its worker takes most of the time of the above."""
        before = len(self.found)
        outcome = self.do(action)
        assert outcome.verdict is Verdict.ISSUED, outcome
        return self._both_agree(outcome.fields, before)

    def do(self, action: Action) -> Outcome:
        """Do a job in this process."""
        settings = load(self.folder / "enrolld.yaml")
        job = Job(
            action=action,
            name="ike",
            identity=settings.identities["ike"],
            authority=settings.authorities["operator"],
            state_directory=settings.state_directory,
            patience=20,
        )
        settings.state_directory.mkdir(mode=0o700, exist_ok=True)
        with (self.folder / "steps").open("wb") as steps:
            return perform(job, SECRET.encode(), Reporter(steps.fileno(), {}))

    def _both_agree(self, fields: dict[str, str], before: int) -> x509.Certificate:
        certificate = self.installed()
        serial = f"{certificate.serial_number:x}"
        assert fields["CERTIFICATE_SERIAL"] == serial
        check_journal(self.found[before:], serial)
        return certificate

    def installed(self) -> x509.Certificate:
        """Return the certificate in use: OpenSSL finds a path to the peer's root, and the key belongs to it."""
        verify = ["openssl", "verify", "-CAfile", str(self.bouncy_castle.root), str(self.current / "certificate.pem")]
        done = subprocess.run(verify, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr
        certificate = x509.load_pem_x509_certificate((self.current / "certificate.pem").read_bytes())
        key = load_pem_private_key((self.current / "private-key.pem").read_bytes(), None)
        assert public(key.public_key()) == public(certificate.public_key())
        assert certificate.subject.rfc4514_string() == SUBJECT
        assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value == pki.usage("digital_signature")
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert alternatives.get_values_for_type(x509.DNSName) == [HOST]
        assert [str(one) for one in alternatives.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]
        return certificate

    def exchange(self, octets: bytes) -> bytes:
        """Send one message without the program around it; return the answer."""
        with CmpClient([self.url], HttpSettings()) as client:
            return client.exchange(octets).body

    def key(self) -> SoftwareKey:
        """Return the key in use."""
        state = self.folder / "state"
        return SoftwareKeyStore(state).find((self.current / "private-key.pem").resolve().as_uri())


def check_journal(found: list[dict[str, Any]], serial: str) -> None:
    """Hold Bouncy Castle to have found everything valid, and to have issued ``serial``."""
    assert all(one["protection_valid"] for one in found)
    assert not [one["refused"] for one in found if "refused" in one]
    assert found[0]["possession_valid"]
    issuing = [one for one in found if one["answer"] in {"ip", "cp", "kup"} and "serial" in one]
    assert [one["serial"] for one in issuing] == [serial]
    confirmations = [one for one in found if one["message"] == "certConf"]
    if issuing[0].get("implicit"):
        assert not confirmations
    else:
        assert [(one["certificate_hash_valid"], one["taken"], one["serial"]) for one in confirmations] == [
            (True, True, serial)
        ]
        assert found[-1]["answer"] == "pkiconf"


@pytest.fixture
def station(bouncy_castle: BouncyCastle, tmp_path: Path) -> Callable[..., Station]:
    """Give a maker of configured stations; its positional arguments are options of the peer (Options.java)."""

    def make(*options: str, **settings: Any) -> Station:
        folder = tmp_path / f"{tmp_path.name}-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        made = Station(bouncy_castle, folder, options)
        made.configure(**settings)
        return made

    return make


def write_certificate(file: Path, holder: pki.Holder) -> None:
    file.write_bytes(holder.certificate.public_bytes(Encoding.PEM))


def write_private(file: Path, octets: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(octets)


def write_key(file: Path, key: Any) -> None:
    write_private(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def public(key: Any) -> bytes:
    octets: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return octets


# ---- what is granted ----------------------------------------------------------------------------------------------

ANSWERS: Final = {"ir": "ip", "cr": "cp", "p10cr": "cp", "kur": "kup"}
OPTIONS: Final = {Course.POLLED: ("polls=1",), Course.IMPLICIT: ("implicit",)}
"""What the peer is told, in its URL."""


@pytest.mark.parametrize("one", of(Peer.BOUNCY_CASTLE), ids=lambda one: one.id)
def test_combination(
    station: Callable[..., Station], vendor: Vendor, bouncy_castle: BouncyCastle, one: Combination
) -> None:
    enb = station(*OPTIONS.get(one.course, ()))
    authority: dict[str, Any] = QUICK_POLLING | {"implicit-confirmation": one.course is Course.IMPLICIT}
    if one.protection.by_mac:
        authority |= {"mac": dict(one.protection.mac)}
    if one.protection == PBM_WITH_SHA1:
        authority |= {"profile": "backhaul"}
    if one.protection.scheme:
        authority |= {"signature": one.protection.scheme}
    identity: dict[str, Any] = {"key": {"algorithm": one.key}}
    if one.operation in {"ir", "cr", "p10cr"}:
        identity |= {"request": one.operation}
        if not one.protection.by_mac:
            identity |= {"bootstrap": vendor.bootstrap(enb.folder, one.protection.kind)}
    enb.configure(authority=authority, **identity)
    first = enb.obtain_quickly()
    if one.operation == "kur":
        before = len(enb.found)
        second = enb.obtain_quickly(Action.RENEW)
        assert public(first.public_key()) != public(second.public_key())
        assert enb.found[before]["old_serial"] == f"{first.serial_number:x}"
        check_found(enb.found[before:], one)
    elif one.operation == "rr":
        assert enb.do(Action.REVOKE).verdict is Verdict.DONE
        rr = enb.found[-1]
        assert (rr["message"], rr["protection_valid"], rr["answer"]) == ("rr", True, "rp")
        assert (rr["serial"], rr["signature"]) == (f"{first.serial_number:x}", signature_of(one))
    else:
        check_found(enb.found, one)
    record.passed(one, f"Bouncy Castle {bouncy_castle.version}")


def signature_of(one: Combination) -> str:
    return OF_PSS if one.protection == PSS else SIGNATURES[one.protection.kind]


def check_found(found: list[dict[str, Any]], one: Combination) -> None:
    """Hold Bouncy Castle to have seen the messages of ``one``, protected in its way; validity was looked at before."""
    request = found[0]
    assert request["message"] == one.operation
    judged = next(each for each in found if "possession" in each)
    assert {each["key"] for each in found if "key" in each} <= {KEYS[one.key]}
    assert judged["possession"] == ("pkcs10" if one.operation == "p10cr" else "crmf")
    asked = [one.operation, *(["pollReq"] * 2 if one.course is Course.POLLED else [])]
    assert [each["message"] for each in found] == asked + ([] if one.course is Course.IMPLICIT else ["certConf"])
    assert next(each["answer"] for each in found if "serial" in each) == ANSWERS[one.operation]
    for each in found:
        if not one.protection.by_mac:
            assert (each["protection"], each["answer_protection"]) == ("signature", "signature")
            assert each["signature"] == signature_of(one)
            continue
        mac = dict(one.protection.mac)
        name = {"pbm": "PasswordBasedMac", "pbmac1": "PBMAC1"}[mac["algorithm"]]
        assert (each["protection"], each["answer_protection"]) == (name, name)
        hashed = HASHES[mac["one-way-function"]] if mac["algorithm"] == "pbm" else MACS[mac["mac"]]
        assert (each["one_way_function"], each["mac"]) == (hashed, MACS[mac["mac"]])
    if one.operation in {"ir", "cr", "p10cr"} and not one.protection.by_mac:
        assert request["path_length"] == 2, "the device's certificate, and the vendor's CA that came along"


def test_the_mac_bouncy_castle_takes_when_told_nothing_is_for_the_backhaul_profile(
    station: Callable[..., Station],
) -> None:
    strict = station("own-mac")
    done = strict.enrollctl("enroll")
    assert done.returncode == 1
    assert "PasswordBasedMac with sha1" in done.stderr
    assert not strict.current.exists()

    station("own-mac", authority={"profile": "backhaul"}).obtain_quickly()


def test_a_request_left_waiting_is_taken_up_later(station: Callable[..., Station]) -> None:
    enb = station("polls=1", request="p10cr", authority=QUICK_POLLING)
    left = enb.enrollctl("enroll", "--wait", "0s")
    assert left.returncode == 3, left.stderr
    assert [one["answer"] for one in enb.found] == ["cp"]

    done = enb.enrollctl("enroll")
    assert done.returncode == 0, done.stderr
    assert [one["answer"] for one in enb.found[1:]] == ["pollRep", "cp", "pkiconf"]
    assert len({one["transaction"] for one in enb.found}) == 1
    assert f"{enb.installed().serial_number:x}" == enb.found[-1]["serial"]


def test_a_signed_answer_to_a_secret_is_refused_unless_the_quirk_is_configured(
    station: Callable[..., Station],
) -> None:
    enb = station("signed")
    done = enb.enrollctl("enroll")
    assert done.returncode == 1
    assert "signed-response-to-mac" in done.stderr
    assert not enb.current.exists()


@pytest.mark.parametrize("signer", ["root", "ra"])
def test_with_the_quirk_the_root_or_its_ra_may_sign_the_answer(station: Callable[..., Station], signer: str) -> None:
    enb = station("signed", signer, authority={"quirks": ["signed-response-to-mac"]})
    enb.obtain_quickly()
    assert {(one["protection"], one["answer_protection"]) for one in enb.found} == {("PasswordBasedMac", "signature")}


def test_the_root_is_learned_from_ca_pubs_and_trusted_for_the_update(station: Callable[..., Station]) -> None:
    enb = station(authority={"trust-anchors": "enrollment"})
    enb.obtain_quickly()
    learned = x509.load_pem_x509_certificates((enb.current / "trust-anchors.pem").read_bytes())
    assert learned == [x509.load_pem_x509_certificate(enb.bouncy_castle.root.read_bytes())]
    enb.obtain("renew")


def test_a_revoked_certificate_renews_nothing(station: Callable[..., Station]) -> None:
    enb = station()
    certificate = enb.obtain_quickly()
    done = enb.enrollctl("revoke", "ike", "--reason", "superseded", "--yes")
    assert done.returncode == 0, done.stderr
    rr = enb.found[-1]
    assert (rr["message"], rr["protection_valid"], rr["answer"], rr["reason"]) == ("rr", True, "rp", 4)
    assert rr["serial"] == f"{certificate.serial_number:x}"

    done = enb.enrollctl("renew")
    assert done.returncode == 1
    assert "the signer's certificate is revoked" in done.stderr
    assert enb.found[-1]["refused"] == "the signer's certificate is revoked"
    assert enb.installed() == certificate


# ---- what is refused: the judge is real ---------------------------------------------------------------------------


@dataclass
class Conversation:
    """Messages put together one by one, so that each can be wrong in one place."""

    station: Station
    originator: Originator
    transaction_id: bytes = field(default_factory=lambda: os.urandom(16))
    nonce: bytes | None = None

    def say(self, body: Body) -> Message:
        header = Header(
            sender=self.originator.sender,
            protection_alg=self.originator.protector.algorithm,
            sender_kid=self.originator.sender_kid,
            transaction_id=self.transaction_id,
            sender_nonce=os.urandom(16),
            recip_nonce=self.nonce,
        )
        protect = self.originator.protector.protect
        octets = messages.build(header, body, protect=protect, extra_certs=self.originator.extra_certs)
        answer = messages.parse(self.station.exchange(octets))
        self.nonce = answer.header.sender_nonce
        return answer

    def refused(self, body: Body, failure: PKIFailureInfo, reason: str) -> dict[str, Any]:
        """Say ``body``, and hold the peer to refuse it for ``reason``, to us and in its journal."""
        answer = self.say(body).body()
        assert isinstance(answer, CertRepMessage | ErrorMessage)
        status = answer.responses[0].status if isinstance(answer, CertRepMessage) else answer.status
        assert (status.status, list(status.failures)) == (PKIStatus.REJECTION.value, [failure.value])
        found = self.station.found[-1]
        assert found["refused"].startswith(reason)
        assert "serial" not in found
        return found


class Slipping:
    """A key that signs something else: form and length of the signature are right."""

    def __init__(self, key: SoftwareKey) -> None:
        self._key = key
        self.public_key = key.public_key
        self.schemes = key.schemes

    def sign(self, data: bytes, scheme: str) -> bytes:
        return self._key.sign(data + b"!", scheme)


@pytest.fixture
def key(tmp_path: Path) -> SoftwareKey:
    file = tmp_path / "new.key"
    write_key(file, NEW_KEY["ec-p256"]())
    return SoftwareKeyStore(tmp_path / "none").find(file.as_uri())


def by_vendor(vendor: Vendor, folder: Path, change: Callable[[SoftwareKey], Signer] = lambda key: key) -> Originator:
    vendor.bootstrap(folder)
    key = SoftwareKeyStore(folder / "none").find((folder / "vendor.key").as_uri())
    device, factory = (pem.decode((folder / name).read_bytes())[0] for name in ("vendor.pem", "vendor-chain.pem"))
    return by_certificate(change(key), device, (factory,))


def by_one_time_secret(secret: str = SECRET, algorithm: str = "pbm") -> Originator:
    return by_secret(REFERENCE, secret.encode(), MacParameters(algorithm=algorithm, salt=os.urandom(16)))


def asking(key: Signer, kind: BodyType = BodyType.IR, old: CertId | None = None) -> Body:
    subject = names.name_from_text(SUBJECT)
    return Wanted(type=kind, signer=key, subject=subject, extensions=wanted_extensions([]), old=old).body()


def test_a_wrong_secret_is_noticed(station: Callable[..., Station]) -> None:
    enb = station()
    write_private(enb.folder / "secret", b"a secret with a tpying error")
    done = enb.enrollctl("enroll")
    assert done.returncode == 4, "a person must look at the secret"
    assert "the MAC is wrong" in done.stderr, "the CA's words reach the person, though nothing vouches for them"
    (found,) = enb.found
    assert (found["protection_valid"], found["refused"], found["answer"]) == (False, "the MAC is wrong", "error")
    assert not enb.current.exists()


@pytest.mark.parametrize("algorithm", ["pbm", "pbmac1"])
def test_a_wrong_mac_is_noticed(station: Callable[..., Station], key: SoftwareKey, algorithm: str) -> None:
    conversation = Conversation(station(), by_one_time_secret("another secret", algorithm))
    found = conversation.refused(asking(key), PKIFailureInfo.BAD_MESSAGE_CHECK, "the MAC is wrong")
    assert found["protection_valid"] is False


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (BodyType.IR, "the proof of possession is wrong"),
        (BodyType.CR, "the proof of possession is wrong"),
        (BodyType.P10CR, "the signature of the PKCS#10 request is wrong"),
    ],
    ids=["ir", "cr", "p10cr"],
)
def test_a_broken_proof_of_possession_is_noticed(
    station: Callable[..., Station], key: SoftwareKey, kind: BodyType, reason: str
) -> None:
    conversation = Conversation(station(), by_one_time_secret())
    found = conversation.refused(asking(Slipping(key), kind), PKIFailureInfo.BAD_POP, reason)
    assert (found["protection_valid"], found["possession_valid"]) == (True, False)


def test_a_broken_signature_over_the_message_is_noticed(
    station: Callable[..., Station], vendor: Vendor, key: SoftwareKey
) -> None:
    enb = station()
    conversation = Conversation(enb, by_vendor(vendor, enb.folder, Slipping))
    found = conversation.refused(asking(key), PKIFailureInfo.BAD_MESSAGE_CHECK, "the signature is wrong")
    assert found["protection_valid"] is False


def test_a_device_of_another_vendor_is_not_let_in(station: Callable[..., Station], key: SoftwareKey) -> None:
    enb = station()
    conversation = Conversation(enb, by_vendor(Vendor(), enb.folder))
    reason = "no path leads from the certificate to a root"
    found = conversation.refused(asking(key), PKIFailureInfo.SIGNER_NOT_TRUSTED, reason)
    assert (found["protection_valid"], found["path_length"]) == (True, 0)


def test_an_update_of_another_certificate_than_the_signing_one_is_not_granted(
    station: Callable[..., Station], key: SoftwareKey
) -> None:
    enb = station()
    certificate = enb.obtain_quickly()
    other = CertId(names.directory_name(certificate.issuer.public_bytes()), certificate.serial_number + 1)
    conversation = Conversation(enb, by_certificate(enb.key(), certificate.public_bytes(Encoding.DER)))
    reason = "oldCertId does not name the valid certificate that signed"
    found = conversation.refused(asking(key, BodyType.KUR, other), PKIFailureInfo.BAD_CERT_ID, reason)
    assert (found["protection_valid"], found["possession_valid"]) == (True, True)


def test_a_confirmation_of_something_else_is_noticed(station: Callable[..., Station], key: SoftwareKey) -> None:
    conversation = Conversation(station(), by_one_time_secret())
    granted = conversation.say(asking(key)).body()
    assert isinstance(granted, CertRepMessage)
    assert granted.responses[0].certificate
    digest = hashlib.sha256(granted.responses[0].certificate + b"!").digest()
    reason = "certHash is not that of the certificate issued"
    body = CertConfirm((CertStatus(cert_hash=digest, cert_req_id=0),))
    found = conversation.refused(body, PKIFailureInfo.BAD_CERT_ID, reason)
    assert (found["protection_valid"], found["certificate_hash_valid"]) == (True, False)
