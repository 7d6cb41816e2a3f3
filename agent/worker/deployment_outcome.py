"""How a deployment ended, as its record says it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from agent.contract import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.store.deployment import DeploymentRecord


def outcome(record: DeploymentRecord, labels: Sequence[str], number: int, serial: str, now: datetime) -> Outcome:
    """Return DONE when every consumer uses generation ``number``, else DEPLOYING: why, and when it goes on."""
    fields = {"CERTIFICATE_SERIAL": serial}
    lacking = [one for one in labels if record.of(one).generation != number or record.of(one).error]
    if record.held_back is not None:
        return Outcome(
            verdict=Verdict.DEPLOYING,
            text=f"{record.held_by} refused the new certificate, the previous one is back: {record.held_error}",
            remedy=record.held_remedy,
            retry_after=_seconds_to(record.held_until, now),
            fields=fields,
        )
    if lacking:
        first = next((label for label in lacking if record.of(label).error), lacking[0])
        return Outcome(
            verdict=Verdict.DEPLOYING,
            text=f"not in use yet at {', '.join(lacking)}: {record.of(first).error or 'waiting for another one'}",
            remedy=record.of(first).remedy or "Nothing needs to be done: it is tried again.",
            retry_after=_seconds_to(record.of(first).next_at, now),
            fields=fields,
        )
    proofs = "; ".join(f"{label} ({record.of(label).proof})" for label in labels)
    return Outcome(verdict=Verdict.DONE, text=f"serial {serial} is in use: {proofs}", fields=fields)


def _seconds_to(at: str | None, now: datetime) -> float | None:
    if at is None:
        return None
    return max((datetime.fromisoformat(at) - now).total_seconds(), 0.0)
