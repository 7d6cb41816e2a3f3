"""JSON Schemas of what ``--json`` prints, made from the dataclasses behind it: ``python -m agent.cli.schemas``.

They are in docs/schemas/. Runtime never imports this module; a test holds the files to it and the output to the files.
"""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, get_origin

from agent.cli.capture import Bundle
from agent.cli.checks.registry import Result, Status
from agent.cli.glossary import Entry
from agent.cli.rollback import RolledBack
from agent.cli.token import TokenTrouble
from agent.cli.turn_up_report import Report
from agent.contract import Outcome
from agent.overview import Overview
from agent.structure import Member, entry_type, members
from agent.worker.token_desk import KeyReport, TokenReport

FOLDER: Final = Path(__file__).parents[2] / "docs" / "schemas"
_PLAIN: Final = {str: "string", int: "integer", float: "number", bool: "boolean", Path: "string"}


PRINTED: Final = {
    "status": ("status",),
    "doctor": ("doctor",),
    "turn-up": ("turn-up",),
    "outcome": ("enroll", "renew", "refresh", "revoke", "deploy", "retry", "template"),
    "rollback": ("rollback",),
    "explain": ("explain",),
    "capture": ("capture",),
    "token": ("token list", "token probe"),
    "decode": ("decode",),
}
"""Name of a schema -> the commands that print so with ``--json``."""


def documents() -> dict[str, str]:
    """Return the text of every schema by its file name."""
    schemas = {
        "status": _list_of(of(Overview)),
        "doctor": _doctor(),
        "turn-up": of(Report),
        "outcome": _outcome(),
        "rollback": of(RolledBack),
        "explain": _list_of(of(Entry)),
        "capture": of(Bundle),
        "token": _list_of({"anyOf": [_token(), of(TokenTrouble)]}),
        "decode": _reading(),
    }
    return {f"{name}.schema.json": _written(name, schemas[name]) for name in PRINTED}


def of(cls: type) -> dict[str, Any]:
    """Return the schema of a dataclass as ``agent.structure`` writes it."""
    known = members(cls)
    return {
        "description": (cls.__doc__ or "").strip().split("\n\n")[0].replace("``", "`").replace("\n", " "),
        "type": "object",
        "properties": {key: _member(one) for key, one in known.items()},
        "required": [key for key, one in known.items() if not _left_out(one)],
        "additionalProperties": False,
    }


def _left_out(one: Member) -> bool:
    """Tell whether a key may be missing: None is left out where it is the default, and written where there is none."""
    return one.optional and not one.required


def _member(one: Member) -> dict[str, Any]:
    schema = _type(one.type)
    return {"anyOf": [schema, {"type": "null"}]} if one.optional and one.required else schema


def _list_of(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _type(type_: Any) -> dict[str, Any]:
    if get_origin(type_) is tuple:
        return _list_of(_type(entry_type(type_)))
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
        "checks": _list_of(of(Result)),
    })  # fmt: skip


def _outcome() -> dict[str, Any]:
    schema = of(Outcome)
    return schema | {"properties": {"identity": {"type": "string"}} | schema["properties"]}


def _token() -> dict[str, Any]:
    """A token's report, each key with the identity that uses it; ``orphans`` are keys of ours that nobody uses."""
    schema = of(TokenReport)
    key = of(KeyReport)
    user = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    key = key | {"properties": key["properties"] | {"identity": user}, "required": [*key["required"], "identity"]}
    more = {"keys": _list_of(key), "orphans": _list_of({"type": "string"})}
    return schema | {"properties": schema["properties"] | more, "required": [*schema["required"], "orphans"]}


def _reading() -> dict[str, Any]:
    """Things within things; ``offset`` is where in the input, in octets; ``stopped`` is there where reading ended."""
    item = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "value": {"type": "string"},
            "offset": {"type": "integer", "minimum": 0},
            "stopped": {"const": True},
            "items": _list_of({"$ref": "#/$defs/item"}),
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    reading = _object({"understood": {"type": "boolean"}, "items": _list_of({"$ref": "#/$defs/item"})})
    return reading | {"description": "A message read in words.", "$defs": {"item": item}}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _written(name: str, schema: dict[str, Any]) -> str:
    *others, last = (f"enrollctl {command}" for command in PRINTED[name])
    commands = f"{', '.join(others)} and {last}" if others else last
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "made by: python -m agent.cli.schemas",
        "title": f"Printed by {commands} with --json",
    }
    return json.dumps(head | schema, indent=2) + "\n"


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in documents().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
