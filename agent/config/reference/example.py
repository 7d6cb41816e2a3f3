"""The example file with every key in it: required ones live, the others commented out with their defaults."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any, Final, get_origin

from agent.config.document import Scalar
from agent.config.reference.describe import form, sample, section_of
from agent.config.scalars import Kind, kind_of
from agent.settings import EXACTLY_ONE, Settings
from agent.structure import Member, members

_WIDTH: Final = 116

_HEADER: Final = """\
# yaml-language-server: $schema=enrolld.schema.json
#
# Every key of the configuration of enrolld. This file is made by: python -m agent.config.reference
#
# Required keys are live. A key behind # without a space is optional and shows its default, or an example where there
# is none: take the # away to set it, and those of the keys above it, so that it stands below something.
# Relative paths start in the directory of this file. `enrollctl config check` names every mistake.
"""

_OBVIOUS: Final = frozenset({"text", "path"})

_PLAIN: Final = re.compile(r"[A-Za-z0-9/][A-Za-z0-9/._%-]*")


def example() -> str:
    """Return the text of ``config/enrolld.yaml``."""
    return "\n".join([_HEADER, *_section(Settings, 0, live=True)]) + "\n"


def _section(cls: Any, indent: int, *, live: bool) -> Iterator[str]:
    known = members(cls).values()
    spacious = cls not in EXACTLY_ONE and any(section_of(member.type) for member in known)
    for number, member in enumerate(known):
        if spacious and number:
            yield ""
        if cls not in EXACTLY_ONE:
            yield from _setting(member, indent, live=live and member.required)
        elif number == 0:
            yield from _setting(member, indent, live=live)
        else:
            yield f"{' ' * indent}# or instead:"
            yield from (f"{' ' * indent}# {line}" for line in _setting(member, 0, live=True))


def _setting(member: Member, indent: int, *, live: bool) -> Iterator[str]:
    section = section_of(member.type)
    yield from _comment(member.metadata["doc"], indent)
    if section is None and (takes := form(member)) not in _OBVIOUS:
        yield from _comment(f"takes: {takes}", indent)
    key = f"{' ' * indent}{'' if live else '#'}{member.key}:"
    if section is None:
        yield f"{key} {_written(sample(member))}"
        return
    yield key
    if get_origin(member.type) is dict:
        yield f"{' ' * (indent + 2)}{'' if live else '#'}{sample(member)}:"
        yield from _section(section, indent + 4, live=live)
    elif get_origin(member.type) is tuple:
        yield from _alternatives(section, indent + 2)
    else:
        yield from _section(section, indent + 2, live=live)


def _alternatives(cls: Any, indent: int) -> Iterator[str]:
    """Write a list with one entry for each alternative."""
    for member in members(cls).values():
        yield from _comment(member.metadata["doc"], indent)
        yield f"{' ' * indent}#- {member.key}:"
        yield from _section(section_of(member.type), indent + 4, live=False)


def _comment(text: str, indent: int) -> list[str]:
    margin = f"{' ' * indent}# "
    text = text.replace("`", "")
    return textwrap.wrap(text, _WIDTH, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False)


def _written(value: Any) -> str:
    """Return a value as YAML: plain where that is safe, single quotes where there are backslashes."""
    match value:
        case list():
            return f"[{', '.join(_written(one) for one in value)}]"
        case bool() | int():
            return json.dumps(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and kind_of(Scalar((1, 1), text, plain=True)) is Kind.TEXT:
        return text
    return f"'{text}'" if "\\" in text else json.dumps(text)
