"""What is remembered between two jobs: the record of attempts, and the transaction that is still open.

``state.json`` is the history that people and the schedule want to see. It is never the truth about a credential, so one
that is damaged, or of a newer version, is put aside when the next is written. ``transaction/`` is different: it is the
only thing that leads back to a request the CA may have answered already, so a damaged one is an error.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from agent.digest import sha256_hex
from agent.errors import StateCorrupt, StateNewer
from agent.frozen import frozen
from agent.store import aside, atomic, documents
from agent.store.credential import KEY_REFERENCE, PRIVATE_KEY, check_reference, file_reference
from agent.store.refusal import RefusedSecret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agent.store.documents import JSON

SNAPSHOT: Final = "snapshot.json"
STATE: Final = "state.json"


@frozen(kw_only=True)
class LastError:
    """Why the last attempt did not succeed: what happened, what to do next, the verdict, and when it was (UTC)."""

    text: str
    remedy: str
    verdict: str
    at: datetime


@frozen(kw_only=True)
class IdentityState:
    """The record of one identity. Times are aware and UTC; whoever reads a deadline clamps it: clocks were wrong."""

    attempts: int = 0
    """How many failed one after another; 0 after a success."""
    last_error: LastError | None = None
    last_success: datetime | None = None
    next_action: str | None = None
    """What the schedule does next, in the schedule's words."""
    next_action_at: datetime | None = None
    since: datetime | None = None
    """Since when the identity is in the situation it is in."""
    refresh_at: datetime | None = None
    """When the authority is asked again what changed; None: never, or nothing is installed yet."""
    refreshed_at: datetime | None = None
    """When it was asked last with success."""
    refresh_failures: int = 0
    """How many refreshes failed one after another."""
    refresh_error: str | None = None
    """Why the last one did."""
    situation: str | None = None
    """What that is, in a word of ``agent.overview``."""
    refused_secret: RefusedSecret | None = None
    """What is remembered of the one-time secret that the CA refused last; None once another one was sent."""
    other: Mapping[str, JSON] = field(default_factory=dict)
    """Fields this version does not know; they are written back as they were."""
    damage: str = ""
    """Why the record on disk cannot be read, and is put aside when the next is written; it is not written itself."""
    damage_remedy: str = ""


class StateFile:
    """``state.json`` of one identity. It is written without the lock of the identity: workers come and go meanwhile."""

    def __init__(self, directory: Path) -> None:
        """Keep the directory of the identity; it is not touched yet."""
        self.path = directory / STATE

    def load(self) -> IdentityState:
        """Read the record; an empty one when there is none yet. Nothing is changed by it.

        For one that is damaged, or of a newer version, an empty one is returned, which tells so in ``damage``. Raise
        :class:`agent.errors.StateError` when the disk does not let us read.
        """
        try:
            data = atomic.read_if_present(self.path)
            return IdentityState() if data is None else _state_from(data, self.path)
        except StateNewer as error:
            remedy = (
                "Nothing needs to be done while this version stays: it begins a new record, and keeps that one as "
                f"{aside.newer_name(STATE, error)}."
            )
            return IdentityState(damage=str(error), damage_remedy=remedy)
        except StateCorrupt as error:
            return IdentityState(damage=str(error), damage_remedy=error.remedy)

    def save(self, state: IdentityState) -> None:
        """Write the record, durably; what is there and cannot be read is kept beside it (:mod:`agent.store.aside`).

        Raise :class:`agent.errors.StateError`; :class:`ValueError` for naive times.
        """
        data = documents.encode(_document_of(state))
        directory = self.path.parent
        if not directory.is_dir():
            atomic.make_directory(directory.parent)
            atomic.make_directory(directory)
        with atomic.sweeping_held_off(directory):
            aside.keep_unread(self.path, _state_from)
            atomic.write_file(self.path, data)


class TransactionDirectory:
    """``transaction/`` of one identity: the key and the snapshot of a request that is not settled.

    The order is: :meth:`prepare`, then the key (made at :attr:`key_path`, or named by :meth:`write_key_reference`),
    then :meth:`save_snapshot` before each message is sent, and :meth:`clear` when the outcome is durable elsewhere.
    """

    def __init__(self, directory: Path) -> None:
        """Keep the directory of the identity; it is not touched yet."""
        self.path = directory / "transaction"
        self._prepared = False

    @property
    def key_path(self) -> Path:
        """Where a software key for this transaction is made."""
        return self.path / PRIVATE_KEY

    @property
    def key_reference(self) -> str | None:
        """The URI of this transaction's key: the one written, or else that of :attr:`key_path`; None without a key.

        Raise :class:`agent.errors.StateCorrupt` when what was written is damaged.
        """
        path = self.path / KEY_REFERENCE
        data = atomic.read_if_present(path)
        if data is None:
            return file_reference(self.key_path) if os.path.lexists(self.key_path) else None
        try:
            return check_reference(data.decode("ascii").strip())
        except ValueError as error:
            raise StateCorrupt(f"{path} does not name a key", remedy=self._remedy) from error

    def prepare(self) -> None:
        """Make the directory, durably, so that a key can be made in it. Raise :class:`agent.errors.StateError`."""
        if not self._prepared:
            atomic.make_directory(self.path)
            self._prepared = True

    def write_key_reference(self, reference: str) -> None:
        """Remember a key that is elsewhere, durably. Raise :class:`ValueError` when it is no URI on one line."""
        data = f"{check_reference(reference)}\n".encode("ascii")
        self.prepare()
        atomic.write_file(self.path / KEY_REFERENCE, data)

    def save_snapshot(self, snapshot: Mapping[str, JSON]) -> None:
        """Replace the snapshot (a JSON object), durably, before the message it belongs to is sent."""
        document: dict[str, JSON] = {"sha256": _digest(snapshot), "snapshot": dict(snapshot)}
        self.prepare()
        atomic.write_file(self.path / SNAPSHOT, documents.encode(document, indent=None))

    def load_snapshot(self) -> dict[str, JSON] | None:
        """Read the snapshot; None when no transaction is open.

        Raise :class:`agent.errors.StateCorrupt` when it is not what was written, and
        :class:`agent.errors.StateNewer` when a newer enrolld wrote it.
        """
        path = f"{self.path}/{SNAPSHOT}"
        data = atomic.read_if_present(path)
        if data is None:
            return None
        document = documents.decode(data, path, remedy=self._remedy)
        snapshot = documents.section(document, "snapshot", path, remedy=self._remedy)
        if document.get("sha256") != _digest(snapshot):
            raise StateCorrupt(f"{path} is not what was written", remedy=self._remedy)
        return snapshot

    def clear(self) -> None:
        """Close the transaction: key, reference and snapshot go together, durably; without one nothing happens.

        Their blocks are free for good once the directory of the identity is synced, as the next record of an attempt
        does; after a power cut before that the next holder of the lock sweeps.
        """
        self._prepared = False
        atomic.remove_tree(self.path, swept=True)

    def sweep(self) -> None:
        """Remove what a crash left half written. For whoever holds the lock of the identity."""
        if self.path.is_dir():
            atomic.sweep(self.path)

    @property
    def _remedy(self) -> str:
        identity = self.path.parent.name
        return (
            f"ask the CA whether it issued a certificate for {identity}, remove {self.path}, and run "
            f"'enrollctl enroll {identity}' (a new one-time secret may be needed)"
        )


def _digest(snapshot: Mapping[str, JSON]) -> str:
    text = json.dumps(dict(snapshot), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256_hex(text.encode("ascii"))


_KNOWN: Final = frozenset(
    {
        *("version", "attempts", "last_error", "last_success", "next_action", "next_action_at", "since", "situation"),
        *("refresh_at", "refreshed_at", "refresh_failures", "refresh_error", "refused_secret"),
    }
)


def _document_of(state: IdentityState) -> dict[str, JSON]:
    other = {name: value for name, value in state.other.items() if name not in _KNOWN}
    return other | {
        "attempts": state.attempts,
        "last_error": _written_error(state.last_error),
        "last_success": _written(state.last_success),
        "next_action": state.next_action,
        "next_action_at": _written(state.next_action_at),
        "since": _written(state.since),
        "refresh_at": _written(state.refresh_at),
        "refreshed_at": _written(state.refreshed_at),
        "refresh_failures": state.refresh_failures,
        "refresh_error": state.refresh_error,
        "situation": state.situation,
        "refused_secret": None if state.refused_secret is None else asdict(state.refused_secret),
    }


def _state_from(data: bytes, path: Path) -> IdentityState:
    remedy = "Nothing needs to be done: a new record is begun."
    document = documents.decode(data, path, remedy=remedy)
    try:
        return IdentityState(
            attempts=_count(document.get("attempts", 0)),
            last_error=_last_error(document.get("last_error")),
            last_success=_moment(document.get("last_success")),
            next_action=None if document.get("next_action") is None else _text(document["next_action"]),
            next_action_at=_moment(document.get("next_action_at")),
            since=_moment(document.get("since")),
            refresh_at=_moment(document.get("refresh_at")),
            refreshed_at=_moment(document.get("refreshed_at")),
            refresh_failures=_count(document.get("refresh_failures", 0)),
            refresh_error=None if document.get("refresh_error") is None else _text(document["refresh_error"]),
            situation=None if document.get("situation") is None else _text(document["situation"]),
            refused_secret=_refused_secret(document.get("refused_secret")),
            other={name: value for name, value in document.items() if name not in _KNOWN},
        )
    except (ValueError, OverflowError) as error:
        raise StateCorrupt(f"{path} is no record of ours: {error}", remedy=remedy) from error


def _last_error(value: JSON) -> LastError | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("last_error is no object")  # noqa: TRY004 - one kind of error for everything that is damaged
    at = _moment(value.get("at"))
    if at is None:
        raise ValueError("last_error has no time")
    text, remedy, verdict = (_text(value.get(name)) for name in ("text", "remedy", "verdict"))
    return LastError(text=text, remedy=remedy, verdict=verdict, at=at)


def _refused_secret(value: JSON) -> RefusedSecret | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("refused_secret is no object")  # noqa: TRY004 - as above
    return RefusedSecret(salt=_text(value.get("salt")), mark=_text(value.get("mark")))


def _count(value: JSON) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no number of attempts")
    return value


def _text(value: JSON) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")  # noqa: TRY004 - as above
    return value


def _moment(value: JSON) -> datetime | None:
    if value is None:
        return None
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    return moment.astimezone(UTC)


def _written_error(error: LastError | None) -> JSON:
    if error is None:
        return None
    return {"text": error.text, "remedy": error.remedy, "verdict": error.verdict, "at": _written(error.at)}


def _written(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).isoformat()
