"""What is shown to people, in their language, where a translation is installed (gettext, domain ``enrolld``).

Everything is written, stored and passed between programs in English: the journal, files, JSON. A text is translated
where it is shown, and nowhere before; it is found by the message it was made from, in which ``{name}`` stands for what
was put in. ``python -m agent.cli.messages`` lists these messages for translators (docs/decisions/0016).

This module is imported only where the environment names another language than English.
"""

from __future__ import annotations

import gettext
import os
import re
import struct
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from agent.frozen import frozen

DOMAIN: Final = "enrolld"
_HOLE: Final = re.compile(r"\{(\w*)\}")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_MAGIC: Final = 0x950412DE
_PLACE: Final = 8
"""Octets of a length and an offset."""
_DEEPEST: Final = 4
"""Messages within messages."""


@frozen
class _Template:
    """A message with holes: how it is recognised, and its translation."""

    pattern: re.Pattern[str]
    holes: tuple[str, ...]
    translation: str

    def filled(self, parts: list[str]) -> str:
        """Return the translation with ``parts`` in its holes, which may be in another order."""
        known = dict(zip(self.holes, parts, strict=True))
        return _HOLE.sub(lambda hole: known.get(hole[1], hole[0]), self.translation)


class Catalogue:
    """Messages and their translations."""

    def __init__(self, messages: Mapping[str, str]) -> None:
        """Take messages by what they are in English; what has no translation stays as it is."""
        known = {message: translation for message, translation in messages.items() if message and translation}
        self._whole = {message: one for message, one in known.items() if not _HOLE.search(message)}
        holed = [one for one in known if one not in self._whole and _WORD.search(_HOLE.sub("", one))]
        holed.sort(key=lambda one: (-len(_HOLE.sub("", one)), one))  # the one that says most is meant
        self._templates = [_template(message, known[message]) for message in holed]

    def __call__(self, text: str, depth: int = 0) -> str:
        """Return ``text`` translated, what was put into it as well; as it is where nothing is known of it."""
        found = self._whole.get(text)
        if found is not None:
            return found
        if depth == _DEEPEST:
            return text
        for one in self._templates:
            if match := one.pattern.fullmatch(text):
                return one.filled([self(part, depth + 1) for part in match.groups()])
        head, separator, rest = text.partition(": ")  # "ike: what happened", made where it is shown
        return f"{head}{separator}{self(rest, depth + 1)}" if separator else text


def _template(message: str, translation: str) -> _Template:
    holes: list[str] = []
    pattern = ""
    for number, part in enumerate(_HOLE.split(message)):
        if number % 2 == 0:
            pattern += re.escape(part)
        elif part in holes:
            pattern += "(?:.+?)"
        else:
            holes.append(part)
            pattern += "(.+?)"
    return _Template(re.compile(pattern, re.DOTALL), tuple(holes), translation)


@cache
def catalogue() -> Catalogue | None:
    """Return the translation for whoever runs this, from TEXTDOMAINDIR or where the system has translations."""
    path = gettext.find(DOMAIN, os.environ.get("TEXTDOMAINDIR"))
    if path is None:
        return None
    try:
        return Catalogue(dict(_read(Path(path).read_bytes())))
    except (OSError, ValueError, struct.error):
        return None  # English is better than nothing


def _read(octets: bytes) -> Iterator[tuple[str, str]]:
    """Yield the messages of a file that msgfmt wrote (GNU gettext, "The Format of GNU MO Files"), little-endian."""
    magic, _, count, *tables = struct.unpack_from("<5I", octets)
    if magic != _MAGIC:
        raise ValueError("no MO file")
    for number in range(count):
        places = [struct.unpack_from("<II", octets, table + _PLACE * number) for table in tables]
        original, translation = (octets[at : at + length].decode() for length, at in places)
        yield original, translation


def translated(text: str) -> str:
    """Return ``text`` in the language of whoever reads it; as it is where there is no translation."""
    known = catalogue()
    return text if known is None else known(text)
