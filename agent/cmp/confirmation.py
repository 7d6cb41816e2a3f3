"""certHash of certConf: the hash over a certificate as received (RFC 9810 5.3.18, RFC 9481 3.3)."""

from __future__ import annotations

from typing import Final

from agent.cmp import algorithms, der


def certificate_hash(certificate: bytes) -> tuple[bytes, bytes | None]:
    """Return (certHash, hashAlg or None) over the DER ``certificate`` as received (RFC 9810 5.3.18).

    The algorithm that signed the certificate names the hash. hashAlg is given where it does not; that needs pvno 3.

    Raises:
        MalformedMessage: when it is no certificate.
        ProtectionError: when we do not know the algorithm.
    """
    der.check(certificate)
    parts = der.values(certificate)
    if len(parts) != 3:  # noqa: PLR2004 - tbsCertificate, signatureAlgorithm, signature (RFC 5280 4.1.1)
        raise der.malformed("the certificate it brought is none")
    rule = algorithms.certifying_algorithm(parts[1])
    return _digest(certificate, rule.cert_hash, named=not rule.names_hash)


def hash_of_our_choice(certificate: bytes) -> tuple[bytes, bytes]:
    """Return the same with a hash that we choose and name, for a certificate whose algorithm we do not know."""
    digest, hash_alg = _digest(certificate, _CHOSEN, named=True)
    return digest, hash_alg or b""


_CHOSEN: Final = "sha256"


def _digest(certificate: bytes, name: str, *, named: bool) -> tuple[bytes, bytes | None]:
    hash_ = algorithms.HASHES[name]
    return hash_.digest(certificate), algorithms.build_algorithm(hash_.oid) if named else None
