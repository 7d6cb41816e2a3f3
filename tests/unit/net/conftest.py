from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

_NOW = dt.datetime.now(dt.UTC)
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Party:
    """A certificate with its key, in memory and as PEM files."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    certificate_file: Path
    key_file: Path

    def server_context(self, *, clients: Party | None = None) -> ssl.SSLContext:
        """Return what a TLS server needs to be this party; ``clients`` issues the certificates it asks for."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate_file, self.key_file)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients.certificate_file)
        return context


class Pki:
    """Makes certificates; all of them are good for 127.0.0.1, ::1 and localhost unless told otherwise."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self.root = self.make("root", issuer=None)

    def make(
        self,
        name: str = "server",
        *,
        issuer: Party | None,
        hosts: tuple[str, ...] = ("127.0.0.1", "::1", "localhost"),
        begin: dt.timedelta = -_DAY,
        end: dt.timedelta = _DAY,
    ) -> Party:
        self._count += 1
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(self._count)
            .not_valid_before(_NOW + begin)
            .not_valid_after(_NOW + end)
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        )
        if hosts and issuer:
            names = [
                x509.DNSName(host) if host[-1].isalpha() else x509.IPAddress(ipaddress.ip_address(host))
                for host in hosts
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
        certificate_file = self._folder / f"{self._count}.pem"
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file = self._folder / f"{self._count}.key"
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return Party(certificate, key, certificate_file, key_file)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))
