"""Message protection (RFC 9810 5.1.3): PasswordBasedMac, PBMAC1 and signatures, made and verified.

Verification always works on the octets received (``Message.protected_part``). What is accepted is data
(:class:`ProtectionRules`, from the profile), and every parameter that costs time is bounded before it is used. What
real servers do beyond the RFCs and does no harm is taken as it is: see :func:`_expect_pbmac1`.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hmac import HMAC

from agent.cmp import algorithms, asn1, by_schema, der, schema
from agent.cmp.errors import LocalError, ProtectionError, WrongMac
from agent.digest import sha256
from agent.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from agent.cmp.messages import Message

PASSWORD_BASED_MAC: Final = "1.2.840.113533.7.66.13"  # noqa: S105 - an OID
PBMAC1: Final = "1.2.840.113549.1.5.14"
PBKDF2: Final = "1.2.840.113549.1.5.12"
_PBES2: Final = "1.2.840.113549.1.5.13"
_PBKDF2_DEFAULT_PRF: Final = algorithms.build_algorithm("1.2.840.113549.2.7", algorithms.NULL)
_MINIMUM_SALT: Final = 8
"""Octets (RFC 4211 4.4, RFC 8018 4.1)."""
_MINIMUM_KEY_LENGTH: Final = 16


class Kind(StrEnum):
    """The two kinds of protection; a transaction keeps to one (RFC 9483 3.5)."""

    MAC = "MAC"
    SIGNATURE = "signature"


@frozen(kw_only=True)
class ProtectionRules:
    """What protection is accepted from a peer. Iterations and salt are bounded before any hash is computed."""

    legacy: bool = False
    """Accept SHA-1 and MD5 (profile ``backhaul``)."""
    legacy_mac: bool = True
    """Accept HMAC-SHA1 as a MAC and in PBKDF2: still unbroken, and what many servers answer with."""
    minimum_iterations: int = 100
    maximum_iterations: int = 1_000_000
    maximum_salt: int = 256
    maximum_key_length: int = 4096
    """Octets of a key from PBKDF2: the default of one server in the field."""
    maximum_work: int = 15_000_000
    """Calls of PBKDF2's pseudorandom function for one key: iterations times blocks of the key. Some seconds."""


@frozen(kw_only=True)
class MacParameters:
    """How a MAC is made from a secret; ``salt`` stays the same through a transaction.

    ``algorithm`` is ``pbm`` or ``pbmac1``. ``one_way_function`` names a hash of ``algorithms`` (for PBMAC1: the one
    inside its pseudorandom function), ``mac`` a MAC.
    """

    algorithm: str = "pbm"
    one_way_function: str = "sha256"
    mac: str = "hmac-sha256"
    iterations: int = 10_000
    salt: bytes = b""


class Protector(Protocol):
    """Something that protects our messages."""

    kind: Kind
    algorithm: bytes
    """DER AlgorithmIdentifier for the header."""

    def protect(self, protected_part: bytes) -> bytes:
        """Return the protection octets over the DER of ProtectedPart."""


class MacProtector:
    """Protects with a shared secret; the key is derived once, at the first message."""

    kind = Kind.MAC

    def __init__(self, secret: bytes, parameters: MacParameters) -> None:
        """Take the raw octets of the secret and the parameters, salt included.

        Raises:
            LocalError: when the secret is empty, or nobody should make a MAC so.
        """
        if not secret:
            raise LocalError("the shared secret is empty", remedy="Ask the operator for the one-time secret.")
        if len(parameters.salt) < _MINIMUM_SALT or parameters.iterations < 1:
            raise LocalError(
                f"a MAC with {len(parameters.salt)} octets of salt and {parameters.iterations} iterations is not safe",
                remedy="Set `iterations` of `mac` to 10000 if you changed it; otherwise this is a defect of enrolld.",
            )
        self._secret = secret
        self._parameters = parameters
        self._key: bytes | None = None
        self.algorithm = _mac_identifier(parameters)

    def protect(self, protected_part: bytes) -> bytes:
        """Return the MAC over ``protected_part``."""
        parameters = self._parameters
        mac = algorithms.MACS[parameters.mac]
        if self._key is None:
            owf, salt, count = parameters.one_way_function, parameters.salt, parameters.iterations
            if parameters.algorithm == "pbmac1":
                self._key = hashlib.pbkdf2_hmac(owf, self._secret, salt, count, _digest_size(mac.hash))
            else:
                self._key = derive_pbm_key(self._secret, salt, owf, count)
        return _hmac(self._key, protected_part, mac.hash).finalize()

    def __repr__(self) -> str:
        """Show the parameters, never the secret."""
        return f"MacProtector({self._parameters!r})"


class SignatureProtector:
    """Protects with a private key, wherever it is."""

    kind = Kind.SIGNATURE

    def __init__(self, signer: algorithms.Signer, scheme: str | None = None) -> None:
        """Take the key and the name of the signature algorithm (default: the key's best).

        Raises:
            LocalError: when the key cannot sign so.
        """
        rule = algorithms.scheme_of(signer, scheme)
        self._signer = signer
        self._scheme = rule.name
        self.algorithm = algorithms.signature_identifier(rule)

    def protect(self, protected_part: bytes) -> bytes:
        """Return the signature over ``protected_part``."""
        return self._signer.sign(protected_part, self._scheme)


def kind_of(message: Message) -> Kind | None:
    """Return how ``message`` claims to be protected; None when it is not.

    Raises:
        ProtectionError: when protectionAlg and protection do not come together (RFC 9810 5.1.1).
        MalformedMessage: when protectionAlg is no AlgorithmIdentifier.
    """
    algorithm = message.header.protection_alg
    if (algorithm is None) != (message.protection is None):
        raise ProtectionError(
            "the message names a protection algorithm without protection, or the reverse",
            remedy="Give the CA's operator this message: its server builds faulty messages.",
        )
    if algorithm is None:
        return None
    oid, _ = algorithms.parse_algorithm(algorithm)
    return Kind.MAC if oid in _MACS else Kind.SIGNATURE


def verify_mac(message: Message, secret: bytes, rules: ProtectionRules) -> None:
    """Pass if the MAC over the received octets of ``message`` was made with ``secret``.

    Raises:
        ProtectionError: for a refused algorithm, parameters out of bounds, or a wrong MAC.
        MalformedMessage: when protectionAlg or its parameters do not fit their type.
    """
    oid, parameters = algorithms.parse_algorithm(message.header.protection_alg or b"")
    verifier = _MAC_VERIFIERS.get(oid)
    if verifier is None or parameters is None:
        raise algorithms.unsupported(f"MAC protection {oid}")
    made = message.protection or b""
    expected = verifier(parameters, secret, message.protected_part, rules)
    if not any(_fits(one, made) for one in expected):
        raise WrongMac(
            "the MAC of the answer is wrong: the CA does not have the same secret, or somebody changed the answer",
            remedy="Check reference and secret with the operator; a typing error is the usual cause.",
        )


def verify_signature(message: Message, public_key: PublicKeyTypes, rules: ProtectionRules) -> algorithms.Signature:
    """Pass if ``public_key`` verifies the signature over the received octets of ``message``; return its algorithm.

    Raises:
        ProtectionError: for a refused algorithm or a wrong signature.
        MalformedMessage: when protectionAlg does not fit its type.
    """
    rule = algorithms.signature_algorithm(message.header.protection_alg or b"")
    if rule.legacy and not rules.legacy:
        raise algorithms.unsupported(f"signature with {rule.name}")
    if not algorithms.verify(public_key, rule, message.protection or b"", message.protected_part):
        raise ProtectionError(
            "the signature of the message is wrong",
            remedy="Somebody changed it on the way, or the server signs with another key than its certificate has: "
            "tell the CA's operator.",
        )
    return rule


def derive_pbm_key(secret: bytes, salt: bytes, one_way_function: str, iterations: int) -> bytes:
    """Return BASEKEY of PasswordBasedMac: ``iterations`` hash calls in all, the first over secret and salt.

    Every MAC we know is an HMAC, which takes BASEKEY whole (RFC 4211 4.4, RFC 9045 4).
    """
    # OpenSSL takes as long to make a hash as to hash these few octets.
    new = sha256 if one_way_function == "sha256" else getattr(hashlib, one_way_function)
    key: bytes = secret + salt
    for _ in range(iterations):
        key = new(key, usedforsecurity=False).digest()
    return key


def _mac_identifier(parameters: MacParameters) -> bytes:
    name, mac, hash_ = parameters.algorithm, parameters.mac, parameters.one_way_function
    writer = _MAC_WRITERS.get(name)
    prf_known = name != "pbmac1" or f"hmac-{hash_}" in algorithms.MACS
    if writer is None or mac not in algorithms.MACS or hash_ not in _ONE_WAY_FUNCTIONS or not prf_known:
        raise LocalError(
            f"a MAC cannot be made with {name}, {hash_} and {mac}",
            remedy="Correct `mac` of the authority: algorithm pbm or pbmac1, a SHA-2 hash, a HMAC.",
        )
    return writer(parameters, algorithms.build_algorithm(algorithms.MACS[mac].oid, algorithms.NULL))


def _write_pbm(parameters: MacParameters, mac: bytes) -> bytes:
    owf = algorithms.build_algorithm(algorithms.HASHES[parameters.one_way_function].oid)
    salt = der.wrap(der.OCTET_STRING, parameters.salt)
    iterations = der.wrap(der.INTEGER, der.integer_contents(parameters.iterations))
    return algorithms.build_algorithm(PASSWORD_BASED_MAC, der.wrap(der.SEQUENCE, salt, owf, iterations, mac))


def _write_pbmac1(parameters: MacParameters, mac: bytes) -> bytes:
    derivation = schema.Pbkdf2Params()
    derivation["salt"] = parameters.salt
    derivation["iterationCount"] = parameters.iterations
    derivation["keyLength"] = _digest_size(algorithms.MACS[parameters.mac].hash)
    prf = algorithms.build_algorithm(algorithms.MACS[f"hmac-{parameters.one_way_function}"].oid, algorithms.NULL)
    if prf != _PBKDF2_DEFAULT_PRF:  # DER: a field with its DEFAULT value is left out
        derivation["prf"] = der.unwrap(prf)
    value = schema.Pbmac1Params()
    value["keyDerivationFunc"] = der.unwrap(algorithms.build_algorithm(PBKDF2, by_schema.encode(derivation)))
    value["messageAuthScheme"] = der.unwrap(mac)
    return algorithms.build_algorithm(PBMAC1, by_schema.encode(value))


def _expect_pbm(parameters: bytes, secret: bytes, data: bytes, rules: ProtectionRules) -> Iterator[HMAC]:
    """Read PBMParameter (RFC 4211 4.4) straight from DER: every message has one, and pyasn1 takes its time."""
    der.unwrap(parameters)
    parts = der.values(parameters)
    if len(parts) != 4:  # noqa: PLR2004 - salt, owf, iterationCount, mac
        raise der.malformed("it does not fit PBMParameter")
    salt = der.unwrap(parts[0], der.OCTET_STRING)
    iterations = asn1.number(der.integer(der.unwrap(parts[2], der.INTEGER)))
    owf, mac = algorithms.hash_algorithm(parts[1]), algorithms.mac_algorithm(parts[3])
    if owf.name not in _ONE_WAY_FUNCTIONS or (owf.legacy and not rules.legacy):
        raise algorithms.unsupported(f"PasswordBasedMac with {owf.name}")
    _check_mac(mac, rules)
    _check_cost(salt, iterations, rules)
    yield _hmac(derive_pbm_key(secret, salt, owf.name, iterations), data, mac.hash)


def _expect_pbmac1(parameters: bytes, secret: bytes, data: bytes, rules: ProtectionRules) -> Iterator[HMAC]:
    """Yield the MACs that may be there, the RFC's first.

    Two deviations are taken, since both still prove the secret: the OID of PBES2 in place of PBKDF2's (Bouncy Castle
    1.72), and a keyLength that counts bits.
    """
    value = by_schema.decode(parameters, schema.Pbmac1Params())
    oid, derivation = algorithms.parse_algorithm(asn1.required(value["keyDerivationFunc"]))
    mac = algorithms.mac_algorithm(asn1.required(value["messageAuthScheme"]))
    if oid not in {PBKDF2, _PBES2} or derivation is None:
        raise algorithms.unsupported(f"key derivation {oid} in PBMAC1")
    kdf = by_schema.decode(derivation, schema.Pbkdf2Params())
    prf = algorithms.mac_algorithm(asn1.whole(kdf["prf"]) or _PBKDF2_DEFAULT_PRF)
    salt, iterations = bytes(kdf["salt"]), asn1.number(kdf["iterationCount"])
    length = asn1.number(kdf["keyLength"]) if kdf["keyLength"].isValue else _digest_size(mac.hash)
    _check_mac(mac, rules)
    _check_mac(prf, rules)
    _check_cost(salt, iterations, rules)
    most = min(rules.maximum_key_length, rules.maximum_work // iterations * _digest_size(prf.hash))
    readings = [length] if length % 8 else [length, length // 8]
    lengths = [one for one in readings if _MINIMUM_KEY_LENGTH <= one <= most]
    if not lengths:
        raise algorithms.unsupported(f"PBMAC1 with a key of {length} octets and {iterations} iterations")
    for one in lengths:
        yield _hmac(hashlib.pbkdf2_hmac(prf.hash, secret, salt, iterations, one), data, mac.hash)


def _hmac(key: bytes, data: bytes, hash_name: str) -> HMAC:
    """Return what makes or verifies the MAC; the library for keys has it, and ``hmac`` would load another OpenSSL."""
    made = HMAC(key, algorithms.HASHES[hash_name].primitive)
    made.update(data)
    return made


def _fits(mac: HMAC, made: bytes) -> bool:
    try:
        mac.verify(made)
    except InvalidSignature:
        return False
    return True


def _digest_size(name: str) -> int:
    return algorithms.HASHES[name].primitive.digest_size


def _check_mac(mac: algorithms.Mac, rules: ProtectionRules) -> None:
    if mac.legacy and not (rules.legacy or rules.legacy_mac):
        raise algorithms.unsupported(f"MAC {mac.name}")


def _check_cost(salt: bytes, iterations: int, rules: ProtectionRules) -> None:
    if not rules.minimum_iterations <= iterations <= rules.maximum_iterations:
        raise ProtectionError(
            f"the message asks for {iterations} iterations; {rules.minimum_iterations} to "
            f"{rules.maximum_iterations} are accepted",
            remedy="Ask the CA's operator to set the iteration count within these bounds.",
        )
    if len(salt) > rules.maximum_salt:
        raise ProtectionError(
            f"the message has a salt of {len(salt)} octets; at most {rules.maximum_salt} are accepted",
            remedy="Give the CA's operator this message: its server builds faulty messages.",
        )


_ONE_WAY_FUNCTIONS: Final = frozenset(algorithms.HASHES) - {"shake256"}
_MAC_WRITERS: Final = {"pbm": _write_pbm, "pbmac1": _write_pbmac1}
_MAC_VERIFIERS: Final = {PASSWORD_BASED_MAC: _expect_pbm, PBMAC1: _expect_pbmac1}
_MACS: Final = frozenset(
    {
        *_MAC_VERIFIERS,
        *algorithms.MAC_BY_OID,
        "1.2.840.113533.7.66.30",  # DHBasedMac
        "1.2.840.113533.7.66.16",  # KemBasedMac
        "2.16.840.1.101.3.4.1.9",  # AES-128-GMAC
        "2.16.840.1.101.3.4.1.29",  # AES-192-GMAC
        "2.16.840.1.101.3.4.1.49",  # AES-256-GMAC
        "2.16.840.1.101.3.4.2.19",  # KMAC128
        "2.16.840.1.101.3.4.2.20",  # KMAC256
    }
)
"""All MACs of RFC 9481, those we refuse too: then the refusal speaks of the right thing."""
