"""The page that ends a turn-up, for the work order: what was done, with what result, and what to compare."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent import __version__, structure
from agent.cli import output
from agent.cli.checks.registry import Status
from agent.contract import VERDICTS, Outcome, Verdict
from agent.errors import AgentError, StateError
from agent.frozen import frozen
from agent.overview import look
from agent.store import atomic
from agent.store.generations import IdentityStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.cli.checks.registry import Result
    from agent.settings import Settings

_MODE: Final = 0o644
_MARGIN: Final = 16
"""Columns for the names of facts."""
_WORDS: Final = {0: "done: the certificate is installed and valid", 3: "pending: the CA has not decided yet"}


@frozen(kw_only=True)
class Report:
    """One turn-up. Times are ISO 8601 in UTC; what is not known is left out."""

    version: int = 1
    result: str
    verdict: Verdict
    text: str
    remedy: str = ""
    at: str
    seconds: float
    host: str
    software: str
    identity: str
    authority: tuple[str, ...]
    reference: str | None = None
    subject: str | None = None
    issuer: str | None = None
    serial: str | None = None
    not_before: str | None = None
    not_after: str | None = None
    next_action: str | None = None
    next_action_at: str | None = None
    transaction_id: str | None = None
    trust_anchors: tuple[str, ...] = ()
    """SHA-256 of each root, in hexadecimal."""
    anchors_learned: bool = False
    """The roots came from the CA, proven by the secret alone: their digests are to be compared with the operator's."""
    secret_removed: bool = False
    service: str | None = None
    """What systemd says of enrolld at the end; left out where it has none."""
    warnings: tuple[str, ...] = field(default=())
    """What the doctor found beside."""


def make(
    settings: Settings,
    name: str,
    outcome: Outcome,
    *,
    results: tuple[Result, ...],
    seconds: float,
    now: datetime,
    spent: bool,
) -> Report:
    """Return the report of a turn-up that ended with ``outcome``."""
    identity = settings.identities[name]
    authority = settings.authorities[identity.authority]
    shared = identity.bootstrap.shared_secret
    code = VERDICTS[outcome.verdict].command
    facts = _certificate(settings, name, now)
    return Report(
        result=_WORDS.get(code, f"not done: {VERDICTS[outcome.verdict].meaning}"),
        verdict=outcome.verdict,
        text=outcome.text,
        remedy=outcome.remedy,
        at=now.isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        host=platform.node(),
        software=f"enrolld {__version__}",
        identity=name,
        authority=authority.urls,
        reference=shared.reference if shared else None,
        anchors_learned=authority.trust_anchors is None and bool(facts.get("trust_anchors")),
        secret_removed=spent,
        warnings=tuple(
            f"{one.check}{f' ({one.about})' if one.about else ''}: {one.reason}"
            for one in results
            if one.status in {Status.WARNING, Status.FAILED}
        ),
        service=next((one.reason for one in results if one.check == "service" and one.status is Status.OK), None),
        **facts,
    )


def _certificate(settings: Settings, name: str, now: datetime) -> dict[str, Any]:
    """Return what is known of the certificate in use; nothing when there is none."""
    try:
        current = IdentityStore(settings.state_directory, name).current
        seen = look(settings.state_directory, name, settings.identities[name], now=now)
        if current is None:
            return {"subject": settings.identities[name].subject, "transaction_id": _open_transaction(settings, name)}
        description = current.description
        anchors = tuple(hashlib.sha256(one).hexdigest() for one in current.trust_anchors)
    except AgentError as error:
        return {"subject": f"unknown: {error}"}
    known = ("subject", "issuer", "serial", "not_before", "not_after", "transaction_id")
    return {key: str(description[key]) for key in known if description.get(key) is not None} | {
        "next_action": seen.next_action,
        "next_action_at": seen.next_action_at,
        "trust_anchors": anchors,
    }


def _open_transaction(settings: Settings, name: str) -> str | None:
    """Return by what the CA's operator finds a request that he has not decided on."""
    snapshot: Any = IdentityStore(settings.state_directory, name).transaction.load_snapshot() or {}
    found = (snapshot.get("transaction") or {}).get("transaction_id")
    return None if found is None else str(found)


def lines(page: Report, stream: Any = None) -> str:
    """Return the report as text of one page, folded if it is for a terminal, ``stream``."""
    facts: list[tuple[str, str | None]] = [
        ("result", page.result),
        ("", page.text),
        ("identity", page.identity),
        ("subject", page.subject),
        ("issuer", page.issuer),
        ("serial number", page.serial),
        ("valid from", _moment(page.not_before)),
        ("valid until", _moment(page.not_after)),
        ("next", page.next_action and f"{page.next_action}, {_moment(page.next_action_at)}"),
        ("authority", ", ".join(page.authority)),
        ("reference", page.reference),
        ("transactionID", page.transaction_id),
        *(("root (SHA-256)", one) for one in page.trust_anchors),
    ]
    if page.anchors_learned:
        facts.append(("compare", "this root was learned from the CA: compare its SHA-256 with the operator's"))
    if page.secret_removed:
        facts.append(("secret", "it is spent and was removed from this machine"))
    facts.append(("service", page.service))
    facts += [("noticed", one) for one in page.warnings]
    facts += [
        ("machine", page.host),
        ("software", page.software),
        ("finished", f"{_moment(page.at)}, after {page.seconds:.0f} seconds"),
    ]
    title = output.shown("TURN-UP REPORT")
    return "\n".join((title, "=" * len(title), output.facts(_translated(facts), _MARGIN, stream)))


def _translated(facts: list[tuple[str, str | None]]) -> Iterator[tuple[str, str | None]]:
    return ((name, value and output.shown(value)) for name, value in facts)


def publish(page: Report, files: tuple[Path, ...], *, as_json: bool) -> None:
    """Print the report, and write it to ``files``.

    Raises:
        StateError: a file cannot be written; the report was printed before.
    """
    document = structure.to_json(page)
    if as_json:
        output.say_json(document)
    else:
        output.say(lines(page, sys.stdout))
    for path in files:
        text = json.dumps(document, indent=2) if path.suffix == ".json" else lines(page)
        try:
            atomic.write_file(path.absolute(), f"{text}\n".encode(), _MODE)
        except StateError as error:
            raise StateError(
                f"the report cannot be written: {error}", remedy="The report is above; save it by hand."
            ) from error


def _moment(moment: str | None) -> str | None:
    return None if moment is None else f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M} UTC"
