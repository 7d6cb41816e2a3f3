"""The JSON Schema of the configuration, for editors. It refuses nothing that the loader accepts, and knows less."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import Any, Final, get_origin

from agent.config.formats import RULES
from agent.config.reference.describe import default, section_of
from agent.settings import EXACTLY_ONE, NAME, Settings
from agent.structure import Member, entry_type, members

_FORM: Final = {bool: "boolean", int: "integer"}
_TEXT: Final = {"type": ["string", "number"], "minLength": 1}
"""The loader takes a plain number as the text that stands in the file."""


def schema() -> str:
    """Return the text of ``config/enrolld.schema.json`` (JSON Schema 2020-12)."""
    sections: dict[str, Any] = {}
    _collect(Settings, sections)
    root = sections.pop(Settings.__name__)
    return (
        json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": "Configuration of enrolld",
                "$comment": "made by: python -m agent.config.reference",
                **root,
                "$defs": dict(sorted(sections.items())),
            },
            indent=2,
        )
        + "\n"
    )


def _collect(cls: type, sections: dict[str, Any]) -> None:
    known = members(cls)
    document: dict[str, Any] = {
        "description": (cls.__doc__ or "").strip().replace("``", "`"),
        "type": "object",
        "properties": {key: _property(member) for key, member in known.items()},
        "additionalProperties": False,
    }
    if required := [key for key, member in known.items() if member.required]:
        document["required"] = required
    if cls in EXACTLY_ONE:
        document |= {"minProperties": 1, "maxProperties": 1}
    sections[cls.__name__] = document
    for member in known.values():
        if (section := section_of(member.type)) is not None:
            _collect(section, sections)


def _property(member: Member) -> dict[str, Any]:
    rules = _container(member)
    if member.word is not None:
        rules = {"anyOf": [{"const": member.word}, rules]}
    preset = default(member)
    return {"description": member.metadata["doc"], **rules, **({} if preset is None else {"default": preset})}


def _container(member: Member) -> dict[str, Any]:
    inner = section_of(member.type)
    each = {"$ref": f"#/$defs/{inner.__name__}"} if inner is not None else None
    if get_origin(member.type) is dict:
        return {"type": "object", "propertyNames": {"pattern": f"^{NAME}$"}, "additionalProperties": each}
    if get_origin(member.type) is tuple:
        bounds = member.metadata["bounds"]
        count = {"minItems": bounds[0], "maxItems": bounds[1]} if bounds else {}
        return {"type": "array", "items": each or _plain(entry_type(member.type), member), **count}
    return each or _plain(member.type, member, bounds=member.metadata["bounds"])


def _plain(type_: Any, member: Member, bounds: tuple[float, float] | None = None) -> dict[str, Any]:
    if issubclass(type_, StrEnum):
        return {"enum": list(type_)}
    limits = {"minimum": bounds[0], "maximum": bounds[1]} if bounds else {}
    if type_ in _FORM:
        return {"type": _FORM[type_], **limits}
    if (format_ := member.metadata["format"]) is None:
        return _TEXT
    pattern = RULES[format_].pattern
    may_be_number = type_ is float or re.search(pattern, "640") is not None
    return {"type": ["string", "number"] if may_be_number else "string", "pattern": pattern, **limits}
