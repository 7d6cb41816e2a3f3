"""A key on a token against OpenSSL's mock server: the certificate it gives is for a key made elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hsm.tokens import PIN, SOFTHSM, Token
from tests.interop.conftest import OpensslServer, Pki
from tests.station import ENVIRONMENT


@pytest.mark.parametrize("kind", ["ec-p256", "rsa-2048"])
def test_a_key_on_a_token_is_certified_by_openssl(
    openssl_server: OpensslServer, pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    token = Token(tmp_path / "softhsm", SOFTHSM)
    for name, value in token.environment.items():
        monkeypatch.setitem(ENVIRONMENT, name, value)
    token.put(pki.directory / f"{kind}.key", "factory key")
    station = pki.station(tmp_path / "site", key=kind)
    station.identity["key"] = {"existing": "pkcs11:token=enb;object=factory%20key"}
    station.more = {"tokens": {"hsm": token.settings()}}
    pin = station.directory / "pin"
    pin.write_bytes(PIN)
    pin.chmod(0o600)
    station.configure(urls=[openssl_server.start(key=kind)])
    done = station.run("enroll", "ike")
    assert done.code == 0, done.err
    assert station.current.certificate == pki.certificate(kind)
    assert station.current.key_reference.startswith("pkcs11:token=enb;serial=")
    assert station.current.private_key is None
    assert token.tool("--list-objects", "--type", "privkey").count("factory key") == 1
