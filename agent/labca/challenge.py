"""Possession proven later, by keys that do not sign: the challenge, and the encrypted certificate (RFC 9810 5.2.8.3).

With pvno 3 what is encrypted comes as EnvelopedData; with pvno 2 in the forms of RFC 4210, for RSA keys only.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa, x448, x25519

from agent.cmp import algorithms, cms, der, names
from agent.cmp.bodies import (
    CertReqMessages,
    Challenge,
    PopDecChallenges,
    PopKey,
    PopSubsequent,
    SubsequentMessage,
)
from agent.cmp.failures import PKIFailureInfo as Failure
from agent.cmp.messages import PVNO_3
from agent.cmp.protection import Kind
from agent.labca import encoding, enveloping
from agent.labca.enveloping import Sealing
from agent.labca.office import Answer
from agent.labca.records import TransactionState
from agent.labca.refusal import Refusal

if TYPE_CHECKING:
    from agent.cmp.bodies import Body, PopDecResponses
    from agent.labca.gate import Requester
    from agent.labca.office import Exchange, Office
    from agent.labca.records import Transaction

_BITS: Final = 64
"""Of the number; RFC 4210 5.2.8.3 counts on no more."""
_ONE_WAY_FUNCTION: Final = algorithms.HASHES["sha256"]
_SOLVED: Final = ""


def check(proof: PopSubsequent, public_key: bytes) -> None:
    """Refuse a proof that does not fit the key.

    Raises:
        Refusal: badPOP.
    """
    match algorithms.load_public_key(public_key):
        case rsa.RSAPublicKey():
            fits = proof.key is PopKey.ENCIPHERMENT
        case ec.EllipticCurvePublicKey() | x25519.X25519PublicKey() | x448.X448PublicKey():
            fits = proof.key is PopKey.AGREEMENT
        case _:
            fits = False
    if not fits:
        raise Refusal(Failure.BAD_POP, f"{proof.key} does not fit the kind of the key")


def wants(body: Body, method: SubsequentMessage) -> bool:
    """Tell whether a certificate request is to be proven by ``method``."""
    proof = body.requests[0].possession if isinstance(body, CertReqMessages) else None
    return isinstance(proof, PopSubsequent) and proof.method is method


def is_due(body: Body, transaction: Transaction) -> bool:
    """Tell whether a challenge must be posed and solved before the certificate is issued."""
    return wants(body, SubsequentMessage.CHALLENGE_RESP) and transaction.challenge != _SOLVED


def pose(office: Office, exchange: Exchange, public_key: bytes) -> Answer:
    """Answer a request with a challenge, and keep it until that is solved.

    Raises:
        Refusal: nothing can be encrypted for the key in the version of CMP that was asked in.
    """
    transaction = exchange.transaction
    number = secrets.randbits(_BITS)
    value = encoding.integer(number)
    sealing = office.faults.sealing(
        exchange.message.type,
        Sealing(
            content=der.wrap(der.SEQUENCE, value, _speaker(office, exchange.requester)),
            public_key=public_key,
            witness=_ONE_WAY_FUNCTION.digest(value),
        ),
    )
    direct, enveloped = b"", None
    if exchange.message.header.pvno == PVNO_3:
        enveloped = cms.encode(enveloping.envelop(sealing.content, sealing.public_key, transaction.cert_req_id))
    else:
        direct = enveloping.encrypt_directly(sealing.content, sealing.public_key)
    challenge = Challenge(
        owf=algorithms.build_algorithm(_ONE_WAY_FUNCTION.oid),
        witness=sealing.witness,
        challenge=direct,
        encrypted_rand=enveloped,
    )
    transaction.challenge = f"{number:x}"
    transaction.pending = exchange.octets
    transaction.state = TransactionState.CHALLENGED
    return Answer(body=PopDecChallenges((challenge,)))


def solve(transaction: Transaction, body: PopDecResponses) -> None:
    """Note that the challenge is solved.

    Raises:
        Refusal: badPOP, when it is not.
    """
    found = ",".join(f"{number:x}" for number in body.numbers)
    if not hmac.compare_digest(found, transaction.challenge or "none"):
        raise Refusal(Failure.BAD_POP, "this is not the number that was encrypted for the key")
    transaction.challenge = _SOLVED


def check_sealable(exchange: Exchange, public_key: bytes) -> None:
    """Refuse to issue what could not be handed out then.

    Raises:
        Refusal: badPOP.
    """
    _seal(Sealing(content=b"", public_key=public_key), exchange)


def seal(office: Office, exchange: Exchange, certificate: bytes, public_key: bytes) -> bytes:
    """Return the DER of EncryptedKey with a certificate that only the owner of the key can read."""
    sealing = Sealing(content=certificate, public_key=public_key)
    return _seal(office.faults.sealing(exchange.message.type, sealing), exchange)


def _seal(sealing: Sealing, exchange: Exchange) -> bytes:
    if exchange.message.header.pvno == PVNO_3:
        number = exchange.transaction.cert_req_id
        return cms.encode_encrypted_key(enveloping.envelop(sealing.content, sealing.public_key, number))
    return cms.encode_encrypted_key(enveloping.enclose(sealing.content, sealing.public_key))


def _speaker(office: Office, requester: Requester) -> bytes:
    """Return who we are in the header of the answer, as a GeneralName: a challenge names who made it."""
    if requester.kind is Kind.MAC and not office.settings.sign_mac_answers:
        return names.directory_name(names.common_name(requester.reference))
    signer = office.pki.ra if office.settings.ra_protects else office.pki.issuing
    return names.directory_name(signer.subject)
