"""The configuration: YAML to :class:`agent.settings.Settings`, with every mistake named by file, line, key and remedy.

What is read is checked in three steps. :func:`load` takes what the file says by itself and refuses what cannot work.
:func:`check_files` looks for the files it names; they may arrive later than the configuration. :func:`warnings` and
:func:`unsupported` tell what is allowed but odd, and what this version reads without acting on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from agent.config import rules
from agent.config.document import LARGEST, Unparsable, compose, place_of
from agent.config.files import check_files, explain, read_regular
from agent.config.findings import Enough, Mistakes, Notice, Place
from agent.config.reading import Reader
from agent.errors import ConfigurationError

if TYPE_CHECKING:
    from agent.settings import Settings

__all__ = ["Notice", "check_files", "load", "parse", "unsupported", "warnings"]


def load(path: Path) -> Settings:
    """Return the settings in the file at ``path``.

    Raises:
        ConfigurationError: when it cannot be read or is wrong; all mistakes at once in ``mistakes``.
    """
    try:
        data = read_regular(path, LARGEST)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"there is no configuration {path}",
            remedy="Run 'enrollctl turn-up', which makes one, or name another with --config.",
        ) from error
    except OSError as error:
        what, remedy = explain(error, path)
        raise ConfigurationError(
            what, remedy=remedy[0].upper() + remedy[1:] + ("" if remedy.endswith("?") else ".")
        ) from error
    if len(data) > LARGEST:
        _refuse(path, None, f"the file is larger than {LARGEST} octets", "is this the right file?")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        start = data.rfind(b"\n", 0, error.start) + 1
        place = (data.count(b"\n", 0, start) + 1, error.start - start + 1)
        _refuse(path, place, "the file is not UTF-8", f"save it as UTF-8: iconv -f ISO-8859-1 -t UTF-8 {path.name}")
    return parse(text, source=path)


def parse(text: str, *, source: Path) -> Settings:
    """Return the settings in ``text``. Mistakes name ``source``, and relative paths start in its directory.

    Raises:
        ConfigurationError: when anything is wrong; all mistakes at once in ``mistakes``.
    """
    mistakes = Mistakes(source)
    more = False
    settings = None
    try:
        settings = _read(text, source.absolute().parent, mistakes)
    except Enough:
        more = True
    if mistakes or settings is None:
        raise mistakes.error(more=more)
    return settings


def warnings(settings: Settings) -> tuple[Notice, ...]:
    """Return what is allowed and probably not meant."""
    return tuple(rules.warnings(settings))


def unsupported(settings: Settings) -> tuple[Notice, ...]:
    """Return what this version reads and checks, but does not act on yet."""
    return tuple(rules.unsupported(settings))


def _read(text: str, base: Path, mistakes: Mistakes) -> Settings | None:
    try:
        root = compose(text, mistakes)
    except Unparsable as error:
        mistakes.add(error.place, (), error.text, error.remedy)
        return None
    if root is None:
        mistakes.add(None, (), "the file is empty", "start from one of the examples, or from enrolld.yaml beside them")
        return None
    settings = Reader(root, base, mistakes).settings()
    if settings is not None:
        for notice in rules.mistakes(settings):
            mistakes.add(place_of(notice.path, root), notice.path, notice.text, notice.remedy)
    return settings


def _refuse(source: Path, place: Place | None, text: str, remedy: str) -> NoReturn:
    mistakes = Mistakes(source)
    mistakes.add(place, (), text, remedy)
    raise mistakes.error()
