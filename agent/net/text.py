"""Text from the network, made fit for a terminal and a journal."""

from __future__ import annotations


def printable(text: str, limit: int = 200) -> str:
    r"""Return at most ``limit`` characters of ``text`` with everything a terminal might obey escaped.

    Control characters, bidirectional overrides, lone surrogates and line ends become ``\x1b``, ``\u202e`` and so on:
    what a server sends can neither colour a terminal nor forge a line in the journal.
    """
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text[:limit]
    )
    return f"{shown}..." if len(text) > limit else shown
