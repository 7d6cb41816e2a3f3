"""What can be said of an identity from its directory alone: no cryptography, no lock, no configuration needed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from agent import RELEASED, units
from agent.cmp.states import State
from agent.errors import StateCorrupt
from agent.policy import clock, renewal
from agent.policy.renewal import CertificateState
from agent.store.credential import REVOKED
from agent.store.faults import reported
from agent.store.generations import IdentityStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agent.settings import IdentitySettings
    from agent.store.state import IdentityState


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One identity at a glance. Times are ISO 8601 in UTC; None where there is nothing to say.

    ``state`` is one of: unenrolled, valid, due, expiring, expired, not-yet-valid, revoked, damaged; where nothing valid
    is installed also ``open_state``, or the verdict of the last attempt (rejected, unreachable, needs-secret ...).
    """

    name: str
    state: str
    subject: str | None = None
    serial: str | None = None
    not_before: str | None = None
    not_after: str | None = None
    generation: int | None = None
    confirmed: bool | None = None
    open_request: str | None = None
    """enroll or renew, while a request is open that can go on."""
    open_state: str | None = None
    """pending, confirming, refusing or installing."""
    attempts: int = 0
    """How many failed one after another."""
    last_error: str | None = None
    remedy: str | None = None
    failed_at: str | None = None
    next_action: str | None = None
    next_action_at: str | None = None
    usable: bool = False
    """Whether a certificate is installed that is valid now, as far as the clock can tell."""


def look(
    state_directory: Path, name: str, settings: IdentitySettings | None = None, *, now: datetime | None = None
) -> Overview:
    """Return what the directory of ``name`` says; ``settings`` lend the subject and the share for renewal.

    Raises:
        StateError: the state directory cannot be read.
    """
    now = now or datetime.now(UTC)
    facts: dict[str, Any] = {"name": name, "subject": settings.subject if settings else None}
    with reported("read", state_directory):
        if not state_directory.exists():
            return Overview(state="unenrolled", **facts)
    store = IdentityStore(state_directory, name)
    history = store.state.load()
    _take_history(history, facts)
    certificate = _certificate(store, settings, now, history.last_success, facts)
    request = _open_request(store, facts)
    if certificate in _GOOD:
        state = str(certificate)
    else:
        failed = history.last_error.verdict if history.last_error else None
        state = str(request or certificate or failed or "unenrolled")
    return Overview(state=state, **facts)


_GOOD: Final = (CertificateState.VALID, CertificateState.DUE, CertificateState.EXPIRING)

_OPEN: Final[dict[object, str]] = {
    State.WAITING: "pending",
    State.POLLING: "pending",
    State.CHALLENGED: "pending",
    State.PROVING: "pending",
    State.ISSUED: "confirming",
    State.CONFIRMING: "confirming",
    State.CONFIRM_WAITING: "confirming",
    State.CONFIRM_POLLING: "confirming",
    State.DISPUTED: "confirming",
    State.REFUSING: "refusing",
    State.REFUSAL_SENT: "refusing",
    State.CONFIRMED: "installing",
}
"""What an open request is doing; in the other states of a transaction there is nothing to go on with."""


def renewal_plan(
    description: Mapping[str, Any],
    name: str,
    settings: IdentitySettings | None,
    *,
    now: datetime,
    last_issuance: datetime | None,
) -> renewal.RenewalPlan:
    """Return when the credential described (``credential.json``) is due, by the policy and the identity's settings.

    Raises:
        KeyError, ValueError: the description is not one of ours.
    """
    share = renewal.AT if settings is None else units.share(settings.renewal.at)
    jitter = renewal.JITTER if settings is None else units.share(settings.renewal.jitter)
    return renewal.plan(
        datetime.fromisoformat(str(description["not_before"])),
        datetime.fromisoformat(str(description["not_after"])),
        now=now,
        device=f"{name} {settings.subject if settings else ''}",
        at=share,
        jitter=jitter,
        last_issuance=last_issuance,
    )


def _take_history(history: IdentityState, facts: dict[str, Any]) -> None:
    facts["attempts"] = history.attempts
    facts["next_action"] = history.next_action
    facts["next_action_at"] = history.next_action_at.isoformat() if history.next_action_at else None
    if history.last_error is not None:
        facts["last_error"] = history.last_error.text
        facts["remedy"] = history.last_error.remedy
        facts["failed_at"] = history.last_error.at.isoformat()


def _certificate(
    store: IdentityStore,
    settings: IdentitySettings | None,
    now: datetime,
    last_issuance: datetime | None,
    facts: dict[str, Any],
) -> CertificateState | str | None:
    """Return what the installed certificate is worth; None when there is none."""
    name = store.name
    try:
        current = store.current
        if current is None:
            return None
        description = current.description
        facts.update(
            subject=description["subject"],
            serial=description["serial"],
            not_before=description["not_before"],
            not_after=description["not_after"],
            generation=current.number,
            confirmed=current.confirmed,
        )
        plan = renewal_plan(description, name, settings, now=now, last_issuance=last_issuance)
    except (StateCorrupt, KeyError, ValueError) as error:
        remedy = getattr(error, "remedy", f"Run 'enrollctl enroll {name} --again'.")
        facts.update(last_error=str(error), remedy=remedy, failed_at=None)
        return "damaged"
    if REVOKED in current.marks:
        return "revoked"
    state = plan.state(now)
    clock_is_behind = clock.assess(now, build_time=RELEASED) is not clock.ClockState.TRUSTED
    facts["usable"] = state in _GOOD or (state is CertificateState.NOT_YET_VALID and clock_is_behind)
    if state is CertificateState.NOT_YET_VALID:
        trouble = f"by this machine's clock ({now:%Y-%m-%d %H:%M} UTC) the certificate is not valid yet"
        facts.update(last_error=trouble, remedy="Set the clock.", failed_at=None)
    if state in _GOOD:
        facts["next_action"], facts["next_action_at"] = "renew", plan.due.isoformat()
    return state


def _open_request(store: IdentityStore, facts: dict[str, Any]) -> str | None:
    try:
        snapshot = store.transaction.load_snapshot()
    except StateCorrupt:
        return None  # the next attempt reports it and starts anew
    transaction: Any = (snapshot or {}).get("transaction") or {}
    state = _OPEN.get(transaction.get("state"))
    if snapshot is None or state is None:
        return None
    facts["open_request"] = str(snapshot.get("action"))
    facts["open_state"] = state
    facts["next_action"] = "ask the CA again"
    facts["next_action_at"] = transaction.get("check_at")
    return state
