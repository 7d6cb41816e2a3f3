"""Amounts as people write them: ``30s``, ``66%``, ``0640``.

The loader has checked the texts in :class:`agent.settings.Settings`; whoever acts on one of them reads it with these.
"""

from __future__ import annotations

import re
from typing import Final

DURATION: Final = r"[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h|d|w)?"
PERCENT: Final = r"[0-9]{1,3}(\.[0-9]{1,3})?%"
MODE: Final = r"0?[0-7]{3}"

_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds(text: str) -> float:
    """Return the seconds of ``30s``, ``5m``, ``24h``, ``7d``; a number without a unit is in seconds.

    Raises:
        ValueError: for any other text.
    """
    match = _whole(DURATION, text)
    unit = match[2] or "s"
    return float(text.removesuffix(unit)) * _SECONDS[unit]


def percent(text: str) -> float:
    """Return 66.0 for ``66%``.

    Raises:
        ValueError: for any other text.
    """
    return float(_whole(PERCENT, text)[0].removesuffix("%"))


def share(text: str) -> float:
    """Return 0.66 for ``66%``: a share of the whole.

    Raises:
        ValueError: for any other text.
    """
    return percent(text) / 100


def file_mode(text: str) -> int:
    """Return 0o640 for ``0640``.

    Raises:
        ValueError: for any other text.
    """
    return int(_whole(MODE, text)[0], 8)


def duration_text(amount: float) -> str:
    """Return seconds with the largest unit that divides them: ``90s``, ``2m``, ``30d``."""
    for unit in ("d", "h", "m"):
        if amount and amount % _SECONDS[unit] == 0:
            return f"{amount / _SECONDS[unit]:.12g}{unit}"
    return f"{amount:.12g}s"


def _whole(pattern: str, text: str) -> re.Match[str]:
    match = re.fullmatch(pattern, text)
    if match is None:
        raise ValueError(f"{text!r} is not such an amount")
    return match
