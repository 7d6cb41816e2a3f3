"""docs/reliability.md: what follows a death at every effect of a worker, written down from runs that died there.

``python -m tests.unit.worker.reliability`` runs them and writes the document; test_crash holds it to its own runs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.contract import Action
from tests.unit.worker.mortal import IN_THE_NETWORK, VISIBLE, End, mortality

DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "reliability.md"
RUNS: Final = {Action.ENROLL: "First enrollment (ir)", Action.RENEW: "Key update (kur)"}

_HEAD: Final = """\
# What a power cut loses

Nothing that the CA issued, wherever it comes. This document is written by runs that die: a worker is killed by SIGKILL
just before each effect that disk or network could show, then another worker does what is left. At the end of each run
the tests hold that one valid credential is in use, every generation is whole and its key fits, and the CA knows of no
certificate in force that is not on our disk. In these runs the CA asks for patience once.

What networks, CAs, clocks and disks do to an enrollment, step by step, is in [faults.md](faults.md); what ten minutes
of kills and faults do to many, in [soak.md](soak.md); what a fleet of 100,000 does to its CA, in [fleet.md](fleet.md).

Made by: python -m tests.unit.worker.reliability
"""
_WORDS: Final = {
    "key-made": "makes a key",
    "started": "begins a request",
    "resumed": "goes on with the open request",
    "snapshot-lost": "notes that there is nothing to go on with",
    "pending": "waits",
    "verified": "checks the certificate",
    "installed": "switches to the new credential",
    "unchanged": "finds nothing to do",
}
_LABELS: Final = {"send": "sending", "recv": "the answer to", "connect": "connecting for"}


@dataclass(frozen=True)
class Tale:
    """Before which effect a worker died, and what the next one did."""

    effect: str
    next_did: str


def tale(end: End, before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> Tale:
    """Tell of one death: ``before`` and ``after`` are the progress of the two workers."""
    effect = end.effect
    if effect in {name.removesuffix("_into") for name in IN_THE_NETWORK}:
        sent = [one["fields"]["CMP_MESSAGE"] for one in before if one["event"] == "sent"]
        effect = f"{_LABELS[effect]} {sent[-1]}"
    did = [f"sends {one['fields']['CMP_MESSAGE']}" if one["event"] == "sent" else _WORDS[one["event"]] for one in after]
    return Tale(effect, ", ".join(word for place, word in enumerate(did) if did[place - 1 : place] != [word]))


def table(tales: Sequence[Tale]) -> str:
    """Return the rows; deaths one after another at like effects with the same end are one row, as are fsyncs."""
    lines = ["| died just before | what the next run did |", "| --- | --- |"]
    for one in tales:
        if not one.effect.startswith("fsync") and (line := f"| {one.effect} | {one.next_did} |") != lines[-1]:
            lines.append(line)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Let workers die everywhere, and write the document."""
    from tests.unit.worker.test_crash import die_everywhere  # noqa: PLC0415 - it imports this module

    parts = [_HEAD]
    with mortality() as undertaker:
        for action, title in RUNS.items():
            tales: list[Tale] = []
            with tempfile.TemporaryDirectory() as place:
                die_everywhere(Path(place), undertaker, action, VISIBLE, tales, polls=1)
            parts.append(f"## {title}\n\n{table(tales)}")
    DOCUMENT.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
