"""Small real PKIs for tests: one call a certificate, every field open to being wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.cmp import der
from agent.cmp.trust import AlgorithmRules

NOW: Final = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DAY: Final = timedelta(days=1)
LEGACY: Final = AlgorithmRules(
    hashes=frozenset({"md5", "sha1", "sha256"}),
    rsa_bits=1024,
    dsa_bits=1024,
    curves=frozenset({"secp256r1"}),
    others=frozenset(),
)

_OIDS: Final = {
    "rsa-sha256": "06092a864886f70d01010b",
    "rsa-sha1": "06092a864886f70d010105",
    "rsa-md5": "06092a864886f70d010104",
}


@dataclass(frozen=True)
class Holder:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: Any

    @property
    def octets(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def spki(self) -> bytes:
        return spki(self.key)


def name(text: str) -> x509.Name:
    return x509.Name.from_rfc4514_string(text)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def spki(key: Any) -> bytes:
    octets: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return octets


def usage(*names: str) -> x509.KeyUsage:
    every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{one: one in names for one in every})


CA_USAGE: Final = usage("key_cert_sign", "crl_sign", "digital_signature")


def issue(
    subject: str | x509.Name,
    by: Holder | None = None,
    *,
    key: Any = None,
    ca: bool = False,
    path_length: int | None = None,
    key_usage: x509.KeyUsage | None = None,
    add: Iterable[x509.ExtensionType] = (),
    critical: Iterable[x509.ExtensionType] = (),
    start: datetime = NOW - 100 * DAY,
    end: datetime = NOW + 100 * DAY,
    issuer: x509.Name | None = None,
    serial: int | None = None,
    pss: bool = False,
    mask: hashes.HashAlgorithm | None = None,
) -> Holder:
    """Issue a certificate; without ``by`` it is self-signed. SKI and AKI are always there.

    ``pss``: by RSASSA-PSS with SHA-256; ``mask`` is the hash of its mask, SHA-256 unless another one is given.
    """
    key = key or new_key()
    subject = name(subject) if isinstance(subject, str) else subject
    signer = by.key if by else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or (by.certificate.subject if by else subject))
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    if key_usage is not None or ca:
        builder = builder.add_extension(key_usage or CA_USAGE, critical=True)
    for extension in add:
        builder = builder.add_extension(extension, critical=False)
    for extension in critical:
        builder = builder.add_extension(extension, critical=True)
    hash_ = (
        hashes.SHA256()
        if isinstance(signer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | dsa.DSAPrivateKey)
        else None
    )
    scheme = padding.PSS(padding.MGF1(mask or hashes.SHA256()), 32) if pss else None
    return Holder(builder.sign(signer, hash_, rsa_padding=scheme), key)


def authority(subject: str, by: Holder | None = None, **options: Any) -> Holder:
    """Issue a CA certificate."""
    return issue(subject, by, ca=True, **options)


def rebuild(holder: Holder, signer: Any, edit: Callable[[list[bytes]], list[bytes]]) -> Holder:
    """Take the signed part apart, let ``edit`` change its fields, and sign it again with ECDSA and SHA-256."""
    content = holder.certificate.tbs_certificate_bytes
    fields = edit([content[one.start : one.end] for one in der.children(content)])
    signed = der.wrap(der.SEQUENCE, *fields)
    signature = signer.sign(signed, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    octets = der.wrap(der.SEQUENCE, signed, algorithm, der.wrap(0x03, b"\x00", signature))
    return Holder(x509.load_der_x509_certificate(octets), holder.key)


def version_1(holder: Holder, signer: Any) -> Holder:
    """Make a version 1 certificate: no version, no extensions."""
    return rebuild(holder, signer, lambda fields: fields[1:7])


def weakened(holder: Holder, signer: rsa.RSAPrivateKey, algorithm: str) -> Holder:
    """Sign an RSA-signed certificate again with a hash that the library no longer signs with."""
    hash_: hashes.HashAlgorithm = hashes.MD5() if algorithm == "rsa-md5" else hashes.SHA1()  # noqa: S303
    old, new = bytes.fromhex(_OIDS["rsa-sha256"]), bytes.fromhex(_OIDS[algorithm])
    signed = holder.certificate.tbs_certificate_bytes.replace(old, new, 1)
    signature = signer.sign(signed, padding.PKCS1v15(), hash_)
    identifier = der.wrap(der.SEQUENCE, new, b"\x05\x00")
    octets = der.wrap(der.SEQUENCE, signed, identifier, der.wrap(0x03, b"\x00", signature))
    return Holder(x509.load_der_x509_certificate(octets), holder.key)


def unreadable(holder: Holder) -> x509.Certificate:
    """Return a certificate that the library loads, and whose extensions it cannot read."""
    marker = bytes.fromhex("0603551d0e")
    octets = holder.octets.replace(marker, bytes.fromhex("0603551d0f"), 1)
    return x509.load_der_x509_certificate(octets)
