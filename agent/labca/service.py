"""What the CA decides: one handler a message type, and what it means to wait (RFC 9483 section 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agent.cmp import messages
from agent.cmp.bodies import (
    CertRepMessage,
    CertResponse,
    ErrorMessage,
    Poll,
    PollRequest,
    PollResponse,
    PopDecResponses,
    RevRep,
    StatusInfo,
)
from agent.cmp.errors import CmpError
from agent.cmp.failures import PKIFailureInfo as Failure
from agent.cmp.failures import PKIStatus
from agent.cmp.messages import BodyType
from agent.labca import challenge, confirmation, enrollment, general, issuance, revocation
from agent.labca.fault import Misbehaviour
from agent.labca.gate import FOLLOW_UPS
from agent.labca.office import Answer
from agent.labca.records import APPROVED, UNDECIDED, TransactionState
from agent.labca.refusal import FAILURES_BY_NAME, Refusal
from agent.labca.settings import CERTIFICATE_REQUESTS, Nonce, WaitingForm

if TYPE_CHECKING:
    from agent.cmp.bodies import Body
    from agent.labca.office import Exchange, Office
    from agent.labca.records import Transaction

_WHOLE_MESSAGE: Final = -1
"""certReqId of a pollReq when not a certificate but the whole answer is waited for (RFC 9483 4.4)."""


def serve(office: Office, exchange: Exchange, *, decided: bool = False) -> Answer:
    """Return the answer to a request, a refusal included; ``decided``: it has been considered long enough."""
    try:
        return _serve(office, exchange, decided=decided)
    except Refusal as refusal:
        return _refuse(exchange, refusal)
    except CmpError as error:
        return _refuse(exchange, Refusal(Failure.BAD_DATA_FORMAT, str(error)))


def refused(refusal: Refusal) -> StatusInfo:
    """Return a refusal as PKIStatusInfo."""
    return StatusInfo(status=PKIStatus.REJECTION, text=(refusal.text,), failures=frozenset({refusal.failure}))


def _serve(office: Office, exchange: Exchange, *, decided: bool) -> Answer:
    kind = exchange.message.type
    handler = _HANDLERS.get(kind)
    if handler is None:
        raise Refusal(Failure.BAD_REQUEST, f"{kind.label} is not served")
    body = exchange.message.body()
    fault = office.faults.handling(kind) if not decided else None
    if fault is not None:
        return _misbehave(office, exchange, body, *fault)
    if not decided and _must_wait(office, kind):
        return _put_off(office, exchange, body)
    return handler(office, exchange, body)


def _misbehave(office: Office, exchange: Exchange, body: Body, kind: Misbehaviour, failure: Failure) -> Answer:
    transaction = exchange.transaction
    if exchange.message.type in CERTIFICATE_REQUESTS:
        transaction.cert_req_id = issuance.cert_req_id(body, office.settings)
    if kind is Misbehaviour.REJECT:
        raise Refusal(failure, "refused by misbehaviour")
    answer = _put_off(office, exchange, body)
    transaction.decision = failure.label
    return answer


def _refuse(exchange: Exchange, refusal: Refusal) -> Answer:
    """Say no in the body that answers the request, where there is one (RFC 9483 3.6.2)."""
    kind, transaction = exchange.message.type, exchange.transaction
    if kind not in FOLLOW_UPS:
        transaction.state = TransactionState.REJECTED
    status = refused(refusal)
    if kind in enrollment.RESPONSES:
        response = CertResponse(cert_req_id=transaction.cert_req_id, status=status)
        return Answer(body=CertRepMessage(enrollment.RESPONSES[kind], (response,)))
    return Answer(body=RevRep((status,)) if kind is BodyType.RR else ErrorMessage(status))


# --- waiting ----------------------------------------------------------------------------------------------------------


def _must_wait(office: Office, kind: BodyType) -> bool:
    settings = office.settings
    return kind in settings.delayed and (
        settings.manual_approval or settings.polls > 0 or settings.poll_delay > timedelta()
    )


def _put_off(office: Office, exchange: Exchange, body: Body) -> Answer:
    """Put a request that is good so far on the waiting list."""
    transaction, kind = exchange.transaction, exchange.message.type
    if kind in CERTIFICATE_REQUESTS:
        enrollment.examine(office, exchange, body)
    in_response = kind in CERTIFICATE_REQUESTS and office.settings.waiting_form is WaitingForm.RESPONSE
    transaction.pending = exchange.octets
    transaction.pending_id = transaction.cert_req_id if in_response else _WHOLE_MESSAGE
    transaction.first_nonce = exchange.message.header.sender_nonce or b""
    transaction.polls = 0
    transaction.ready_at = (exchange.now + office.settings.poll_delay).timestamp()
    transaction.decision = UNDECIDED
    transaction.state = TransactionState.WAITING
    waiting = StatusInfo(status=PKIStatus.WAITING, text=("the request is being considered",))
    if not in_response:
        return Answer(body=ErrorMessage(waiting))
    response = CertResponse(cert_req_id=transaction.cert_req_id, status=waiting)
    return Answer(body=CertRepMessage(enrollment.RESPONSES[kind], (response,)))


def _poll(office: Office, exchange: Exchange, body: Body) -> Answer:
    """Answer "not yet", or what the request itself is answered with."""
    assert isinstance(body, PollRequest)  # noqa: S101 - the codec reads nothing else for this type
    transaction = exchange.transaction
    if transaction.state is not TransactionState.WAITING or transaction.pending is None:
        raise Refusal(Failure.BAD_REQUEST, "nothing is being considered in this transaction")
    if body.cert_req_ids != (transaction.pending_id,):
        raise Refusal(Failure.BAD_REQUEST, f"certReqId in pollReq must be {transaction.pending_id}")
    if not _ready(office, transaction, exchange):
        transaction.polls += 1
        return Answer(
            body=PollResponse((Poll(cert_req_id=transaction.pending_id, check_after=office.settings.check_after),))
        )
    request = replace(exchange, message=messages.parse(transaction.pending), octets=transaction.pending)
    transaction.pending = None
    transaction.state = TransactionState.ISSUED if transaction.serial else TransactionState.OPEN
    answer = _decide(office, request)
    if office.settings.nonce_after_polling is Nonce.REQUEST:
        return replace(answer, recip_nonce=transaction.first_nonce)
    return answer


def _ready(office: Office, transaction: Transaction, exchange: Exchange) -> bool:
    if transaction.decision != UNDECIDED:
        return True
    settings = office.settings
    return (
        not settings.manual_approval
        and transaction.polls >= settings.polls
        and exchange.now.timestamp() >= transaction.ready_at
    )


def _decide(office: Office, request: Exchange) -> Answer:
    decision = request.transaction.decision
    if decision in {UNDECIDED, APPROVED}:
        return serve(office, request, decided=True)
    return _refuse(request, Refusal(FAILURES_BY_NAME[decision], "the request was declined"))


# --- proving ----------------------------------------------------------------------------------------------------------


def _prove(office: Office, exchange: Exchange, body: Body) -> Answer:
    """Go on with a request whose challenge is solved; decline one whose is not."""
    assert isinstance(body, PopDecResponses)  # noqa: S101 - the codec reads nothing else for this type
    transaction = exchange.transaction
    if transaction.state is not TransactionState.CHALLENGED or transaction.pending is None:
        raise Refusal(Failure.BAD_REQUEST, "there is no challenge in this transaction")
    request = replace(exchange, message=messages.parse(transaction.pending), octets=transaction.pending)
    transaction.pending = None
    transaction.state = TransactionState.OPEN
    try:
        challenge.solve(transaction, body)
    except Refusal as refusal:
        return _refuse(request, refusal)
    return serve(office, request, decided=True)


_HANDLERS: Final[dict[BodyType, Callable[[Office, Exchange, Body], Answer]]] = {
    BodyType.IR: enrollment.handle,
    BodyType.CR: enrollment.handle,
    BodyType.P10CR: enrollment.handle,
    BodyType.KUR: enrollment.handle,
    BodyType.CERTCONF: confirmation.handle,
    BodyType.ERROR: confirmation.give_up,
    BodyType.POLLREQ: _poll,
    BodyType.POPDECR: _prove,
    BodyType.RR: revocation.handle,
    BodyType.GENM: general.handle,
}
