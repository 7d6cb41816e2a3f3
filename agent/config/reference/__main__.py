"""Write the generated files of the repository: ``python -m agent.config.reference``."""

from __future__ import annotations

import sys
from pathlib import Path

from agent.config.reference import documents

ROOT = Path(__file__).parents[3]


def main() -> None:
    """Write every file whose text changed, and name it."""
    for name, text in documents().items():
        path = ROOT / name
        if path.exists() and path.read_text() == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        sys.stdout.write(f"{name}\n")


main()
