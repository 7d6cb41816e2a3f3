"""Moments and spans in plain words, for journal and status."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from agent.policy.clock import Step, StepKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.settings import IdentitySettings

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


def span_words(seconds: float) -> str:
    """Return a span of time as a person says it: ``40 s``, ``12 min``, ``5 h``, ``9 days``."""
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.0f} h" if seconds < 2 * _DAY else f"{seconds / _DAY:.0f} days"


def moment_words(moment: datetime, now: datetime) -> str:
    """Return a moment as ``in 12 min``, or with its date when that is more than a day away."""
    left = (moment - now).total_seconds()
    if left <= 0:
        return "now"
    return f"in {span_words(left)}" if left < _DAY else f"on {moment:%Y-%m-%d %H:%M} UTC"


_STEPS: Final = {
    StepKind.FORWARD: "forward by {}",
    StepKind.BACKWARD: "back by {}",
    StepKind.SUSPEND: "aside while the machine slept for {}",
}


def step_words(steps: Iterable[Step]) -> str:
    """Return what happened to the clock, in one sentence."""
    return ", and ".join(_STEPS[one.kind].format(span_words(one.amount)) for one in steps)


def way_out(identity: IdentitySettings) -> tuple[str, str]:
    """Return how an expired certificate is replaced, and what a person has to do for it."""
    bootstrap = identity.recovery or identity.bootstrap
    if bootstrap.vendor_certificate is not None:
        return (
            "enrolling again with the vendor's certificate",
            "Nothing, if that succeeds; otherwise ask the operator for a new one-time secret.",
        )
    reference = bootstrap.shared_secret.reference if bootstrap.shared_secret else ""
    remedy = f"Ask the operator for a new one-time secret for {reference}, and put it where the configuration says."
    return "a fresh one-time secret is needed", remedy
