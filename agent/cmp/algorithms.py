"""Algorithms by OID and by name: one table each for hashes, MACs and signatures (RFC 9481, RFC 9045).

A rule says how an algorithm is written, how it is verified, which hash certHash takes for a certificate signed with it
(RFC 9810 5.3.18), and whether it is legacy: known, but refused unless a profile allows it (``backhaul``).
Names of signature algorithms are the ones the key stores use.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa

from agent.cmp import asn1, by_schema, der, schema
from agent.cmp.errors import LocalError, ProtectionError
from agent.frozen import frozen

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

NULL: Final = b"\x05\x00"


class Family(StrEnum):
    """Kinds of key a signature algorithm works with."""

    RSA = "rsa"
    EC = "ec"
    DSA = "dsa"
    ED25519 = "ed25519"
    ED448 = "ed448"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"


@frozen
class Hash:
    """A one-way function: its OID, the primitive, and whether only a legacy profile may use it."""

    name: str
    oid: str
    primitive: hashes.HashAlgorithm
    legacy: bool = False

    def digest(self, data: bytes) -> bytes:
        """Return the hash of ``data``."""
        context = hashes.Hash(self.primitive)
        context.update(data)
        return context.finalize()


@frozen
class Mac:
    """A message authentication code: HMAC with ``hash`` under ``oid``; ``legacy`` as for hashes."""

    name: str
    oid: str
    hash: str
    legacy: bool = False


@frozen
class Signature:
    """A signature algorithm.

    ``hash`` is the hash it signs with (None: it brings its own), ``cert_hash`` the one certHash uses, and
    ``names_hash`` is False where RFC 9810 wants certConf to name that hash explicitly (hashAlg, pvno 3).
    """

    name: str
    oid: str
    family: Family
    hash: str | None
    cert_hash: str
    names_hash: bool = True
    pss: bool = False
    legacy: bool = False


HASHES: Final = {
    rule.name: rule
    for rule in (
        Hash("md5", "1.2.840.113549.2.5", hashes.MD5(), legacy=True),  # noqa: S303 - only profile backhaul allows it
        Hash("sha1", "1.3.14.3.2.26", hashes.SHA1(), legacy=True),  # noqa: S303 - only profile backhaul allows it
        Hash("sha224", "2.16.840.1.101.3.4.2.4", hashes.SHA224()),
        Hash("sha256", "2.16.840.1.101.3.4.2.1", hashes.SHA256()),
        Hash("sha384", "2.16.840.1.101.3.4.2.2", hashes.SHA384()),
        Hash("sha512", "2.16.840.1.101.3.4.2.3", hashes.SHA512()),
        Hash("shake256", "2.16.840.1.101.3.4.2.12", hashes.SHAKE256(64)),
    )
}
HASH_BY_OID: Final = {rule.oid: rule for rule in HASHES.values()}

MACS: Final = {
    rule.name: rule
    for rule in (
        Mac("hmac-sha1", "1.2.840.113549.2.7", "sha1", legacy=True),
        Mac("hmac-sha1-ietf", "1.3.6.1.5.5.8.1.2", "sha1", legacy=True),
        Mac("hmac-sha224", "1.2.840.113549.2.8", "sha224"),
        Mac("hmac-sha256", "1.2.840.113549.2.9", "sha256"),
        Mac("hmac-sha384", "1.2.840.113549.2.10", "sha384"),
        Mac("hmac-sha512", "1.2.840.113549.2.11", "sha512"),
    )
}
MAC_BY_OID: Final = {rule.oid: rule for rule in MACS.values()}

_PSS_OID: Final = "1.2.840.113549.1.1.10"
_MGF1_OID: Final = "1.2.840.113549.1.1.8"

SIGNATURES: Final = {
    rule.name: rule
    for rule in (
        Signature("rsa-pkcs1-md5", "1.2.840.113549.1.1.4", Family.RSA, "md5", "md5", legacy=True),
        Signature("rsa-pkcs1-sha1", "1.2.840.113549.1.1.5", Family.RSA, "sha1", "sha1", legacy=True),
        Signature("rsa-pkcs1-sha224", "1.2.840.113549.1.1.14", Family.RSA, "sha224", "sha224"),
        Signature("rsa-pkcs1-sha256", "1.2.840.113549.1.1.11", Family.RSA, "sha256", "sha256"),
        Signature("rsa-pkcs1-sha384", "1.2.840.113549.1.1.12", Family.RSA, "sha384", "sha384"),
        Signature("rsa-pkcs1-sha512", "1.2.840.113549.1.1.13", Family.RSA, "sha512", "sha512"),
        Signature("rsa-pss-sha1", _PSS_OID, Family.RSA, "sha1", "sha1", pss=True, legacy=True),
        Signature("rsa-pss-sha224", _PSS_OID, Family.RSA, "sha224", "sha224", pss=True),
        Signature("rsa-pss-sha256", _PSS_OID, Family.RSA, "sha256", "sha256", pss=True),
        Signature("rsa-pss-sha384", _PSS_OID, Family.RSA, "sha384", "sha384", pss=True),
        Signature("rsa-pss-sha512", _PSS_OID, Family.RSA, "sha512", "sha512", pss=True),
        Signature("ecdsa-sha1", "1.2.840.10045.4.1", Family.EC, "sha1", "sha1", legacy=True),
        Signature("ecdsa-sha224", "1.2.840.10045.4.3.1", Family.EC, "sha224", "sha224"),
        Signature("ecdsa-sha256", "1.2.840.10045.4.3.2", Family.EC, "sha256", "sha256"),
        Signature("ecdsa-sha384", "1.2.840.10045.4.3.3", Family.EC, "sha384", "sha384"),
        Signature("ecdsa-sha512", "1.2.840.10045.4.3.4", Family.EC, "sha512", "sha512"),
        Signature("dsa-sha1", "1.2.840.10040.4.3", Family.DSA, "sha1", "sha1", legacy=True),
        Signature("dsa-sha256", "2.16.840.1.101.3.4.3.2", Family.DSA, "sha256", "sha256", legacy=True),
        Signature("ed25519", "1.3.101.112", Family.ED25519, None, "sha512"),
        Signature("ed448", "1.3.101.113", Family.ED448, None, "shake256"),
        Signature("ml-dsa-44", "2.16.840.1.101.3.4.3.17", Family.ML_DSA_44, None, "sha512", names_hash=False),
        Signature("ml-dsa-65", "2.16.840.1.101.3.4.3.18", Family.ML_DSA_65, None, "sha512", names_hash=False),
        Signature("ml-dsa-87", "2.16.840.1.101.3.4.3.19", Family.ML_DSA_87, None, "sha512", names_hash=False),
    )
}
_SIGNATURE_BY_OID: Final = {rule.oid: rule for rule in SIGNATURES.values() if not rule.pss}


class Signer(Protocol):
    """A private key, wherever it is: what this package needs of it."""

    @property
    def public_key(self) -> bytes:
        """DER SubjectPublicKeyInfo."""

    @property
    def schemes(self) -> tuple[str, ...]:
        """Names of signature algorithms the key can do, best first."""

    def sign(self, data: bytes, scheme: str) -> bytes:
        """Return the X.509 signature octets over ``data``."""


def parse_algorithm(octets: bytes) -> tuple[str, bytes | None]:
    """Return (dotted OID, DER of the parameters or None) of an AlgorithmIdentifier.

    Raises:
        MalformedMessage: when it is none.
    """
    return asn1.read_typed(octets)


def build_algorithm(oid: str, parameters: bytes | None = None) -> bytes:
    """Return the DER of an AlgorithmIdentifier."""
    return asn1.write_typed(oid, parameters)


def hash_algorithm(octets: bytes) -> Hash:
    """Return the rule for the AlgorithmIdentifier of a hash; parameters may be absent or NULL (RFC 9481 2).

    Raises:
        ProtectionError: when it is not one of ours.
    """
    oid, parameters = parse_algorithm(octets)
    if oid not in HASH_BY_OID or parameters not in {None, NULL}:
        raise unsupported(f"hash {oid}")
    return HASH_BY_OID[oid]


def mac_algorithm(octets: bytes) -> Mac:
    """Return the rule for the AlgorithmIdentifier of a MAC; parameters may be absent or NULL (RFC 9045 4.4).

    Raises:
        ProtectionError: when it is not one of ours.
    """
    oid, parameters = parse_algorithm(octets)
    if oid not in MAC_BY_OID or parameters not in {None, NULL}:
        raise unsupported(f"MAC {oid}")
    return MAC_BY_OID[oid]


def signature_algorithm(octets: bytes) -> Signature:
    """Return the rule for the AlgorithmIdentifier of a signature (RFC 9481 section 3).

    Raises:
        ProtectionError: when it is not one of ours, or PSS parameters are not the matching ones.
    """
    oid, parameters = parse_algorithm(octets)
    if oid == _PSS_OID:
        return _pss_algorithm(parameters)
    rule = _SIGNATURE_BY_OID.get(oid)
    if rule is None or parameters not in {None, NULL}:
        raise unsupported(f"signature algorithm {oid}")
    return rule


def certifying_algorithm(octets: bytes) -> Signature:
    """Return the rule for the algorithm that signed a certificate, as far as certHash needs it.

    Of RSASSA-PSS that is the hash alone: a mask made with another one, SHA-1 as Java's default has it, is none of our
    business where a certificate was verified already.

    Raises:
        ProtectionError: when it is not one of ours.
    """
    oid, parameters = parse_algorithm(octets)
    if oid != _PSS_OID:
        return signature_algorithm(octets)
    if parameters is None:
        raise unsupported("RSASSA-PSS without parameters")
    return _pss_by_hash(by_schema.decode(parameters, schema.RsaPssParams()))


def scheme_of(signer: Signer, name: str | None = None) -> Signature:
    """Return the rule to sign by: the one called ``name``, or the first that ``signer`` can do.

    Raises:
        LocalError: when the key cannot sign so.
    """
    name = name or next(iter(signer.schemes), "")
    if name not in SIGNATURES or name not in signer.schemes:
        raise LocalError(
            f"the key cannot make signatures of the kind {name!r}"
            if name
            else "the key cannot make signatures that CMP knows",
            remedy="Use a key for signatures (EC, RSA or Ed25519); `key` of the identity says which is made.",
        )
    return SIGNATURES[name]


def signature_identifier(rule: Signature) -> bytes:
    """Return the AlgorithmIdentifier to send for ``rule``: NULL for RSA PKCS#1, nothing for the others, full PSS."""
    if rule.pss:
        return build_algorithm(rule.oid, _pss_parameters(rule))
    return build_algorithm(rule.oid, NULL if rule.family is Family.RSA else None)


def load_public_key(spki: bytes) -> PublicKeyTypes:
    """Load a DER SubjectPublicKeyInfo.

    Raises:
        ProtectionError: when it is damaged or of an unsupported kind.
    """
    try:
        return serialization.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise unsupported(f"public key ({error})") from error


def verify(public_key: PublicKeyTypes, rule: Signature, signature: bytes, data: bytes) -> bool:
    """Tell whether ``signature`` over ``data`` verifies; False too when key and algorithm do not belong together.

    A PSS salt may have any length: that it is as long as the hash is a recommendation (RFC 4055 3.1).
    """
    hash_ = HASHES[rule.hash].primitive if rule.hash else None
    try:
        match public_key:
            case rsa.RSAPublicKey() if rule.family is Family.RSA and hash_:
                scheme = padding.PSS(padding.MGF1(hash_), padding.PSS.AUTO) if rule.pss else padding.PKCS1v15()
                public_key.verify(signature, data, scheme, hash_)
            case ec.EllipticCurvePublicKey() if rule.family is Family.EC and hash_:
                public_key.verify(signature, data, ec.ECDSA(hash_))
            case dsa.DSAPublicKey() if rule.family is Family.DSA and hash_:
                public_key.verify(signature, data, hash_)
            case ed25519.Ed25519PublicKey() if rule.family is Family.ED25519:
                public_key.verify(signature, data)
            case ed448.Ed448PublicKey() if rule.family is Family.ED448:
                public_key.verify(signature, data)
            case _:
                return _verify_ml_dsa(public_key, rule, signature, data)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def unsupported(what: str) -> ProtectionError:
    """Return the error for an algorithm nobody here knows or allows."""
    return ProtectionError(
        f"the CA uses an algorithm that is not accepted here: {what}",
        remedy="Ask the CA's operator for an algorithm of RFC 9481 (SHA-256 or better); "
        "only the profile `backhaul` accepts older ones.",
    )


def _pss_algorithm(parameters: bytes | None) -> Signature:
    if parameters is None:
        raise unsupported("RSASSA-PSS without parameters")
    value = by_schema.decode(parameters, schema.RsaPssParams())
    rule = _pss_by_hash(value)
    mask, mask_hash = parse_algorithm(asn1.whole(value["maskGenAlgorithm"]) or build_algorithm(_MGF1_OID, _SHA1))
    odd_trailer = value["trailerField"].isValue and int(value["trailerField"]) != 1
    if mask != _MGF1_OID or mask_hash is None or hash_algorithm(mask_hash).name != rule.hash or odd_trailer:
        raise unsupported("RSASSA-PSS with uncommon parameters")
    return rule


_SHA1: Final = build_algorithm(HASHES["sha1"].oid)
"""What absent parameters of RSASSA-PSS mean (RFC 8017 A.2.3)."""


def _pss_by_hash(value: Any) -> Signature:
    hash_ = hash_algorithm(asn1.whole(value["hashAlgorithm"]) or _SHA1)
    rule = SIGNATURES.get(f"rsa-pss-{hash_.name}")
    if rule is None:
        raise unsupported(f"RSASSA-PSS with {hash_.name}")
    return rule


def _pss_parameters(rule: Signature) -> bytes:
    value = schema.RsaPssParams()
    if rule.hash == "sha1" or rule.hash is None:
        return der.wrap(der.SEQUENCE)  # all of it is DEFAULT
    hash_ = HASHES[rule.hash]
    identifier = build_algorithm(hash_.oid, NULL)
    value["hashAlgorithm"] = der.unwrap(identifier)
    value["maskGenAlgorithm"] = der.unwrap(build_algorithm(_MGF1_OID, identifier))
    value["saltLength"] = hash_.primitive.digest_size
    return by_schema.encode(value)


def _verify_ml_dsa(public_key: PublicKeyTypes, rule: Signature, signature: bytes, data: bytes) -> bool:
    # ML-DSA came to cryptography late; it is looked for only when a peer uses it.
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa  # noqa: PLC0415
    except ImportError:
        return False
    classes: dict[Family, Any] = {
        Family.ML_DSA_44: mldsa.MLDSA44PublicKey,
        Family.ML_DSA_65: mldsa.MLDSA65PublicKey,
        Family.ML_DSA_87: mldsa.MLDSA87PublicKey,
    }
    wanted = classes.get(rule.family)
    if wanted is None or not isinstance(public_key, wanted):
        return False
    key: Any = public_key
    key.verify(signature, data)
    return True
