"""When a certificate is renewed, and in what state it is.

Everything is computed from the certificate that was *issued*, never from the one that was asked for: CAs shorten
validity, back-date its beginning, and cut it at the end of their own certificate. Agents that trusted the request
have renewed in a loop until they brought their CA or themselves down.

::

    start                 1/3                   2/3       warn_at   latest not_after
      |--------------------|---------------[jitter]|----------|--------|---|
                                             due

``start`` is the beginning of the validity or the moment of issuance, whichever is later: what counts is the life
the device can still use. A CA that goes on issuing with the same end is therefore asked after two thirds of what
remains each time, about 20 times in ten years, not in a loop.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from agent.frozen import frozen
from agent.policy.jitter import fraction

AT = 0.66
"""Two thirds of its life: a third is left for outages, and a person has time to come before it is over."""

JITTER = 0.05
"""18 days of a year: a fleet rolled out in one night asks its CA over more than two weeks."""

_RESERVE = 1 / 3
"""The largest share of its life that is set aside for outages, whatever is configured."""

_LEAST_RESERVE = 1 / 20
"""The smallest: there is always time for a second attempt."""

_LEAST_LIVED = 1 / 3
"""However wide the jitter, a third of the life is used. Without this bound a wide jitter would renew in a loop."""

FLOOR = 5.0
"""Seconds between two issuances at the least. A 20-second certificate, the shortest our tests use, is due after
12 s; it may still take 11 s to arrive before this floor is in its way. A 2-minute one never meets it."""

LONGEST_FLOOR = 6 * 3600.0
"""Seconds. A CA that only issues useless certificates is asked 13 times in the first day and at most
four times a day from then on, and a site that waits for the CA to be repaired is back within hours, unattended."""

_USELESS_LIFE = timedelta(seconds=8)
"""Less than this left on arrival, and two thirds of it are within the floor."""

_USELESS_SHARE = 0.01
"""Nor is there a use for a certificate that has a hundredth of its validity left on arrival. Honest CAs back-date by
minutes or an hour, against clocks that are behind; a year less a minute is a broken CA, or our own clock a year
ahead, and would be renewed every 40 s."""

_NO_END = 9999
"""99991231235959Z: the certificate has no well-defined end (RFC 5280 section 4.1.2.5)."""


class CertificateState(StrEnum):
    """What a certificate is worth at a moment. Each value holds until the next moment in the plan."""

    NOT_YET_VALID = "not-yet-valid"
    VALID = "valid"
    DUE = "due"
    EXPIRING = "expiring"
    """Due, and half of the time that was set aside for renewal has passed without one: tell a person."""
    EXPIRED = "expired"


class Reason(StrEnum):
    """Why a certificate is due when it is, in words for status and journal."""

    SHARE = "the configured share of its life will have passed"
    THIRD_LEFT = "a third of its life will be left"
    LAST_CHANCE = "a twentieth of its life will be left; the configured share would be later"
    HELD_BACK = "the CA issues certificates with next to no life left, so they are renewed more and more seldom"
    NO_END = "the certificate names no end"


@frozen(kw_only=True)
class RenewalPlan:
    """What to do with one certificate, and when. All times are aware UTC."""

    not_before: datetime
    not_after: datetime
    due: datetime
    """Start the renewal now or later. Past ``not_after`` only where the floor between issuances demands it."""
    warn_at: datetime
    """Half-way from the moment the certificate is due to its end: renewal has failed for long, warn."""
    latest: datetime
    """The last moment that makes sense: a first attempt after it may have no time for a second."""
    reason: Reason

    def state(self, now: datetime) -> CertificateState:
        """Return what the certificate is worth at ``now``; both ends of its validity are inside (RFC 5280 4.1.2.5)."""
        if now > self.not_after:
            return CertificateState.EXPIRED
        if now < self.not_before:
            return CertificateState.NOT_YET_VALID
        if now >= self.warn_at:
            return CertificateState.EXPIRING
        return CertificateState.DUE if now >= self.due else CertificateState.VALID


def due(
    not_before: datetime,
    not_after: datetime,
    *,
    device: str,
    at: float = AT,
    jitter: float = JITTER,
    last_issuance: datetime | None = None,
) -> datetime:
    """Return when a certificate is due by its life alone; ``not_after`` itself if it names no end.

    ``at`` and ``jitter`` are shares of the life (0.66 is 66 %). At least min(configured, life/3) is kept before the
    end, so a smaller ``at`` than two thirds counts as two thirds; jitter only ever moves the moment earlier, by up to
    its share, the same for a ``device`` every time. ``last_issuance`` is when this certificate was issued by our
    own clock: None if it is not known or the clock was not trusted then. A moment after the end of the certificate
    says that the clock was wrong, and is not used.
    """
    if not_after.year == _NO_END:
        return not_after
    start, life = _usable_life(not_before, not_after, last_issuance)
    reserve = max(min(1 - at, _RESERVE), _LEAST_RESERVE)
    share = 1 - reserve - jitter * fraction(device, "renewal")
    return start + life * max(share, _LEAST_LIVED)


def plan(
    not_before: datetime,
    not_after: datetime,
    *,
    now: datetime,
    device: str,
    at: float = AT,
    jitter: float = JITTER,
    last_issuance: datetime | None = None,
    streak: int = 0,
) -> RenewalPlan:
    """Return the plan for one certificate. Arguments as for :func:`due`; ``streak`` comes from :func:`next_streak`.

    ``now`` serves one purpose: a ``last_issuance`` in the future was stamped by a clock that has been set back since.
    It is not used then, or it could keep a device from renewing for years. Otherwise the plan does not depend on
    ``now`` and may be kept until the next issuance or clock step.
    """
    if not_after.year == _NO_END:
        end = not_after
        return RenewalPlan(not_before=not_before, not_after=end, due=end, warn_at=end, latest=end, reason=Reason.NO_END)
    if last_issuance is not None and last_issuance > now:
        last_issuance = None
    natural = due(not_before, not_after, device=device, at=at, jitter=jitter, last_issuance=last_issuance)
    _, life = _usable_life(not_before, not_after, last_issuance)
    held_until = natural if last_issuance is None else last_issuance + timedelta(seconds=floor(streak, device))
    if held_until > natural:
        reason = Reason.HELD_BACK
    elif 1 - at >= _RESERVE:
        reason = Reason.THIRD_LEFT
    else:
        reason = Reason.SHARE if 1 - at >= _LEAST_RESERVE else Reason.LAST_CHANCE
    return RenewalPlan(
        not_before=not_before,
        not_after=not_after,
        due=max(natural, held_until),
        warn_at=natural + (not_after - natural) / 2,
        latest=not_after - life * _LEAST_RESERVE,
        reason=reason,
    )


def floor(streak: int, device: str) -> float:
    """Return the seconds that must lie between the last issuance and the next request.

    It doubles with every useless issuance in a row (``streak``), up to :data:`LONGEST_FLOOR`, and is then spread over
    half of itself by device, so that a fleet that got bad certificates together does not keep coming together.
    :func:`plan` applies it on the wall clock; where that is not trusted, wait this long on the monotonic clock.
    """
    if streak <= 0:
        return FLOOR
    return min(FLOOR * 2.0 ** min(streak, 32), LONGEST_FLOOR) * (1 + fraction(device, "floor") / 2)


def next_streak(previous: int, not_before: datetime, not_after: datetime, *, last_issuance: datetime) -> int:
    """Return how many issuances in a row were useless, counting the one received at ``last_issuance``.

    Useless means next to no life left on arrival: less than 8 s, or less than a hundredth of the validity. Store the
    number with the credential; one certificate with a life ahead of it ends the row.
    """
    useless = max(_USELESS_LIFE, (not_after - not_before) * _USELESS_SHARE)
    return previous + 1 if not_after - last_issuance < useless else 0


def _usable_life(not_before: datetime, not_after: datetime, issued: datetime | None) -> tuple[datetime, timedelta]:
    """Return when the usable life begins and how long it is; zero where the dates make no sense."""
    start = issued if issued is not None and not_before < issued < not_after else min(not_before, not_after)
    return start, not_after - start
