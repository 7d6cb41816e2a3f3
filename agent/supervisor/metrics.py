"""Figures for Prometheus as a text file, as node_exporter's textfile collector reads it (``*.prom``).

Written in one step when something changed, so that a reader never sees half a file.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Final

from agent.store.faults import reported

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from agent.overview import Overview

_FIGURES: Final[dict[str, tuple[str, str]]] = {
    "ready": ("gauge", "Whether a certificate is installed that is valid now (1) or not (0)."),
    "not_before_seconds": ("gauge", "When the certificate begins to be valid, in seconds since 1970."),
    "not_after_seconds": ("gauge", "When the certificate expires, in seconds since 1970."),
    "state": ("gauge", "1 for the state that the identity is in, a word of 'enrollctl status'."),
    "failed_attempts": ("gauge", "How many attempts failed one after another; 0 after a success."),
    "last_success_seconds": ("gauge", "When a certificate was issued last, in seconds since 1970."),
    "next_action_seconds": ("gauge", "When the daemon does something next, in seconds since 1970."),
    "state_since_seconds": ("gauge", "Since when the identity is in its state, in seconds since 1970."),
}
"""Name after ``enrolld_identity_``, type and help."""


def text(seen: Iterable[Overview]) -> str:
    """Return the file for these identities, in the exposition format (https://prometheus.io, version 0.0.4)."""
    everybody = tuple(seen)
    lines = []
    for name, (kind, help_) in _FIGURES.items():
        lines += [f"# HELP enrolld_identity_{name} {help_}", f"# TYPE enrolld_identity_{name} {kind}"]
        for one in everybody:
            value = _value(one, name)
            if value is not None:
                state = f',state="{_escaped(one.state)}"' if name == "state" else ""
                lines.append(f'enrolld_identity_{name}{{identity="{_escaped(one.name)}"{state}}} {value:.15g}')
    return "\n".join(lines) + "\n"


def write(path: Path, content: str) -> None:
    """Put the file in place in one step; it can be made anew at any time, so nothing waits for the disk.

    Raises:
        StateError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.new")
    with reported("write", path):
        # Others may write in this directory: what they left there is replaced, and neither written to nor waited for.
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(descriptor, 0o644)  # whatever the umask is: the collector is another user
            stream.write(content)
        draft.replace(path)


def _value(one: Overview, name: str) -> float | None:
    moments = {
        "not_before_seconds": one.not_before,
        "not_after_seconds": one.not_after,
        "last_success_seconds": one.last_success,
        "next_action_seconds": one.next_action_at,
        "state_since_seconds": one.since,
    }
    if name in moments:
        moment = moments[name]
        return None if moment is None else datetime.fromisoformat(moment).timestamp()
    return {"ready": float(one.usable), "state": 1.0, "failed_attempts": float(one.attempts)}[name]


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
