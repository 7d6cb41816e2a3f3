"""How the configuration is declared: sections are frozen dataclasses, their fields the settings with rule and words."""

from __future__ import annotations

from dataclasses import MISSING, field, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final, TypeVar, dataclass_transform

from agent.frozen import frozen

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
    None. The ``example`` of a table of named things is the name of its example entry. A ``factory`` that is a section
    makes one object for all who leave it to its defaults.
    """
    metadata = {"doc": doc, "example": example, "format": format, "bounds": bounds, "word": word}
    if factory is not MISSING:
        # A section never changes, so one that is left to its defaults is the same object everywhere.
        shared: Any = cache(factory) if is_dataclass(factory) and callable(factory) else factory
        return field(default_factory=shared, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting,))
def section(cls: type[T]) -> type[T]:
    """Make a section of the configuration: an immutable dataclass with keywords only."""
    return frozen(kw_only=True)(cls)
