"""The open request on disk: what is written before each message, and whether it can go on after an interruption."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from agent.cmp import memory
from agent.cmp.certificates import load as load_certificate
from agent.cmp.certificates import read
from agent.cmp.errors import LocalError
from agent.cmp.memory import Memory, recall
from agent.cmp.states import State
from agent.contract import Action
from agent.errors import StateCorrupt
from agent.frozen import frozen
from agent.store import documents
from agent.store.state import SNAPSHOT

if TYPE_CHECKING:
    from pathlib import Path

    from agent.cmp.transaction import Transaction
    from agent.store.generations import Generation, IdentityStore
    from agent.store.state import TransactionDirectory
    from agent.worker.lifespan import Lifespan

_VERSION: Final = 1

UNCONFIRMED: Final = frozenset({State.WAITING, State.POLLING, State.CHALLENGED, State.PROVING, State.ISSUED})
"""States of a request that can go on and whose certificate, if it came, the CA was never told about."""

_UNANSWERED: Final = frozenset({State.READY, State.REQUESTED})
_DECLINED: Final = frozenset({State.REJECTED, State.REFUSED})


@frozen(kw_only=True)
class OpenRequest:
    """A request that was interrupted and can go on."""

    action: Action
    url: str | None
    """The address it was sent to: it goes on there."""
    started_at: datetime
    dated: bool
    """Whether a clock that can be right said when it was started."""
    generation: int | None
    """The number of the generation its certificate was written to, once it was."""
    told_before: bool
    """Whether certConf may have gone out before the worker that wrote this was started."""
    memory: Memory

    @property
    def may_be_confirmed(self) -> bool:
        """Whether the CA may have confirmed the certificate although it says no, or nothing, to a certConf now."""
        if self.memory.state is State.DISPUTED:
            return self.told_before  # the CA has answered: what that is worth was settled then
        return self.memory.state not in UNCONFIRMED

    def find_generation(self, store: IdentityStore) -> Generation | None:
        """Return the generation its certificate was written to; None when there is none yet."""
        return next((one for one in store.generations if one.number == self.generation), None)


@frozen
class LostRequest:
    """A request that cannot go on. Its key is used again, so that the CA can recognise what it issued already.

    ``reason`` is empty where nothing was lost: the CA said no, and a new request is the way on.
    """

    reason: str


def judged_in_time(opened: OpenRequest, now: datetime) -> OpenRequest | LostRequest:
    """Return ``opened``, or why it cannot go on: its certificate ended while nobody was there to take it.

    One that had ended when it came is judged like any other: there a clock is wrong, and the CA is told.
    """
    if opened.memory.state is not State.ISSUED:
        return opened
    ends = read(load_certificate(opened.memory.certificate)).not_after
    if opened.started_at < ends <= now:
        return LostRequest(f"its certificate ended on {ends:%Y-%m-%d %H:%M} UTC, before it was taken into use")
    return opened


def save(
    directory: TransactionDirectory,
    transaction: Transaction,
    *,
    action: Action,
    url: str | None,
    lifespan: Lifespan,
    generation: int | None,
    told_before: bool,
) -> None:
    """Make the request durable as it stands.

    Raises:
        StateError: when the disk does not let us.
    """
    directory.save_snapshot(
        {
            "version": _VERSION,
            "action": action.value,
            "url": url,
            "started_at": lifespan.started_at.isoformat(),
            "dated": lifespan.dated,
            "generation": generation,
            "told_before": told_before,
            "transaction": transaction.snapshot(),
        }
    )


def load(directory: TransactionDirectory) -> OpenRequest | LostRequest | None:
    """Return the request in ``directory``; None when there is none.

    Raises:
        StateError: when the disk does not let us read it.
        StateNewer: when a newer version wrote it: only that one knows what the CA was asked for.
    """
    try:
        snapshot = directory.load_snapshot()
    except StateCorrupt as error:
        return LostRequest(str(error))
    return None if snapshot is None else _read(snapshot, directory.path / SNAPSHOT)


def _read(snapshot: dict[str, Any], path: Path) -> OpenRequest | LostRequest:
    documents.refuse_newer(snapshot.get("version"), _VERSION, path)
    if isinstance(transaction := snapshot.get("transaction"), dict):
        documents.refuse_newer(transaction.get("version"), memory.VERSION, path)
    if snapshot.get("version") != _VERSION:
        return LostRequest("it was written by another version of enrolld")
    try:
        found = OpenRequest(
            action=Action(snapshot["action"]),
            url=snapshot["url"],
            started_at=datetime.fromisoformat(snapshot["started_at"]),
            dated=bool(snapshot.get("dated", True)),
            generation=snapshot["generation"],
            told_before=bool(snapshot.get("told_before", True)),
            memory=recall(snapshot["transaction"]),
        )
    except (KeyError, TypeError, ValueError, LocalError) as error:
        return LostRequest(f"it is not as we write it ({error})")
    if found.memory.state in _UNANSWERED:
        # Nobody can say whether the CA got the request, and the same octets might count as a replay.
        return LostRequest("no answer arrived that could be used")
    return LostRequest("") if found.memory.state in _DECLINED else found
