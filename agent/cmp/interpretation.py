"""What a verified answer means: checks 11 to 21 of RFC 9483 3.5 and 4.1.1, as functions without side effects.

Each takes the answer and what the transaction remembers, and returns the event, the trigger for the table of states and
the new memory. Nothing is kept of an answer that raises.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from agent.cmp import acceptance, learning, material, names, peer, proving
from agent.cmp.acceptance import Objection
from agent.cmp.algorithms import SIGNATURES, load_public_key, verify
from agent.cmp.bodies import CertRepMessage, ErrorMessage, General, PkiConf, PollResponse, PopDecChallenges, RevRep
from agent.cmp.certificates import load_all, read
from agent.cmp.envelope import answers_last, violation
from agent.cmp.errors import Rejected
from agent.cmp.events import Answered, Challenged, Concluded, Declined, Event, Issued, Unacceptable, Undecided
from agent.cmp.failures import (
    PKIFailureInfo,
    PKIStatus,
    RetryClass,
    clean_text,
    describe,
    failure_names,
    remedy,
    retry_class,
)
from agent.cmp.messages import PVNO_2, BodyType, Info
from agent.cmp.possession import PopMethod
from agent.cmp.request import Revocation, Wanted
from agent.cmp.states import State, Trigger
from agent.frozen import frozen

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.x509 import Certificate

    from agent.cmp.bodies import Body, CertResponse, StatusInfo
    from agent.cmp.memory import Memory
    from agent.cmp.messages import Message
    from agent.cmp.peer import Proof
    from agent.cmp.terms import Terms

_GRANTED: Final = frozenset({PKIStatus.ACCEPTED, PKIStatus.GRANTED_WITH_MODS})
_REVOKED: Final = _GRANTED | {PKIStatus.REVOCATION_WARNING, PKIStatus.REVOCATION_NOTIFICATION}
"""What counts as revoked in rp (RFC 9810 5.3.10)."""
_WHOLE_MESSAGE: Final = -1
"""certReqId in a pollReq for a whole message (RFC 9810 5.3.22)."""
_PASSES: Final = frozenset({RetryClass.RETRY_LATER, RetryClass.FIX_CLOCK_THEN_RETRY})
"""Failures that are about the moment and not about what we asked for."""
_POLLING: Final = frozenset({State.POLLING, State.CONFIRM_POLLING})
_CONFIRMING: Final = frozenset({State.CONFIRMING, State.CONFIRM_POLLING})
_TEST_DATA: Final = b"enrolld: does this private key belong to the new certificate?"


@frozen(kw_only=True)
class Answer:
    """A message that is for us, verified and fresh. ``notes`` are remarks about it so far."""

    message: Message
    body: Body
    proof: Proof
    now: datetime
    notes: tuple[str, ...] = ()


class Meaning(NamedTuple):
    """What an answer does to the transaction; its state follows from ``trigger``."""

    event: Event
    trigger: Trigger
    memory: Memory


def interpret(answer: Answer, memory: Memory, terms: Terms) -> Meaning:  # noqa: PLR0911 - one a body
    """Say what ``answer`` means. ``memory`` is as before it, but for what the header brought.

    Raises:
        RemoteError: when it means nothing we could act upon.
    """
    match answer.body:
        case CertRepMessage():
            return _certificate_response(answer, answer.body, memory, terms)
        case PopDecChallenges():
            return _challenge(answer, answer.body, memory, terms)
        case PollResponse():
            return _poll_response(answer, answer.body, memory)
        case ErrorMessage():
            return _error(answer, answer.body, memory, terms)
        case RevRep():
            return _revocation_response(answer, answer.body, memory, terms)
        case General():
            return Meaning(Answered(body=answer.body, notes=answer.notes), Trigger.REPLIED, memory)
        case PkiConf():
            return Meaning(Concluded(notes=answer.notes), Trigger.CONCLUDED, memory)
    raise violation(f"its body {answer.message.type.label} says nothing that could be used")


def examine(memory: Memory, terms: Terms, now: datetime) -> acceptance.Accepted | Objection:
    """Judge the certificate in ``memory``: checks 13 to 21.

    Raises:
        ProtocolViolation: when no certificate was asked for.
        LocalError: when what is expected cannot be told.
    """
    if terms.expectation is None:
        raise violation("a certificate came although none was asked for")
    expectation = replace(
        terms.expectation,
        anchors=anchors(memory, terms),
        intermediates=(*terms.expectation.intermediates, *load_all(memory.peer_certificates)),
        now=now,
        granted_with_mods=memory.granted_with_mods,
    )
    verdict = acceptance.examine(memory.certificate, expectation)
    if isinstance(verdict, Objection):
        return verdict
    return _tried(verdict, terms)


def anchors(memory: Memory, terms: Terms) -> tuple[Certificate, ...]:
    """Return what this transaction trusts: the configured anchors and those it learned itself."""
    return (*terms.rules.anchors, *load_all(memory.learned))


def issued(
    memory: Memory, terms: Terms, verdict: acceptance.Accepted | Objection, notes: tuple[str, ...] = ()
) -> tuple[Issued | Unacceptable, Trigger, Memory]:
    """Return what it means that the certificate in ``memory`` was judged so: the parts of a :class:`Meaning`."""
    confirm = not memory.implicit_confirmation
    if isinstance(verdict, Objection):
        refusing = replace(memory, refusal=verdict.text, refusal_failure=int(verdict.fail_info))
        event = Unacceptable(objection=verdict, certificate=memory.certificate, confirm=confirm, notes=notes)
        return event, Trigger.UNACCEPTABLE, refusing
    granted = Issued(
        certificate=memory.certificate,
        chain=material.der_of(verdict.path[1:-1]),
        anchors=tuple(dict.fromkeys(material.der_of(anchors(memory, terms)))),
        confirm=confirm,
        notes=(*notes, *verdict.notes),
    )
    return granted, Trigger.GRANTED, memory


# --- a certificate --------------------------------------------------------------------------------------------------


def _certificate_response(answer: Answer, body: CertRepMessage, memory: Memory, terms: Terms) -> Meaning:
    response = _only_response(body, memory)
    status = response.status
    numbered = replace(memory, cert_req_id=response.cert_req_id)
    if status.status == PKIStatus.WAITING:
        return _undecided(answer, status, numbered, poll_id=response.cert_req_id)
    if status.status == PKIStatus.REJECTION:
        return _declined(answer, status, numbered)
    asked_to_confirm = answer.message.header.info(Info.IMPLICIT_CONFIRM) is None
    certificate, remarks = proving.certificate(response, terms)
    notes = (*answer.notes, *remarks)
    with_certificate = replace(
        numbered,
        certificate=b"" if isinstance(certificate, Objection) else certificate,
        implicit_confirmation=memory.implicit_asked and not asked_to_confirm,
        granted_with_mods=status.status == PKIStatus.GRANTED_WITH_MODS,
        learned=learning.from_body(body.ca_pubs, body.type, answer.proof, memory, terms),
        peer_certificates=material.merged(body.ca_pubs, memory.peer_certificates),
    )
    verdict = certificate if isinstance(certificate, Objection) else examine(with_certificate, terms, answer.now)
    if isinstance(verdict, Objection):
        # Whoever sends what cannot be accepted teaches us nothing either, beyond who he is in this transaction.
        return Meaning(*issued(replace(with_certificate, learned=memory.learned), terms, verdict, notes))
    peer.authorise_issue(answer.proof, verdict.path, terms.rules)
    return Meaning(*issued(with_certificate, terms, verdict, notes))


def _only_response(body: CertRepMessage, memory: Memory) -> CertResponse:
    """Return the one CertResponse, if its parts go together (RFC 9483 4.1.1)."""
    if len(body.responses) != 1:
        raise violation(f"it holds {len(body.responses)} responses to our one request")
    response = body.responses[0]
    status, failures = response.status.status, response.status.failures
    # RFC 9483 4.1.4 wants -1 after p10cr; many servers say 0. And some say -1 whatever they reject: by protection,
    # transactionID and nonce it is about the one request there is.
    allowed = {0, -1} if memory.type is BodyType.P10CR or status == PKIStatus.REJECTION else {0}
    if response.cert_req_id not in allowed:
        raise violation(f"it answers the request number {response.cert_req_id}, which we did not send")
    brings = [one for one in (response.certificate, response.encrypted_certificate, response.private_key) if one]
    if status in {PKIStatus.WAITING, PKIStatus.REJECTION}:
        if brings:
            raise violation("it says no, or not yet, and brings a certificate all the same")
        if failures and status == PKIStatus.WAITING:
            raise violation("it says not yet, and names a failure at once")
        return response
    if status not in _GRANTED:
        raise violation(f"its status does not answer a certificate request: {describe(status, failures)}")
    if failures:
        raise violation("it grants the certificate and names a failure at once")
    if response.private_key is not None:
        raise violation("it brings a private key, and we have our own")
    return response


def _tried(verdict: acceptance.Accepted, terms: Terms) -> acceptance.Accepted | Objection:
    """Sign with the private key and verify with the certificate: check 21.

    A token that cannot sign at this moment must not cost the certificate, so then it stays at a remark: the public keys
    were compared already.
    """
    if not isinstance(terms.wanted, Wanted) or terms.wanted.proof is not PopMethod.SIGNATURE:
        return verdict
    signer = terms.wanted.signer
    scheme = signer.schemes[0]
    try:
        signature = signer.sign(_TEST_DATA, scheme)
    except Exception as error:  # noqa: BLE001 - a key is somebody else's code: whatever it raises is not the CA's fault
        note = f"the new key could not be tried with its certificate: {clean_text(str(error))}"
        return replace(verdict, notes=(*verdict.notes, note))
    public_key = load_public_key(read(verdict.certificate).spki)
    if verify(public_key, SIGNATURES[scheme], signature, _TEST_DATA):
        return verdict
    return Objection(
        check="possession",
        fail_info=PKIFailureInfo.INCORRECT_DATA,
        text="what our private key signs does not verify with the new certificate",
        remedy="The private key on this machine or token is not the one its public key belongs to: enroll with a new "
        "key.",
    )


def _challenge(answer: Answer, body: PopDecChallenges, memory: Memory, terms: Terms) -> Meaning:
    number = proving.number(body, answer.message.header.sender, terms)
    challenged = replace(memory, number=number, awaits_challenge=False)
    return Meaning(Challenged(notes=answer.notes), Trigger.CHALLENGED, challenged)


# --- not yet, and no ------------------------------------------------------------------------------------------------


def _poll_response(answer: Answer, body: PollResponse, memory: Memory) -> Meaning:
    if len(body.polls) != 1 or body.polls[0].cert_req_id != memory.poll_id:
        raise violation("its pollRep is not about our request (certReqId)")
    poll = body.polls[0]
    if poll.check_after < 0:
        raise violation(f"it asks us to come back in {poll.check_after} seconds")
    event = Undecided(check_after=poll.check_after, reason=clean_text(" ".join(poll.reason)), notes=answer.notes)
    return Meaning(event, Trigger.UNDECIDED, memory)


def _undecided(answer: Answer, status: StatusInfo, memory: Memory, *, poll_id: int) -> Meaning:
    reason = clean_text(" ".join(status.text))
    if memory.state not in _POLLING:
        event = Undecided(check_after=0, reason=reason, notes=answer.notes)
        return Meaning(event, Trigger.UNDECIDED, replace(memory, poll_id=poll_id))
    # A repeated "waiting" is taken as a pollRep without checkAfter. The first one, replayed, would be one too, and make
    # us forget the CA's last nonce.
    if not answers_last(answer.message, memory):
        raise violation("it says not yet, but not to what we sent last (recipNonce)")
    return Meaning(Undecided(check_after=None, reason=reason, notes=answer.notes), Trigger.UNDECIDED, memory)


def _declined(answer: Answer, status: StatusInfo, memory: Memory, details: tuple[str, ...] = ()) -> Meaning:
    words = clean_text(" ".join((*status.text, *details)))
    event = Declined(status=status.status, failures=status.failures, text=words, notes=answer.notes)
    if memory.state in _CONFIRMING:
        memory = replace(memory, refusal=describe(status.status, status.failures, words))
    return Meaning(event, Trigger.DECLINED, memory)


def _error(answer: Answer, body: ErrorMessage, memory: Memory, terms: Terms) -> Meaning:
    status = body.status
    if status.status in _GRANTED:
        raise violation("it is an error message that reports success")
    if answer.message.header.pvno < PVNO_2 and status.status != PKIStatus.REJECTION:
        # Nobody waits on the word of a version that knows no polling (quirk error-with-pvno-1).
        raise violation("it is an error in version 1 of CMP that is no plain rejection")
    if memory.state in {State.REFUSAL_SENT, State.GIVING_UP}:
        return _declined(answer, status, memory, body.details)
    if status.status == PKIStatus.WAITING:
        return _undecided(answer, status, memory, poll_id=_WHOLE_MESSAGE)
    if memory.state in _CONFIRMING and PKIFailureInfo.CERT_CONFIRMED in status.failures:
        return Meaning(Concluded(notes=answer.notes), Trigger.CONCLUDED, memory)
    if isinstance(terms.wanted, Revocation) and PKIFailureInfo.CERT_REVOKED in status.failures:
        # Asked again because rp was lost: what signs the rr is the very certificate that is revoked now.
        return Meaning(Answered(body=RevRep((status,)), notes=answer.notes), Trigger.REPLIED, memory)
    if retry_class(status.failures) in _PASSES:
        return _passing(answer, body, memory)
    return _declined(answer, status, memory, body.details)


def _passing(answer: Answer, body: ErrorMessage, memory: Memory) -> Meaning:
    """Take a failure of the moment (systemUnavail, badTime ...) as what it is, where a request is under way.

    RFC 9483 3.6 lets any error end the transaction. But ended for us it would cost a decision people took a week for,
    or a certificate the CA issued; if it has ended for the CA too, its next answer says so.
    """
    status, words = body.status, (*body.status.text, *body.details)
    said = describe(status.status, status.failures, words)
    if memory.state in _POLLING and answers_last(answer.message, memory):
        return Meaning(Undecided(check_after=None, reason=said, notes=answer.notes), Trigger.UNDECIDED, memory)
    if memory.state is State.CONFIRMING:
        raise Rejected(
            said,
            remedy=remedy(status.failures),
            status=status.status,
            failures=failure_names(status.failures),
            text=clean_text(" ".join(words)),
        )
    return _declined(answer, status, memory, body.details)


# --- revocation -----------------------------------------------------------------------------------------------------


def _revocation_response(answer: Answer, body: RevRep, memory: Memory, terms: Terms) -> Meaning:
    if len(body.statuses) != 1:
        raise violation(f"it holds {len(body.statuses)} statuses for our one revocation")
    if body.certificates and not (len(body.certificates) == 1 and _is_ours(body, terms)):
        raise violation("it speaks of another certificate than the one we want revoked")
    status = body.statuses[0]
    if status.status in _REVOKED or PKIFailureInfo.CERT_REVOKED in status.failures:
        return Meaning(Answered(body=body, notes=answer.notes), Trigger.REPLIED, memory)
    return _declined(answer, status, memory)


def _is_ours(body: RevRep, terms: Terms) -> bool:
    named, wanted = body.certificates[0], terms.wanted
    issuer = names.name_of(named.issuer)
    return (
        isinstance(wanted, Revocation)
        and issuer is not None
        and named.serial_number == wanted.serial_number
        and names.same_name(issuer, wanted.issuer)
    )
