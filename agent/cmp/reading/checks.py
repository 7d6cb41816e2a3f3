"""What can be verified without trusting anybody: proofs of possession, MACs, and signatures by a key that came along.

The verdicts are words for people. None of them makes anything trusted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.cmp import algorithms, certificates, der, protection
from agent.cmp.errors import CmpError, ProtectionError, WrongMac
from agent.cmp.reading import keys, words

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.cmp.messages import Message
    from agent.cmp.reading.session import Session
    from agent.cmp.reading.tlv import Value

CANDIDATES: Final = 8
"""extraCerts that are tried as the signer's."""

_TOO_MANY: Final = "not checked: too many signatures in one input"


def possession(spki: bytes | None, algorithm: bytes, signature: Value, signed: bytes, session: Session) -> str:
    """Say whether the key to be certified made ``signature`` (a BIT STRING) over ``signed``."""
    if spki is None:
        return "not checked: the request has no public key"
    if session.checks <= 0:
        return _TOO_MANY
    session.checks -= 1
    try:
        der.check(signed)
        rule = algorithms.signature_algorithm(algorithm)
        key = algorithms.load_public_key(spki)
    except CmpError as error:
        return f"not checked: {words.reason(error)}"
    if signature.inside[:1] == b"\0" and algorithms.verify(key, rule, signature.inside[1:], signed):
        return "verifies with the key of the request"
    return "DOES NOT VERIFY with the key of the request"


def message(received: Message, algorithm: Value, session: Session) -> str:
    """Say whether the protection of a strictly parsed message verifies, and what that is worth."""
    try:
        kind = protection.kind_of(received)
        check: Callable[[Message, Value, Session], str] = _mac if kind is protection.Kind.MAC else _signature
        return check(received, algorithm, session)
    except CmpError as error:
        return f"not checked: {words.reason(error)}"


def _mac(received: Message, algorithm: Value, session: Session) -> str:
    if session.secret is None:
        return "not checked: no secret was given"
    rules = protection.ProtectionRules(legacy=True, minimum_iterations=1, maximum_iterations=session.iterations)
    asked = keys.iterations(algorithm, session)
    try:
        protection.verify_mac(received, session.secret, rules)
    except WrongMac:
        verdict = "DOES NOT VERIFY with the secret: it is another one, or the message was changed"
    else:
        verdict = "verifies with the secret"
    session.iterations -= asked
    return verdict


def _signature(received: Message, _: Value, session: Session) -> str:
    if not received.extra_certs:
        return "not checked: no certificate came along"
    rules = protection.ProtectionRules(legacy=True)
    tried = 0
    for number, octets in enumerate(received.extra_certs[:CANDIDATES], 1):
        if session.checks <= 0:
            return _TOO_MANY
        session.checks -= 1
        try:
            signer = certificates.read(certificates.load(octets))
            protection.verify_signature(received, algorithms.load_public_key(signer.spki), rules)
        except ProtectionError:
            tried += 1
        except CmpError:
            continue
        else:
            place = f"{number} of extraCerts" if len(received.extra_certs) > 1 else "in extraCerts"
            return (
                f"verifies with the key of the certificate {place}, {signer.who}; "
                "this alone is no trust: anybody can send a certificate along"
            )
    # An algorithm nobody here knows is refused with each of them: say that instead.
    algorithms.signature_algorithm(received.header.protection_alg or b"")
    return f"DOES NOT VERIFY with any certificate that came along ({tried} tried)"
