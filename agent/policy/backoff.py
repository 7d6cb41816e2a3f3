"""How long to wait after a failure or a "not yet": exponential, with full jitter, and never past the certificate's end.

Full jitter (a uniform draw between nothing and the ceiling) spreads a crowd that failed together better than a
fixed wait with a little noise. The ceiling doubles up to a cap, and the cap shrinks as the certificate nears its end.

What that guarantees. No wait is longer than an eighth of the life that remains (or ``minimum``, where that is more).
Let the CA be back when a time *e* is left before expiry: the last failed attempt had at least *e* left, so the next
one begins with at least 7/8 of *e* left. An outage that ends an hour before expiry leaves 52 minutes, one that ends
a minute before leaves 52 seconds; a wait the server asked for leaves at least half. The time an attempt
itself takes comes on top: deadlines of workers must be short against the life that remains, too.
"""

from __future__ import annotations

import math

from agent.frozen import frozen

_SHARE_OF_LIFE = 1 / 8
"""Our own wait may cost this share of the life that remains: small enough to leave 7/8, large enough that a
CA which is down for the last day of a certificate sees some ninety attempts, not thousands."""

_SERVER_SHARE_OF_LIFE = 1 / 2
"""The server's word is worth more than our guess, but not the certificate: half of what remains is left."""

_SPREAD = 1 / 4
"""A server tells everybody the same number; up to a quarter more keeps the crowd from coming back as one."""

_LARGEST_EXPONENT = 64
"""2^64 times any base is past every cap; more would only overflow."""


@frozen(kw_only=True)
class Pace:
    """How patient to be in one situation; all in seconds."""

    base: float
    """Ceiling of the first wait."""
    cap: float
    """Ceiling of every wait we choose ourselves."""
    minimum: float = 1.0
    """No wait is shorter, whatever anybody says."""
    maximum: float = 86_400.0
    """No wait is longer, whatever the server says."""


RENEWAL = Pace(base=10, cap=6 * 3600)
"""A valid credential is in place, a third of its life is left: months, usually. 100,000 devices, all
due and all refused, come to ten requests a second."""

ENROLLMENT = Pace(base=5, cap=900)
"""Nothing valid is in place: the site is down, or a technician stands in front of it."""

REJECTED = Pace(base=300, cap=6 * 3600)
"""The CA said no, or its answer was not acceptable: only a person changes that, asking faster does not."""

POLLING = Pace(base=2, cap=60)
"""The CA is undecided: it decides when we learn, up to a minute. Bounds come from the settings of the authority."""

DEPLOYMENT = Pace(base=2, cap=300, maximum=300)
"""The credential is here but its consumer has not taken it: everything is local, and quick to ask again."""


def delay(
    attempt: int,
    *,
    uniform: float,
    pace: Pace = RENEWAL,
    remaining_life: float | None = None,
    server_says: float | None = None,
) -> float:
    """Return the seconds to wait before the next attempt, within ``pace.minimum`` and ``pace.maximum``.

    ``attempt`` counts the failures in a row, 1 for the first; ``uniform`` is a random number in [0, 1).
    ``remaining_life`` is the time in seconds to the end of the certificate that must not be lost; None, or no time
    left, if there is none: then nothing shrinks. ``server_says`` is checkAfter (RFC 9810 section 5.3.22) or
    Retry-After (RFC 9110 section 10.2.3) in seconds, any number. Both say how long to wait at the least. So our own
    wait grows beside it and the longer one counts: a server that says 0 or 1 every time is not asked every second
    for a month.
    """
    left = remaining_life if remaining_life is not None and remaining_life > 0 else math.inf
    ceiling = min(pace.base * 2.0 ** min(max(attempt - 1, 0), _LARGEST_EXPONENT), pace.cap)
    own = min(uniform * ceiling, pace.maximum, left * _SHARE_OF_LIFE)
    told = 0.0
    if server_says is not None and server_says > 0:
        word = min(server_says, pace.maximum)  # cut before it is multiplied: checkAfter has no largest number
        told = min(word * (1 + uniform * _SPREAD), pace.maximum, left * _SERVER_SHARE_OF_LIFE)
    return max(own, told, pace.minimum)
