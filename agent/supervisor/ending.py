"""That a certificate ends, or has ended, is said once: early, and apart from what becomes of its renewal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from agent.events import Event
from agent.policy.renewal import CertificateState
from agent.supervisor.history import note_situation
from agent.supervisor.words import span_words, way_out

if TYPE_CHECKING:
    from pathlib import Path

    from agent.overview import Overview
    from agent.settings import IdentitySettings
    from agent.supervisor.kept import Kept
    from agent.supervisor.telling import Teller


def note_and_warn(
    kept: Kept, teller: Teller, directory: Path, identity: IdentitySettings, seen: Overview, now: datetime
) -> None:
    """Write down a new situation; where it is that the certificate ends or has ended, tell that once.

    A history that cannot be read makes every situation a new one: that it is put aside is told, too.

    Raise :class:`agent.errors.StateError` when the disk does not let us.
    """
    before = note_situation(directory, seen, now)
    if before is not None and before.damage:
        teller.tell(Event.NOTE, {"IDENTITY": seen.name, "REMEDY": before.damage_remedy}, note=before.damage)
    if before is None or seen.not_after is None:
        return
    ends = datetime.fromisoformat(seen.not_after)
    fields = {
        "IDENTITY": seen.name,
        "AUTHORITY": identity.authority,
        "CERTIFICATE_SERIAL": seen.serial or "",
        "CERTIFICATE_NOT_AFTER": seen.not_after,
    }
    words = {"not_after": f"{ends:%Y-%m-%d %H:%M} UTC"}
    if seen.state == CertificateState.EXPIRING:
        event = Event.EXPIRING
        words["left"] = span_words((ends - now).total_seconds())
    elif ends <= now and (seen.state == CertificateState.EXPIRED or seen.open_request is not None):
        event = Event.EXPIRED
        words["way_back"], fields["REMEDY"] = way_out(identity)
    else:
        return
    # A request that is opened and comes to nothing makes it look new.
    if kept.warned != (event, seen.not_after):
        kept.warned = event, seen.not_after
        teller.tell(event, fields, **words)
