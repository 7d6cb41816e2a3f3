"""Chance, by which attempts are spread. It is the kernel's: ``random`` would stay in memory for years."""

from __future__ import annotations

import os

_BITS = 53
"""Of a float between 1/2 and 1."""


def uniform() -> float:
    """Return a number in [0, 1), any of them as likely as another."""
    return (int.from_bytes(os.urandom(7)) >> (7 * 8 - _BITS)) / (1 << _BITS)
