"""The header of an answer: checks 3 to 5 before its protection is verified, 9 and 10 after (RFC 9483 3.5)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.cmp import peer
from agent.cmp.errors import ProtocolViolation
from agent.cmp.messages import PVNO_2, PVNO_3, BodyType
from agent.cmp.request import ANSWER_TO
from agent.cmp.sizes import MAXIMUM_NAME, MAXIMUM_NONCE
from agent.cmp.states import State

if TYPE_CHECKING:
    from agent.cmp.memory import Memory
    from agent.cmp.messages import Message

NONCE_LENGTH: Final = 16
"""Octets of transactionID and nonces (RFC 9810 5.1.1)."""
_CLOCK_SKEW: Final = timedelta(minutes=5)

_BODIES: Final[dict[State, frozenset[BodyType]]] = {
    State.REQUESTED: frozenset({BodyType.ERROR}),
    State.POLLING: frozenset({BodyType.POLLREP, BodyType.ERROR}),
    State.PROVING: frozenset({BodyType.ERROR}),
    State.CONFIRMING: frozenset({BodyType.PKICONF, BodyType.ERROR}),
    State.CONFIRM_POLLING: frozenset({BodyType.POLLREP, BodyType.PKICONF, BodyType.ERROR}),
    State.REFUSAL_SENT: frozenset({BodyType.PKICONF, BodyType.ERROR}),
    State.GIVING_UP: frozenset({BodyType.PKICONF, BodyType.ERROR}),
}
"""What may come in each state that awaits something, besides the answer to the request itself."""
_AWAITS_THE_ANSWER: Final = frozenset({State.REQUESTED, State.POLLING, State.PROVING})
_POLLING: Final = frozenset({State.POLLING, State.CONFIRM_POLLING})


def violation(what: str, *, remedy: str = "") -> ProtocolViolation:
    """Return the error for an answer that is well formed but not allowed here; ``what`` completes "the answer ..."."""
    return ProtocolViolation(
        f"the CA's answer is refused: {what}",
        remedy=remedy or "It is asked again later; if this repeats, give the CA's operator this message.",
    )


def expected_bodies(memory: Memory) -> frozenset[BodyType]:
    """Return the bodies that may come now; none where nothing was sent (RFC 9483 3.5)."""
    bodies = _BODIES.get(memory.state, frozenset())
    if memory.state not in _AWAITS_THE_ANSWER:
        return bodies
    challenge = {BodyType.POPDECC} if memory.awaits_challenge else set()
    return bodies | challenge | {ANSWER_TO[memory.type]}


def check_header(message: Message, memory: Memory, quirks: frozenset[str]) -> None:
    """Pass if version, transactionID and body type may be: checks 3, 4 and 5; and if nothing is too long to be kept.

    With the quirk, an error may come in version 1: only what it says is heard, and only if its protection is good.

    Raises:
        ProtocolViolation: naming the first that may not.
    """
    header = message.header
    if header.pvno not in {PVNO_2, PVNO_3} and not (_is_old_error(message) and peer.ERROR_WITH_PVNO_1 in quirks):
        raise violation(
            f"it speaks version {header.pvno} of CMP; 2 and 3 are understood",
            remedy=f"If the CA reports its errors so, the quirk {peer.ERROR_WITH_PVNO_1} of the authority takes them "
            "as the CA's no, provided that their protection is good."
            if _is_old_error(message)
            else "",
        )
    if header.transaction_id is None:
        raise violation("it names no transaction (transactionID)")
    if header.transaction_id != memory.transaction_id:
        raise violation("it belongs to another transaction (transactionID)")
    if len(header.sender) > MAXIMUM_NAME:
        raise violation(f"it names a sender in {len(header.sender)} octets, more than the cap of {MAXIMUM_NAME}")
    if len(header.sender_nonce or b"") > MAXIMUM_NONCE:
        raise violation(f"its senderNonce has {len(header.sender_nonce or b'')} octets, more than {MAXIMUM_NONCE}")
    if message.type not in expected_bodies(memory):
        raise violation(f"a transaction that is {memory.state} cannot take {message.type.label}")


def check_nonces(message: Message, memory: Memory, quirks: frozenset[str]) -> None:
    """Pass if the answer is fresh: check 9. Only after the protection: a nonce nobody vouches for proves nothing.

    Raises:
        ProtocolViolation: senderNonce is missing or short, or recipNonce is not what we sent.
    """
    if _lacks_nonce(message) and peer.MISSING_SENDER_NONCE not in quirks:
        raise violation(
            f"it has no senderNonce of at least {NONCE_LENGTH} octets",
            remedy=f"If the CA cannot be mended, add the quirk {peer.MISSING_SENDER_NONCE} to the authority.",
        )
    if answers_last(message, memory):
        return
    # At the end of polling servers echo the nonce of the delayed request (RFC 9483 4.4) or of the last pollReq.
    ends_polling = memory.state in _POLLING and message.type is not BodyType.POLLREP
    if not (ends_polling and message.header.recip_nonce == memory.delayed_nonce):
        raise violation("it is not an answer to what we sent last (recipNonce)")


def answers_last(message: Message, memory: Memory) -> bool:
    """Tell whether ``message`` answers the very last message we sent."""
    return message.header.recip_nonce == memory.last_nonce


def remarks(message: Message, memory: Memory, now: datetime, *, clock_trusted: bool) -> tuple[str, ...]:
    """Return what is odd about the header and yet no reason to refuse: check 10 and the rest of 3 and 9."""
    found = []
    if _is_old_error(message):
        found.append(f"quirk {peer.ERROR_WITH_PVNO_1}: the CA reports an error in version 1 of CMP")
    elif message.header.pvno != memory.last_pvno:
        # Refusing it would cost a certificate and protect nothing: the protection covers the version.
        found.append(f"the CA answered in version {message.header.pvno} of CMP to version {memory.last_pvno}")
    if _lacks_nonce(message):
        found.append(f"quirk {peer.MISSING_SENDER_NONCE}: the CA's answer has no senderNonce of sufficient length")
    when = message.header.message_time
    # A wrong clock on either side must not cost the certificate: nonces already prove that the answer is fresh.
    if when is not None and clock_trusted and abs(when - now) > _CLOCK_SKEW:
        found.append(f"the CA's clock says {when:%Y-%m-%d %H:%M:%S} UTC, ours {now:%Y-%m-%d %H:%M:%S} UTC")
    return tuple(found)


def _is_old_error(message: Message) -> bool:
    return message.header.pvno == 1 and message.type is BodyType.ERROR


def _lacks_nonce(message: Message) -> bool:
    nonce = message.header.sender_nonce
    return nonce is None or len(nonce) < NONCE_LENGTH
