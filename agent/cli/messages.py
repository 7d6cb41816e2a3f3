"""The messages of the program for translators, as a template of gettext: ``python -m agent.cli.messages >enrolld.pot``.

Every text in the code that is shown to people is listed as a translator sees it, with ``{name}`` for what is put in:
what the commands are made of, and elsewhere every text of two words, whoever shows it. Runtime never imports this.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_FOLDERS: Final = ("agent", "hsm")
_NOT_SHOWN: Final = ("agent/labca", "agent/cli/manual.py", "agent/cli/man.py", "agent/cli/schemas.py", __name__)
_WORD: Final = re.compile(r"[A-Za-z]{2,}")
_TWO_WORDS: Final = re.compile(r"[A-Za-z]{2,}.* .*[a-z]{2,}|\x00.*[a-z]{2,}|[a-z]{2,}.*\x00", re.DOTALL)
"""A hole, which stands here as NUL, is a word."""
_CODE: Final = re.compile(r"-|agent\.|#|/|[\w.-]+\.\w+$|\w+=|.*\n", re.DOTALL)
_HOLE: Final = re.compile(r"\W+")
_IN_BRACES: Final = re.compile(r"\{\w+\}")
_BRACES: Final = "#, python-brace-format\n"


def messages() -> dict[str, list[str]]:
    """Return every message with the places where it is, ``agent/cli/status.py:80``."""
    found: dict[str, list[str]] = {}
    for folder in _FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            place = str(path.relative_to(ROOT))
            if place.startswith(_NOT_SHOWN):
                continue
            wanted = _WORD if place.startswith("agent/cli/") else _TWO_WORDS
            for text, line in _texts(ast.parse(path.read_text())):
                if wanted.search(_IN_BRACES.sub("\0", text)) and not _CODE.match(text):
                    found.setdefault(text, []).append(f"{place}:{line}")
    return found


def _texts(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every text of a module but its docstrings and what belongs to the code itself."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        if isinstance(node, ast.JoinedStr):
            yield _message(node), node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno
        else:
            yield from _texts(node)
            continue
        for part in ast.walk(node):
            if isinstance(part, ast.FormattedValue):
                yield from _texts(part)


def _message(node: ast.JoinedStr) -> str:
    parts: list[str] = []
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append(str(part.value))
        elif isinstance(part, ast.FormattedValue):
            parts.append(f"{{{_name(part.value, parts)}}}")
    return "".join(parts)


def _name(value: ast.expr, before: list[str]) -> str:
    """Return a name for a hole: the last word of what is put in, and a number where that is taken."""
    name = [one for one in _HOLE.split(ast.unparse(value)) if one.isidentifier()][-1:] or ["value"]
    taken = "".join(before).count(f"{{{name[0]}")
    return f"{name[0]}_{taken + 1}" if taken else name[0]


def template() -> str:
    """Return the text of ``enrolld.pot``."""
    entries = ['msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n']
    for text, places in sorted(messages().items(), key=lambda one: one[1][0]):
        notes = "".join(f"#: {place}\n" for place in places) + (_BRACES if _holed(text) else "")
        entries.append(f'{notes}msgid {_quoted(text)}\nmsgstr ""\n')
    return "\n".join(entries)


def _holed(text: str) -> bool:
    """Tell whether every brace of ``text`` belongs to a hole, and there is one: then msgfmt checks translations."""
    rest, count = _IN_BRACES.subn("", text)
    return count > 0 and not {"{", "}"} & set(rest)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def main() -> None:
    """Print the template."""
    sys.stdout.write(template())


if __name__ == "__main__":
    main()
