"""certHash of certConf: the hash over a certificate as received (RFC 9810 5.3.18, RFC 9481 3.3)."""

from __future__ import annotations

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
    rule = algorithms.signature_algorithm(parts[1])
    hash_ = algorithms.HASHES[rule.cert_hash]
    return hash_.digest(certificate), None if rule.names_hash else algorithms.build_algorithm(hash_.oid)
