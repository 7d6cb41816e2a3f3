"""From errors to outcomes: one table, first match wins."""

from __future__ import annotations

from typing import Final

from agent.cmp import errors as cmp
from agent.cmp.failures import PKIFailureInfo
from agent.contract import Outcome, Verdict
from agent.errors import (
    AgentError,
    ConfigurationError,
    PinError,
    SecretError,
    ServerBusy,
    StateBusy,
    StateError,
    TransportError,
)
from agent.worker.words import short_wait
from hsm.errors import KeyStoreError, KeyStoreUnwritable, PinRefused, TokenAbsent, TokenFailed

VERDICT_OF: Final[tuple[tuple[type[Exception], Verdict], ...]] = (
    (ConfigurationError, Verdict.MISCONFIGURED),
    (PinError, Verdict.NEEDS_PIN),
    (SecretError, Verdict.NEEDS_SECRET),
    (ServerBusy, Verdict.WAITING),
    (TransportError, Verdict.UNREACHABLE),
    (StateBusy, Verdict.BUSY),
    (StateError, Verdict.FAILED),
    (AgentError, Verdict.FAILED),
    (KeyStoreUnwritable, Verdict.FAILED),
    (TokenAbsent, Verdict.NEEDS_TOKEN),
    (PinRefused, Verdict.NEEDS_PIN),
    (TokenFailed, Verdict.FAILED),
    (KeyStoreError, Verdict.MISCONFIGURED),
    (cmp.WrongMac, Verdict.NEEDS_SECRET),
    (cmp.Rejected, Verdict.REJECTED),
    (cmp.RemoteError, Verdict.REFUSED),
    (cmp.LocalError, Verdict.MISCONFIGURED),
    (cmp.CmpError, Verdict.FAILED),
)

REPORTED: Final = (AgentError, KeyStoreError, cmp.CmpError)
"""What is an outcome; anything else is a defect."""


def outcome_of(error: AgentError | KeyStoreError | cmp.CmpError, *, by_secret: bool) -> Outcome:
    """Return the outcome that ``error`` means. ``by_secret``: the request was protected by the one-time secret.

    What an unproven answer claims is shown and marked as unproven. It decides nothing but whom we send for: when our
    secret did not convince the CA, a person with the right one is needed.
    """
    verdict = next(verdict for kind, verdict in VERDICT_OF if isinstance(error, kind))
    text, remedy = str(error), error.remedy
    if isinstance(error, cmp.RemoteError) and error.hint:
        text += f"; unproven, the answer says: {error.hint}"
        if by_secret and PKIFailureInfo.BAD_MESSAGE_CHECK in error.claimed:
            verdict = Verdict.NEEDS_SECRET
            remedy = "Check reference and secret with the operator; a typing error is the usual cause."
    retry_after = error.retry_after if isinstance(error, ServerBusy) else None
    if retry_after is not None:
        remedy = f"Run the command again in {short_wait(retry_after)}; nothing is lost."
    return Outcome(verdict=verdict, text=text, remedy=remedy, retry_after=retry_after)
