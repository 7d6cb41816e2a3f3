"""The states of an end entity's transaction and every transition between them, in one table.

Two rules hold here. All transitions are in :data:`TRANSITIONS`; a pair that is not listed cannot happen and is a defect
of ours. And the table does not know messages, keys or clocks: :mod:`interpretation` turns those into triggers.
Docs draw their diagram from this table.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from agent.cmp.errors import defect


class State(StrEnum):
    """Where a transaction stands. What is sent next follows from it, see :mod:`agent.cmp.composition`."""

    READY = "ready"
    """Nothing was sent yet."""
    REQUESTED = "requested"
    """The certificate request is out, its answer is not in."""
    WAITING = "waiting"
    """The CA has not decided; ask again at the moment it named."""
    POLLING = "polling"
    """A pollReq is out."""
    CHALLENGED = "challenged"
    """The CA wants to see the number it encrypted for our key (popdecc), and we know it."""
    PROVING = "proving"
    """The number is out (popdecr), the answer to the request is not in."""
    ISSUED = "issued"
    """A certificate came and is acceptable; it must be durable before it is confirmed."""
    CONFIRMING = "confirming"
    """certConf is out."""
    CONFIRM_WAITING = "confirm-waiting"
    """The CA takes its time with the certConf (error with status waiting)."""
    CONFIRM_POLLING = "confirm-polling"
    """A pollReq for the answer to certConf is out."""
    REFUSING = "refusing"
    """A certificate came and is not acceptable; the CA must be told."""
    REFUSAL_SENT = "refusal-sent"
    """A certConf that rejects the certificate is out."""
    GIVING_UP = "giving-up"
    """We give the request up; an error that says so is out (profile ``backhaul``)."""
    ANSWERED = "answered"
    """End: a revocation or a question was answered."""
    CONFIRMED = "confirmed"
    """End: pkiConf came, or the CA does without."""
    DISPUTED = "disputed"
    """End: the CA answered certConf with an error; the certificate is genuine, the CA may not count it."""
    REFUSED = "refused"
    """End: we refused the certificate."""
    REJECTED = "rejected"
    """End: the CA said no."""
    ABANDONED = "abandoned"
    """End: we gave the request up, and the CA knows."""


class Trigger(StrEnum):
    """What can happen: we send what the state calls for, or a verified answer says one of these."""

    SEND = "send"
    UNDECIDED = "undecided"
    """waiting, or pollRep"""
    CHALLENGED = "challenged"
    """popdecc"""
    REPLIED = "replied"
    """rp or genp"""
    GRANTED = "granted"
    UNACCEPTABLE = "unacceptable"
    """the certificate is refused, when it comes or when the transaction is taken up again"""
    DECLINED = "declined"
    """rejection, or error"""
    CONCLUDED = "concluded"
    """pkiConf, or an error that says "already confirmed" """
    EXCUSED = "excused"
    """implicit confirmation was asked for and granted"""
    GIVE_UP = "give-up"
    """we do not want the certificate any more"""


TRANSITIONS: Final[dict[tuple[State, Trigger], State]] = {
    (State.READY, Trigger.SEND): State.REQUESTED,
    (State.REQUESTED, Trigger.UNDECIDED): State.WAITING,
    (State.REQUESTED, Trigger.CHALLENGED): State.CHALLENGED,
    (State.REQUESTED, Trigger.GRANTED): State.ISSUED,
    (State.REQUESTED, Trigger.UNACCEPTABLE): State.REFUSING,
    (State.REQUESTED, Trigger.DECLINED): State.REJECTED,
    (State.REQUESTED, Trigger.REPLIED): State.ANSWERED,
    (State.WAITING, Trigger.SEND): State.POLLING,
    (State.POLLING, Trigger.SEND): State.POLLING,
    (State.POLLING, Trigger.UNDECIDED): State.WAITING,
    (State.POLLING, Trigger.CHALLENGED): State.CHALLENGED,
    (State.POLLING, Trigger.GRANTED): State.ISSUED,
    (State.POLLING, Trigger.UNACCEPTABLE): State.REFUSING,
    (State.POLLING, Trigger.DECLINED): State.REJECTED,
    (State.POLLING, Trigger.REPLIED): State.ANSWERED,
    (State.CHALLENGED, Trigger.SEND): State.PROVING,
    (State.PROVING, Trigger.SEND): State.PROVING,
    (State.PROVING, Trigger.UNDECIDED): State.WAITING,
    (State.PROVING, Trigger.GRANTED): State.ISSUED,
    (State.PROVING, Trigger.UNACCEPTABLE): State.REFUSING,
    (State.PROVING, Trigger.DECLINED): State.REJECTED,
    (State.ISSUED, Trigger.EXCUSED): State.CONFIRMED,
    (State.ISSUED, Trigger.UNACCEPTABLE): State.REFUSING,
    (State.ISSUED, Trigger.SEND): State.CONFIRMING,
    (State.CONFIRMING, Trigger.SEND): State.CONFIRMING,
    (State.CONFIRMING, Trigger.UNDECIDED): State.CONFIRM_WAITING,
    (State.CONFIRMING, Trigger.CONCLUDED): State.CONFIRMED,
    (State.CONFIRMING, Trigger.DECLINED): State.DISPUTED,
    (State.CONFIRM_WAITING, Trigger.SEND): State.CONFIRM_POLLING,
    (State.CONFIRM_POLLING, Trigger.SEND): State.CONFIRM_POLLING,
    (State.CONFIRM_POLLING, Trigger.UNDECIDED): State.CONFIRM_WAITING,
    (State.CONFIRM_POLLING, Trigger.CONCLUDED): State.CONFIRMED,
    (State.CONFIRM_POLLING, Trigger.DECLINED): State.DISPUTED,
    (State.REFUSING, Trigger.EXCUSED): State.REFUSED,
    (State.REFUSING, Trigger.SEND): State.REFUSAL_SENT,
    (State.REFUSAL_SENT, Trigger.SEND): State.REFUSAL_SENT,
    (State.REFUSAL_SENT, Trigger.CONCLUDED): State.REFUSED,
    (State.REFUSAL_SENT, Trigger.DECLINED): State.REFUSED,
    (State.REQUESTED, Trigger.GIVE_UP): State.GIVING_UP,
    (State.WAITING, Trigger.GIVE_UP): State.GIVING_UP,
    (State.POLLING, Trigger.GIVE_UP): State.GIVING_UP,
    (State.CHALLENGED, Trigger.GIVE_UP): State.GIVING_UP,
    (State.PROVING, Trigger.GIVE_UP): State.GIVING_UP,
    (State.GIVING_UP, Trigger.CONCLUDED): State.ABANDONED,
    (State.GIVING_UP, Trigger.DECLINED): State.ABANDONED,
}

ENDED: Final = frozenset(
    {State.ANSWERED, State.CONFIRMED, State.DISPUTED, State.REFUSED, State.REJECTED, State.ABANDONED}
)
UNDER_WAY: Final = frozenset(State) - ENDED - {State.READY}


def step(state: State, trigger: Trigger) -> State:
    """Return the state that follows.

    Raises:
        LocalError: when the table has no such transition: a defect of ours.
    """
    following = TRANSITIONS.get((state, trigger))
    if following is None:
        raise defect(f"a transaction that is {state} cannot take {trigger}")
    return following
