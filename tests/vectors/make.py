"""``python -m tests.vectors.make``: write messages.json, messages of every body type as this code encodes them.

Keys, nonces, times and salts are fixed, and signatures are deterministic where the library knows such a form. It knows
none for RSASSA-PSS and ML-DSA: those vectors, once made, are kept as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent.cmp import algorithms, der, messages, names
from agent.cmp.bodies import (
    Body,
    CertConfirm,
    CertId,
    CertRepMessage,
    CertReqMessages,
    CertRequest,
    CertResponse,
    CertStatus,
    CertTemplate,
    Challenge,
    ErrorMessage,
    General,
    PkiConf,
    Poll,
    PollRequest,
    PollResponse,
    PopDecChallenges,
    PopDecResponses,
    RevRep,
    StatusInfo,
)
from agent.cmp.messages import BodyType, Header, Info, InfoTypeAndValue
from agent.cmp.possession import PopMethod, announce
from agent.cmp.protection import MacParameters, MacProtector, Protector, SignatureProtector
from agent.cmp.request import Revocation, Wanted, wanted_extensions
from tests.unit.cmp.pki import spki
from tests.unit.cmp.signers import sign

FOLDER: Final = Path(__file__).parent
FILE: Final = FOLDER / "messages.json"
SECRET: Final = b"3gpp-secret"
_REFERENCE: Final = "enb-4711"
_SUBJECT: Final = names.name_from_text("CN=enb-4711.ran.operator.example,O=Operator")
_CA: Final = names.name_from_text("CN=Operator RA,O=Operator")
_WHEN: Final = datetime(2027, 3, 1, 12, tzinfo=UTC)
_CERTIFICATE: Final = (FOLDER / "openssl" / "certificate.der").read_bytes()
_ISSUER: Final = (FOLDER / "openssl" / "issuer.der").read_bytes()


@dataclass(frozen=True)
class FixedKey:
    """A key that is the same every time, with one way to sign; ECDSA without randomness (RFC 6979)."""

    key: Any
    scheme: str

    @property
    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo."""
        return spki(self.key)

    @property
    def schemes(self) -> tuple[str, ...]:
        """The one way."""
        return (self.scheme,)

    def sign(self, data: bytes, scheme: str) -> bytes:
        """Return the signature over ``data``."""
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            hash_ = algorithms.HASHES[algorithms.SIGNATURES[scheme].hash or ""].primitive
            signature: bytes = self.key.sign(data, ec.ECDSA(hash_, deterministic_signing=True))
            return signature
        return sign(self.key, scheme, data)


def _fixed(text: str, size: int) -> bytes:
    return hashlib.shake_256(text.encode()).digest(size)


def keys() -> dict[str, FixedKey]:
    """Return the keys by the name of how they sign."""
    rsa = load_pem_private_key((FOLDER / "rsa.key").read_bytes(), None)
    curve = {"ecdsa-sha256": ec.SECP256R1(), "ecdsa-sha384": ec.SECP384R1(), "ecdsa-sha512": ec.SECP521R1()}
    found: dict[str, Any] = {
        **{name: ec.derive_private_key(int.from_bytes(_fixed(name, 30)), one) for name, one in curve.items()},
        "rsa-pkcs1-sha256": rsa,
        "rsa-pss-sha256": rsa,
        "ed25519": ed25519.Ed25519PrivateKey.from_private_bytes(_fixed("ed25519", 32)),
        "ed448": ed448.Ed448PrivateKey.from_private_bytes(_fixed("ed448", 57)),
        "ml-dsa-44": mldsa.MLDSA44PrivateKey.from_seed_bytes(_fixed("ml-dsa-44", 32)),
        "ml-dsa-65": mldsa.MLDSA65PrivateKey.from_seed_bytes(_fixed("ml-dsa-65", 32)),
        "ml-dsa-87": mldsa.MLDSA87PrivateKey.from_seed_bytes(_fixed("ml-dsa-87", 32)),
    }
    return {name: FixedKey(key, name) for name, key in found.items()}


RANDOM: Final = frozenset({"rsa-pss-sha256", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87"})
"""How a signature differs each time."""
_KEYS: Final = keys()
_EC: Final = _KEYS["ecdsa-sha256"]


# ---- the bodies ------------------------------------------------------------------------------------------------------


def _asking(kind: BodyType, key: FixedKey = _EC, old: CertId | None = None) -> Body:
    alternative = names.alternative_name("dns:enb-4711.ran.operator.example")
    return Wanted(type=kind, signer=key, subject=_SUBJECT, extensions=wanted_extensions([alternative]), old=old).body()


def _announcing() -> Body:
    template = CertTemplate(subject=_SUBJECT, public_key=_KEYS["rsa-pkcs1-sha256"].public_key)
    return CertReqMessages(BodyType.IR, (announce(CertRequest(template=template), PopMethod.CHALLENGE),))


def _granting(kind: BodyType, number: int = 0, *ca_pubs: bytes) -> Body:
    granted = CertResponse(cert_req_id=number, status=StatusInfo(status=0), certificate=_CERTIFICATE)
    return CertRepMessage(kind, (granted,), ca_pubs)


_OLD: Final = CertId(names.directory_name(_CA), 0x1234567890ABCDEF)
_WAITING: Final = CertResponse(cert_req_id=0, status=StatusInfo(status=3, text=("a person decides",)))
_REFUSING: Final = CertResponse(cert_req_id=0, status=StatusInfo(status=2, text=("no",), failures=frozenset({19})))
_CHALLENGE: Final = Challenge(
    owf=algorithms.build_algorithm(algorithms.HASHES["sha256"].oid),
    witness=_fixed("witness", 32),
    challenge=_fixed("challenge", 256),
)

BODIES: Final[dict[str, Callable[[], Body]]] = {
    "ir": lambda: _asking(BodyType.IR),
    "ir for a challenge": _announcing,
    "ip": lambda: _granting(BodyType.IP, 0, _ISSUER),
    "ip waiting": lambda: CertRepMessage(BodyType.IP, (_WAITING,)),
    "ip rejecting": lambda: CertRepMessage(BodyType.IP, (_REFUSING,)),
    "cr": lambda: _asking(BodyType.CR),
    "cp": lambda: _granting(BodyType.CP),
    "p10cr": lambda: _asking(BodyType.P10CR),
    "cp to p10cr": lambda: _granting(BodyType.CP, -1),
    "popdecc": lambda: PopDecChallenges((_CHALLENGE,)),
    "popdecr": lambda: PopDecResponses((4711,)),
    "kur": lambda: _asking(BodyType.KUR, old=_OLD),
    "kup": lambda: _granting(BodyType.KUP),
    "rr": lambda: Revocation(issuer=_CA, serial_number=_OLD.serial_number, reason=4).body(),
    "rp": lambda: RevRep((StatusInfo(status=0),), (_OLD,)),
    "certConf": lambda: CertConfirm(
        (CertStatus(cert_hash=hashlib.sha256(_CERTIFICATE).digest(), cert_req_id=0, status=StatusInfo(status=0)),)
    ),
    "certConf rejecting": lambda: CertConfirm(
        (
            CertStatus(
                cert_hash=hashlib.sha256(_CERTIFICATE).digest(),
                cert_req_id=0,
                status=StatusInfo(status=2, text=("another key",), failures=frozenset({7})),
            ),
        )
    ),
    "pkiconf": PkiConf,
    "genm": lambda: General(BodyType.GENM, (InfoTypeAndValue(Info.CA_CERTS.value),)),
    "genp": lambda: General(BodyType.GENP, (InfoTypeAndValue(Info.CA_CERTS.value, der.wrap(der.SEQUENCE, _ISSUER)),)),
    "error": lambda: ErrorMessage(
        status=StatusInfo(status=2, text=("not now",), failures=frozenset({24})), code=7, details=("try later",)
    ),
    "pollReq": lambda: PollRequest((0,)),
    "pollRep": lambda: PollResponse((Poll(cert_req_id=0, check_after=60, reason=("a person decides",)),)),
}
"""Name -> body; the same under each protection that follows."""


# ---- the messages ----------------------------------------------------------------------------------------------------

_PBM: Final = MacParameters(iterations=1000, salt=bytes(range(16)))
_MACS: Final = {"PasswordBasedMac": _PBM, "PBMAC1": replace(_PBM, algorithm="pbmac1", iterations=10_000)}


def vectors() -> Iterator[dict[str, Any]]:
    """Make every message: each body under PasswordBasedMac, and an ir under every other protection."""
    for name, body in BODIES.items():
        yield _by_mac(name, body(), "PasswordBasedMac")
    yield _by_mac("ir", _asking(BodyType.IR), "PBMAC1")
    for scheme, key in _KEYS.items():
        protector = SignatureProtector(key, scheme)
        header = _header(
            BodyType.IR, protector, names.directory_name(_SUBJECT), hashlib.sha256(key.public_key).digest()[:20]
        )
        message = messages.build(header, _asking(BodyType.IR, key), protect=protector.protect)
        yield {
            "name": f"ir, {scheme}",
            "body": "ir",
            "protection": scheme,
            "public_key": key.public_key.hex(),
            "reproducible": scheme not in RANDOM,
            "message": message.hex(),
        }


def _by_mac(name: str, body: Body, kind: str) -> dict[str, Any]:
    protector = MacProtector(SECRET, _MACS[kind])
    sender = names.directory_name(names.common_name(_REFERENCE))
    message = messages.build(
        _header(body.type, protector, sender, _REFERENCE.encode()), body, protect=protector.protect
    )
    return {
        "name": f"{name}, {kind}",
        "body": messages.parse(message).type.label,
        "protection": kind,
        "secret": SECRET.decode(),
        "reproducible": True,
        "message": message.hex(),
    }


_FIRST: Final = frozenset({BodyType.IR, BodyType.CR, BodyType.P10CR, BodyType.KUR, BodyType.RR, BodyType.GENM})


def _header(kind: BodyType, protector: Protector, sender: bytes, kid: bytes) -> Header:
    return Header(
        sender=sender,
        recipient=names.directory_name(_CA),
        message_time=_WHEN,
        protection_alg=protector.algorithm,
        sender_kid=kid,
        transaction_id=bytes(range(16)),
        sender_nonce=bytes(range(16, 32)),
        recip_nonce=None if kind in _FIRST else bytes(range(32, 48)),
    )


def main() -> None:
    """Write the file; what no one can make twice is kept."""
    kept = {one["name"]: one for one in json.loads(FILE.read_text())} if FILE.exists() else {}
    made = [one if one["reproducible"] else kept.get(one["name"], one) for one in vectors()]
    FILE.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
