"""A generation as consumers need it: everything read once, checked, and in the forms they ask for."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from agent.frozen import frozen
from agent.store import pem
from hsm import keyfile, keyformat, uri

if TYPE_CHECKING:
    from agent.store.generations import Generation


@frozen(kw_only=True)
class Material:
    """One credential. Certificates are DER. The private key is not shown where this is printed."""

    number: int
    path: Path
    certificate: bytes
    chain: tuple[bytes, ...]
    trust_anchors: tuple[bytes, ...]
    private_key: bytes | None = field(repr=False)
    """PKCS#8 in PEM; None when the key is on a token."""
    key_reference: str
    serial: str
    """Hexadecimal, as OpenSSL and swanctl show it."""
    not_after: str
    """ISO 8601, UTC."""

    @property
    def key_id(self) -> str:
        """SHA-1 of the subjectPublicKey (RFC 5280 4.2.1.2, method 1), hexadecimal: charon's name for a key."""
        return key_id_of(self.certificate)

    @property
    def names(self) -> frozenset[str]:
        """Its subject and its alternative names, for finding other certificates with one of them."""
        return names_of(self.certificate)

    @property
    def token_handle(self) -> str:
        """CKA_ID of the key on its token, hexadecimal; empty when the reference names none (RFC 7512)."""
        return (uri.parse(self.key_reference).id or b"").hex()


def key_id_of(certificate: bytes) -> str:
    """Return charon's name for the key of a certificate (DER); nothing for an unreadable one or an unknown key."""
    try:
        public = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return ""
    return x509.SubjectKeyIdentifier.from_public_key(public).digest.hex()


def names_of(certificate: bytes) -> frozenset[str]:
    """Return the subject (RFC 4514) and the alternative names of a certificate (DER); nothing for an unreadable one."""
    try:
        facts = x509.load_der_x509_certificate(certificate)
        names = {facts.subject.rfc4514_string()} - {""}
        for extension in facts.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                names |= {f"{type(one).__name__}:{one.value}" for one in extension.value}
    except ValueError:  # a certificate of somebody else's that this library will not read has no name of ours
        return frozenset()
    return frozenset(names)


def load(generation: Generation) -> Material:
    """Read ``generation`` whole.

    Raises:
        StateCorrupt: a file of it is damaged.
        StateError: it cannot be read.
        KeyStoreError: its key cannot.
    """
    generation.check()
    description = generation.description
    return Material(
        number=generation.number,
        path=generation.path,
        certificate=generation.certificate,
        chain=generation.chain,
        trust_anchors=generation.trust_anchors,
        private_key=_private_key(generation),
        key_reference=generation.key_reference,
        serial=str(description["serial"]),
        not_after=str(description["not_after"]),
    )


def _private_key(generation: Generation) -> bytes | None:
    reference = generation.key_reference
    if not reference.startswith("file:"):
        return None
    path = keyfile.path_of(reference)
    octets = keyfile.read(path, ours=generation.private_key is not None)
    if octets.startswith(b"-----BEGIN PRIVATE KEY-----"):
        return octets
    # A key made elsewhere may be in any of the usual forms; consumers get it in one.
    return keyformat.decode(octets, path).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificates_pem(*certificates: bytes) -> bytes:
    """Return certificates (DER) in PEM, in this order; empty for none."""
    return pem.encode(certificates) if certificates else b""
