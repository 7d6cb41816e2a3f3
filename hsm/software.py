"""Keys in files: PKCS#8 (RFC 5958) in PEM, not encrypted, readable by their owner alone.

They are not encrypted because whoever could read them could read the pass phrase beside them: a base station starts
with nobody there to type one. Where that is not enough, the key belongs on a token.

A key is *ours* when it lies below the directory the store was opened with. Ours are made, must be private, and are
destroyed. Any other key was made elsewhere: it is read under laxer rules (a group may read it, as Debian's
``ssl-cert`` does; a symbolic link may lead to it) and is never changed or destroyed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm as NotSupported
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa, x25519

from hsm import keyfile, keyformat
from hsm.algorithms import (
    CIPHERS,
    KEY_PARAMETERS,
    SCHEMES,
    Cipher,
    Family,
    KeyAlgorithm,
    KeyParameters,
    Padding,
    Scheme,
    SchemeParameters,
)
from hsm.errors import KeyPermissions, PeerDataUnusable, UnsupportedAlgorithm
from hsm.keystore import Capabilities
from hsm.kinds import Kind, Unsuitable, kind_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_PUBLIC_EXPONENT: Final = 65_537

_CURVES: Final[dict[str | None, ec.EllipticCurve]] = {
    curve.name: curve for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())
}
_DIGESTS: Final[dict[str | None, hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha1": hashes.SHA1(),  # noqa: S303 - of legacy schemes, and of OAEP, where it does no harm
    "md5": hashes.MD5(),  # noqa: S303 - of legacy schemes
}


class SoftwareKey:
    """A private key read from a file. It shows its name and its public key, never its private bytes."""

    __slots__ = ("_private", "agrees", "algorithm", "ciphers", "legacy", "public_key", "reference", "schemes")

    reference: str
    public_key: bytes
    algorithm: KeyAlgorithm | None
    schemes: tuple[Scheme, ...]
    ciphers: tuple[Cipher, ...]
    agrees: bool
    legacy: bool

    def __init__(self, private: PrivateKeyTypes, kind: Kind, reference: str) -> None:
        """Keep the opened key; ``kind`` is what :func:`hsm.kinds.kind_of` says, ``reference`` the URI of its file."""
        self._private: Any = private  # whether it can do what is asked of it, `kind` has settled
        self.reference = reference
        self.algorithm = kind.algorithm
        self.schemes = kind.schemes
        self.ciphers = kind.ciphers
        self.agrees = kind.agrees
        self.legacy = kind.legacy
        self.public_key = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def __repr__(self) -> str:
        """Name the key; nothing of it is shown."""
        return f"SoftwareKey({self.reference!r})"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: private bytes leave this object in no form."""
        raise TypeError("a private key is neither pickled nor copied")

    def sign(self, data: bytes, scheme: str) -> bytes:
        """Sign ``data`` (whole, not hashed) and return the octets X.509 carries.

        Raise :class:`hsm.errors.UnsupportedAlgorithm` when ``scheme`` is none of ``schemes``.
        """
        self._demand("sign", scheme, self.schemes)
        parameters = SCHEMES[Scheme(scheme)]
        return bytes(self._private.sign(data, *_signature_arguments(parameters)))

    def decrypt(self, ciphertext: bytes, scheme: str) -> bytes:
        """Decrypt what was encrypted to this key; ``scheme`` is one of ``ciphers``.

        With PKCS#1 v1.5 a wrong padding brings random octets and no error, always the same ones for a ciphertext: so
        does OpenSSL from 3.2 on, which the library carries along. What that asks of the caller stands at
        :meth:`hsm.keystore.Key.decrypt`.

        Raise :class:`hsm.errors.UnsupportedAlgorithm` when ``scheme`` is none of ``ciphers``, and
        :class:`hsm.errors.PeerDataUnusable` when nothing can be decrypted.
        """
        self._demand("decrypt", scheme, self.ciphers)
        try:
            return bytes(self._private.decrypt(ciphertext, _encryption_padding(CIPHERS[Cipher(scheme)])))
        except ValueError as error:
            raise PeerDataUnusable(
                f"what was to be decrypted with {scheme} was not encrypted to the key {self.reference}",
                remedy="Ask the sender which key and which algorithm he encrypts with.",
            ) from error

    def agree(self, peer_public_key: bytes) -> bytes:
        """Return the secret shared with the owner of ``peer_public_key`` (DER SubjectPublicKeyInfo).

        Raise :class:`hsm.errors.UnsupportedAlgorithm` when this key does not agree, and
        :class:`hsm.errors.PeerDataUnusable` when the other key is none on the same curve.
        """
        if not self.agrees:
            raise UnsupportedAlgorithm(
                f"the key {self.reference} does not make shared secrets",
                remedy="use a key on a NIST curve (P-256, P-384, P-521) or of X25519",
            )
        cause: Exception | None = None
        try:
            # Points that are not on the curve do not load; those of small order make the exchange fail.
            peer = serialization.load_der_public_key(peer_public_key)
            if kind_of(peer).algorithm is self.algorithm:
                method = (ec.ECDH(),) if isinstance(self._private, ec.EllipticCurvePrivateKey) else ()
                return bytes(self._private.exchange(*method, peer))
        except (ValueError, NotSupported, Unsuitable) as error:
            cause = error
        raise PeerDataUnusable(
            f"the other side's public key is none that agrees with the key {self.reference}",
            remedy="Ask the sender for a key on the same curve.",
        ) from cause

    def _demand(self, doing: str, scheme: str, known: tuple[str, ...]) -> None:
        if scheme not in known:
            others = f"{doing} with one of {', '.join(known)}, or use" if known else "use"
            raise UnsupportedAlgorithm(
                f"the key {self.reference} does not {doing} with {scheme!r}",
                remedy=f"{others} a key of another algorithm",
            )


class SoftwareKeyStore:
    """Keys as files. Everything below ``directory`` is ours; whatever lies elsewhere is only read."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Keep where our keys live, usually the state directory; it is not touched yet."""
        self._directory = Path(directory).absolute()

    def capabilities(self) -> Capabilities:
        """Tell what this store can do: everything in the tables that the installed library can."""
        algorithms = tuple(name for name, rule in KEY_PARAMETERS.items() if _library_knows(rule.family))
        schemes = tuple(name for name, rule in SCHEMES.items() if _library_knows(rule.family))
        return Capabilities(algorithms=algorithms, schemes=schemes, ciphers=tuple(CIPHERS))

    def generate(self, algorithm: KeyAlgorithm, place: str | os.PathLike[str]) -> SoftwareKey:
        """Make a key pair in the new file ``place``, in an existing directory of ours; it is durable on return.

        The key is read back from its file. Raise :class:`hsm.errors.KeyExists`,
        :class:`hsm.errors.KeyPermissions` (``place`` is not ours), :class:`hsm.errors.UnsupportedAlgorithm` (nobody
        makes such keys, or the installed library does not) or :class:`hsm.errors.KeyStoreUnwritable`.
        """
        path = Path(place).absolute()
        self._demand_ours(path, "make")
        keyfile.demand_free(path)
        pem = _generate(algorithm).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        keyfile.write_new(path, pem)
        return self.find(keyfile.reference_of(path))

    def find(self, reference: str) -> SoftwareKey:
        """Open the key file a ``file:`` URI names.

        Ours is PKCS#8 in PEM. One made elsewhere may be PKCS#8, PKCS#1 or SEC 1, in PEM (certificates may stand
        beside it) or DER, and weaker than we make them: then it is ``legacy``. Raise
        :class:`hsm.errors.KeyNotFound`, :class:`hsm.errors.KeyPermissions`, :class:`hsm.errors.KeyUnusable` or
        :class:`hsm.errors.UnsupportedAlgorithm` (the installed library does not know such keys).
        """
        path = keyfile.path_of(reference)
        private = keyformat.decode(keyfile.read(path, ours=self._is_ours(path)), path)
        try:
            kind = kind_of(private.public_key())
        except Unsuitable as unsuitable:
            raise keyformat.unusable(path, str(unsuitable)) from unsuitable
        return SoftwareKey(private, kind, keyfile.reference_of(path))

    def destroy(self, reference: str) -> None:
        """Remove a key file of ours durably; one that is gone already is no error.

        Raise :class:`hsm.errors.KeyPermissions` for a file made elsewhere, :class:`hsm.errors.KeyNotFound` for a
        reference that names no file and :class:`hsm.errors.KeyStoreUnwritable`.
        """
        path = keyfile.path_of(reference)
        self._demand_ours(path, "destroy")
        keyfile.remove(path)

    def _is_ours(self, path: Path) -> bool:
        """Look at the directory the file really is in, not at the file: a link among ours does not lead out."""
        parent = Path(os.path.realpath(path.parent))
        return parent.is_relative_to(os.path.realpath(self._directory))

    def _demand_ours(self, path: Path, doing: str) -> None:
        if not self._is_ours(path):
            raise KeyPermissions(
                f"refused to {doing} the key {path}: it is not below {self._directory}",
                remedy="keys made elsewhere are only used; whoever made this one looks after it",
            )


def _signature_arguments(parameters: SchemeParameters) -> tuple[Any, ...]:
    """Return what the library's ``sign`` takes after the data."""
    if parameters.digest is None:
        return ()
    digest = _DIGESTS[parameters.digest]
    match parameters.padding:
        case Padding.PKCS1:
            return padding.PKCS1v15(), digest
        case Padding.PSS:
            return padding.PSS(padding.MGF1(digest), digest.digest_size), digest
    return (ec.ECDSA(digest),) if parameters.family is Family.EC else (digest,)


def _encryption_padding(digest: str | None) -> padding.AsymmetricPadding:
    if digest is None:
        return padding.PKCS1v15()
    return padding.OAEP(padding.MGF1(_DIGESTS[digest]), _DIGESTS[digest], label=None)


def _generate(algorithm: KeyAlgorithm) -> PrivateKeyTypes:
    try:
        parameters = KEY_PARAMETERS[algorithm]
    except KeyError:
        raise UnsupportedAlgorithm(
            f"a software key cannot be of the algorithm {str(algorithm)!r}",
            remedy=f"choose one of {', '.join(KEY_PARAMETERS)}",
        ) from None
    try:
        return _GENERATORS[parameters.family](parameters)
    except (ImportError, NotSupported) as error:
        raise UnsupportedAlgorithm(
            f"the installed Python package cryptography cannot make {algorithm} keys",
            remedy="install cryptography 50 or later from its own wheels, or choose another algorithm, such as ec-p256",
        ) from error


def _ml_dsa(parameters: KeyParameters) -> PrivateKeyTypes:
    from cryptography.hazmat.primitives.asymmetric import mldsa  # noqa: PLC0415 - came late, and older ones lack it

    generate: dict[Family, Callable[[], PrivateKeyTypes]] = {
        Family.ML_DSA_44: mldsa.MLDSA44PrivateKey.generate,
        Family.ML_DSA_65: mldsa.MLDSA65PrivateKey.generate,
        Family.ML_DSA_87: mldsa.MLDSA87PrivateKey.generate,
    }
    return generate[parameters.family]()


_GENERATORS: Final[dict[Family, Callable[[KeyParameters], PrivateKeyTypes]]] = {
    Family.RSA: lambda parameters: rsa.generate_private_key(_PUBLIC_EXPONENT, parameters.bits or 0),
    Family.DSA: lambda parameters: dsa.generate_private_key(parameters.bits or 0),
    Family.EC: lambda parameters: ec.generate_private_key(_CURVES[parameters.curve]),
    Family.ED25519: lambda _: ed25519.Ed25519PrivateKey.generate(),
    Family.ED448: lambda _: ed448.Ed448PrivateKey.generate(),
    Family.X25519: lambda _: x25519.X25519PrivateKey.generate(),
    Family.ML_DSA_44: _ml_dsa,
    Family.ML_DSA_65: _ml_dsa,
    Family.ML_DSA_87: _ml_dsa,
}


def _library_knows(family: Family) -> bool:
    """Tell by making a key, which for these is quick; RSA, DSA and the curves have always been there."""
    if _GENERATORS[family] is not _ml_dsa and family is not Family.ED448:
        return True
    try:
        _GENERATORS[family](KeyParameters(family=family))
    except (ImportError, NotSupported):
        return False
    return True
