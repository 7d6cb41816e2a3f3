"""JSON Schemas of what ``--json`` prints, made from the dataclasses behind it: ``python -m agent.cli.schemas``.

They are in docs/schemas/. Runtime never imports this module; a test holds the files to it and the output to the files.
"""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, get_origin

from agent.cli.checks.registry import Result, Status
from agent.cli.turn_up_report import Report
from agent.contract import Outcome
from agent.overview import Overview
from agent.structure import entry_type, members

FOLDER: Final = Path(__file__).parents[2] / "docs" / "schemas"
_PLAIN: Final = {str: "string", int: "integer", float: "number", bool: "boolean", Path: "string"}


def documents() -> dict[str, str]:
    """Return the text of every schema by its file name."""
    schemas = {
        "status": ("Printed by enrollctl status --json", {"type": "array", "items": of(Overview)}),
        "doctor": ("Printed by enrollctl doctor --json", _doctor()),
        "turn-up": ("Printed by enrollctl turn-up --json", of(Report)),
        "outcome": ("Printed by enrollctl enroll, renew, revoke and refresh with --json", _outcome()),
    }
    return {f"{name}.schema.json": _written(*about) for name, about in schemas.items()}


def of(cls: type) -> dict[str, Any]:
    """Return the schema of a dataclass as ``agent.structure`` writes it."""
    known = members(cls)
    return {
        "description": (cls.__doc__ or "").strip().split("\n\n")[0].replace("``", "`").replace("\n", " "),
        "type": "object",
        "properties": {key: _type(one.type) for key, one in known.items()},
        "required": [key for key, one in known.items() if not one.optional],
        "additionalProperties": False,
    }


def _type(type_: Any) -> dict[str, Any]:
    if get_origin(type_) is tuple:
        return {"type": "array", "items": _type(entry_type(type_))}
    if get_origin(type_) is dict:
        return {"type": "object", "additionalProperties": _type(entry_type(type_))}
    if is_dataclass(type_) and isinstance(type_, type):
        return of(type_)
    if issubclass(type_, StrEnum):
        return {"enum": list(type_)}
    return {"type": _PLAIN[type_]}


def _doctor() -> dict[str, Any]:
    count = {"type": "integer", "minimum": 0}
    return _object({
        "version": {"const": 1},
        "failed": {"type": "boolean"},
        "counts": _object({status.value: count for status in Status}),
        "checks": {"type": "array", "items": of(Result)},
    })  # fmt: skip


def _outcome() -> dict[str, Any]:
    schema = of(Outcome)
    return schema | {"properties": {"identity": {"type": "string"}} | schema["properties"]}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _written(title: str, schema: dict[str, Any]) -> str:
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "made by: python -m agent.cli.schemas",
        "title": title,
    }
    return json.dumps(head | schema, indent=2) + "\n"


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in documents().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
