"""Peers that we did not write: OpenSSL's mock server, as a process of its own on loopback."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.station import ENVIRONMENT, REFERENCE, SECRET, SUBJECT, Station
from tests.unit.cmp.pki import Holder, authority, issue, usage

CMC_RA: Final = x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")])
NEW_KEY: Final[dict[str, Callable[[], Any]]] = {
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "ec-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ec-p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
}


@dataclass(frozen=True)
class Pki:
    """What an operator and a vendor hand out, as PEM files named ``NAME.pem`` and ``NAME.key``."""

    directory: Path
    root: Holder
    vendor: Holder
    span: dict[str, Any]

    def write(self, name: str, holder: Holder) -> None:
        (self.directory / f"{name}.pem").write_bytes(holder.certificate.public_bytes(Encoding.PEM))
        key = self.directory / f"{name}.key"
        key.touch(0o600)
        key.write_bytes(holder.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def device(self, kind: str) -> dict[str, Any]:
        """Return the setting for a vendor's certificate with a key of ``kind``; it is made when first asked for."""
        self._signer(f"vendor-{kind}", "CN=serial 4711,O=Vendor", kind, self.vendor)
        certificate, key = (str(self.directory / f"vendor-{kind}.{end}") for end in ("pem", "key"))
        return {"vendor-certificate": {"certificate": certificate, "key": key}}

    def ra(self, kind: str) -> tuple[str, ...]:
        """Return the options that let OpenSSL's server sign as the operator's RA with a key of ``kind``."""
        self._signer(f"ra-{kind}", "CN=Operator RA,O=Operator", kind, self.root, CMC_RA)
        return ("-srv_cert", f"ra-{kind}.pem", "-srv_key", f"ra-{kind}.key")

    def _signer(self, name: str, subject: str, kind: str, issuer: Holder, *add: x509.ExtensionType) -> None:
        if not (self.directory / f"{name}.pem").exists():
            signs = usage("digital_signature")
            self.write(name, issue(subject, issuer, key=NEW_KEY[kind](), key_usage=signs, add=add, **self.span))

    def certificate(self, name: str) -> bytes:
        """The certificate in ``NAME.pem``, DER."""
        return x509.load_pem_x509_certificate((self.directory / f"{name}.pem").read_bytes()).public_bytes(Encoding.DER)

    def station(self, directory: Path, key: str = "ec-p256", **identity: Any) -> Station:
        """Return a station that asks for the certificate which the server will give: that of ``key``."""
        directory.mkdir(exist_ok=True)
        existing = {"key": {"existing": str(self.directory / f"{key}.key")}}
        station = Station(directory, identity=existing | {one.replace("_", "-"): it for one, it in identity.items()})
        station.authority["trust-anchors"] = [str(self.directory / "root.pem")]
        return station


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Give the operator's root, an end entity's certificate for each kind of key, servers and a vendor."""
    now = datetime.now(UTC)
    span: dict[str, Any] = {"start": now - timedelta(hours=1), "end": now + timedelta(days=90)}
    root = authority("CN=Operator Root,O=Operator", **span)
    vendor = authority("CN=Vendor Root,O=Vendor", **span)
    made = Pki(tmp_path_factory.mktemp("pki"), root, vendor, span)
    signs = usage("digital_signature")
    made.write("root", root)
    made.write("vendor-root", vendor)
    made.write("vendor", issue("CN=serial 4711,O=Vendor", vendor, key_usage=signs, **span))
    made.write("ra", issue("CN=Operator RA,O=Operator", root, key_usage=signs, add=[CMC_RA], **span))
    made.write("neighbour", issue("CN=enb-4712,O=Operator", root, key_usage=signs, **span))
    for name, key in NEW_KEY.items():
        made.write(name, issue(SUBJECT, root, key=key(), key_usage=signs, **span))
    return made


class OpensslServer:
    """``openssl cmp -port``: it answers every request with one certificate, as it is told on the command line."""

    def __init__(self, pki: Pki, stack: ExitStack) -> None:
        self._pki = pki
        self._stack = stack

    def start(self, *options: str, key: str = "ec-p256", secret: str | None = SECRET) -> str:
        """Start it, wait until it answers, and return its URL; with ``secret`` None it must be told its certificate."""
        by_mac = () if secret is None else ("-srv_ref", REFERENCE, "-srv_secret", f"pass:{secret}")
        fixed = ("-rsp_cert", f"{key}.pem", "-rsp_extracerts", "root.pem")
        port = self._stack.enter_context(self._running("-port", "0", "-batch", *by_mac, *fixed, *options))
        return f"http://127.0.0.1:{port}/pkix/"

    @contextmanager
    def _running(self, *options: str) -> Iterator[int]:
        """Run it on a port that it takes itself; give the port."""
        with subprocess.Popen(
            ["openssl", "cmp", "-config", "", *options],
            cwd=self._pki.directory,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                said = []
                for line in process.stdout:
                    said.append(line)
                    if line.startswith("ACCEPT"):  # as in "ACCEPT 0.0.0.0:40017 PID=4711"
                        break
                else:
                    pytest.fail(f"the server did not start: {''.join(said)}")
                yield int(line.split()[1].rpartition(":")[2])
            finally:
                process.kill()


@pytest.fixture
def openssl_server(pki: Pki) -> Iterator[OpensslServer]:
    """Give OpenSSL's mock server, to be started by the test."""
    with ExitStack() as stack:
        yield OpensslServer(pki, stack)
