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

    def client(protection: str = "mac", **settings: Any) -> Client:
        values = {"directory": tmp_path / "ca", "secrets": {"enb-4711": "one-time"}, **settings}
        ca = LabCa(LabCaSettings(**values))
        serving = running(ca)
        serving.__enter__()
        started.append((serving, ca))
        made = Client(ca, tmp_path)
        if protection == "signature":
            device = ca.make_device("enb-4711")
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
@pytest.mark.parametrize("command", ["ir", "cr"])
def test_a_certificate_is_asked_for_and_confirmed(client: Callable[..., Client], command: str, protection: str) -> None:
    one = client(protection)
    one.request(command, "device-key", "-sans", "enb-4711.ran.operator.example 192.0.2.7", "-days", "7")
    text = one.text("device-key")
    assert "DNS:enb-4711.ran.operator.example, IP Address:192.0.2.7" in text
    assert "Digital Signature" in text
    assert states(one) == [(BodyType[command.upper()], TransactionState.CONFIRMED)]
    assert [message.type for message in one.ca.record().messages][2:] == [BodyType.CERTCONF, BodyType.PKICONF]


@pytest.mark.parametrize("protection", ["mac", "signature"])
def test_pkcs10_is_served(client: Callable[..., Client], protection: str) -> None:
    one = client(protection)
    one.key("p10")
    made = openssl(
        *("req", "-new", "-config", "/dev/null", "-key", "p10.key", "-subj", SUBJECT, "-out", "p10.csr"),
        *("-addext", "subjectAltName=DNS:enb-4711.ran.operator.example"),
        cwd=one.directory,
    )
    assert made.returncode == 0, made.stderr
    one.enroll("p10cr", "p10", "-csr", "p10.csr")
    assert "DNS:enb-4711.ran.operator.example" in one.text("p10")
    assert states(one) == [(BodyType.P10CR, TransactionState.CONFIRMED)]


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
def test_general_messages_are_answered(client: Callable[..., Client], protection: str) -> None:
    one = client(protection)
    for options in (
        (),
        ("-infotype", "signKeyPairTypes"),
        ("-infotype", "currentCRL"),
        ("-infotype", "preferredSymmAlg"),
    ):
        done = one.run("genm", *options)
        assert done.returncode == 0, done.stdout + done.stderr
    assert states(one) == [(BodyType.GENM, TransactionState.ANSWERED)] * 4


@pytest.mark.parametrize("protection", ["mac", "signature"])
@pytest.mark.parametrize("command", ["ir", "cr"])
def test_openssl_polls_until_the_ca_has_decided(client: Callable[..., Client], command: str, protection: str) -> None:
    # OpenSSL 3.0 knows no other nonce after polling than the last one it sent.
    one = client(protection, polls=2, check_after=0, nonce_after_polling=Nonce.LAST)
    one.request(command, "device-key")
    kinds = [message.type for message in one.ca.record().messages if not message.sent]
    assert kinds == [BodyType[command.upper()], *[BodyType.POLLREQ] * 3, BodyType.CERTCONF]


@pytest.mark.parametrize("protection", ["mac", "signature"])
def test_implicit_confirmation_is_granted(client: Callable[..., Client], protection: str) -> None:
    one = client(protection, implicit_confirm=True)
    one.request("ir", "device-key", "-implicit_confirm")
    assert [message.type for message in one.ca.record().messages] == [BodyType.IR, BodyType.IP]
    assert [entry.status for entry in one.ca.record().certificates] == [CertificateStatus.CONFIRMED]


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


@pytest.mark.parametrize("kind", [KeyKind.RSA_2048, KeyKind.EC_P384, KeyKind.ED25519])
def test_a_ca_with_other_keys_is_understood(client: Callable[..., Client], kind: KeyKind) -> None:
    one = client("signature", key=kind)
    one.request("ir", "device-key")
    assert states(one) == [(BodyType.IR, TransactionState.CONFIRMED)]


@pytest.mark.parametrize("kind", [KeyKind.RSA_2048, KeyKind.EC_P384, KeyKind.ED25519])
def test_devices_with_other_keys_are_served(client: Callable[..., Client], kind: KeyKind) -> None:
    one = client()
    one.key("device-key", kind)
    one.enroll("ir", "device-key", "-newkey", "device-key.key", "-subject", SUBJECT)


def test_a_root_that_issues_and_answers_itself_is_understood(client: Callable[..., Client]) -> None:
    one = client("signature", intermediate=False, ra_protects=False)
    one.request("ir", "device-key")
    assert states(one) == [(BodyType.IR, TransactionState.CONFIRMED)]
