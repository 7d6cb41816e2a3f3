"""What a key and a key store are, whatever holds the key: a file or a token.

A key is used through a handle: nothing here gives out private bytes, because a token has none to give. A key is
named by its reference: a ``file:`` URI (RFC 8089) or a ``pkcs11:`` URI (RFC 7512), which is what is written to disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from hsm.algorithms import Cipher, KeyAlgorithm, Scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a store can do: which keys it makes, how they sign and what they decrypt, in the order of the tables."""

    algorithms: tuple[KeyAlgorithm, ...]
    schemes: tuple[Scheme, ...]
    ciphers: tuple[Cipher, ...]


@runtime_checkable
class Key(Protocol):
    """A private key that can be used but not read."""

    @property
    def reference(self) -> str:
        """The key's name: a ``file:`` URI (RFC 8089) or a ``pkcs11:`` URI (RFC 7512)."""

    @property
    def public_key(self) -> bytes:
        """The public key as DER SubjectPublicKeyInfo (RFC 5280 section 4.1)."""

    @property
    def algorithm(self) -> KeyAlgorithm | None:
        """Which of ours it is; None for a key made elsewhere in a size that nobody makes here."""

    @property
    def legacy(self) -> bool:
        """Whether it can be broken today (DSA, RSA below 2048 bits): only for whoever asks for that by name."""

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """The ways this key signs, best first, legacy ones last; empty for a key that does not sign."""

    @property
    def ciphers(self) -> tuple[Cipher, ...]:
        """What this key decrypts; empty for a key that does not."""

    @property
    def agrees(self) -> bool:
        """Whether this key makes shared secrets (:meth:`agree`)."""

    def sign(self, data: bytes, scheme: str) -> bytes:
        """Sign ``data`` (whole, not hashed) and return the octets X.509 carries.

        Raise :class:`hsm.errors.UnsupportedAlgorithm` when ``scheme`` is none of :attr:`schemes`.
        """

    def decrypt(self, ciphertext: bytes, scheme: str) -> bytes:
        """Decrypt what was encrypted to this key; ``scheme`` is one of :attr:`ciphers`.

        With PKCS#1 v1.5 a wrong padding need not be an error: random octets may come back instead, so that nobody who
        sends ciphertexts and watches us learns from it (Bleichenbacher's attack; RFC 3218). Whoever calls this must
        therefore behave the same, in what is sent, when and how soon, whether this fails, or what comes out of it turns
        out to be useless later. The text of the error is for our own log alone.

        Raise :class:`hsm.errors.UnsupportedAlgorithm` when ``scheme`` is none of :attr:`ciphers`, and
        :class:`hsm.errors.PeerDataUnusable` when nothing can be decrypted.
        """

    def agree(self, peer_public_key: bytes) -> bytes:
        """Return the secret that only we and the owner of ``peer_public_key`` (DER SubjectPublicKeyInfo) can compute.

        It is the x-coordinate as long as the field for ECDH (SEC 1 section 3.3.1, RFC 5753), 32 octets for X25519
        (RFC 7748), and no key yet: a key derivation function makes one from it.

        Raise :class:`hsm.errors.UnsupportedAlgorithm` when this key does not agree, and
        :class:`hsm.errors.PeerDataUnusable` when the other key is none on the same curve.
        """


@runtime_checkable
class KeyStore(Protocol):
    """A place where keys are made and found."""

    def generate(self, algorithm: KeyAlgorithm, place: str) -> Key:
        """Make a key pair at ``place`` (software: a file path; token: a label); it is durable when this returns.

        Raise :class:`hsm.errors.KeyExists` when there is a key already,
        :class:`hsm.errors.UnsupportedAlgorithm` and :class:`hsm.errors.KeyStoreUnwritable`.
        """

    def find(self, reference: str) -> Key:
        """Open the key that ``reference`` names.

        Raise :class:`hsm.errors.KeyNotFound`, :class:`hsm.errors.KeyUnusable` or :class:`hsm.errors.KeyPermissions`.
        """

    def destroy(self, reference: str) -> None:
        """Remove a key of ours for good; it is gone durably when this returns.

        A key that is already gone is no error: a crash may lie between the removal and its record. Raise
        :class:`hsm.errors.KeyPermissions` for a key that is not ours and :class:`hsm.errors.KeyStoreUnwritable`.
        """

    def capabilities(self) -> Capabilities:
        """Tell what this store can do."""
