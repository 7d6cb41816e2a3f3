"""The reference table of the configuration: ``docs/configuration.md``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, get_origin

from agent.config.reference.describe import default, form, section_of
from agent.config.rules import WEIGHTS
from agent.settings import NAME, Settings
from agent.structure import Member, members

if TYPE_CHECKING:
    from agent.config.rulebook import RuleBook

_INTRODUCTION: Final = f"""\
# Configuration

This page is made by `python -m agent.config.reference` from `agent/settings`; edit there.

One YAML file says what enrolld does, `/etc/enrolld/enrolld.yaml` unless `--config` names another.
`config/enrolld.yaml` holds every key with its default, `config/examples/` one file a deployment, and
`config/enrolld.schema.json` lets an editor help while you write.

- `enrollctl config check` names every mistake at once, each with file, line, key, and what to do.
- Relative paths start in the directory of the file.
- An unknown key is a mistake, and so is a key given twice.
- Text needs quotes where YAML would read it as something else: `no`, `on`, `0640`, `12:30:00`, `2026-01-31`.
  Plain numbers need none: `reference: 4711` is the text 4711.
- Anchors, aliases, tags and a second document in the file are refused.
- Durations are a number and a unit: `500ms`, `30s`, `5m`, `24h`, `7d`, `2w`. Without a unit they are in seconds.
- Authorities, identities and tokens are called by names that match `{NAME}`.
- Secrets never stand in the file. It says where they come from: `credential:NAME` (a systemd credential),
  `file:PATH`, or `prompt` (a person types it).
"""

_ONE_ABOVE: Final = {
    "whole": "",
    "authority": "authorities.NAME",
    "identity": "identities.NAME",
    "target": "identities.NAME.deploy[]",
    "token": "tokens.NAME",
}


def manual() -> str:
    """Return the text of ``docs/configuration.md``."""
    parts = [_INTRODUCTION, *_sections(Settings, ""), "## Rules across keys\n", *_rules()]
    return "\n".join(parts)


def _sections(cls: type, path: str) -> Iterator[str]:
    title = f"`{path}`" if path else "Top level"
    rows = "\n".join(_row(member) for member in members(cls).values())
    head = "| Key | Takes | Default | Meaning |\n|---|---|---|---|"
    yield f"## {title}\n\n{(cls.__doc__ or '').strip().replace('``', '`')}\n\n{head}\n{rows}\n"
    for member in members(cls).values():
        if (section := section_of(member.type)) is not None:
            container = get_origin(member.type)
            suffix = ".NAME" if container is dict else "[]" if container is tuple else ""
            yield from _sections(section, f"{path}.{member.key}{suffix}".lstrip("."))


def _row(member: Member) -> str:
    cells = (f"`{member.key}`", form(member), _default_cell(member), member.metadata["doc"])
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default_cell(member: Member) -> str:
    if member.required:
        return "required"
    value: Any = default(member)
    if value is None:
        return ""
    if value == []:
        return "none"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _rules() -> Iterator[str]:
    for weight, book in WEIGHTS.items():
        rows = "\n".join(f"| {key} | {text} |" for key, text in _rows(book))
        yield f"### {weight}\n\n| Key | Rule |\n|---|---|\n{rows}\n"


def _rows(book: RuleBook) -> Iterator[tuple[str, str]]:
    for part, path in _ONE_ABOVE.items():
        for rule in getattr(book, part):
            yield f"`{'.'.join(filter(None, (path, rule.key)))}`", rule.text
