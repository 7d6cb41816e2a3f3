"""Keys on a token against OpenSSL's mock server, which knows one certificate: it is for a key that is there already.

Its signatures are OpenSSL's to verify: the proof of possession in the first request, and the protection of the key
update and the revocation. A key update ends in a refusal, because this server can only hand out the old certificate.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from hsm.algorithms import KeyAlgorithm
from hsm.module import TokenAddress
from hsm.pinmemory import PinMemory
from hsm.pkcs11 import TokenKeyStore
from tests.hsm.conftest import nothing_private_on_disk
from tests.hsm.tokens import PIN, SOFTHSM, Token
from tests.hsm.tpm import LABEL, TPM_PIN, finalize, software_tpm
from tests.interop.conftest import OpensslServer, Pki
from tests.station import ENVIRONMENT, SUBJECT, Station
from tests.unit.cmp.pki import issue, usage

BY_RA = ("-srv_cert", "ra.pem", "-srv_key", "ra.key", "-srv_trusted", "root.pem")
KINDS = ["rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384", "ec-p521", "ed25519", "ed448"]


@pytest.fixture
def enb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TokenAddress, bytes]]:
    """Give a SoftHSM token, and its PIN."""
    token = Token(tmp_path / "softhsm", SOFTHSM)
    for name, value in token.environment.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setitem(ENVIRONMENT, name, value)
    yield TokenAddress(name="hsm", module=SOFTHSM, label="enb"), PIN
    finalize()


@pytest.fixture
def tpm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TokenAddress, bytes]]:
    """Give a token in a software TPM, and its PIN."""
    with software_tpm(tmp_path, monkeypatch) as module:
        yield TokenAddress(name="hsm", module=module, label=LABEL), TPM_PIN


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_in_softhsm_is_certified_updated_and_revoked_by_openssl(
    openssl_server: OpensslServer, pki: Pki, tmp_path: Path, enb: tuple[TokenAddress, bytes], kind: str
) -> None:
    lives(openssl_server, pki, tmp_path, *enb, kind)


@pytest.mark.parametrize("kind", ["rsa-2048", "ec-p256"])
def test_a_key_in_a_tpm_is_certified_updated_and_revoked_by_openssl(
    openssl_server: OpensslServer, pki: Pki, tmp_path: Path, tpm: tuple[TokenAddress, bytes], kind: str
) -> None:
    lives(openssl_server, pki, tmp_path, *tpm, kind)


def lives(server: OpensslServer, pki: Pki, folder: Path, address: TokenAddress, pin: bytes, kind: str) -> None:
    store = TokenKeyStore(address, pin, PinMemory(folder / "memory.json"))
    key = store.generate(KeyAlgorithm(kind), store.propose("factory"))
    public = SimpleNamespace(public_key=lambda: load_der_public_key(key.public_key))
    certified = issue(SUBJECT, pki.root, key=public, key_usage=usage("digital_signature"), **pki.span).certificate
    (pki.directory / "on-token.pem").write_bytes(certified.public_bytes(Encoding.PEM))
    station = stationed(pki, folder / "site", address, pin, key.reference)
    station.configure(urls=[server.start(*BY_RA, key="on-token")])

    done = station.run("enroll", "ike")
    assert done.code == 0, done.err
    assert station.current.certificate == certified.public_bytes(Encoding.DER)
    assert station.current.key_reference == key.reference
    assert station.current.private_key is None
    (station.directory / "secret").unlink()  # it is not needed any more

    updated = station.run("renew", "ike")
    assert "sending kur\n" in updated.err, updated.err
    assert "the CA answered with the certificate we already have" in updated.problem

    revoked = station.run("revoke", "ike", "--yes")
    assert revoked.code == 0, revoked.err
    assert "sending rr\n" in revoked.err
    finalize()  # the module of the TPM sees what other processes stored only when it starts afresh
    assert [one.certificate for one in store.inventory()] == [station.current.certificate]
    nothing_private_on_disk(station.directory)


def stationed(pki: Pki, folder: Path, address: TokenAddress, pin: bytes, reference: str) -> Station:
    station = pki.station(folder)
    station.identity["key"] = {"existing": reference}
    token = {"module": str(address.module), "label": address.label, "pin": "file:pin"}
    station.more = {"tokens": {address.name: token}}
    path = station.directory / "pin"
    path.write_bytes(pin)
    path.chmod(0o600)
    return station
