"""Opens what a CA encrypted for our key: EnvelopedData, EncryptedValue, and the plain ciphertext of old challenges.

A key that answers ciphertexts is a danger: whoever may send many, and sees which of them fail and how, can decrypt
what was meant for us and more (Bleichenbacher; RFC 3218). So nothing here tells how far a decryption came: whatever
is wrong with a ciphertext gives the same error, a wrong content key takes the same way as a right one, and callers
answer only when what came out is what they asked for (:mod:`agent.cmp.challenge`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.padding import PKCS7

from agent.cmp import algorithms, cms, der
from agent.cmp.errors import ProtocolViolation
from agent.frozen import frozen

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm

RSA_PKCS1: Final = "rsa-pkcs1"
_OAEP_OID: Final = "1.2.840.113549.1.1.7"
_RSA_OID: Final = "1.2.840.113549.1.1.1"
_MGF1_OID: Final = "1.2.840.113549.1.1.8"
_NO_LABEL: Final = bytes.fromhex("300d06092a864886f70d0101090400")
"""pSpecified with an empty label: what absent means too (RFC 8017 A.2.1)."""
_MAXIMUM_CONTENT: Final = 65_536
"""Octets; a certificate or a number is all that is ever encrypted for us."""


class Decryptor(Protocol):
    """A private key that opens what was encrypted for it, wherever it is: what this package needs of it.

    ``decrypt`` and ``agree`` raise ValueError when what they got from the other side is no good. Whatever else they
    raise is about the key itself (a token that is gone), and passes through this package untouched.
    """

    @property
    def public_key(self) -> bytes:
        """DER SubjectPublicKeyInfo."""

    @property
    def ciphers(self) -> tuple[str, ...]:
        """What the key decrypts: ``rsa-pkcs1``, ``rsa-oaep-sha256`` and so on; empty for one that does not."""

    @property
    def agrees(self) -> bool:
        """Whether the key makes shared secrets (ECDH, X25519)."""

    def decrypt(self, ciphertext: bytes, scheme: str) -> bytes:
        """Return what was encrypted with ``scheme``; with PKCS#1 v1.5 random octets may stand for an error."""

    def agree(self, peer_public_key: bytes) -> bytes:
        """Return the shared secret with the owner of a DER SubjectPublicKeyInfo: the x-coordinate, no key yet."""


@frozen
class _Content:
    """A content-encryption algorithm: the primitive, octets of its key, and whether only a legacy profile has it."""

    name: str
    key_size: int
    legacy: bool = False

    def cipher(self, key: bytes) -> BlockCipherAlgorithm:
        if not self.legacy:
            return AES(key)
        from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES  # noqa: PLC0415 - for legacy profiles only

        return TripleDES(key)


@frozen
class _Derivation:
    """A key-derivation function of a key-agreement scheme: its hash, and which function."""

    hash: str
    hkdf: bool = False


_CONTENT: Final = {
    "2.16.840.1.101.3.4.1.2": _Content("aes128-cbc", 16),
    "2.16.840.1.101.3.4.1.22": _Content("aes192-cbc", 24),
    "2.16.840.1.101.3.4.1.42": _Content("aes256-cbc", 32),
    "1.2.840.113549.3.7": _Content("des-ede3-cbc", 24, legacy=True),
}
_WRAPS: Final = {
    "2.16.840.1.101.3.4.1.5": 16,
    "2.16.840.1.101.3.4.1.25": 24,
    "2.16.840.1.101.3.4.1.45": 32,
}
"""AES key wrap: octets of the key-encryption key (RFC 9481 4.3)."""
_DERIVATIONS: Final = {
    # ECDH, standard and with cofactor (the same on the NIST curves), RFC 5753 7.1.4. That SHA-1 is weak does no
    # harm here: nobody gains by two secrets with the same hash.
    "1.3.133.16.840.63.0.2": _Derivation("sha1"),
    "1.3.132.1.11.0": _Derivation("sha224"),
    "1.3.132.1.11.1": _Derivation("sha256"),
    "1.3.132.1.11.2": _Derivation("sha384"),
    "1.3.132.1.11.3": _Derivation("sha512"),
    "1.3.133.16.840.63.0.3": _Derivation("sha1"),
    "1.3.132.1.14.0": _Derivation("sha224"),
    "1.3.132.1.14.1": _Derivation("sha256"),
    "1.3.132.1.14.2": _Derivation("sha384"),
    "1.3.132.1.14.3": _Derivation("sha512"),
    # With HKDF, RFC 8418 2.2.
    "1.2.840.113549.1.9.16.3.19": _Derivation("sha256", hkdf=True),
    "1.2.840.113549.1.9.16.3.20": _Derivation("sha384", hkdf=True),
    "1.2.840.113549.1.9.16.3.21": _Derivation("sha512", hkdf=True),
}


def open_enveloped(octets: bytes, key: Decryptor, *, legacy: bool = False) -> bytes:
    """Return the content of the DER of EnvelopedData; ``legacy`` accepts triple DES.

    The recipient it names is not looked at: a CA cannot name a certificate that we do not have yet (RFC 9810 5.2.8.3).

    Raises:
        MalformedMessage: when it is none, or not for exactly one recipient.
        ProtectionError: for an algorithm that is not accepted, or not one of ``key``.
        ProtocolViolation: when it does not open.
    """
    return _open(cms.decode(octets), key, legacy=legacy)


def open_encrypted_key(octets: bytes, key: Decryptor, *, legacy: bool = False) -> bytes:
    """Return the content of the DER of EncryptedKey, in its new or its old form; errors as :func:`open_enveloped`."""
    return _open(cms.decode_encrypted_key(octets), key, legacy=legacy)


def decrypt_directly(ciphertext: bytes, key: Decryptor) -> bytes:
    """Return what was encrypted to an RSA key without any structure around it (RFC 4210 5.2.8.3); errors as above.

    The old challenge names no algorithm; PKCS#1 v1.5 is the only one of its time.
    """
    return _decrypt(ciphertext, key, RSA_PKCS1)


def unopened() -> ProtocolViolation:
    """Return the error for a ciphertext that does not open, whatever is wrong with it."""
    return ProtocolViolation(
        "the CA's answer is refused: what it holds encrypted does not open with our key",
        remedy="It was encrypted for another key, or not as we read it: give the CA's operator this message.",
    )


def _open(encrypted: cms.EnvelopedData | cms.EncryptedValue, key: Decryptor, *, legacy: bool) -> bytes:
    if isinstance(encrypted, cms.EncryptedValue):
        content, vector = _content_algorithm(encrypted.symmetric_algorithm, legacy=legacy)
        content_key = _decrypt(encrypted.key, key, _transport_scheme(encrypted.key_algorithm))
        return _decrypt_content(encrypted.value, content, vector, content_key)
    content, vector = _content_algorithm(encrypted.algorithm, legacy=legacy)
    recipient = encrypted.recipient
    if isinstance(recipient, cms.KeyTransport):
        content_key = _decrypt(recipient.encrypted_key, key, _transport_scheme(recipient.algorithm))
    else:
        content_key = _unwrap(recipient, key)
    return _decrypt_content(encrypted.content, content, vector, content_key)


# --- the content key ------------------------------------------------------------------------------------------------


def _decrypt(ciphertext: bytes, key: Decryptor, scheme: str) -> bytes:
    if scheme not in key.ciphers:
        raise algorithms.unsupported(f"encryption with {scheme} for our key")
    try:
        return key.decrypt(ciphertext, scheme)
    except ValueError as error:
        raise unopened() from error


def _transport_scheme(algorithm: bytes) -> str:
    """Return the name of a key-transport algorithm (RFC 9481 4.2)."""
    oid, parameters = algorithms.parse_algorithm(algorithm)
    if oid == _RSA_OID and parameters in {None, algorithms.NULL}:
        return RSA_PKCS1
    if oid != _OAEP_OID:
        raise algorithms.unsupported(f"key transport {oid}")
    if parameters is None or parameters == algorithms.NULL:
        parameters = der.wrap(der.SEQUENCE)  # all of it is DEFAULT
    hash_, mask, label = cms.oaep_parameters(parameters)
    sha1 = algorithms.build_algorithm(algorithms.HASHES["sha1"].oid)
    rule = algorithms.hash_algorithm(hash_ or sha1)
    mask_oid, mask_hash = algorithms.parse_algorithm(mask or algorithms.build_algorithm(_MGF1_OID, sha1))
    if mask_oid != _MGF1_OID or mask_hash is None or algorithms.hash_algorithm(mask_hash) != rule:
        raise algorithms.unsupported("RSAES-OAEP with two different hashes")
    if label not in {b"", _NO_LABEL}:
        raise algorithms.unsupported("RSAES-OAEP with a label")
    return f"rsa-oaep-{rule.name}"


def _unwrap(agreement: cms.KeyAgreement, key: Decryptor) -> bytes:
    """Return the content key that was wrapped under a key from a Diffie-Hellman exchange (RFC 5753 section 3)."""
    oid, wrap = algorithms.parse_algorithm(agreement.algorithm)
    derivation = _DERIVATIONS.get(oid)
    if derivation is None or wrap is None or not key.agrees:
        raise algorithms.unsupported(f"key agreement {oid} for our key")
    wrap_oid, wrap_parameters = algorithms.parse_algorithm(wrap)
    if wrap_oid not in _WRAPS or wrap_parameters not in {None, algorithms.NULL}:
        raise algorithms.unsupported(f"key wrap {wrap_oid}")
    try:
        secret = key.agree(_originator(agreement, key))
        return keywrap.aes_key_unwrap(
            _derive(derivation, secret, wrap, agreement.ukm, _WRAPS[wrap_oid]), agreement.encrypted_key
        )
    except (ValueError, keywrap.InvalidUnwrap) as error:
        raise unopened() from error


def _originator(agreement: cms.KeyAgreement, key: Decryptor) -> bytes:
    """Return the sender's public key as SubjectPublicKeyInfo; its curve is ours, whether it says so or not."""
    ours = der.values(key.public_key)[0]
    theirs, parameters = algorithms.parse_algorithm(agreement.originator_algorithm)
    named_elsewhere = parameters in {None, algorithms.NULL} and theirs == algorithms.parse_algorithm(ours)[0]
    bits = der.wrap(der.BIT_STRING, b"\x00", agreement.originator_key)
    return der.wrap(der.SEQUENCE, ours if named_elsewhere else agreement.originator_algorithm, bits)


def _derive(derivation: _Derivation, secret: bytes, wrap: bytes, ukm: bytes | None, size: int) -> bytes:
    info = cms.shared_info(wrap, ukm, size)
    primitive = algorithms.HASHES[derivation.hash].primitive
    if derivation.hkdf:
        return HKDF(primitive, size, salt=ukm, info=info).derive(secret)
    return X963KDF(primitive, size, sharedinfo=info).derive(secret)


# --- the content ----------------------------------------------------------------------------------------------------


def _content_algorithm(algorithm: bytes, *, legacy: bool) -> tuple[_Content, bytes]:
    """Return the rule of a content-encryption algorithm and its initialization vector."""
    oid, parameters = algorithms.parse_algorithm(algorithm)
    content = _CONTENT.get(oid)
    if content is None or parameters is None or (content.legacy and not legacy):
        raise algorithms.unsupported(f"content encryption {content.name if content else oid}")
    return content, der.unwrap(parameters, cms.OCTET_STRING)


def _decrypt_content(octets: bytes, content: _Content, vector: bytes, key: bytes) -> bytes:
    if len(octets) > _MAXIMUM_CONTENT:
        raise der.malformed(
            f"what is encrypted in it has {len(octets)} octets, more than the cap of {_MAXIMUM_CONTENT}"
        )
    fits = len(key) == content.key_size
    # A key of the wrong size came out of a forged PKCS#1 padding. It takes the way of the right ones, and whatever
    # comes of it, the end is the same.
    cipher = content.cipher(key if fits else bytes(content.key_size))
    try:
        decryptor = Cipher(cipher, modes.CBC(vector)).decryptor()
        padded = decryptor.update(octets) + decryptor.finalize()
        unpadder = PKCS7(cipher.block_size).unpadder()
        opened = unpadder.update(padded) + unpadder.finalize()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise unopened() from error
    if not fits:
        raise unopened()
    return opened
