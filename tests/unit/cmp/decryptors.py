"""Real keys that decrypt, made once: what tests of encrypted answers open them with."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from hsm.algorithms import KeyAlgorithm
from hsm.software import SoftwareKey, SoftwareKeyStore

RSA: Final = KeyAlgorithm.RSA_2048
P256: Final = KeyAlgorithm.EC_P256
X25519: Final = KeyAlgorithm.X25519


def key_of(algorithm: KeyAlgorithm, number: int = 0) -> SoftwareKey:
    """Return key ``number`` of ``algorithm``; the same one each time."""
    return _made(algorithm, number)[0]


def pem_of(algorithm: KeyAlgorithm, number: int = 0) -> bytes:
    """Return the PEM of that key, for a program that opens what is encrypted for it."""
    return _made(algorithm, number)[1]


@cache
def _made(algorithm: KeyAlgorithm, number: int) -> tuple[SoftwareKey, bytes]:
    with TemporaryDirectory(prefix=f"key-{number}-") as name:
        place = Path(name) / "key.pem"
        key = SoftwareKeyStore(name).generate(algorithm, place)
        return key, place.read_bytes()
