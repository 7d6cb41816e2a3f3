"""What a setting takes, in words: shared by the example file and the manual."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, get_origin

from agent.config.formats import RULES
from agent.config.reading import amount_text
from agent.settings import EXACTLY_ONE, Format
from agent.structure import Member, entry_type

_PLAIN: Final = {str: "text", int: "whole number", float: "number", Path: "path", bool: "`true` or `false`"}


def section_of(type_: Any) -> Any:
    """Return the section that a setting of ``type_`` is, or that its entries are; None when it is a plain value."""
    inner = entry_type(type_) if get_origin(type_) in {dict, tuple} else type_
    return inner if dataclasses.is_dataclass(inner) else None


def form(member: Member) -> str:
    """Say what the setting takes: ``duration, 0.1s to 1h``, ``list: path``, ``exactly one of the keys below``."""
    section = section_of(member.type)
    container = get_origin(member.type)
    if section is None:
        text = _plain_form(entry_type(member.type) if container is tuple else member.type, member)
    else:
        text = "exactly one of the keys below" if section in EXACTLY_ONE else "the keys below"
    if container is tuple:
        text = f"list of: {text}"
    elif container is dict:
        text = "names, with the keys below"
    return f"{text}; or `{member.word}`" if member.word else text


def _plain_form(type_: Any, member: Member) -> str:
    if issubclass(type_, StrEnum):
        return ", ".join(f"`{word}`" for word in type_)
    format_: Format | None = member.metadata["format"]
    text = RULES[format_].form if format_ else _PLAIN[type_]
    bounds = member.metadata["bounds"]
    if bounds is None or get_origin(member.type) is tuple:
        return text
    low, high = (amount_text(bound, format_) for bound in bounds)
    return f"{text}, {low} to {high}"


def default(member: Member) -> Any:
    """Return the default as it would stand in the file; None when there is none, or it is a section."""
    value = member.default
    if member.required or value is None or section_of(member.type) is not None:
        return None
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float):
        return amount_text(value, member.metadata["format"])
    return str(value) if isinstance(value, StrEnum | Path) else value


def sample(member: Member) -> Any:
    """Return a value for the example file: the example where there is one, else the default."""
    example = member.metadata["example"]
    return default(member) if example is None else example
