"""Whether a CMP server answers: a harmless question (genm) that leaves no trace here, for ``enrollctl doctor``.

With a valid certificate the question is signed, and the answer is verified as any other. Without one it is not
protected at all: a CMP server says no to it in a CMP message, which is all that is asked. The one-time secret is not
used for it, because some CAs count every use.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent.cmp import failures, messages
from agent.cmp.bodies import ErrorMessage, General
from agent.cmp.errors import MalformedMessage
from agent.cmp.messages import BodyType, Header, Info, InfoTypeAndValue, Message
from agent.cmp.request import Inquiry
from agent.cmp.revocation import Checking
from agent.cmp.transaction import Transaction, Undecided
from agent.contract import Outcome, Verdict
from agent.net.http import CmpClient
from agent.store.generations import IdentityStore
from agent.worker import verdicts
from agent.worker.keyring import Keyring
from agent.worker.originator import by_current
from agent.worker.plan import peer_rules, recipient

if TYPE_CHECKING:
    from agent.contract import Job
    from agent.store.generations import Generation
    from agent.worker.environment import Environment

_NONCE: Final = 16
_INQUISITIVE: Final = "lightweight"
"""The profile with general messages (RFC 9483 4.3); the others are asked without protection and say no."""


def probe(job: Job, environment: Environment) -> Outcome:
    """Return whether the authority of ``job`` speaks CMP, and with whom it was spoken."""
    try:
        with CmpClient(job.authority.urls, job.authority.http) as client:
            current = _usable(job, environment)
            if current is not None and job.authority.profile.value == _INQUISITIVE:
                return _signed(job, current, client, environment)
            return _unprotected(client, environment)
    except verdicts.REPORTED as error:
        return verdicts.outcome_of(error, by_secret=False)


def _usable(job: Job, environment: Environment) -> Generation | None:
    """Return the credential in use when a question can be signed with it."""
    if not job.state_directory.is_dir():
        return None
    current = IdentityStore(job.state_directory, job.name).current
    if current is None or not current.key_reference.startswith("file:"):
        return None  # a token is for real work: it may want a PIN
    end = str(current.description.get("not_after", ""))
    return current if environment.now().isoformat() < end else None


def _signed(job: Job, current: Generation, client: CmpClient, environment: Environment) -> Outcome:
    from agent.cmp.certificates import load  # noqa: PLC0415 - beside what uses it

    transaction = Transaction(
        Inquiry(info_type=Info.CA_CERTS.value, recipient=recipient(job, load(current.certificate))),
        by_current(job, current, Keyring.of(job)),
        replace(peer_rules(job, current), revocation=Checking()),  # nothing is fetched and kept for a probe
        random=environment.random,
        clock_trusted=environment.clock_trusted,
    )
    answer = client.exchange(transaction.send(environment.judging_time))
    event = transaction.receive(answer.body, environment.judging_time)
    how = "has not decided yet" if isinstance(event, Undecided) else "answered, and proved who it is"
    return Outcome(verdict=Verdict.DONE, text=f"{answer.url} {how}")


def _unprotected(client: CmpClient, environment: Environment) -> Outcome:
    header = Header(transaction_id=environment.random(_NONCE), sender_nonce=environment.random(_NONCE))
    question = General(BodyType.GENM, (InfoTypeAndValue(Info.CA_CERTS.value, None),))
    answer = client.exchange(messages.build(header, question))
    try:
        message = messages.parse(answer.body)
    except MalformedMessage as error:
        raise MalformedMessage(
            f"{answer.url} answered with something that is no CMP message: {error}",
            remedy="Check the path of the url: another service answers there.",
        ) from error
    return Outcome(verdict=Verdict.DONE, text=f"{answer.url} speaks CMP ({_said(message)})")


def _said(message: Message) -> str:
    """Say what the unproven answer was; nothing rests on it."""
    if message.type is not BodyType.ERROR:
        return f"it answered {message.type.label}"
    try:
        body = message.body()
    except MalformedMessage:
        return "it answered error"
    if not isinstance(body, ErrorMessage) or not body.status.failures:
        return "it declined an unprotected question, as it should"
    return f"it declined an unprotected question: {', '.join(failures.failure_names(body.status.failures))}"
