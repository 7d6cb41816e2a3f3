"""What this machine says of itself: its serial number, for the subject that is proposed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SOURCES: Final = (
    Path("/sys/class/dmi/id/product_serial"),  # x86 and ARM servers; readable for root only
    Path("/sys/class/dmi/id/board_serial"),
    Path("/proc/device-tree/serial-number"),  # boards with a device tree
)
_LONGEST: Final = 64
_SAFE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")
_NO_NUMBER: Final = frozenset({"", "none", "unknown", "notspecified", "0", "tobefilledbyo.e.m.", "defaultstring"})
"""What manufacturers leave there when they forget (blanks taken out)."""


def serial_number(sources: tuple[Path, ...] = SOURCES) -> str | None:
    """Return the serial number of this machine, of letters, digits, dots and hyphens; None when nothing tells it."""
    for source in sources:
        try:
            with source.open("rb") as stream:
                text = stream.read(_LONGEST + 1).rstrip(b"\0\r\n").decode("ascii", "replace").strip()
        except OSError:
            continue
        cleaned = "".join(character if character in _SAFE else "-" for character in text).strip("-")
        if text.replace(" ", "").lower() not in _NO_NUMBER and cleaned and len(cleaned) <= _LONGEST:
            return cleaned
    return None
