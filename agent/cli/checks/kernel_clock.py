"""What the kernel says about its clock (adjtimex(2)): the same word that ``timedatectl`` shows."""

from __future__ import annotations

import ctypes
from typing import Final

from agent.frozen import frozen

_TIME_ERROR: Final = 5
"""TIME_ERROR: the clock is not synchronised."""
_MICROSECONDS: Final = 1_000_000
_LARGEST_ERROR: Final = 16.0
"""Seconds at which the kernel itself gives up and systemd calls the clock unsynchronised."""


@frozen
class Synchronisation:
    """``maximum_error`` in seconds, as the time service told the kernel."""

    synchronised: bool
    maximum_error: float


class _Timex(ctypes.Structure):
    """``struct timex`` as far as it is read here; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def synchronisation() -> Synchronisation | None:
    """Return what the kernel says; None where it says nothing. Reading (modes = 0) needs no rights."""
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    state = _Timex()
    result = adjtimex(ctypes.byref(state))
    if result < 0:
        return None
    error = state.maxerror / _MICROSECONDS
    return Synchronisation(result != _TIME_ERROR and error < _LARGEST_ERROR, error)
