"""What an operator hands to a technician: a file on a USB stick, or the text of a QR code. docs/provisioning.md.

The file tells where the authority is and which roots it has, and is sealed with the one-time secret, which comes by
another way: a stray or altered stick does nothing. The QR code holds the secret itself and is as good as a letter.

Format of the file: UTF-8, one ``key: value`` a line, the first and the last line fixed::

    enrolld-provisioning: 1
    url: http://ra1.operator.example/.well-known/cmp       (one or more)
    reference: enb-4711
    subject: CN=enb-4711.ran.operator.example,O=Operator   (optional)
    serial-number: 4711                                    (optional: for this device only)
    trust-anchor: MIIB...                                  (optional, one or more: base64 of DER)
    seal: pbkdf2-hmac-sha256 600000 <salt, hex> <HMAC-SHA256, hex>

The seal is an HMAC-SHA256 over all octets before its line, with a key that PBKDF2 makes of the secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlencode

from agent.errors import ConfigurationError, SecretError
from agent.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

NAME: Final = "enrolld-provisioning.txt"
"""What the file is called on a stick."""
LARGEST: Final = 262_144
"""Octets of a file."""
QR_START: Final = "enrolld:1?"
_FIRST_LINE: Final = "enrolld-provisioning: 1"
_SCHEME: Final = "pbkdf2-hmac-sha256"
_ITERATIONS: Final = 600_000
_FEWEST: Final = 100_000
_MOST: Final = 10_000_000
_SALT: Final = 16
_SEAL: Final = re.compile(rf"seal: {_SCHEME} ([0-9]{{1,8}}) ((?:[0-9a-f]{{2}}){{8,64}}) ([0-9a-f]{{64}})", re.ASCII)
_MANY: Final = frozenset({"url", "trust-anchor"})
_KEYS: Final = frozenset({"url", "reference", "subject", "serial-number", "trust-anchor"})
_LONGEST: Final = 2048
"""Characters of a QR text; a code holds some 2900 octets at the most."""


@frozen(kw_only=True)
class Provisioning:
    """What is known of a site before anybody is asked. ``trust_anchors`` are DER; empty: learned from the CA."""

    urls: tuple[str, ...]
    reference: str
    subject: str | None = None
    serial_number: str | None = None
    trust_anchors: tuple[bytes, ...] = ()


@frozen
class SealedFile:
    """A file as it was read: nothing of it is to be used before :meth:`open` has said yes to the secret."""

    content: Provisioning
    _sealed: bytes
    _iterations: int
    _salt: bytes
    _seal: bytes

    @property
    def reference(self) -> str:
        """Which secret is needed to open it."""
        return self.content.reference

    def open(self, secret: bytes) -> Provisioning:
        """Return what is in the file.

        Raises:
            SecretError: it was not sealed with ``secret``, or was altered.
        """
        if not hmac.compare_digest(_mac(self._sealed, secret, self._iterations, self._salt), self._seal):
            raise SecretError(
                "the provisioning file was not sealed with this secret, or somebody changed it",
                remedy="Type the secret again; if it is right, ask the operator for a new file and use this one for "
                "nothing.",
            )
        return self.content


def read_file(octets: bytes) -> SealedFile:
    """Read the octets of a provisioning file.

    Raises:
        ConfigurationError: it is none.
    """
    if len(octets) > LARGEST:
        raise _wrong(f"it is larger than {LARGEST} octets")
    try:
        text = octets.decode()
    except UnicodeDecodeError as error:
        raise _wrong("it is not UTF-8") from error
    sealed, separator, last = text.rstrip("\r\n").rpartition("\n")
    found = _SEAL.fullmatch(last.rstrip("\r"))
    if found is None:
        raise _wrong("its last line is no seal")
    iterations = int(found[1])
    if not _FEWEST <= iterations <= _MOST:
        raise _wrong(f"its seal has {iterations} iterations")
    content = _content(sealed)
    return SealedFile(
        content, (sealed + separator).encode(), iterations, bytes.fromhex(found[2]), bytes.fromhex(found[3])
    )


def write_file(content: Provisioning, secret: bytes, random: Callable[[int], bytes]) -> bytes:
    """Return a provisioning file, sealed with ``secret``."""
    lines = [_FIRST_LINE, *(f"url: {one}" for one in content.urls), f"reference: {content.reference}"]
    if content.subject is not None:
        lines.append(f"subject: {content.subject}")
    if content.serial_number is not None:
        lines.append(f"serial-number: {content.serial_number}")
    lines += [f"trust-anchor: {base64.b64encode(one).decode('ascii')}" for one in content.trust_anchors]
    sealed = "".join(f"{line}\n" for line in lines).encode()
    salt = random(_SALT)
    seal = _mac(sealed, secret, _ITERATIONS, salt)
    return sealed + f"seal: {_SCHEME} {_ITERATIONS} {salt.hex()} {seal.hex()}\n".encode()


def read_qr(text: str) -> tuple[Provisioning, bytes]:
    """Return what the text of a QR code says, and the secret in it.

    Raises:
        ConfigurationError: it is no such text; what it says is not repeated, it may hold the secret.
    """
    text = text.strip()
    if not text.lower().startswith(QR_START) or len(text) > _LONGEST:
        raise ConfigurationError(
            f"this is not the text of a QR code for enrolld: it would begin with {QR_START}",
            remedy="Scan the code again, or type the answers.",
        )
    try:
        text.encode()  # a terminal hands over octets that are no text as surrogates
        fields = parse_qs(text[len(QR_START) :], max_num_fields=16)
    except ValueError:
        fields = {}
    urls, references, secrets = (tuple(fields.get(key, ())) for key in ("url", "ref", "secret"))
    if not urls or len(references) != 1 or len(secrets) != 1:
        raise ConfigurationError(
            "the QR code lacks the address, the reference or the secret",
            remedy="Scan the code again, or type the answers.",
        )
    subject = next(iter(fields.get("subject", ())), None)
    return Provisioning(urls=urls, reference=references[0], subject=subject), secrets[0].encode()


def write_qr(content: Provisioning, secret: str) -> str:
    """Return the text of a QR code; whoever sees it can enroll as this device."""
    pairs = [("url", one) for one in content.urls] + [("ref", content.reference), ("secret", secret)]
    if content.subject is not None:
        pairs.append(("subject", content.subject))
    return QR_START + urlencode(pairs)


def _content(text: str) -> Provisioning:
    first, *lines = text.replace("\r\n", "\n").split("\n")
    if first != _FIRST_LINE:
        raise _wrong(f"its first line is not {_FIRST_LINE!r}")
    values: dict[str, list[str]] = {}
    for line in lines:
        key, separator, value = line.partition(": ")
        if not separator or key not in _KEYS:
            raise _wrong(f"it has a line {line[:30]!a}")
        values.setdefault(key, []).append(value.strip())
        if len(values[key]) > 1 and key not in _MANY:
            raise _wrong(f"it says {key} twice")
    if not values.get("url") or not values.get("reference"):
        raise _wrong("it lacks the address or the reference")
    try:
        anchors = tuple(base64.b64decode(one, validate=True) for one in values.get("trust-anchor", ()))
    except (binascii.Error, ValueError) as error:
        raise _wrong("a trust anchor in it is no base64") from error
    return Provisioning(
        urls=tuple(values["url"]),
        reference=values["reference"][0],
        subject=next(iter(values.get("subject", ())), None),
        serial_number=next(iter(values.get("serial-number", ())), None),
        trust_anchors=anchors,
    )


def _mac(sealed: bytes, secret: bytes, iterations: int, salt: bytes) -> bytes:
    key = hashlib.pbkdf2_hmac("sha256", secret, salt, iterations)
    return hmac.digest(key, sealed, "sha256")


def _wrong(what: str) -> ConfigurationError:
    return ConfigurationError(
        f"this is no provisioning file: {what}", remedy="Ask the operator for the file again, or type the answers."
    )
