"""Taking secrets out of text that is given away.

Two nets, one behind the other: values that this machine knows to be secret are removed wherever and however they are
written, and whatever looks like a secret is removed though nobody knows it.
"""

from __future__ import annotations

import base64
import re
import urllib.parse
from typing import TYPE_CHECKING, Final

from agent.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from agent.settings import Settings

REMOVED: Final = "(removed)"
_SHORTEST: Final = 4
"""Characters of a known secret that is looked for; a shorter one would take half of every text with it, so only whole
words are then."""

_NOUNS: Final = r"(?:secret|password|passwd|passphrase|\bpin)"
_SOURCES: Final = r"credential:|file:|prompt\b|null\b|\{|\[|\(removed"

_PATTERNS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # A private key in PEM, whole or cut off at the end of the text.
        (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", REMOVED),
        # user:password@ in a URL.
        (r"(?<=://)[^/\s@'\"]+@", f"{REMOVED}@"),
        # pin-value in a PKCS#11 URI (RFC 7512 2.4).
        (r"(pin-value=)[^&;\s'\"]+", rf"\1{REMOVED}"),
        # `secret: hunter2` and its like, unless it names a source as it should. The quotes stay.
        (rf"({_NOUNS}['\"]?[ \t]*[:=][ \t]*['\"]?)(?!{_SOURCES})[^\s\"',}}\]]+", rf"\1{REMOVED}"),
    )
)


class Scrubber:
    """Removes ``known`` secrets, and what looks like one, from text."""

    def __init__(self, known: Iterable[bytes]) -> None:
        """Prepare every way in which the values could be written."""
        spellings = {spelling for one in known for spelling in _spellings(one) if spelling}
        long = sorted((one for one in spellings if len(one) >= _SHORTEST), key=len, reverse=True)
        short = sorted(one for one in spellings if len(one) < _SHORTEST)
        parts = [re.escape(one) for one in long] + [rf"\b{re.escape(one)}\b" for one in short]
        self._known = re.compile("|".join(parts), re.IGNORECASE) if parts else None

    def __call__(self, text: str) -> str:
        """Return ``text`` without secrets."""
        if self._known is not None:
            text = self._known.sub(REMOVED, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text


def _spellings(secret: bytes) -> Iterator[str]:
    plain = secret.decode("utf-8", "replace")
    yield plain
    yield plain.encode("unicode_escape").decode("ascii")
    yield urllib.parse.quote(plain, safe="")
    yield secret.hex()
    yield ":".join(f"{octet:02x}" for octet in secret)
    # In base64 the octets around it decide how it is written: the middle of each of the three ways is the same always.
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + secret).decode("ascii").rstrip("=")
        middle = text[(0, 2, 3)[shift] : len(text) - (1 if (len(secret) + shift) % 3 else 0)]
        if len(middle) > _SHORTEST + 1:
            yield middle
            yield middle.replace("+", "-").replace("/", "_")


def known_secrets(settings: Settings) -> tuple[list[bytes], list[str]]:
    """Return every secret and PIN that the configuration leads to, and which sources could not be read from here."""
    from agent.supervisor.secrets import read_secret  # noqa: PLC0415 - reads files

    sources = {
        one.bootstrap.shared_secret.secret for one in settings.identities.values() if one.bootstrap.shared_secret
    } | {one.pin for one in settings.tokens.values()}
    found, hidden = [], []
    for source in sorted(sources - {"prompt"}):
        try:
            found.append(read_secret(source, ask=None))
        except SecretError:
            hidden.append(source)
    return found, hidden


def key_material(path: Path) -> Iterator[bytes]:
    """Yield what would give a private key away: its octets, those of its numbers, and each line of its base64."""
    try:
        text = path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return
    for block in re.findall(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----([\s\S]*?)-----END", text):
        lines = [line.strip() for line in block.splitlines() if line.strip() and ":" not in line]
        yield from (line.encode() for line in lines)
        try:
            octets = base64.b64decode("".join(lines), validate=True)
        except ValueError:
            continue
        yield octets
        # The octet strings inside PKCS#8 and SEC 1 are the key itself.
        yield from _octet_strings(octets)


def _octet_strings(octets: bytes) -> Iterator[bytes]:
    from agent.cmp import der  # noqa: PLC0415 - beside its one use
    from agent.cmp.errors import MalformedMessage  # noqa: PLC0415

    try:
        elements = der.children(octets)
    except MalformedMessage:
        return
    for one in elements:
        contents = octets[one.contents : one.end]
        if one.tag in {0x04, 0x02} and len(contents) >= 16:  # noqa: PLR2004 - numbers of the size of a key
            yield contents
            yield contents.lstrip(b"\0")
        if one.tag & 0x20 or (one.tag == 0x04 and contents[:1] in {b"\x30", b"\x04"}):  # noqa: PLR2004 - constructed, or DER inside
            yield from _octet_strings(octets[one.start : one.end] if one.tag & 0x20 else contents)
