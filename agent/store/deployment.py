"""Which generation is live at which consumer: ``deployment.json`` of an identity.

It is what the consumers confirmed, and when. It is no truth about the credential: a record that is damaged, or of a
newer version, is put aside when the next is written, and every consumer is brought the current generation anew. Written
under the lock of the identity, read without.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from agent import structure
from agent.errors import StateCorrupt, StateNewer
from agent.frozen import frozen
from agent.store import aside, atomic, documents
from agent.store.faults import reported

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from agent.settings import DeployTarget
    from agent.store.generations import IdentityStore

RECORD: Final = "deployment.json"
_REMEDY: Final = "nothing needs to be done: every consumer is brought the credential anew"


@frozen(kw_only=True)
class TargetRecord:
    """What is known of one consumer. Times are ISO 8601 in UTC."""

    generation: int | None = None
    """The generation it confirmed last."""
    since: str | None = None
    proof: str = ""
    """What it confirmed, in words."""
    checked_at: str | None = None
    trying: int | None = None
    """The generation that was brought to it last, confirmed or not."""
    attempts: int = 0
    """How many failed one after another."""
    error: str = ""
    remedy: str = ""
    failed_at: str | None = None
    next_at: str | None = None
    """When it is tried or asked again."""


@frozen(kw_only=True)
class DeploymentRecord:
    """What is known of all consumers, by their labels."""

    targets: dict[str, TargetRecord] = field(default_factory=dict)
    held_back: int | None = None
    """A newer generation that was refused, so that an older one was brought back; it is tried again."""
    held_by: str = ""
    """Who refused it: the label of a consumer."""
    held_error: str = ""
    held_remedy: str = ""
    held_attempts: int = 0
    held_until: str | None = None
    """When it is tried again."""

    def of(self, label: str) -> TargetRecord:
        """Return what is known of one consumer."""
        return self.targets.get(label, TargetRecord())

    def having(self, label: str, **changes: Any) -> DeploymentRecord:
        """Return this record with ``changes`` to one consumer."""
        return replace(self, targets=self.targets | {label: replace(self.of(label), **changes)})

    def released(self) -> DeploymentRecord:
        """Return this record with nothing held back."""
        return DeploymentRecord(targets=self.targets)

    def only(self, labels: Iterable[str]) -> DeploymentRecord:
        """Return this record without consumers that are no longer configured."""
        wanted = set(labels)
        return replace(self, targets={label: one for label, one in self.targets.items() if label in wanted})


def labels(targets: Iterable[DeployTarget]) -> tuple[str, ...]:
    """Return what consumers are called in the record: their labels, numbered where one comes twice."""
    seen: Counter[str] = Counter()
    named = []
    for one in targets:
        seen[one.label] += 1
        named.append(one.label if seen[one.label] == 1 else f"{one.label} ({seen[one.label]})")
    return tuple(named)


class DeploymentFile:
    """``deployment.json`` of one identity."""

    def __init__(self, directory: Path) -> None:
        """Keep the directory of the identity; it is not touched yet."""
        self.path = directory / RECORD

    def load(self) -> DeploymentRecord:
        """Read the record; an empty one when there is none, and for one that cannot be read. Nothing is changed by it.

        Raises:
            StateError: the disk does not let us read.
        """
        try:
            data = atomic.read_if_present(self.path)
            return DeploymentRecord() if data is None else _record(data, self.path)
        except (StateCorrupt, StateNewer):
            with reported("look at", self.path):
                os.stat(self.path)
            return DeploymentRecord()

    def save(self, record: DeploymentRecord) -> None:
        """Write the record, durably; what is there and cannot be read is kept beside it (:mod:`agent.store.aside`).

        Raises:
            StateError: the disk does not let us.
        """
        aside.keep_unread(self.path, _record)
        atomic.write_file(self.path, documents.encode({"deployment": structure.to_json(record)}))


def _record(data: bytes, path: Path) -> DeploymentRecord:
    document = documents.decode(data, path, remedy=_REMEDY)
    try:
        record = structure.from_json(DeploymentRecord, document.get("deployment"))
        for one in record.targets.values():
            for at in (one.since, one.checked_at, one.failed_at, one.next_at, record.held_until):
                _demand_zone(at)
    except (structure.StructureError, ValueError) as error:
        raise StateCorrupt(f"{path} is no record of ours: {error}", remedy=_REMEDY) from error
    return record


def _demand_zone(at: str | None) -> None:
    if at is not None and datetime.fromisoformat(at).tzinfo is None:
        raise ValueError(f"{at} has no time zone")


def moment(at: datetime) -> str:
    """Return a time as the record holds it."""
    return at.astimezone(UTC).isoformat(timespec="seconds")


def oldest_in_use(store: IdentityStore) -> int | None:
    """Return the oldest generation that a consumer still uses; None when none uses any. Raise :class:`StateError`."""
    record = DeploymentFile(store.directory).load()
    return min((one.generation for one in record.targets.values() if one.generation is not None), default=None)
