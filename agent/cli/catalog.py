"""The journal's message catalogue, made from the table of events: what ``journalctl -x`` adds to an entry.

``python -m agent.cli.catalog`` writes systemd/enrolld.catalog. Runtime never imports this module; a test holds the file
to it.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

from agent.events import EVENTS, EventRule

CATALOG: Final = Path(__file__).parents[2] / "systemd" / "enrolld.catalog"

_HEAD: Final = """\
# What journalctl -x adds to the entries of enrolld. This file is made by: python -m agent.cli.catalog
# Install it as /usr/lib/systemd/catalog/enrolld.catalog, then run: journalctl --update-catalog
"""
_WIDTH: Final = 76


def document() -> str:
    """Return the text of systemd/enrolld.catalog."""
    return "\n".join((_HEAD, *(_entry(rule) for rule in EVENTS.values())))


def _entry(rule: EventRule) -> str:
    return "\n".join(
        (
            f"-- {rule.message_id}",
            f"Subject: {rule.subject}",
            "Defined-By: enrolld",
            "Support: file:///usr/share/doc/enrolld/README.md",
            "Documentation: man:enrolld(8) man:enrollctl(1)",
            "",
            textwrap.fill(rule.happened, _WIDTH),
            "",
            textwrap.fill(f"What to do: {rule.to_do}", _WIDTH),
            "",
        )
    )


def main() -> None:
    """Write the file anew."""
    CATALOG.write_text(document())


if __name__ == "__main__":
    main()
