from __future__ import annotations

from pathlib import Path

from hsm.algorithms import KeyAlgorithm
from hsm.keystore import Key, KeyStore
from hsm.software import SoftwareKeyStore


def test_the_software_store_is_a_key_store(tmp_path: Path) -> None:
    store = SoftwareKeyStore(tmp_path)
    assert isinstance(store, KeyStore)
    assert isinstance(store.generate(KeyAlgorithm.ED25519, tmp_path / "key.pem"), Key)
