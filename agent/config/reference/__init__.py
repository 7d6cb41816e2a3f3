"""What is made from the table of settings for people and editors: example file, JSON Schema and manual.

``python -m agent.config.reference`` writes them anew. The daemon and its workers never import this.
"""

from __future__ import annotations

from agent.config.reference.example import example
from agent.config.reference.manual import manual
from agent.config.reference.schema import schema

__all__ = ["documents", "example", "manual", "schema"]


def documents() -> dict[str, str]:
    """Return the text of every generated file by its path in the repository."""
    return {
        "config/enrolld.yaml": example(),
        "config/enrolld.schema.json": schema(),
        "docs/configuration.md": manual(),
    }
