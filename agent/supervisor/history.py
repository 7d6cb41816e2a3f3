"""What the daemon adds to an identity's ``state.json``: what the worker could not write, and the plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from agent.store.generations import IdentityStore
from agent.store.state import LastError

if TYPE_CHECKING:
    from pathlib import Path

    from agent.contract import Outcome
    from agent.overview import Overview
    from agent.store.state import IdentityState


def note_failure(state_directory: Path, name: str, outcome: Outcome, now: datetime) -> None:
    """Count a failed attempt that ended before the worker could. Raise :class:`agent.errors.StateError`."""
    file = IdentityStore(state_directory, name).state
    before = file.load()
    error = LastError(text=outcome.text, remedy=outcome.remedy, verdict=outcome.verdict.value, at=now)
    file.save(replace(before, attempts=before.attempts + 1, last_error=error))


def note_plan(state_directory: Path, name: str, action: str | None, at: datetime) -> None:
    """Write down what is next, for ``enrollctl status`` and the next start. Raise :class:`agent.errors.StateError`."""
    file = IdentityStore(state_directory, name).state
    file.save(replace(file.load(), next_action=action, next_action_at=at))


def note_situation(state_directory: Path, seen: Overview, now: datetime) -> IdentityState | None:
    """Write down since when the identity is in the situation it is in; if that is a new one, return the record before.

    Raise :class:`agent.errors.StateError` when the disk does not let us.
    """
    if seen.situation == seen.state:
        return None
    file = IdentityStore(state_directory, seen.name).state
    before = file.load()
    file.save(replace(before, situation=seen.state, since=now))
    return before
