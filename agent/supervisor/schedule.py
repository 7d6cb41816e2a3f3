"""What an identity needs next and when, decided from what its directory says. Pure: no clock, no file, no chance.

After a job the verdict decides how long to wait (:data:`RETRY`); before one, what is on disk does (:func:`decide`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from agent.contract import Action, Verdict
from agent.frozen import frozen
from agent.policy import backoff, refresh
from agent.policy.renewal import CertificateState

if TYPE_CHECKING:
    from agent.overview import Overview
    from agent.policy.backoff import Pace

LOOK_AGAIN: Final = 3600.0
"""Seconds after which a directory is looked at again although nothing is due: somebody may have used ``enrollctl``."""

PERSON: Final = backoff.Pace(base=1800, cap=6 * 3600, minimum=60)
"""Only a person can change it, and then tells us or is noticed: asked seldom, for what nobody notices."""

BUSY: Final = backoff.Pace(base=4, cap=60)
"""Another process is at work on the identity, an ``enrollctl`` or the worker of a daemon that died: it ends soon, or it
waits for a CA."""

ENROLL_ANEW: Final = "enroll anew"
_POLLS_ALIKE: Final = 3
"""Polls until the wait between them doubles: who decides within a minute is asked often in that minute."""
_HURRY: Final = 1 / 4
"""Share of the life left that one job may take, so that there is time for another."""
_SHORTEST_DEADLINE: Final = 30.0


@frozen
class RetryRule:
    """What follows a verdict. ``next_action`` is what the daemon does then, in words for ``enrollctl status``."""

    next_action: str
    pace: Pace | None = None
    """How patient to be; None: as befits an enrollment or a renewal."""
    by_person: bool = False
    """Whether only a person can change anything: a reload, a command or a token that is plugged in wakes it."""
    failed: bool = True
    """Whether the attempt came to nothing."""
    waits: bool = True
    """Whether there is something to wait for; otherwise the certificate says what is next."""


RETRY: Final[dict[Verdict, RetryRule]] = {
    Verdict.ISSUED: RetryRule("renew", failed=False, waits=False),
    Verdict.UNCHANGED: RetryRule("renew", failed=False, waits=False),
    Verdict.DONE: RetryRule("renew", failed=False, waits=False),
    Verdict.DEPLOYING: RetryRule("bring it to its consumers again", failed=False, waits=False),
    Verdict.WAITING: RetryRule("ask the CA again", backoff.POLLING, failed=False),
    Verdict.UNREACHABLE: RetryRule("try again"),
    Verdict.FAILED: RetryRule("try again"),
    Verdict.CRASHED: RetryRule("try again"),
    Verdict.TIMED_OUT: RetryRule("try again"),
    Verdict.BUSY: RetryRule("wait for the other process", BUSY),
    Verdict.REJECTED: RetryRule("try again", backoff.REJECTED),
    Verdict.REFUSED: RetryRule("try again", backoff.REJECTED),
    Verdict.MISCONFIGURED: RetryRule("try again, or at once after a reload", PERSON, by_person=True),
    Verdict.NEEDS_SECRET: RetryRule("look for a new secret", PERSON, by_person=True),
    Verdict.NEEDS_TOKEN: RetryRule("look for the token", PERSON, by_person=True),
    Verdict.NEEDS_PIN: RetryRule("look for a new PIN", PERSON, by_person=True),
}


_MENDED_BY_A_START: Final = frozenset(RETRY[one].next_action for one in (Verdict.MISCONFIGURED, Verdict.NEEDS_SECRET))
"""No PIN: nothing on disk tells whether it is the one that was refused, and a token locks after a few. A token that
comes is heard of (``agent.supervisor.plugging``)."""


@frozen
class Next:
    """Do ``action`` after ``wait`` seconds; None: look again then."""

    action: Action | None
    wait: float


_DUE: Final = frozenset({CertificateState.DUE, CertificateState.EXPIRING})


def decide(seen: Overview, now: datetime, *, may_deploy: bool = True, may_retire: bool = True) -> Next:
    """Return what is next for an identity: go on with what is open, renew what is due, enroll what has nothing.

    A revoked certificate is left alone: somebody wanted it gone. One that is not valid yet is waited for: another one
    would not be valid either. A consumer that is to get the credential, or to be asked whether it still has it, comes
    first: that is quick and local, and its next time is written down before; ``may_deploy`` is False while that is
    held back. While nothing else is due, the authority is asked now and then what changed, and old keys on tokens are
    destroyed; ``may_retire`` is False while that is held back.
    """
    deploying = None if seen.deploy_at is None or not may_deploy else _until(seen.deploy_at, now)
    if deploying == 0.0:
        return Next(Action.DEPLOY, 0.0)
    following = _decide(seen, now, may_retire=may_retire)
    if deploying is None or following.wait <= deploying:
        return following
    return Next(Action.DEPLOY, deploying)


def _decide(seen: Overview, now: datetime, *, may_retire: bool) -> Next:
    if seen.open_request is not None:
        return Next(Action(seen.open_request), _until(seen.next_action_at, now))
    if seen.state == "revoked":
        return Next(None, LOOK_AGAIN)
    if seen.state in _DUE:
        return Next(Action.RENEW, _until(seen.retry_at, now))
    if seen.usable:
        return _meanwhile(seen, now, may_retire=may_retire)
    if seen.state == CertificateState.NOT_YET_VALID:
        return Next(None, min(max(_until(seen.not_before, now), 1.0), LOOK_AGAIN))
    return Next(Action.ENROLL, _until(seen.retry_at, now))


def _meanwhile(seen: Overview, now: datetime, *, may_retire: bool) -> Next:
    """Return what is next while the certificate is good, before it is due: ask the authority, destroy old keys."""
    asking = refresh.wait(None if seen.refresh_at is None else datetime.fromisoformat(seen.refresh_at), now)
    if asking == 0.0:
        return Next(Action.REFRESH, 0.0)
    retiring = _until(seen.retire_at, now) if may_retire and seen.retire_at else LOOK_AGAIN
    if retiring == 0.0:
        return Next(Action.RETIRE, 0.0)
    return Next(None, min(max(_until(seen.next_action_at, now), 1.0), LOOK_AGAIN, asking or LOOK_AGAIN, retiring))


def may_be_mended(seen: Overview) -> bool:
    """Tell whether a start of the daemon may have brought what a person was needed for, as a reload may.

    systemd hands over a new secret at a start only. One that was refused is known by what is on disk of it.
    """
    return seen.next_action in _MENDED_BY_A_START


def pause(seen: Overview, verdict: Verdict, now: datetime, *, times: int, uniform: float, asked: float | None) -> float:
    """Return the seconds to wait after a job that failed with ``verdict``, ``times`` in a row now.

    ``uniform`` is random in [0, 1). Renewal is hurried as the end of the certificate nears (``agent.policy.backoff``).
    """
    own = RETRY[verdict].pace
    # What is on disk knows of failures before the last start; it does not count that somebody else was at work. But it
    # counts failures of every kind: a CA that says no after a night of silence is not asked as seldom as if it had said
    # no all night.
    failures = max(seen.attempts, times) if own is None else times
    pace = own or (backoff.RENEWAL if seen.usable else backoff.ENROLLMENT)
    return backoff.delay(
        max(failures, 1), uniform=uniform, pace=pace, remaining_life=_life(seen, now), server_says=asked
    )


def start_over(*, uniform: float) -> float:
    """Return the seconds to the first enrollment of an identity whose certificate has ended while it was renewed.

    Why it was not renewed says nothing about this other request, and nothing valid is installed any more.
    """
    return backoff.delay(1, uniform=uniform, pace=backoff.ENROLLMENT)


def poll(times: int, *, uniform: float, asked: float | None, longest: float) -> float:
    """Return the seconds to the next question to a CA that has not decided ``times`` in a row.

    When it should be asked the worker has ``asked``, within the bounds of the authority's settings, of which
    ``longest`` is one. A CA that says one second every time, for weeks, is asked less and less often all the same.
    """
    pace = replace(backoff.POLLING, cap=min(backoff.POLLING.cap, longest))
    return backoff.delay(1 + times // _POLLS_ALIKE, uniform=uniform, pace=pace, server_says=asked)


def gap(seen: Overview, done: Action, now: datetime, *, times: int, uniform: float) -> float:
    """Return the seconds to wait after a job that ended well, ``times`` in a row now, and whose like is due again."""
    pace = backoff.DEPLOYMENT if done is Action.DEPLOY else backoff.RENEWAL
    return backoff.delay(times, uniform=uniform, pace=pace, remaining_life=_life(seen, now))


def while_queued(seen: Overview, now: datetime) -> float | None:
    """Return the seconds after which to look again at who waits for a worker; None: it has nothing left to lose.

    People are told when its certificate is about to end and when it has, however many are in front of it. Renewal is
    due at a third of its life, and the warning at half of that.
    """
    life = _life(seen, now)
    return None if life is None else min(max(life / 2, 1.0), LOOK_AGAIN)


def longest_pause(seen: Overview) -> float:
    """Return the most seconds that any pause on disk can mean; more was written by a clock that was wrong."""
    return backoff.RENEWAL.maximum if seen.usable else PERSON.maximum


def deadline(seen: Overview, now: datetime, longest: float) -> float:
    """Return the seconds a job may take: ``longest``, and less where the certificate would not live that long."""
    life = _life(seen, now)
    return longest if life is None else min(longest, max(life * _HURRY, _SHORTEST_DEADLINE))


def urgency(seen: Overview) -> tuple[bool, str]:
    """Return a key to sort by when many need a worker: who has nothing is first, then whose certificate ends first."""
    return seen.usable, seen.not_after or ""


def _life(seen: Overview, now: datetime) -> float | None:
    return _until(seen.not_after, now) if seen.usable else None


def _until(moment: str | None, now: datetime) -> float:
    return 0.0 if moment is None else max((datetime.fromisoformat(moment) - now).total_seconds(), 0.0)
