"""What a command printed with ``--json``, held to the schema that is published for it."""

from __future__ import annotations

import json
from typing import Any

import fastjsonschema

from agent.cli.schemas import FOLDER


def valid(name: str, text: str) -> Any:
    """Return the document; it is what the file docs/schemas/NAME.schema.json says."""
    document = json.loads(text)
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text())
    fastjsonschema.compile(schema)(document)
    return document
