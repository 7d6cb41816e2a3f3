"""Reading X.509 certificates once and completely, comparing their keys, judging their algorithms.

The library parses lazily: a certificate that loads may still raise when its names, dates or extensions are touched.
:func:`read` touches everything at one place, turns every refusal into our own error, and gives plain facts to the
modules that decide (``trust``, ``name_constraints``, ``acceptance``).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from agent.cmp import der
from agent.cmp.errors import MalformedMessage
from agent.cmp.failures import clean_text
from agent.cmp.name_keys import NameKey, name_key, quoted
from agent.cmp.sizes import MAXIMUM_CERTIFICATE
from agent.frozen import frozen

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes


_Value = TypeVar("_Value", bound=x509.ExtensionType)

_KEY_USAGES: Final = (
    ("digital_signature", "digitalSignature"),
    ("content_commitment", "nonRepudiation"),
    ("key_encipherment", "keyEncipherment"),
    ("data_encipherment", "dataEncipherment"),
    ("key_agreement", "keyAgreement"),
    ("key_cert_sign", "keyCertSign"),
    ("crl_sign", "cRLSign"),
)

_ML_DSA: Final = {f"2.16.840.1.101.3.4.3.{arc}": f"ml-dsa-{size}" for arc, size in ((17, 44), (18, 65), (19, 87))}
_NAMED_BY_OID: Final = {"1.3.101.110": "x25519", "1.3.101.112": "ed25519", "1.3.101.113": "ed448", **_ML_DSA}
_MD5_WITH_RSA: Final = "1.2.840.113549.1.1.4"
_ECDSA_WITH_SHA1: Final = "1.2.840.10045.4.1"
_RSA_ENCRYPTION: Final = bytes.fromhex("06092a864886f70d010101")
_NULL: Final = b"\x05\x00"
_VERSION_TAG: Final = 0xA0
_EXPONENT_BITS: Final = 32
"""Of an RSA key: everybody has 65537 or less, and others read no more either. One as long as the modulus makes each
signature a hundred times as dear to verify, and whoever is on the way can send dozens of such certificates."""
_REMEMBERED: Final = 128
"""Certificates of which the facts are kept: one answer asks for those of the same few some twenty times."""


@frozen(kw_only=True, eq=False)
class Facts:
    """All that is in a certificate and matters here. Names of usages are the RFC's, OIDs are dotted text."""

    certificate: x509.Certificate = field(repr=False)
    octets: bytes = field(repr=False)
    """The certificate's DER."""
    version: x509.Version
    subject: x509.Name
    issuer: x509.Name
    subject_key: NameKey
    issuer_key: NameKey
    not_before: datetime
    not_after: datetime
    spki: bytes
    """SubjectPublicKeyInfo as it stands in the certificate."""
    public_key: CertificatePublicKeyTypes | None
    """None: a kind of key or curve that the library does not know, or an RSA exponent that nobody has."""
    is_ca: bool
    path_length: int | None
    key_usage: frozenset[str] | None
    extended_key_usage: frozenset[str] | None
    alternative_names: tuple[x509.GeneralName, ...]
    name_constraints: x509.NameConstraints | None
    subject_key_identifier: bytes | None
    authority_key_identifier: bytes | None
    critical: frozenset[str]

    @property
    def who(self) -> str:
        """The subject for people: RFC 4514 text in quotes, safe to print."""
        return quoted(self.subject)

    @property
    def identity(self) -> tuple[NameKey, bytes]:
        """Name and key: what stays equal between an anchor and its cross-certified twin."""
        return self.subject_key, self.spki

    @property
    def self_issued(self) -> bool:
        """Whether subject and issuer are one name (RFC 5280 6.1)."""
        return self.subject_key == self.issuer_key


@frozen(kw_only=True)
class AlgorithmRules:
    """Which keys and signature hashes are strong enough, as data.

    ``hashes``: names such as ``sha256``. ``rsa_bits``, ``dsa_bits``: least size; ``dsa_bits`` None refuses DSA.
    ``curves``: names such as ``secp256r1``. ``others``: ed25519, ed448, ml-dsa-44 and so on, x25519.
    """

    hashes: frozenset[str]
    rsa_bits: int
    curves: frozenset[str]
    others: frozenset[str]
    dsa_bits: int | None = None

    def key_problem(self, facts: Facts) -> str | None:
        """Say why the key of a certificate is not accepted; None when it is."""
        match facts.public_key:
            case rsa.RSAPublicKey(key_size=bits):
                return None if bits >= self.rsa_bits else f"an RSA key of {bits} bits, less than {self.rsa_bits}"
            case ec.EllipticCurvePublicKey(curve=curve):
                return None if curve.name in self.curves else f"a key on the curve {curve.name}"
            case dsa.DSAPublicKey(key_size=bits):
                return None if self.dsa_bits and bits >= self.dsa_bits else f"a DSA key of {bits} bits"
            case None:
                return "a key of an unknown kind, on an unknown curve or with an odd exponent"
            case _:
                name = _NAMED_BY_OID.get(facts.certificate.public_key_algorithm_oid.dotted_string, "unsuitable")
                return None if name in self.others else f"a key of the kind {name}"

    def signature_problem(self, signed: Facts | x509.CertificateRevocationList) -> str | None:
        """Say why the algorithm that signed a certificate or CRL is not accepted; None when it is."""
        what = signed.certificate if isinstance(signed, Facts) else signed
        oid = what.signature_algorithm_oid.dotted_string
        if oid in _NAMED_BY_OID:
            return None if _NAMED_BY_OID[oid] in self.others else f"a signature with {_NAMED_BY_OID[oid]}"
        try:
            used = what.signature_hash_algorithm
        except UnsupportedAlgorithm:
            used = None
        if used is None:
            return f"a signature with the unknown algorithm {oid}"
        return None if used.name in self.hashes else f"a signature over {used.name}"


MODERN: Final = AlgorithmRules(
    hashes=frozenset({"sha224", "sha256", "sha384", "sha512"}),
    rsa_bits=2048,
    curves=frozenset({"secp256r1", "secp384r1", "secp521r1"}),
    others=frozenset(_NAMED_BY_OID.values()),
)
"""What every profile but ``backhaul`` accepts (RFC 9481 section 2, TS 33.310 6.1.1)."""


@lru_cache(maxsize=_REMEMBERED)
def load(octets: bytes) -> x509.Certificate:
    """Load one certificate from canonical DER.

    Raises:
        MalformedMessage: when it is none, is too large, or anything in it cannot be read.
    """
    if len(octets) > MAXIMUM_CERTIFICATE:
        raise _unreadable(ValueError(f"it has {len(octets)} octets, more than the cap of {MAXIMUM_CERTIFICATE}"))
    try:
        der.check(octets)
        with quiet():
            certificate = x509.load_der_x509_certificate(octets)
    except Exception as error:
        raise _unreadable(error) from error
    return read(certificate).certificate


def load_all(certificates: Iterable[bytes]) -> tuple[x509.Certificate, ...]:
    """Load what loads: extraCerts and caPubs may hold rubbish that nobody signed; it is left out, not an error."""
    found = []
    for octets in certificates:
        with suppress(MalformedMessage):
            found.append(load(octets))
    return tuple(found)


@lru_cache(maxsize=_REMEMBERED)
def read(certificate: x509.Certificate) -> Facts:
    """Read everything in ``certificate``.

    Raises:
        MalformedMessage: naming what cannot be read; nothing else, whatever the octets are.
    """
    try:
        with quiet():
            return _read(certificate)
    except Exception as error:
        raise _unreadable(error) from error


def signature_verifies(facts: Facts, issuer: Facts) -> bool:
    """Tell whether the key of ``issuer`` made the signature of ``facts``; key and algorithm must belong together."""
    return _is_signed_by(facts.certificate, facts.certificate.tbs_certificate_bytes, issuer)


def list_verifies(crl: x509.CertificateRevocationList, issuer: Facts) -> bool:
    """Tell whether the key of ``issuer`` made the signature of ``crl``; key and algorithm must belong together."""
    return _is_signed_by(crl, crl.tbs_certlist_bytes, issuer)


def _is_signed_by(signed: x509.Certificate | x509.CertificateRevocationList, content: bytes, issuer: Facts) -> bool:
    key, signature = issuer.public_key, signed.signature
    oid = signed.signature_algorithm_oid.dotted_string
    try:
        hash_, scheme = signed.signature_hash_algorithm, signed.signature_algorithm_parameters
        match key, scheme:
            case rsa.RSAPublicKey(), padding.PKCS1v15() | padding.PSS() if hash_:
                key.verify(signature, content, scheme, hash_)
            case rsa.RSAPublicKey(), None if hash_ and oid == _MD5_WITH_RSA:  # the library names the hash only
                key.verify(signature, content, padding.PKCS1v15(), hash_)
            case ec.EllipticCurvePublicKey(), ec.ECDSA():
                key.verify(signature, content, scheme)
            case ec.EllipticCurvePublicKey(), None if hash_ and oid == _ECDSA_WITH_SHA1:  # as for MD5 with RSA
                key.verify(signature, content, ec.ECDSA(hash_))
            case dsa.DSAPublicKey(), None if hash_:
                key.verify(signature, content, hash_)
            case ((ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey()), None) if oid == _key_oid(issuer):
                key.verify(signature, content)
            case _, None if oid in _ML_DSA and oid == _key_oid(issuer):
                _verify_with_any(key, signature, content)
            case _:
                return False
    except Exception:  # noqa: BLE001 - whatever the library says about odd keys: what was not verified is not trusted
        return False
    return True


def same_public_key(one: bytes, other: bytes) -> bool:
    """Compare two SubjectPublicKeyInfo: algorithm, parameters and key bits; for RSA, NULL and absent are the same.

    Raises:
        MalformedMessage: when one of them is none.
    """
    try:
        return _key_parts(one) == _key_parts(other)
    except ValueError as error:
        raise der.malformed("a public key in it has the wrong parts") from error


def when(moment: datetime) -> str:
    """Return an aware time in UTC as people read it, to the minute."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _read(certificate: x509.Certificate) -> Facts:
    octets, content = certificate.public_bytes(Encoding.DER), certificate.tbs_certificate_bytes
    fields = [content[one.start : one.end] for one in der.children(content)]
    inner_algorithm, key_info = fields[1], fields[5]
    if fields[0][0] == _VERSION_TAG:
        inner_algorithm, key_info = fields[2], fields[6]
    _, algorithm, signature = der.children(octets)
    # The outer algorithm is not signed (RFC 5280 4.1.1.2), nor is the count of unused bits before the signature.
    if octets[algorithm.start : algorithm.end] != inner_algorithm or octets[signature.contents] != 0:
        raise ValueError("its signature is not described by its signed part")
    _touch_signature(certificate)
    constraints = _extension(certificate, x509.BasicConstraints)
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    names = _extension(certificate, x509.SubjectAlternativeName)
    subject_key_identifier = _extension(certificate, x509.SubjectKeyIdentifier)
    authority_key_identifier = _extension(certificate, x509.AuthorityKeyIdentifier)
    subject, issuer = certificate.subject, certificate.issuer
    return Facts(
        certificate=certificate,
        octets=octets,
        version=certificate.version,
        subject=subject,
        issuer=issuer,
        subject_key=name_key(subject),
        issuer_key=name_key(issuer),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        spki=key_info,
        public_key=_public_key(certificate),
        is_ca=constraints is not None and constraints.ca,
        path_length=constraints.path_length if constraints else None,
        key_usage=_key_usage(_extension(certificate, x509.KeyUsage)),
        extended_key_usage=frozenset(one.dotted_string for one in extended) if extended is not None else None,
        alternative_names=tuple(names) if names else (),
        name_constraints=_extension(certificate, x509.NameConstraints),
        subject_key_identifier=subject_key_identifier.digest if subject_key_identifier else None,
        authority_key_identifier=authority_key_identifier.key_identifier if authority_key_identifier else None,
        critical=frozenset(one.oid.dotted_string for one in certificate.extensions if one.critical),
    )


def _touch_signature(certificate: x509.Certificate) -> None:
    """Raise ValueError now if the algorithm's parameters are damaged; an unknown algorithm is judged later."""
    try:
        _ = certificate.signature_hash_algorithm, certificate.signature_algorithm_parameters
    except UnsupportedAlgorithm:
        return


def _public_key(certificate: x509.Certificate) -> CertificatePublicKeyTypes | None:
    try:
        key = certificate.public_key()
    except UnsupportedAlgorithm:
        return None
    odd = isinstance(key, rsa.RSAPublicKey) and key.public_numbers().e.bit_length() > _EXPONENT_BITS
    return None if odd else key


def _extension(certificate: x509.Certificate, kind: type[_Value]) -> _Value | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _key_usage(usage: x509.KeyUsage | None) -> frozenset[str] | None:
    return None if usage is None else frozenset(name for ours, name in _KEY_USAGES if getattr(usage, ours))


def _key_oid(facts: Facts) -> str:
    return facts.certificate.public_key_algorithm_oid.dotted_string


def _verify_with_any(key: Any, signature: bytes, content: bytes) -> None:
    # ML-DSA keys came to the library late: their classes cannot be named here.
    key.verify(signature, content)


def _key_parts(spki: bytes) -> tuple[bytes, bytes, bytes]:
    algorithm, bits = der.children(spki)
    oid, *rest = (spki[one.start : one.end] for one in der.children(spki, algorithm))
    parameters = b"".join(rest)
    if oid == _RSA_ENCRYPTION and parameters == _NULL:
        parameters = b""
    return oid, parameters, spki[bits.start : bits.end]


def quiet() -> warnings.catch_warnings[None]:
    """Keep the library from warning on stderr, which helps nobody (CryptographyDeprecationWarning, UserWarning).

    Roots with serial number 0, a NULL too many or a name too long are in the field.
    """
    return warnings.catch_warnings(action="ignore", category=UserWarning)


def _unreadable(error: Exception) -> MalformedMessage:
    """Return our error for whatever the library raised over hostile octets.

    Seen so far: ValueError, TypeError, KeyError, DuplicateExtension, InvalidVersion, UnsupportedGeneralNameType; each
    version has its own. A list of them would be one short on the day a peer finds the next.
    """
    # The gate's own text begins with "the answer is ...: "; only what follows is about the certificate.
    detail = str(error).partition(": ")[2] if isinstance(error, MalformedMessage) else str(error)
    return MalformedMessage(
        f"a certificate cannot be read: {clean_text(detail)}",
        remedy="Ask the CA's operator for a certificate that follows RFC 5280, and give him this message.",
    )
