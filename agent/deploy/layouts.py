"""Which files a consumer gets, one row a layout: every file's part of the credential, its name, and its place in line.

The order of the rows below is the order in which single files are replaced (``switching: files``): what a consumer
trusts first, then the chain and the key, and last the certificate, whose change is what most consumers watch for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from agent.deploy.material import certificates_pem
from agent.errors import ConsumerRefused
from agent.frozen import frozen
from agent.settings import Layout

if TYPE_CHECKING:
    from agent.deploy.material import Material
    from agent.settings import DirectoryTarget


@frozen
class Part:
    """One kind of file: ``name`` where the configuration gives no other one, ``content`` made from the credential."""

    key: str
    name: str
    content: Callable[[Material], bytes | None]


def _anchors(material: Material) -> bytes:
    return certificates_pem(*material.trust_anchors)


def _chain(material: Material) -> bytes:
    return certificates_pem(*material.chain)


def _key(material: Material) -> bytes | None:
    return material.private_key


def _full_chain(material: Material) -> bytes:
    return certificates_pem(material.certificate, *material.chain)


def _certificate(material: Material) -> bytes:
    return certificates_pem(material.certificate)


def _bundle(material: Material) -> bytes:
    return (material.private_key or b"") + _full_chain(material)


def _only_once(_: Material) -> None:
    """Stand for a file that is made elsewhere (PKCS#12 needs a password)."""


PARTS: Final[dict[Layout, tuple[Part, ...]]] = {
    Layout.FILES: (
        Part("trust_anchors", "trust-anchors.pem", _anchors),
        Part("chain", "chain.pem", _chain),
        Part("private_key", "private-key.pem", _key),
        Part("full_chain", "full-chain.pem", _full_chain),
        Part("certificate", "certificate.pem", _certificate),
    ),
    Layout.SWANCTL: (
        Part("trust_anchors", "x509ca/{identity}-root.pem", _anchors),
        Part("chain", "x509ca/{identity}-chain.pem", _chain),
        Part("private_key", "private/{identity}.pem", _key),
        Part("certificate", "x509/{identity}.pem", _certificate),
    ),
    Layout.BUNDLE: (
        Part("trust_anchors", "trust-anchors.pem", _anchors),
        Part("bundle", "bundle.pem", _bundle),
    ),
    Layout.PKCS12: (
        Part("trust_anchors", "trust-anchors.pem", _anchors),
        Part("pkcs12", "credential.p12", _only_once),
    ),
}
"""swanctl reads one certificate of a file, so there every further one gets a file of its own (``NAME-2.pem``)."""


def files(material: Material, settings: DirectoryTarget, identity: str) -> dict[str, bytes]:
    """Return every file but the PKCS#12 one, by its name below the directory, in the order of replacement.

    Empty ones (a chain without certificates) and the key of a token are left out.
    """
    made: dict[str, bytes] = {}
    for part in PARTS[settings.layout]:
        content = part.content(material)
        if content:
            name = name_of(part, settings, identity)
            made |= _singly(name, content) if settings.layout is Layout.SWANCTL else {name: content}
    return made


def name_of(part: Part, settings: DirectoryTarget, identity: str) -> str:
    """Return what the file is called."""
    name: str | None = getattr(settings.names, part.key)
    return name or part.name.format(identity=identity)


def _singly(name: str, content: bytes) -> dict[str, bytes]:
    """Give each certificate of ``content`` a file of its own."""
    end = b"-----END CERTIFICATE-----\n"
    blocks = [block + end for block in content.split(end) if block] if end in content else [content]
    stem, dot, suffix = name.rpartition(".")
    return {name if index == 0 else f"{stem}-{index + 1}{dot}{suffix}": block for index, block in enumerate(blocks)}


def pkcs12_file(material: Material, password: bytes, identity: str) -> bytes:
    """Return the credential as PKCS#12 (RFC 7292), encrypted with ``password``.

    Raises:
        ConsumerRefused: the key is on a token and cannot leave it.
    """
    if material.private_key is None:
        raise ConsumerRefused(
            "a PKCS#12 file holds the private key, and this one is on a token",
            remedy="Choose another layout, or keep the key in software.",
        )
    key = serialization.load_pem_private_key(material.private_key, None)
    return pkcs12.serialize_key_and_certificates(
        identity.encode(),
        key,  # type: ignore[arg-type] # every kind of key we make is one that PKCS#12 holds
        x509.load_der_x509_certificate(material.certificate),
        [x509.load_der_x509_certificate(one) for one in (*material.chain, *material.trust_anchors)],
        serialization.BestAvailableEncryption(password),
    )


def pkcs12_fits(octets: bytes, material: Material, password: bytes) -> bool:
    """Tell whether a PKCS#12 file holds this credential: its octets differ each time it is made."""
    try:
        key, certificate, _ = pkcs12.load_key_and_certificates(octets, password)
    except ValueError:
        return False
    if key is None or certificate is None or material.private_key is None:
        return False
    held = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return held == material.private_key and certificate.public_bytes(serialization.Encoding.DER) == material.certificate
