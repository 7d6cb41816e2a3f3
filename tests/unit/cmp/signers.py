"""A private key as the protocol sees it: :class:`agent.cmp.algorithms.Signer` over keys of ``cryptography``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa

from agent.cmp import algorithms
from tests.unit.cmp import pki


@dataclass(frozen=True)
class KeyInMemory:
    """``schemes`` are what it says it can do, best first."""

    key: Any
    schemes: tuple[str, ...] = ("ecdsa-sha256",)

    @property
    def public_key(self) -> bytes:
        return pki.spki(self.key)

    def sign(self, data: bytes, scheme: str) -> bytes:
        return sign(self.key, scheme, data)


def sign(key: Any, scheme: str, data: bytes, salt: int | None = None) -> bytes:
    """Sign by the rule called ``scheme``; ``salt`` is the length of a PSS salt (default: as long as the hash)."""
    rule = algorithms.SIGNATURES[scheme]
    hash_ = algorithms.HASHES[rule.hash].primitive if rule.hash else None
    signature: bytes
    match key:
        case rsa.RSAPrivateKey():
            assert hash_ is not None
            pss = padding.PSS(padding.MGF1(hash_), hash_.digest_size if salt is None else salt)
            signature = key.sign(data, pss if rule.pss else padding.PKCS1v15(), hash_)
        case ec.EllipticCurvePrivateKey():
            assert hash_ is not None
            signature = key.sign(data, ec.ECDSA(hash_))
        case dsa.DSAPrivateKey():
            assert hash_ is not None
            signature = key.sign(data, hash_)
        case _:
            signature = key.sign(data)
    return signature
