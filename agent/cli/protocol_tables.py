"""The protocol as tables and a diagram for people, made from the code.

``python -m agent.cli.protocol_tables`` writes docs/protocol.md. Runtime never imports
this module; a test holds the file to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from agent.cmp.failures import FAILURES, STATUSES
from agent.cmp.profiles import PROFILES
from agent.cmp.states import ENDED, TRANSITIONS, State

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "protocol.md"


_STATES: Final = (
    "What we send follows from the state; what a verified answer says is the trigger. An answer that fails a check "
    "triggers nothing."
)


def document() -> str:
    """Return the text of docs/protocol.md."""
    return (
        "\n\n".join(
            (
                "# The protocol in tables",
                "Written by `python -m agent.cli.protocol_tables` from the code; do not edit.",
                "## A transaction",
                _STATES,
                _diagram(),
                "## Profiles",
                _profiles(),
                "## What a CA answers",
                _table(
                    ("PKIStatus", "meaning"),
                    [(f"{status.value} {status.label}", STATUSES[status]) for status in STATUSES],
                ),
                "## Why a CA says no",
                _table(
                    ("bit", "PKIFailureInfo", "meaning", "what to do", "trying again"),
                    [
                        (str(bit.value), bit.label, rule.meaning, rule.remedy, rule.retry)
                        for bit, rule in FAILURES.items()
                    ],
                ),
            )
        )
        + "\n"
    )


def main() -> None:
    """Write the file."""
    DOCUMENT.write_text(document())


def _diagram() -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {_node(State.READY)}"]
    lines += [f"    {_node(start)} --> {_node(end)}: {trigger}" for (start, trigger), end in TRANSITIONS.items()]
    lines += [f"    {_node(state)} --> [*]" for state in State if state in ENDED]
    return "\n".join((*lines, "```"))


def _node(state: State) -> str:
    return state.value.replace("-", "_")


def _profiles() -> str:
    rows = {
        "written down in": [one.source for one in PROFILES.values()],
        "requests": [_listed(kind.label for kind in one.requests) for one in PROFILES.values()],
        "certConf may be left out": ["yes" if one.implicit_confirmation else "no" for one in PROFILES.values()],
        "a shared secret may protect": ["yes" if one.shared_secrets else "no" for one in PROFILES.values()],
        "subject in the first request": [
            "as configured" if one.names_itself else "none: the CA gives it (poposkInput names the vendor's)"
            for one in PROFILES.values()
        ],
        "keys we make or use": [_listed(one.keys) for one in PROFILES.values()],
        "signatures we make": [_listed(one.signatures) for one in PROFILES.values()],
        "proof of keys that do not sign": [
            f"{one.proof} ({'EnvelopedData' if one.enveloped else 'as in RFC 4210 for RSA'})"
            for one in PROFILES.values()
        ],
        "error when we give up": ["sent" if one.sends_error else "not sent" for one in PROFILES.values()],
        "hashes in certificates": [_listed(one.algorithms.hashes) for one in PROFILES.values()],
        "least RSA key": [f"{one.algorithms.rsa_bits} bits" for one in PROFILES.values()],
        "SHA-1 and MD5 in protection": [
            "accepted" if one.protection.legacy else "refused" for one in PROFILES.values()
        ],
        "warning": [one.warning or "-" for one in PROFILES.values()],
    }
    return _table(("", *(f"`{name}`" for name in PROFILES)), [(title, *cells) for title, cells in rows.items()])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    main()
