"""What is found in a configuration: mistakes with their place in the file, and notices about the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from agent.errors import ConfigurationError
from agent.frozen import frozen

KeyPath: TypeAlias = tuple[str | int, ...]
"""From the top of the file to a value: ``("authorities", "operator", "urls", 0)``."""

Place: TypeAlias = tuple[int, int]
"""Where something stands in the file: line and column, from 1. A thousand identities have ten thousand."""

LISTED: Final = 100
"""Mistakes that are listed at most: nobody reads more, and looking for them in a file of quite another kind is slow."""


class Wrong(Exception):
    """Raised where one value is looked at: what is wrong with it, and what to do. The reader knows the place."""

    def __init__(self, text: str, remedy: str) -> None:
        """Keep both parts; each is a part of a sentence, without a full stop."""
        super().__init__(text)
        self.text = text
        self.remedy = remedy


@frozen
class Notice:
    """Something to tell a person about one key. ``str()`` is ``key.path: text (remedy)``."""

    path: KeyPath
    text: str
    remedy: str

    @property
    def key(self) -> str:
        """The path as people read it: ``authorities.operator.urls[0]``."""
        return dotted(self.path)

    def __str__(self) -> str:
        """Write it in one line."""
        subject = f"{self.key}: " if self.path else ""
        return f"{subject}{self.text} ({self.remedy})"


@frozen
class Mistake:
    """A notice about something that cannot be accepted; without a ``place`` it is about the whole file."""

    place: Place | None
    notice: Notice


class Enough(Exception):
    """Raised by :meth:`Mistakes.add` when there are more mistakes than anybody would read."""


class Mistakes:
    """Collects what is wrong, and bounds how much of it."""

    def __init__(self, source: object) -> None:
        """Collect for ``source``, the file as its user names it."""
        self._source = source
        self._found: list[Mistake] = []

    def __bool__(self) -> bool:
        """Tell whether anything is wrong."""
        return bool(self._found)

    def add(self, place: Place | None, path: KeyPath, text: str, remedy: str) -> None:
        """Note one mistake.

        Raises:
            Enough: when no more are taken.
        """
        if len(self._found) == LISTED:
            raise Enough
        self._found.append(Mistake(place, Notice(path, text, remedy)))

    def error(self, *, more: bool = False) -> ConfigurationError:
        """Return the error that names all mistakes in the order of the file, one line each; ``more``: not all."""
        ordered = sorted(self._found, key=lambda one: one.place or (0, 0))
        lines = tuple(
            f"{self._source}:{one.place[0]}: {one.notice}" if one.place else f"{self._source}: {one.notice}"
            for one in ordered
        )
        count = "is one mistake" if len(lines) == 1 else f"are {'more than ' if more else ''}{len(lines)} mistakes"
        return ConfigurationError(
            f"there {count} in the configuration {self._source}",
            remedy="Correct what is listed, then run `enrollctl config check`.",
            mistakes=lines,
        )


def dotted(path: KeyPath) -> str:
    """Write a path as people read it; a name with a dot in it stands in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = shown(part) if not part or any(not (letter.isalnum() or letter in "-_") for letter in part) else part
            text += f".{name}" if text else name
    return text


def shown(text: str, limit: int = 60) -> str:
    """Return ``text`` in quotes, shortened, with everything escaped that a terminal might obey."""
    visible = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text[:limit]
    )
    return f"'{visible}{'...' if len(text) > limit else ''}'"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that ``word`` was probably meant to be; None when there is none like it."""
    import difflib  # noqa: PLC0415 - only where there is a mistake to mend

    found = difflib.get_close_matches(word.lower().replace("_", "-")[:100], list(known), n=1)
    return found[0] if found else None


def choose(word: str, known: Iterable[str]) -> str:
    """Return a remedy that names the nearest known word, or all of them."""
    words = list(known)
    if (near := nearest(word, words)) is not None:
        return f"did you mean {near}?"
    if not words:
        return "there is none"
    return f"choose {'one of ' if len(words) > 1 else ''}{', '.join(words[:20])}"
