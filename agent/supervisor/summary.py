"""All identities in one line, for systemd's STATUS=."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from agent.supervisor.words import moment_words

if TYPE_CHECKING:
    from collections.abc import Collection

    from agent.supervisor.kept import Kept


def summary(identities: Collection[Kept], now: datetime) -> str:
    """Return how many certificates are in which state, who needs a person, and what is next."""
    if not identities:
        return "no identity is configured"
    counts = Counter(one.state or "not looked at yet" for one in identities)
    words = [f"{len(identities)} {'identity' if len(identities) == 1 else 'identities'}: "]
    words.append(", ".join(f"{number} {state}" for state, number in counts.most_common()))
    waiting = [one.name for one in identities if one.by_person]
    if waiting:
        words.append(f"; {waiting[0]}{' and others' if waiting[1:] else ''} needs a person: see enrollctl status")
    following = min((one for one in identities if one.next_action and one.next_at), key=_next_at, default=None)
    if following is not None and following.next_at is not None:
        words.append(f"; next: {following.name}: {following.next_action} {moment_words(following.next_at, now)}")
    return "".join(words)


def _next_at(one: Kept) -> datetime:
    assert one.next_at is not None  # noqa: S101 - chosen so
    return one.next_at
