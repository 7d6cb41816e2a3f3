"""A key on a token: what it can do there, and how it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import KDF, Attribute, KeyType, Mechanism
from pkcs11 import exceptions as ckr

from hsm import mechanisms
from hsm.algorithms import SCHEMES, Cipher, Family, KeyAlgorithm, Scheme
from hsm.errors import PeerDataUnusable, UnsupportedAlgorithm
from hsm.sessions import NotMadeForUs

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from hsm.kinds import Kind
    from hsm.sessions import Sessions
    from hsm.uri import KeyUri

_T = TypeVar("_T")


class TokenKey:
    """A private key on a token: its name, its public half, and how to use it."""

    __slots__ = (
        "_bits",
        "_curve",
        "_sessions",
        "_uri",
        "agrees",
        "algorithm",
        "ciphers",
        "legacy",
        "public_key",
        "schemes",
    )

    public_key: bytes
    algorithm: KeyAlgorithm | None
    schemes: tuple[Scheme, ...]
    ciphers: tuple[Cipher, ...]
    agrees: bool
    legacy: bool

    def __init__(self, sessions: Sessions, where: KeyUri, public: PublicKeyTypes, kind: Kind) -> None:
        """Keep where the key is; ``kind`` is what it can do on this token."""
        self._sessions = sessions
        self._uri = where
        self._curve = public.curve.name if isinstance(public, ec.EllipticCurvePublicKey) else None
        self._bits = public.key_size if isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) else 0
        self.algorithm, self.schemes, self.ciphers = kind.algorithm, kind.schemes, kind.ciphers
        self.agrees, self.legacy = kind.agrees, kind.legacy
        self.public_key = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def __repr__(self) -> str:
        """Name the key."""
        return f"TokenKey({self.reference!r})"

    @property
    def reference(self) -> str:
        """The key's ``pkcs11:`` URI, with the serial number of its token."""
        return str(self._uri)

    def sign(self, data: bytes, scheme: str) -> bytes:
        """Sign ``data`` (whole, not hashed); see :meth:`hsm.keystore.Key.sign`.

        Raise :class:`hsm.errors.UnsupportedAlgorithm`, :class:`hsm.errors.KeyNotFound` or a
        :class:`hsm.errors.TokenError`.
        """
        self._demand("sign", scheme, self.schemes)
        how = mechanisms.signing(Scheme(scheme), data, self._bits)
        signature = self._use("signed", lambda key, _: _signed(key, how))
        if SCHEMES[Scheme(scheme)].family is not Family.EC:
            return signature
        half = len(signature) // 2  # r and s, one behind the other (PKCS#11 2.3.1)
        return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))

    def decrypt(self, ciphertext: bytes, scheme: str) -> bytes:
        """Decrypt what was encrypted to this key; see :meth:`hsm.keystore.Key.decrypt`.

        Raise :class:`hsm.errors.UnsupportedAlgorithm`, :class:`hsm.errors.PeerDataUnusable`,
        :class:`hsm.errors.KeyNotFound` or a :class:`hsm.errors.TokenError`.
        """
        self._demand("decrypt", scheme, self.ciphers)
        how = mechanisms.decryption(Cipher(scheme), ciphertext)
        try:
            return self._use(
                "decrypted",
                lambda key, _: bytes(key.decrypt(how.data, mechanism=how.mechanism, mechanism_param=how.parameter)),
                wrong=(ckr.GeneralError, ckr.FunctionFailed),
            )
        except NotMadeForUs as error:  # what SoftHSM says of a wrong padding
            raise PeerDataUnusable(
                f"what was to be decrypted with {scheme} was not encrypted to the key {self.reference}",
                remedy="ask the sender which key and which algorithm he encrypts with",
            ) from error

    def agree(self, peer_public_key: bytes) -> bytes:
        """Return the secret shared with the owner of ``peer_public_key``; see :meth:`hsm.keystore.Key.agree`.

        Raise :class:`hsm.errors.UnsupportedAlgorithm`, :class:`hsm.errors.PeerDataUnusable`,
        :class:`hsm.errors.KeyNotFound` or a :class:`hsm.errors.TokenError`.
        """
        if not self.agrees:
            raise UnsupportedAlgorithm(
                f"the key {self.reference} does not make shared secrets",
                remedy="use a token that has CKM_ECDH1_DERIVE, or a key in software",
            )
        try:
            peer = serialization.load_der_public_key(peer_public_key)
        except ValueError:
            peer = None
        if not isinstance(peer, ec.EllipticCurvePublicKey) or peer.curve.name != self._curve:
            # Not every token looks whether a point is on its curve: secrets with points that are not tell of the key.
            raise PeerDataUnusable(
                f"the other side's public key is none that agrees with the key {self.reference}",
                remedy="ask the sender for a key on the same curve",
            )
        point = peer.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        return self._use("agreed on a secret", lambda key, _: _derived(key, point, (self._bits + 7) // 8))

    def _use(self, doing: str, work: Callable[[Any, Any], _T], *, wrong: tuple[type[ckr.PKCS11Error], ...] = ()) -> _T:
        return self._sessions.with_key(self._uri, doing, work, wrong=wrong)

    def _demand(self, doing: str, scheme: str, known: tuple[str, ...]) -> None:
        if scheme not in known:
            able = f"it can {', '.join(known)}" if known else "it can nothing of the kind"
            raise UnsupportedAlgorithm(
                f"the key {self.reference} does not {doing} with {scheme!r}; {able}",
                remedy="use another signature algorithm, or a key of another algorithm",
            )


def _signed(key: Any, how: mechanisms.Operation) -> bytes:
    return bytes(key.sign(how.data, mechanism=how.mechanism, mechanism_param=how.parameter))


def _derived(key: Any, point: bytes, size: int) -> bytes:
    template = {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True, Attribute.TOKEN: False}
    secret = key.derive_key(
        KeyType.GENERIC_SECRET,
        size * 8,
        mechanism=Mechanism.ECDH1_DERIVE,
        mechanism_param=(KDF.NULL, None, point),
        template=template,
    )
    return bytes(secret[Attribute.VALUE]).rjust(size, b"\0")
