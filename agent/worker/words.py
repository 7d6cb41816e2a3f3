"""Times and certificates in the words people read, and the description kept beside a credential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.contract import Action
from agent.settings import RenewalMethod

if TYPE_CHECKING:
    from datetime import datetime

    from agent.cmp.certificates import Facts
    from agent.contract import Job

_STEPS = ((86_400, "day"), (3600, "hour"), (60, "minute"))


def day(moment: datetime) -> str:
    """Return a moment in UTC to the minute; to the second would be false precision for a person."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def short_wait(seconds: float) -> str:
    """Return a span in its largest fitting unit: "4 seconds", "2 minutes", "3 days"."""
    for size, unit in _STEPS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}s"
    whole = max(1, round(seconds))
    return f"{whole} second" + ("s" if whole != 1 else "")


def about(facts: Facts, job: Job, transaction_id: bytes) -> dict[str, Any]:
    """Return what is worth knowing of a credential without reading X.509: JSON values, times in ISO 8601."""
    return {
        "subject": facts.subject.rfc4514_string(),
        "issuer": facts.issuer.rfc4514_string(),
        "serial": f"{facts.certificate.serial_number:x}",
        "not_before": facts.not_before.isoformat(),
        "not_after": facts.not_after.isoformat(),
        "authority": job.identity.authority,
        "requested_by": _request(job),
        "transaction_id": transaction_id.hex(),
    }


def _request(job: Job) -> str:
    """Return the name of the message that asked."""
    if job.action is Action.RENEW and job.identity.renewal.method is not RenewalMethod.ENROLL:
        return job.identity.renewal.method.value
    return job.identity.request.value


def certificate_words(facts: Facts) -> dict[str, str]:
    """Return what fills the sentence of an event about a certificate."""
    return {
        "subject": facts.who,
        "serial": f"{facts.certificate.serial_number:x}",
        "not_after": day(facts.not_after),
    }


def certificate_fields(facts: Facts) -> dict[str, str]:
    """Return the journal fields of an event about a certificate."""
    return {
        "CERTIFICATE_SERIAL": f"{facts.certificate.serial_number:x}",
        "CERTIFICATE_NOT_AFTER": facts.not_after.isoformat(),
    }


def next_step(action: str, at: datetime) -> dict[str, str]:
    """Return the journal fields of an event that says what happens next."""
    return {"NEXT_ACTION": action, "NEXT_ACTION_AT": at.isoformat(timespec="seconds")}
