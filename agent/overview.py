"""What can be said of an identity from its directory alone: no cryptography, no lock, no configuration needed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from agent import RELEASED, units
from agent.cmp.states import State
from agent.errors import StateCorrupt, StateNewer
from agent.frozen import frozen
from agent.policy import clock, deployment, renewal
from agent.policy.renewal import CertificateState
from agent.store.credential import CONFIRMED, ON_HOLD, REVOKED
from agent.store.deployment import DeploymentFile, labels
from agent.store.faults import reported
from agent.store.generations import Generation, IdentityStore
from agent.store.token_keys import TokenKeys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agent.settings import IdentitySettings
    from agent.store.deployment import DeploymentRecord
    from agent.store.state import IdentityState


@frozen(kw_only=True)
class Consumer:
    """One consumer of the credential: what it confirmed last, and what is in the way."""

    target: str
    """What it is called, as ``strongswan /run/charon.vici``."""
    generation: int | None = None
    since: str | None = None
    error: str | None = None
    """Why it does not use the present generation; None when it does."""
    remedy: str | None = None
    attempts: int = 0


@frozen(kw_only=True)
class Overview:
    """One identity at a glance. Times are ISO 8601 in UTC; None where there is nothing to say.

    ``state`` is one of: unenrolled, deploying, valid, due, expiring, on-hold, expired, not-yet-valid, revoked,
    damaged; where nothing valid is installed also ``open_state``, or the verdict of the last attempt (rejected,
    unreachable, needs-secret ...). ``deploying``: all is well but for a consumer that does not use the certificate yet.
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
    situation: str | None = None
    """The ``state`` that the history knows, and ``since`` when."""
    since: str | None = None
    last_success: str | None = None
    """When a certificate was installed last."""
    attempts: int = 0
    """How many failed one after another."""
    last_error: str | None = None
    remedy: str | None = None
    failed_at: str | None = None
    retry_at: str | None = None
    """When the daemon tries again after the last attempt failed."""
    next_action: str | None = None
    next_action_at: str | None = None
    refreshed_at: str | None = None
    """When the authority was last asked with success what changed."""
    refresh_at: str | None = None
    """When it is asked again."""
    refresh_error: str | None = None
    """Why it could not be asked the last time."""
    usable: bool = False
    """Whether a certificate is installed that is valid now, as far as the clock can tell."""
    consumers: tuple[Consumer, ...] = ()
    """Who is to use it, in the order of the configuration."""
    held_back: int | None = None
    """A newer generation that a consumer refused, for which the present one was brought back."""
    retire_at: str | None = None
    """When the time of an old key on a token has come."""
    deploy_at: str | None = None
    """When a consumer is brought the credential, or asked whether it still has it, next."""
    running: bool = False
    """Whether enrolld is at work on it; only enrolld knows."""


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
    facts["retire_at"] = _retiring(store)
    certificate = _certificate(store, settings, now, history.last_success, facts)
    request = _open_request(store, facts)
    if certificate == ON_HOLD:
        state = ON_HOLD
    elif isinstance(certificate, CertificateState) and certificate in _GOOD:
        state = str(certificate)
        if settings is not None and settings.deploy:
            state = _deployment(store, settings, certificate, now, facts)
    else:
        failed = history.last_error.verdict if history.last_error else None
        state = str(request or certificate or failed or "unenrolled")
    return Overview(state=state, **facts)


DEPLOYING: Final = "deploying"

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
    begins, ends = (_moment(description[name]) for name in ("not_before", "not_after"))
    share = renewal.AT if settings is None else units.share(settings.renewal.at)
    jitter = renewal.JITTER if settings is None else units.share(settings.renewal.jitter)
    return renewal.plan(
        begins,
        ends,
        now=now,
        device=f"{name} {settings.subject if settings else ''}",
        at=share,
        jitter=jitter,
        last_issuance=last_issuance,
    )


def _moment(value: object) -> datetime:
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return moment


def _take_history(history: IdentityState, facts: dict[str, Any]) -> None:
    facts["attempts"] = history.attempts
    facts["last_success"] = history.last_success.isoformat() if history.last_success else None
    facts["situation"] = history.situation
    facts["since"] = history.since.isoformat() if history.since else None
    facts["next_action"] = history.next_action
    facts["next_action_at"] = history.next_action_at.isoformat() if history.next_action_at else None
    facts["refreshed_at"] = history.refreshed_at.isoformat() if history.refreshed_at else None
    facts["refresh_at"] = history.refresh_at.isoformat() if history.refresh_at else None
    facts["refresh_error"] = history.refresh_error
    if history.last_error is not None:
        facts["last_error"] = history.last_error.text
        facts["remedy"] = history.last_error.remedy
        facts["failed_at"] = history.last_error.at.isoformat()
        facts["retry_at"] = facts["next_action_at"]
    if history.damage:
        facts["last_error"], facts["remedy"] = history.damage, history.damage_remedy


def _retiring(store: IdentityStore) -> str | None:
    try:
        at = TokenKeys(store.directory).retire_at()
    except (StateCorrupt, StateNewer):
        return None  # the next job tells of it
    return at.isoformat() if at else None


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
        description, marks = current.described
        facts.update(
            subject=description["subject"],
            serial=description["serial"],
            not_before=description["not_before"],
            not_after=description["not_after"],
            generation=current.number,
            confirmed=bool(marks.get(CONFIRMED)),
        )
        plan = renewal_plan(description, name, settings, now=now, last_issuance=last_issuance)
    except (StateCorrupt, KeyError, ValueError) as error:
        remedy = getattr(error, "remedy", f"Run 'enrollctl enroll {name} --again'.")
        facts.update(last_error=str(error), remedy=remedy, failed_at=None)
        return "damaged"
    if REVOKED in marks:
        return "revoked"
    state = plan.state(now)
    clock_is_behind = clock.assess(now, build_time=RELEASED) is clock.ClockState.UNTRUSTED_PAST
    facts["usable"] = state in _GOOD or (state is CertificateState.NOT_YET_VALID and clock_is_behind)
    if state is CertificateState.NOT_YET_VALID:
        trouble = f"by this machine's clock ({now:%Y-%m-%d %H:%M} UTC) the certificate is not valid yet"
        facts.update(last_error=trouble, remedy="Set the clock.", failed_at=None)
    if state in _GOOD and marks.get(ON_HOLD):
        return ON_HOLD
    if state in _GOOD and facts.get("retry_at") is None:
        facts["next_action"], facts["next_action_at"] = "renew", plan.due.isoformat()
    return state


def _deployment(
    store: IdentityStore,
    settings: IdentitySettings,
    certificate: CertificateState,
    now: datetime,
    facts: dict[str, Any],
) -> str:
    """Say who uses the credential; return the state, which is ``deploying`` when somebody lacks it.

    A renewal that is due comes first, unless the certificate it brought last time is held back: what is needed then is
    not one more, but that this one be accepted.
    """
    record = DeploymentFile(store.directory).load()
    number = facts["generation"]
    held = next((one for one in store.generations if one.number == record.held_back), None)
    names = labels(settings.deploy)
    facts["consumers"] = tuple(_consumer(name, record, number, held=held is not None) for name in names)
    facts["held_back"] = held.number if held else None
    times = [_not_absurd(record.of(name).next_at, settings, now) for name in names]
    times += [_not_absurd(record.held_until, settings, now)] if held else []
    facts["deploy_at"] = min(times).isoformat()
    lacking = [one for one in facts["consumers"] if one.error]
    renewable = certificate if held is None else _state_of(held, store.name, settings, now)
    if not lacking or renewable is not CertificateState.VALID:
        return str(certificate)
    facts.update(last_error=f"{lacking[0].target}: {lacking[0].error}", remedy=lacking[0].remedy)
    facts.update(failed_at=record.of(lacking[0].target).failed_at)
    facts.update(next_action="deploy", next_action_at=facts["deploy_at"])
    return DEPLOYING


def _consumer(name: str, record: DeploymentRecord, number: int, *, held: bool) -> Consumer:
    one = record.of(name)
    known: dict[str, Any] = {"target": name, "generation": one.generation, "since": one.since}
    if held and name == record.held_by:
        return Consumer(**known, error=record.held_error, remedy=record.held_remedy, attempts=record.held_attempts)
    if one.generation == number and not one.error:
        return Consumer(**known)
    error, remedy = one.error or "it is still to be brought there", one.remedy or "Nothing: it is done by itself."
    return Consumer(**known, error=error, remedy=remedy, attempts=one.attempts)


def _state_of(generation: Generation, name: str, settings: IdentitySettings, now: datetime) -> CertificateState | None:
    try:
        return renewal_plan(generation.description, name, settings, now=now, last_issuance=None).state(now)
    except (StateCorrupt, StateNewer, KeyError, ValueError):  # it cannot be brought forward: as if it were not there
        return None


def _not_absurd(at: str | None, settings: IdentitySettings, now: datetime) -> datetime:
    """Return when something is due; at once for a moment so far ahead that the clock was wrong when it was written."""
    due = now if at is None else datetime.fromisoformat(at)
    longest = max(deployment.LONGEST, settings.deploy_check)
    return now if (due - now).total_seconds() > longest else due


def _is_confirmed(store: IdentityStore, number: object) -> bool:
    try:
        return any(one.confirmed for one in store.generations if one.number == number)
    except StateCorrupt:
        return False


def _open_request(store: IdentityStore, facts: dict[str, Any]) -> str | None:
    try:
        snapshot = store.transaction.load_snapshot()
    except StateCorrupt:
        return None  # the next attempt reports it and starts anew
    except StateNewer as error:
        facts["last_error"], facts["remedy"] = str(error), error.remedy
        return None  # the next attempt says so, and makes no other one
    transaction: Any = (snapshot or {}).get("transaction") or {}
    state = _OPEN.get(transaction.get("state"))
    if snapshot is None or state is None:
        return None
    if state == "confirming" and _is_confirmed(store, snapshot.get("generation")):
        state = "installing"  # the worker was cut off just after it had marked the generation
    facts["open_request"] = str(snapshot.get("action"))
    facts["open_state"] = state
    facts["next_action"] = "ask the CA again"
    facts["next_action_at"] = transaction.get("check_at")
    return state
