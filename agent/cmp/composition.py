"""What we send: the body that the state calls for, and the header around it (RFC 9483 3.1, 4.1.1, 4.4)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.cmp import algorithms, messages, names
from agent.cmp.bodies import Body, CertConfirm, CertStatus, ErrorMessage, PollRequest, PopDecResponses, StatusInfo
from agent.cmp.confirmation import certificate_hash, hash_of_our_choice
from agent.cmp.errors import RemoteError
from agent.cmp.failures import PKIStatus
from agent.cmp.messages import NULL_DN, PVNO_3, Header, Info, InfoTypeAndValue
from agent.cmp.states import State

if TYPE_CHECKING:
    from agent.cmp.memory import Memory
    from agent.cmp.request import Request
    from agent.cmp.terms import Terms

_REPEATABLE: Final = frozenset(
    {State.POLLING, State.PROVING, State.CONFIRMING, State.CONFIRM_POLLING, State.REFUSAL_SENT}
)
_POLLS: Final = frozenset({State.WAITING, State.POLLING, State.CONFIRM_WAITING, State.CONFIRM_POLLING})
_PROVES: Final = frozenset({State.CHALLENGED, State.PROVING})
_REFUSES: Final = frozenset({State.REFUSING, State.REFUSAL_SENT})
_FAREWELL: Final = ErrorMessage(
    StatusInfo(status=PKIStatus.REJECTION, text=("the end entity gives this request up",)),
)
"""Always the same words: why we give up may be what somebody wants to find out (see :mod:`agent.cmp.decryption`)."""
_REPEATED_FOR: Final = timedelta(minutes=4)
"""Servers that look at messageTime take 5 minutes for fresh."""


def repeats(memory: Memory, now: datetime, *, clock_trusted: bool) -> bool:
    """Tell whether the last message is to be sent again, octet by octet, since no answer to it arrived.

    A CA that processed it already can recognise it and give the lost answer again, be it a certificate. Later it would
    be refused for its messageTime (badTime), so then a new message is due; one without messageTime does not age.
    """
    if memory.state not in _REPEATABLE:
        return False
    if memory.sent_at is None:
        return True
    return clock_trusted and timedelta(0) <= now - memory.sent_at <= _REPEATED_FOR


def body(memory: Memory, request: Request) -> Body:
    """Return the body of the next message.

    Raises:
        LocalError: when the request cannot be built.
    """
    if memory.state is State.READY:
        return request.body()
    if memory.state in _POLLS:
        return PollRequest((memory.poll_id,))
    if memory.state in _PROVES and memory.number is not None:
        return PopDecResponses((memory.number,))
    if memory.state is State.GIVING_UP:
        return _FAREWELL
    return _confirmation(memory)


def message(memory: Memory, terms: Terms, nonce: bytes, now: datetime) -> tuple[bytes, int]:
    """Return the next message, protected, and its pvno; ``nonce`` is its senderNonce.

    Raises:
        LocalError: when it cannot be built.
    """
    content = body(memory, terms.wanted)
    originator = terms.originator
    first = memory.state is State.READY
    needs_pvno_3 = isinstance(content, CertConfirm) and any(one.hash_alg for one in content.statuses)
    header = Header(
        pvno=PVNO_3 if needs_pvno_3 else terms.wanted.pvno,
        sender=originator.sender,
        recipient=terms.wanted.recipient if memory.peer_name in {b"", NULL_DN} else memory.peer_name,
        # A clock that is not to be trusted is not shown: the CA would refuse the message for it (badTime).
        message_time=now if terms.clock_trusted else None,
        protection_alg=originator.protector.algorithm,
        sender_kid=originator.sender_kid,
        transaction_id=memory.transaction_id,
        sender_nonce=nonce,
        recip_nonce=memory.peer_nonce or None,
        general_info=_general_info(terms.wanted) if first else (),
    )
    octets = messages.build(header, content, protect=originator.protector.protect, extra_certs=originator.extra_certs)
    return octets, header.pvno


def _confirmation(memory: Memory) -> CertConfirm:
    status = StatusInfo(status=PKIStatus.ACCEPTED)
    if memory.state in _REFUSES:
        failures = frozenset() if memory.refusal_failure is None else frozenset({memory.refusal_failure})
        status = StatusInfo(status=PKIStatus.REJECTION, text=(memory.refusal,), failures=failures)
    try:
        digest, hash_alg = certificate_hash(memory.certificate)
    except RemoteError:
        if memory.state in _REFUSES:
            # What cannot be hashed cannot be named; no statuses at all reject everything (RFC 9810 5.3.18).
            return CertConfirm(())
        # What was accepted must not wait for a hash until it ends: hashAlg is there to say which one it is.
        digest, hash_alg = hash_of_our_choice(memory.certificate)
    return CertConfirm(
        (CertStatus(cert_hash=digest, cert_req_id=memory.cert_req_id, status=status, hash_alg=hash_alg),)
    )


def _general_info(request: Request) -> tuple[InfoTypeAndValue, ...]:
    infos = []
    if request.implicit_confirmation:
        infos.append(InfoTypeAndValue(Info.IMPLICIT_CONFIRM.value, algorithms.NULL))
    if request.certificate_profile:
        infos.append(InfoTypeAndValue(Info.CERT_PROFILE.value, names.utf8_sequence(request.certificate_profile)))
    return tuple(infos)
