"""Encrypts something for the holder of a key: EnvelopedData, EncryptedValue, or RSA alone (RFC 5652, RFC 4211, 4210).

What opens it is the client's code (:mod:`agent.cmp.decryption`); the two share the shapes and nothing else, so that
each finds the other's mistakes. OpenSSL and others judge both in the tests.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x448, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.padding import PKCS7

from agent.cmp import algorithms, cms, der
from agent.cmp.failures import PKIFailureInfo as Failure
from agent.frozen import frozen
from agent.labca import encoding
from agent.labca.refusal import Refusal

_AES: Final = {16: "2.16.840.1.101.3.4.1.2", 24: "2.16.840.1.101.3.4.1.22", 32: "2.16.840.1.101.3.4.1.42"}
_AES_WRAP: Final = {16: "2.16.840.1.101.3.4.1.5", 24: "2.16.840.1.101.3.4.1.25", 32: "2.16.840.1.101.3.4.1.45"}
_TRIPLE_DES: Final = "1.2.840.113549.3.7"
_RSA: Final = "1.2.840.113549.1.1.1"
_OAEP: Final = "1.2.840.113549.1.1.7"
_MGF1: Final = "1.2.840.113549.1.1.8"
_X963: Final = {
    "sha1": "1.3.133.16.840.63.0.2",
    "sha224": "1.3.132.1.11.0",
    "sha256": "1.3.132.1.11.1",
    "sha384": "1.3.132.1.11.2",
    "sha512": "1.3.132.1.11.3",
}
_HKDF: Final = {
    "sha256": "1.2.840.113549.1.9.16.3.19",
    "sha384": "1.2.840.113549.1.9.16.3.20",
    "sha512": "1.2.840.113549.1.9.16.3.21",
}


@frozen(kw_only=True)
class Recipe:
    """How something is encrypted. ``oaep`` and ``derivation`` name hashes; ``key_size`` is the octets of AES keys."""

    key_size: int = 32
    triple_des: bool = False
    oaep: str | None = "sha256"
    """None: PKCS#1 v1.5."""
    derivation: str = "sha256"
    hkdf: bool = False
    """HKDF (RFC 8418 2.2) in place of X9.63 (RFC 5753)."""
    ukm: bytes | None = None


@frozen(kw_only=True)
class Sealing:
    """What is to be encrypted, and for whom; misbehaviour edits this.

    ``public_key`` is a DER SubjectPublicKeyInfo. ``witness`` is the hash that goes with a challenge; a certificate has
    none.
    """

    content: bytes
    public_key: bytes
    witness: bytes = b""


def envelop(content: bytes, public_key: bytes, number: int = 0, recipe: Recipe | None = None) -> cms.EnvelopedData:
    """Encrypt ``content`` to the owner of a DER SubjectPublicKeyInfo, named by the ``number`` of his request.

    Raises:
        Refusal: nothing can be encrypted to such a key.
    """
    recipe = recipe or Recipe()
    content_key, algorithm, encrypted = _encrypt(content, recipe)
    # RFC 9810 5.2.8.3.3: there is no certificate yet, so the issuer is empty and the serial number is certReqId.
    name = der.wrap(der.SEQUENCE, der.wrap(der.SEQUENCE), encoding.integer(number))
    public: Any = algorithms.load_public_key(public_key)
    recipient: cms.KeyTransport | cms.KeyAgreement
    match public:
        case rsa.RSAPublicKey():
            transport, pad = _rsa(recipe)
            recipient = cms.KeyTransport(
                recipient=name, algorithm=transport, encrypted_key=public.encrypt(content_key, pad)
            )
        case ec.EllipticCurvePublicKey() | x25519.X25519PublicKey() | x448.X448PublicKey():
            recipient = _agree(public, name, content_key, recipe)
        case _:
            raise Refusal(Failure.BAD_POP, "nothing can be encrypted to this kind of key: sign with it instead")
    return cms.EnvelopedData(recipient=recipient, algorithm=algorithm, content=encrypted)


def enclose(content: bytes, public_key: bytes, recipe: Recipe | None = None) -> cms.EncryptedValue:
    """Encrypt ``content`` to the owner of an RSA key, in the form of RFC 4211 2.1.

    Raises:
        Refusal: it is another kind of key.
    """
    recipe = recipe or Recipe(key_size=16, oaep=None)
    content_key, algorithm, encrypted = _encrypt(content, recipe)
    transport, pad = _rsa(recipe)
    return cms.EncryptedValue(
        symmetric_algorithm=algorithm,
        key=_rsa_key(public_key).encrypt(content_key, pad),
        key_algorithm=transport,
        value=encrypted,
    )


def encrypt_directly(content: bytes, public_key: bytes) -> bytes:
    """Encrypt ``content`` with an RSA key and nothing else (RFC 4210 5.2.8.3).

    Raises:
        Refusal: it is another kind of key, or too short for the content.
    """
    try:
        return _rsa_key(public_key).encrypt(content, padding.PKCS1v15())
    except ValueError as error:
        raise Refusal(Failure.BAD_POP, "the challenge does not fit into one RSA block: use pvno 3") from error


def _encrypt(content: bytes, recipe: Recipe) -> tuple[bytes, bytes, bytes]:
    """Return a new key, the AlgorithmIdentifier with its vector, and the encrypted content."""
    key = secrets.token_bytes(24 if recipe.triple_des else recipe.key_size)
    cipher = TripleDES(key) if recipe.triple_des else AES(key)
    vector = secrets.token_bytes(cipher.block_size // 8)
    padder = PKCS7(cipher.block_size).padder()
    encryptor = Cipher(cipher, modes.CBC(vector)).encryptor()
    encrypted = encryptor.update(padder.update(content) + padder.finalize()) + encryptor.finalize()
    oid = _TRIPLE_DES if recipe.triple_des else _AES[recipe.key_size]
    return key, algorithms.build_algorithm(oid, encoding.octet_string(vector)), encrypted


def _rsa_key(public_key: bytes) -> rsa.RSAPublicKey:
    public = algorithms.load_public_key(public_key)
    if not isinstance(public, rsa.RSAPublicKey):
        raise Refusal(Failure.BAD_POP, "this needs EnvelopedData and so pvno 3: the key is no RSA key")
    return public


def _rsa(recipe: Recipe) -> tuple[bytes, padding.AsymmetricPadding]:
    if recipe.oaep is None:
        return algorithms.build_algorithm(_RSA, algorithms.NULL), padding.PKCS1v15()
    rule = algorithms.HASHES[recipe.oaep]
    pad = padding.OAEP(padding.MGF1(rule.primitive), rule.primitive, None)
    if recipe.oaep == "sha1":
        return algorithms.build_algorithm(_OAEP, der.wrap(der.SEQUENCE)), pad  # all of it is DEFAULT
    hash_ = algorithms.build_algorithm(rule.oid)
    mask = algorithms.build_algorithm(_MGF1, hash_)
    parameters = der.wrap(der.SEQUENCE, der.wrap(0xA0, hash_), der.wrap(0xA1, mask))
    return algorithms.build_algorithm(_OAEP, parameters), pad


def _agree(public: Any, name: bytes, content_key: bytes, recipe: Recipe) -> cms.KeyAgreement:
    """Wrap the content key under the secret shared with a key made for this one message (RFC 5753, RFC 8418)."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        ephemeral: Any = ec.generate_private_key(public.curve)
        secret = ephemeral.exchange(ec.ECDH(), public)
    else:
        kind = x25519.X25519PrivateKey if isinstance(public, x25519.X25519PublicKey) else x448.X448PrivateKey
        ephemeral = kind.generate()
        secret = ephemeral.exchange(public)
    spki = ephemeral.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    algorithm, bits = (spki[one.start : one.end] for one in der.children(spki))
    wrap = algorithms.build_algorithm(_AES_WRAP[recipe.key_size])
    info = cms.shared_info(wrap, recipe.ukm, recipe.key_size)
    hash_: hashes.HashAlgorithm = algorithms.HASHES[recipe.derivation].primitive
    if recipe.hkdf:
        key = HKDF(hash_, recipe.key_size, salt=recipe.ukm, info=info).derive(secret)
    else:
        key = X963KDF(hash_, recipe.key_size, sharedinfo=info).derive(secret)
    return cms.KeyAgreement(
        originator_algorithm=algorithm,
        originator_key=encoding.read_bit_string(bits),
        ukm=recipe.ukm,
        recipient=name,
        algorithm=algorithms.build_algorithm((_HKDF if recipe.hkdf else _X963)[recipe.derivation], wrap),
        encrypted_key=keywrap.aes_key_wrap(key, content_key),
    )
