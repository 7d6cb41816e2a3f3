"""``openssl cmp`` as a client of the lab CA: a CMP implementation we did not write judges ours.

Each certificate is verified by ``openssl verify``, so nothing here rests on our own reading of certificates.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from agent.cmp.messages import BodyType
from agent.labca import LabCa, LabCaSettings, running
from agent.labca.keys import KeyKind, LabKey
from agent.labca.records import CertificateStatus, TransactionState
from agent.labca.settings import Nonce
from tests.interop import record
from tests.interop.combinations import Combination, Course, Peer, of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
SUBJECT = "/O=Operator/CN=enb-4711.ran.operator.example"
MAC = ("-ref", "enb-4711", "-secret", "pass:one-time", "-digest", "sha256", "-mac", "hmacWithSHA256")


def openssl(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["openssl", *arguments], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=20
    )


@dataclass
class Client:
    """``openssl cmp`` in a directory of its own. ``protection`` are the options that protect its messages."""

    ca: LabCa
    directory: Path
    protection: tuple[str, ...] = MAC

    def run(self, command: str, *options: str, path: str = "/.well-known/cmp") -> subprocess.CompletedProcess[str]:
        server = ("-server", urlsplit(self.ca.url).netloc, "-path", path)
        return openssl("cmp", "-config", "", "-cmd", command, *server, *self.protection, *options, cwd=self.directory)

    def enroll(self, command: str, name: str, *options: str) -> Path:
        """Get a certificate for a key called ``name``; return it, verified up to the root."""
        done = self.run(command, *options, "-certout", f"{name}.pem")
        assert done.returncode == 0, done.stdout + done.stderr
        return self.verified(name)

    def request(self, command: str, name: str, *options: str) -> Path:
        """Get a certificate for a new key and our subject."""
        self.key(name)
        return self.enroll(command, name, "-newkey", f"{name}.key", "-subject", SUBJECT, *options)

    def key(self, name: str, kind: KeyKind = KeyKind.EC_P256) -> Path:
        path = self.directory / f"{name}.key"
        path.write_bytes(LabKey.generate(kind).pem())
        return path

    def verified(self, name: str, *options: str) -> Path:
        arguments = ("verify", *options, "-CAfile", "ca/root.pem", "-untrusted", "ca/chain.pem", f"{name}.pem")
        done = openssl(*arguments, cwd=self.directory)
        assert done.stdout == f"{name}.pem: OK\n", done.stdout + done.stderr
        same = [
            openssl(*how, "-noout" if how[0] == "x509" else "-pubout", cwd=self.directory).stdout
            for how in (("x509", "-in", f"{name}.pem", "-pubkey"), ("pkey", "-in", f"{name}.key"))
        ]
        assert same[0] == same[1] != ""
        return self.directory / f"{name}.pem"

    def signed_by(self, name: str) -> None:
        """Sign with this certificate from now on."""
        self.protection = ("-cert", f"{name}.pem", "-key", f"{name}.key", "-trusted", "ca/root.pem")

    def text(self, name: str) -> str:
        return openssl("x509", "-in", f"{name}.pem", "-noout", "-text", cwd=self.directory).stdout


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Give a function that starts a CA and returns its client, protected by ``mac`` or a vendor's ``signature``."""
    started: list[Any] = []

    def client(protection: str = "mac", *, device_key: KeyKind = KeyKind.EC_P256, **settings: Any) -> Client:
        values = {"directory": tmp_path / "ca", "secrets": {"enb-4711": "one-time"}, **settings}
        ca = LabCa(LabCaSettings(**values))
        serving = running(ca)
        serving.__enter__()
        started.append((serving, ca))
        made = Client(ca, tmp_path)
        if protection == "signature":
            device = ca.make_device("enb-4711", key=LabKey.generate(device_key))
            (tmp_path / "device.pem").write_bytes(device.pem)
            (tmp_path / "device.key").write_bytes(device.key.pem())
            made.signed_by("device")
        return made

    yield client
    for serving, ca in started:
        serving.__exit__(None, None, None)
        ca.close()


def serial(path: Path) -> str:
    return openssl("x509", "-in", path.name, "-noout", "-serial", cwd=path.parent).stdout


def states(client: Client) -> list[tuple[BodyType, TransactionState]]:
    return [(one.type, one.state) for one in client.ca.record().transactions]


@pytest.mark.parametrize("protection", ["mac", "signature"])
def test_a_key_update_gives_another_certificate_with_the_same_names(
    client: Callable[..., Client], protection: str
) -> None:
    one = client(protection)
    old = one.request("cr", "old", "-sans", "enb-4711.ran.operator.example")
    if protection == "signature":
        one.signed_by("old")
    one.key("new")
    new = one.enroll("kur", "new", "-oldcert", "old.pem", "-newkey", "new.key")
    assert serial(old) != serial(new)
    assert old.read_bytes() != new.read_bytes()
    assert "DNS:enb-4711.ran.operator.example" in one.text("new")
    assert (
        openssl("x509", "-in", "new.pem", "-noout", "-subject", cwd=one.directory)
        .stdout.strip()
        .endswith("CN = enb-4711.ran.operator.example")
    )


@pytest.mark.parametrize("protection", ["mac", "signature"])
def test_a_revoked_certificate_is_in_the_crl_that_openssl_checks(
    client: Callable[..., Client], protection: str
) -> None:
    one = client(protection)
    one.request("cr", "device-key")
    if protection == "signature":
        one.signed_by("device-key")
    done = one.run("rr", "-oldcert", "device-key.pem", "-revreason", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [entry.status for entry in one.ca.record().certificates] == [CertificateStatus.REVOKED]
    (one.directory / "crl.der").write_bytes(one.ca.crl())
    shown = openssl(
        *("crl", "-inform", "DER", "-in", "crl.der", "-out", "crl.pem", "-CAfile", "ca/chain.pem", "-text"),
        cwd=one.directory,
    )
    assert "verify OK" in shown.stderr
    assert "Key Compromise" in (one.directory / "crl.pem").read_text(encoding="utf-8")
    checked = openssl(
        *("verify", "-crl_check", "-CRLfile", "crl.pem", "-CAfile", "ca/root.pem", "-untrusted", "ca/chain.pem"),
        "device-key.pem",
        cwd=one.directory,
    )
    assert "certificate revoked" in checked.stderr
    again = one.run("rr", "-oldcert", "device-key.pem")
    assert again.returncode != 0
    assert "certRevoked" in again.stdout + again.stderr


@pytest.mark.parametrize("protection", ["mac", "signature"])
def test_a_refusal_reaches_the_person_at_the_terminal(client: Callable[..., Client], protection: str) -> None:
    one = client(protection)
    one.ca.misbehave("reject=badCertTemplate")
    one.key("device-key")
    done = one.run("ir", "-newkey", "device-key.key", "-subject", SUBJECT, "-certout", "device-key.pem")
    assert done.returncode != 0
    assert "badCertTemplate" in done.stdout + done.stderr
    assert not (one.directory / "device-key.pem").exists()


def test_a_wrong_secret_is_refused(client: Callable[..., Client]) -> None:
    one = client()
    one.protection = ("-ref", "enb-4711", "-secret", "pass:another")
    one.key("device-key")
    done = one.run(
        "ir", "-newkey", "device-key.key", "-subject", SUBJECT, "-certout", "device-key.pem", "-unprotected_errors"
    )
    assert done.returncode != 0
    assert one.ca.record().certificates == ()


def test_openssl_rejects_a_certificate_for_another_key_and_the_ca_takes_note(client: Callable[..., Client]) -> None:
    one = client()
    one.ca.misbehave("wrong-key")
    one.key("device-key")
    done = one.run("ir", "-newkey", "device-key.key", "-subject", SUBJECT, "-certout", "device-key.pem")
    assert done.returncode != 0
    assert [entry.status for entry in one.ca.record().certificates] == [CertificateStatus.REFUSED]


def test_openssl_refuses_spoiled_answers(client: Callable[..., Client]) -> None:
    one = client("signature")
    for fault in (
        "bad-protection",
        "wrong-recip-nonce",
        "wrong-transaction-id",
        "unprotected",
        "strange-signer",
        "truncated",
    ):
        one.ca.behave()
        one.ca.misbehave(fault)
        done = one.run("genm")
        assert done.returncode != 0, fault


@pytest.mark.parametrize("path", ["/", "pkix/", ".well-known/cmp", "p/gnb"])
def test_paths_that_openssl_users_type_are_served(client: Callable[..., Client], path: str) -> None:
    one = client()
    done = one.run("genm", path=path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_openssl_defaults_for_the_mac_are_served(client: Callable[..., Client]) -> None:
    one = client()
    one.protection = MAC[:4]  # HMAC-SHA1, 500 iterations
    one.request("ir", "device-key", "-cacertsout", "ca-pubs.pem")
    assert (one.directory / "ca-pubs.pem").read_bytes() == (one.directory / "ca" / "root.pem").read_bytes()


def test_a_root_that_issues_and_answers_itself_is_understood(client: Callable[..., Client]) -> None:
    one = client("signature", intermediate=False, ra_protects=False)
    one.request("ir", "device-key")
    assert states(one) == [(BodyType.IR, TransactionState.CONFIRMED)]


# ---- the table of combinations ---------------------------------------------------------------------------------------

AS_OPENSSL_NAMES_IT = {
    "hmac-sha1": "hmac-sha1",
    "hmac-sha256": "hmacWithSHA256",
    "hmac-sha384": "hmacWithSHA384",
    "hmac-sha512": "hmacWithSHA512",
}
SETTINGS: dict[Course, dict[str, Any]] = {
    # OpenSSL 3.0 knows no other nonce after polling than the last one it sent.
    Course.POLLED: {"polls": 1, "check_after": 0, "nonce_after_polling": Nonce.LAST},
    Course.IMPLICIT: {"implicit_confirm": True},
}
ENDS = {
    Course.PLAIN: TransactionState.CONFIRMED,
    Course.POLLED: TransactionState.CONFIRMED,
    Course.IMPLICIT: TransactionState.CONFIRMED,
    Course.ANSWERED: TransactionState.ANSWERED,
    Course.REVOKED: TransactionState.ANSWERED,
}


def for_combination(client: Callable[..., Client], one: Combination) -> Client:
    """Return a client whose first messages are protected as ``one`` says; the CA signs with the same kind of key."""
    settings = SETTINGS.get(one.course, {})
    if not one.protection.by_mac:
        answers = one.answers or one.protection
        settings = settings | {"key": KeyKind(answers.kind), "signature": answers.scheme or None}
        return client("signature", device_key=KeyKind(one.protection.kind), **settings)
    made = client("mac", **settings)
    mac = dict(one.protection.mac)
    made.protection = (*MAC[:4], "-digest", mac["one-way-function"], "-mac", AS_OPENSSL_NAMES_IT[mac["mac"]])
    return made


@pytest.mark.parametrize("one", of(Peer.OPENSSL_CLIENT), ids=lambda one: one.id)
def test_combination(client: Callable[..., Client], one: Combination) -> None:
    asking = for_combination(client, one)
    if one.course in {Course.REJECTED, Course.ERROR}:
        is_refused(asking, one)
    else:
        OPERATIONS[one.operation](asking, one)
        *_, (type_, state) = states(asking)
        assert (type_, state) == (BodyType[one.operation.upper()], ENDS[one.course])
    record.passed(one, record.openssl_version())


def is_asked_for(asking: Client, one: Combination) -> None:
    options = ("-implicit_confirm",) if one.course is Course.IMPLICIT else ()
    asking.key("new", KeyKind(one.key))
    names = ("-sans", "enb-4711.ran.operator.example 192.0.2.7")
    asking.enroll(one.operation, "new", "-newkey", "new.key", "-subject", SUBJECT, *names, *options)
    assert "DNS:enb-4711.ran.operator.example, IP Address:192.0.2.7" in asking.text("new")
    heard = [message.type for message in asking.ca.record().messages if not message.sent]
    polls = [BodyType.POLLREQ] * 2 if one.course is Course.POLLED else []
    confirmation = [] if one.course is Course.IMPLICIT else [BodyType.CERTCONF]
    assert heard == [BodyType[one.operation.upper()], *polls, *confirmation]


def is_asked_for_by_pkcs10(asking: Client, one: Combination) -> None:
    pkcs10(asking, one)
    asking.enroll("p10cr", "new", "-csr", "new.csr")
    assert "DNS:enb-4711.ran.operator.example" in asking.text("new")


def pkcs10(asking: Client, one: Combination) -> None:
    asking.key("new", KeyKind(one.key))
    made = openssl(
        *("req", "-new", "-config", "/dev/null", "-key", "new.key", "-subj", SUBJECT, "-out", "new.csr"),
        *("-addext", "subjectAltName=DNS:enb-4711.ran.operator.example"),
        cwd=asking.directory,
    )
    assert made.returncode == 0, made.stderr


def has_certificate(asking: Client, one: Combination) -> None:
    """Get a certificate with a key of the right kind; it signs from now on, unless a MAC protects."""
    asking.key("old", KeyKind(one.key))
    asking.enroll("cr", "old", "-newkey", "old.key", "-subject", SUBJECT)
    if not one.protection.by_mac:
        asking.signed_by("old")


def is_updated(asking: Client, one: Combination) -> None:
    has_certificate(asking, one)
    asking.key("new", KeyKind(one.key))
    asking.enroll("kur", "new", "-oldcert", "old.pem", "-newkey", "new.key")
    assert serial(asking.directory / "old.pem") != serial(asking.directory / "new.pem")


def is_revoked(asking: Client, one: Combination) -> None:
    has_certificate(asking, one)
    done = asking.run("rr", "-oldcert", "old.pem", "-revreason", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [entry.status for entry in asking.ca.record().certificates] == [CertificateStatus.REVOKED]


def is_answered(asking: Client, _: Combination) -> None:
    done = asking.run("genm", "-infotype", "currentCRL")
    assert done.returncode == 0, done.stdout + done.stderr


def is_refused(asking: Client, one: Combination) -> None:
    """Demand that the reason reaches the person at the terminal, in the body or in an error message."""
    if one.course is Course.REJECTED:
        asking.ca.misbehave("reject=badCertTemplate")
        reason, answer = "badCertTemplate", {"ir": BodyType.IP, "p10cr": BodyType.CP}[one.operation]
    else:
        # A device of a vendor whom nobody knows.
        stranger = LabCa(LabCaSettings()).make_device("enb-4711")
        (asking.directory / "device.pem").write_bytes(stranger.pem)
        (asking.directory / "device.key").write_bytes(stranger.key.pem())
        reason, answer = "signerNotTrusted", BodyType.ERROR
    pkcs10(asking, one)
    template = ("-csr", "new.csr") if one.operation == "p10cr" else ("-newkey", "new.key", "-subject", SUBJECT)
    done = asking.run(one.operation, *template, "-certout", "new.pem")
    assert done.returncode != 0
    assert reason in done.stdout + done.stderr
    assert not (asking.directory / "new.pem").exists()
    assert [message.type for message in asking.ca.record().messages if message.sent] == [answer]


OPERATIONS: dict[str, Callable[[Client, Combination], None]] = {
    "ir": is_asked_for,
    "cr": is_asked_for,
    "p10cr": is_asked_for_by_pkcs10,
    "kur": is_updated,
    "rr": is_revoked,
    "genm": is_answered,
}
