"""Events into the systemd journal with their fields, and onto standard error in the same words.

systemd-python's C module is used directly: its Python layer costs the resident program 3 MiB (``logging``, ``uuid``).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from agent.events import EVENTS, Event, sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET: Final = Path("/run/systemd/journal/socket")


def available() -> bool:
    """Tell whether a journald listens here."""
    return SOCKET.exists()


def leads_to_journal(stream: IO[str]) -> bool:
    """Tell whether what is written to ``stream`` ends up in the journal (JOURNAL_STREAM, systemd.exec(5))."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def query(state_directory: Path) -> tuple[str, ...]:
    """Return the arguments of ``journalctl`` for what enrolld has written.

    Everybody may write under its name; who did, journald has from the kernel (``_UID``). It is root, the owner of the
    state directory, or whoever asks.
    """
    writers = {0, os.geteuid()}
    with suppress(OSError):
        writers.add(state_directory.stat().st_uid)
    return ("--identifier=enrolld", *(f"_UID={user}" for user in sorted(writers)))


def send(event: Event, text: str, fields: Mapping[str, str]) -> bool:
    """Write ``event`` with its sentence and upper-case ``fields``; return whether it went out.

    A journald that goes away meanwhile is no reason to fail: what is reported has happened already.
    """
    if not available():
        return False
    from systemd import _journal  # noqa: PLC0415 - a C extension, not needed where there is no journald

    rule = EVENTS[event]
    entry = {
        "MESSAGE": _line(text, fields),
        "MESSAGE_ID": rule.message_id,
        "PRIORITY": str(int(rule.priority)),
        "SYSLOG_IDENTIFIER": "enrolld",
        **fields,
    }
    try:
        _journal.sendv(*(f"{name}={value}".encode(errors="replace") for name, value in entry.items()))
    except OSError:
        return False
    return True


def report(event: Event, fields: Mapping[str, str] | None = None, /, **words: str) -> None:
    """Report ``event`` to the journal, and on standard error unless that is the journal too."""
    text, fields = sentence(event, words), fields or {}
    if not (send(event, text, fields) and leads_to_journal(sys.stderr)):
        _write(text, fields)


def repeat(text: str, fields: Mapping[str, str]) -> None:
    """Show on standard error what another process of ours has sent to the journal, unless it would be there twice."""
    if not (available() and leads_to_journal(sys.stderr)):
        _write(text, fields)


def say(text: str) -> None:
    """Write a line that is no event on standard error; that nobody reads it, or a disk is full, ends nobody."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"enrolld: {text}\n")
        sys.stderr.flush()


def _line(text: str, fields: Mapping[str, str]) -> str:
    return f"{fields['IDENTITY']}: {text}" if "IDENTITY" in fields else text


def _write(text: str, fields: Mapping[str, str]) -> None:
    lines = [_line(text, fields)]
    if fields.get("REMEDY"):
        lines.append(_line(f"what to do: {fields['REMEDY']}", fields))
    say("\nenrolld: ".join(lines))
