"""Any CMP message in words, for people: ``read(octets).lines()``.

This package reads leniently and decides nothing. What is accepted is decided by the strict readers (``der``,
``messages``, ``codec``, ``protection``, ``trust``), and the reading quotes them.
"""

from __future__ import annotations

from agent.cmp.reading.items import WIDTH, Item, Reading
from agent.cmp.reading.reader import read
from agent.cmp.reading.session import SIZE

__all__ = ["SIZE", "WIDTH", "Item", "Reading", "read"]
