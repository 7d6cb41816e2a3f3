"""One exchange, octets to octets: who asks, what is decided, the answer protected and written down.

No socket; time is an argument. Faults that are switched on (``misbehaviour``) are applied at their points on the way.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from agent.cmp import der, messages
from agent.cmp.bodies import CertRepMessage, ErrorMessage, RevRep
from agent.cmp.errors import CmpError
from agent.cmp.failures import PKIFailureInfo as Failure
from agent.cmp.failures import failure_names
from agent.cmp.messages import BodyType
from agent.labca import service
from agent.labca.gate import FOLLOW_UPS, Gate
from agent.labca.office import Answer, Exchange
from agent.labca.outgoing import Reply
from agent.labca.records import CertificateStatus, Transaction, TransactionState
from agent.labca.refusal import Refusal
from agent.labca.spoiling import Circumstances

if TYPE_CHECKING:
    from agent.cmp.bodies import Body, StatusInfo
    from agent.cmp.messages import Message
    from agent.labca.answering import Secretary
    from agent.labca.gate import Requester
    from agent.labca.office import Office
    from agent.labca.outgoing import Outgoing

_REPEATABLE: Final = frozenset({BodyType.CERTCONF, BodyType.POLLREQ, BodyType.POPDECR})
"""Messages whose exact repetition gets the same answer again: the first one may have been lost."""
_NONCE_SIZE: Final = 16
_TAG_NUMBER: Final = 0x1F


class Responder:
    """Answers requests. Called with the CA's lock held."""

    def __init__(self, office: Office, gate: Gate, secretary: Secretary) -> None:
        """Take what decides, what recognises, and what writes."""
        self._office = office
        self._gate = gate
        self._secretary = secretary
        self._limits = der.Limits(size=office.settings.maximum_request)

    def respond(self, octets: bytes, now: datetime) -> Reply:
        """Return what to answer to ``octets``; everything is on disk before this returns."""
        faults = self._office.faults
        faults.shown.clear()
        reply = self._respond(octets, now)
        return replace(reply, note=f"{reply.note}, misbehaving: {', '.join(faults.shown)}") if faults.shown else reply

    def expire(self, now: datetime) -> None:
        """Count what was not confirmed in time as refused (RFC 9810 5.3.18)."""
        if self._office.settings.confirm_wait is None:
            return
        database = self._office.database
        for transaction in database.overdue(now.timestamp()):
            database.set_status(int(transaction.serial or "0", 16), CertificateStatus.REFUSED)
            transaction.state = TransactionState.REFUSED
            database.save(transaction)

    def _respond(self, octets: bytes, now: datetime) -> Reply:
        database = self._office.database
        with database.exchange():
            try:
                message = messages.parse(octets, self._limits)
            except CmpError as error:
                return self._unreadable(octets, str(error), now)
            identifier = message.header.transaction_id
            database.log(identifier, now, message.type, octets, sent=False)
            instead = self._office.faults.instead(message.type)
            if instead is not None:
                return replace(instead, note=f"{message.type.label}: not looked at")
            return self._answer(message, octets, now)

    def _unreadable(self, octets: bytes, words: str, now: datetime) -> Reply:
        database = self._office.database
        database.log(None, now, None, octets, sent=False)
        answer = self._secretary.unreadable(words, now).octets()
        database.log(None, now, BodyType.ERROR, answer, sent=True)
        return Reply(octets=answer, note=f"something unreadable: {words}")

    def _answer(self, message: Message, octets: bytes, now: datetime) -> Reply:
        database = self._office.database
        self.expire(now)
        identifier = message.header.transaction_id
        transaction = database.transaction(identifier) if identifier else None
        requester: Requester | None = None
        first = transaction is None
        try:
            self._gate.check_header(message.header, now)
            requester = self._gate.identify(message, transaction.signer if transaction else b"", now)
            self._gate.authorise(requester, message.type)
            transaction = _enter(message, requester, transaction, now)
        except Refusal as refusal:
            answer = Answer(body=ErrorMessage(service.refused(refusal)))
            outgoing = self._secretary.write(message, requester or refusal.requester, answer, now, first=first)
            return self._send(message, requester or refusal.requester, outgoing, outgoing.octets(), now)
        fingerprint = hashlib.sha256(octets).digest()
        if message.type in _REPEATABLE and hmac.compare_digest(transaction.last_request, fingerprint):
            return self._send(message, requester, None, transaction.last_answer, now)
        exchange = Exchange(message=message, octets=octets, requester=requester, transaction=transaction, now=now)
        outgoing = self._secretary.write(message, requester, service.serve(self._office, exchange), now, first=first)
        good = outgoing.octets()
        transaction.nonces += outgoing.header.sender_nonce or b""
        transaction.last_request, transaction.last_answer = fingerprint, good
        database.save(transaction)
        return self._send(message, requester, outgoing, good, now)

    def _send(
        self, message: Message, requester: Requester | None, outgoing: Outgoing | None, good: bytes, now: datetime
    ) -> Reply:
        """Apply faults to a good answer, write it down, and hand it over; ``outgoing`` None: it is a repetition."""
        database, faults = self._office.database, self._office.faults
        identifier = message.header.transaction_id or b""
        circumstances = Circumstances(
            request=message,
            requester=requester,
            pki=self._office.pki,
            answer_of_another=lambda kind: database.answer_of_another(identifier, kind),
        )
        octets, kind, words = good, _type(good), "the same answer again"
        if outgoing is not None:
            changed = faults.message(outgoing, circumstances)
            octets = good if changed is outgoing else changed.octets()
            kind, words = changed.body.type, _words(changed.body)
        octets = faults.octets(octets, kind, circumstances)
        database.log(message.header.transaction_id, now, kind, octets, sent=True)
        who = requester.name if requester else "somebody unknown"
        reply = Reply(octets=octets, note=f"{message.type.label} from {who}: {words}")
        return faults.reply(message.type, reply)


def _enter(message: Message, requester: Requester, known: Transaction | None, now: datetime) -> Transaction:
    """Return the transaction a message belongs to (RFC 9483 3.1, 3.5).

    Raises:
        Refusal: transactionIdInUse, badRecipientNonce, or a message out of nowhere.
    """
    header = message.header
    if message.type not in FOLLOW_UPS:
        if known is not None:
            raise Refusal(Failure.TRANSACTION_ID_IN_USE, "this transactionID was used before", requester)
        if header.recip_nonce is not None:
            raise Refusal(Failure.BAD_RECIPIENT_NONCE, "a first message has no recipNonce", requester)
        return Transaction(
            id=header.transaction_id or b"",
            type=message.type,
            identity=requester.identity,
            opened=now.timestamp(),
            first_nonce=header.sender_nonce or b"",
            signer=requester.certificate,
        )
    if known is None:
        failure = Failure.BAD_CERT_ID if message.type is BodyType.CERTCONF else Failure.BAD_REQUEST
        raise Refusal(failure, f"{message.type.label} belongs to no transaction known here", requester)
    if known.identity.partition(":")[0] != requester.identity.partition(":")[0]:
        raise Refusal(Failure.WRONG_INTEGRITY, "a transaction keeps to one kind of protection", requester)
    if known.identity != requester.identity:
        raise Refusal(Failure.NOT_AUTHORIZED, "this transaction was opened by somebody else", requester)
    # Who gives up because he could not accept our answer knows none of our nonces.
    if not (message.type is BodyType.ERROR and header.recip_nonce is None):
        known.nonces = _acknowledged(known.nonces, header.recip_nonce, requester)
    return known


def _acknowledged(nonces: bytes, recip_nonce: bytes | None, requester: Requester) -> bytes:
    """Return our nonces from the one that came back on: an answer that was lost leaves older ones valid."""
    kept = [nonces[at : at + _NONCE_SIZE] for at in range(0, len(nonces), _NONCE_SIZE)]
    if not kept and recip_nonce is None:
        return nonces  # we sent none (LabCaSettings.sends_nonce)
    if recip_nonce not in kept:
        raise Refusal(Failure.BAD_RECIPIENT_NONCE, "recipNonce is not the senderNonce of our last message", requester)
    return b"".join(kept[kept.index(recip_nonce) :])


def _type(octets: bytes) -> BodyType:
    """Return the type of a message of ours."""
    return BodyType(octets[der.children(octets)[1].start] & _TAG_NUMBER)


def _words(body: Body) -> str:
    """Return what an answer says, for whoever watches."""
    status: StatusInfo | None = None
    match body:
        case CertRepMessage(responses=(response, *_)):
            status = response.status
        case RevRep(statuses=(status, *_)) | ErrorMessage(status=status):
            pass
    if status is None or not (status.failures or status.text):
        return body.type.label
    reasons = (*failure_names(status.failures), f"({'; '.join(status.text)})")
    return " ".join((body.type.label, *reasons))
