"""Events into the systemd journal, with their MESSAGE_ID and fields; silently absent where there is no journald.

The journal is written through systemd-python. Whoever reports has shown the same sentence to the person or on standard
error already, so a machine without journald loses nothing but the fields.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.events import EVENTS, Event

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET: Final = Path("/run/systemd/journal/socket")


def available() -> bool:
    """Tell whether a journald listens here."""
    return SOCKET.exists()


def send(event: Event, text: str, fields: Mapping[str, str]) -> bool:
    """Write ``event`` with its sentence and upper-case ``fields``; return whether it went out.

    A journald that goes away meanwhile is no reason to fail: what is reported has happened already.
    """
    if not available():
        return False
    from systemd import journal  # noqa: PLC0415 - a C extension, not needed where there is no journald

    rule = EVENTS[event]
    try:
        journal.send(
            text, MESSAGE_ID=rule.message_id, PRIORITY=str(int(rule.priority)), SYSLOG_IDENTIFIER="enrolld", **fields
        )
    except OSError:
        return False
    return True
