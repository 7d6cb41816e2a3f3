"""Tokens for every test here, and the lab CA."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key

from agent.labca import LabCa, LabCaSettings, running
from tests.hsm.tokens import PIN, Token, build
from tests.hsm.tpm import finalize
from tests.station import ENVIRONMENT, REFERENCE, SECRET, Station


@pytest.fixture(scope="session")
def misbehaving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the module that misbehaves on demand."""
    return build(tmp_path_factory.mktemp("module"))


@pytest.fixture
def token(tmp_path: Path, misbehaving: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Token]:
    """Give a SoftHSM token, for this process and for those that it starts."""
    made = Token(tmp_path / "softhsm", misbehaving)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setitem(ENVIRONMENT, name, value)
    yield made
    made.order()
    finalize()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCa]:
    """Give a CA that answers at once."""
    ca = LabCa(LabCaSettings(directory=tmp_path_factory.mktemp("lab"), secrets={REFERENCE: SECRET}, durable=False))
    with running(ca):
        yield ca
    ca.close()


@dataclass
class TokenStation(Station):
    """A base station whose key is on the token ``hsm``."""

    def use(self, token: Token, authority: dict[str, object], key: str = "ec-p256") -> None:
        """Have the key made on ``token``."""
        self.write_pin(PIN)
        self.identity["key"] = {"algorithm": key, "store": "hsm"}
        self.more = {"tokens": {"hsm": token.settings()}}
        self.authority |= authority
        self.configure()

    def write_pin(self, pin: bytes) -> None:
        path = self.directory / "pin"
        path.write_bytes(pin + b"\n")
        path.chmod(0o600)


@pytest.fixture
def station(tmp_path: Path, lab: LabCa, token: Token) -> Iterator[TokenStation]:
    """Give a base station that is not enrolled yet."""
    (tmp_path / "site").mkdir()
    made = TokenStation(tmp_path / "site")
    assert lab.settings.directory is not None
    roots = [str(lab.settings.directory / "root.pem")]
    made.use(token, {"urls": [lab.url], "trust-anchors": roots, "mac": {"iterations": 100}})
    yield made
    lab.behave()


def nothing_private_on_disk(directory: Path) -> None:
    """Demand that no file below ``directory`` holds a private key in any form that we know."""
    for path in directory.rglob("*"):
        if path.is_file() and path.name not in {"pin", "secret"}:
            octets = path.read_bytes()
            assert b"PRIVATE KEY" not in octets, path
            with pytest.raises(ValueError, match=r".+"):
                load_der_private_key(octets, None)


@pytest.fixture(scope="session")
def certificates() -> tuple[bytes, bytes]:
    """Give two certificates, DER."""
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "enb-4711")])
    key = ec.generate_private_key(ec.SECP256R1())

    def issue() -> bytes:
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
        return builder.not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)

    return issue(), issue()
