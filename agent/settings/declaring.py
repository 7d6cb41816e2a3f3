"""How the configuration is declared: sections are frozen dataclasses, their fields the settings with rule and words."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar, dataclass_transform

T = TypeVar("T")

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What an authority, identity or token may be called: it becomes a directory and appears in messages."""

SOFTWARE: Final = "software"
"""The key store that is always there: files of the agent's own."""


class Format(StrEnum):
    """Extra rules for the text of a setting (``agent.config.formats``)."""

    URL = "url"
    PROXY = "proxy"
    IP_ADDRESS = "ip-address"
    DISTINGUISHED_NAME = "distinguished-name"
    ALTERNATIVE_NAME = "alternative-name"
    REGULAR_EXPRESSION = "regular-expression"
    SECRET_SOURCE = "secret-source"  # noqa: S105 - the name of a format
    KEY_SOURCE = "key-source"
    SOCKET = "socket"
    DURATION = "duration"
    PERCENT = "percent"
    MODE = "mode"
    KEY_HASH = "key-hash"


def setting(
    doc: str,
    *,
    default: Any = MISSING,
    factory: Any = MISSING,
    example: Any = None,
    format: Format | None = None,
    bounds: tuple[float, float] | None = None,
    word: str | None = None,
) -> Any:
    """Declare one configurable field: its explanation, default, example, and the rules for its value.

    ``bounds`` are the least and the greatest value allowed: of a number as it stands, of a duration in seconds, of a
    percentage in percent. A list with bounds has at least that many entries. ``word`` is the text that stands for
    None. The ``example`` of a table of named things is the name of its example entry.
    """
    metadata = {"doc": doc, "example": example, "format": format, "bounds": bounds, "word": word}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


class Section:
    """What every section inherits instead of having it generated.

    ``dataclass`` compiles ``__repr__``, ``__eq__`` and ``__hash__`` anew for each class. Written once they save a fifth
    of the time to import this module, 5 of 25 ms of CPU at every start of ``enrollctl``, ``enrolld`` and a worker.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        """Name every setting with its value."""
        names = type(self).__dataclass_fields__  # type: ignore[attr-defined]
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def __eq__(self, other: object) -> bool:
        """Compare setting by setting; sections of two kinds are never equal."""
        return _values(self) == _values(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        """Go with equality."""
        return hash(_values(self))


def _values(section: Any) -> tuple[Any, ...]:
    return tuple(getattr(section, name) for name in type(section).__dataclass_fields__)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting,))
def section(cls: type[T]) -> type[T]:
    """Make a section of the configuration: an immutable dataclass with keywords only."""
    return dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)(cls)
