"""Reads one input and measures what it costs: processor time of this process, and the memory it needs at most."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.fuzz.targets import Target

SECONDS: Final = 1.0
OCTETS: Final = 64 * 1_048_576

_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"


class TooCostly(AssertionError):
    """An input takes more time or memory than any input may."""


def examine(target: Target, octets: bytes) -> None:
    """Have ``target`` read ``octets``.

    Raises:
        TooCostly: when it takes more than :data:`SECONDS` or :data:`OCTETS`.
        Exception: anything but what the target may raise.
    """
    _CLEAR.write_text(_RESET_PEAK)
    before = _memory("VmRSS")
    began = time.process_time()
    tolerate(target, octets)
    took = time.process_time() - began
    needed = _memory("VmHWM") - before
    if took > SECONDS:
        raise TooCostly(f"{target.name} took {took:.1f} seconds for {len(octets)} octets")
    if needed > OCTETS:
        raise TooCostly(f"{target.name} needed {needed >> 20} MiB for {len(octets)} octets")


def tolerate(target: Target, octets: bytes) -> None:
    """Have ``target`` read ``octets``, and pass over what it may raise; an error of ours has a remedy."""
    try:
        target.read(octets)
    except target.errors as error:
        if not str(error) or (hasattr(error, "remedy") and not error.remedy):
            raise AssertionError("an error without words or without a remedy") from error


def _memory(name: str) -> int:
    """Return what the kernel says under ``name``, in octets."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
