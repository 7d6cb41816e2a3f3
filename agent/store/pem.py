"""Certificates as PEM text (RFC 7468): DER in, DER out. What the DER says is not looked at here."""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_LINE: Final = 64
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----\n"
_END: Final = b"-----END CERTIFICATE-----\n"
_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\s(.*?)-----END CERTIFICATE-----", re.DOTALL)


def encode(certificates: Iterable[bytes], *, nothing: str = "") -> bytes:
    """Write certificates one after another; ``nothing`` is the remark that stands there when there are none.

    RFC 7468 section 2 lets text stand outside the blocks. A file of ours is thus never empty, and an empty one is
    always a damaged one.
    """
    text = b"".join(_BEGIN + _body(der) + _END for der in certificates)
    return text or f"# {nothing}\n".encode()


def largest(octets: int, count: int) -> int:
    """Return how many octets ``count`` certificates of ``octets`` in all take at most as :func:`encode` writes them."""
    quads = 4 * (octets + 2 * count) // 3
    return quads + quads // _LINE + count * (len(_BEGIN) + len(_END) + 1)


def decode(text: bytes) -> tuple[bytes, ...]:
    """Read the certificates out of PEM text, in their order. Raise :class:`ValueError` when a block is damaged."""
    bodies = _BLOCK.findall(text)
    if text.count(b"-----BEGIN") != len(bodies) or text.count(b"-----END") != len(bodies):
        raise ValueError("a PEM block is cut short or is no certificate")
    try:
        return tuple(binascii.a2b_base64(b"".join(body.split()), strict_mode=True) for body in bodies)
    except binascii.Error as error:
        raise ValueError("a PEM block is not base64") from error


def _body(der: bytes) -> bytes:
    text = binascii.b2a_base64(der, newline=False)
    return b"".join(text[start : start + _LINE] + b"\n" for start in range(0, len(text), _LINE))
