"""Distinguished names and general names, between the text people write, DER, and ``cryptography``'s objects."""

from __future__ import annotations

import ipaddress
import string
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from agent.cmp import asn1, der
from agent.cmp.errors import LocalError, MalformedMessage
from agent.cmp.failures import clean_text
from agent.cmp.name_keys import name_key

if TYPE_CHECKING:
    from collections.abc import Iterable

_DIRECTORY_NAME: Final = 0xA4
EMPTY: Final = der.wrap(der.SEQUENCE)
_KEYWORDS: Final = {
    "CN": x509.NameOID.COMMON_NAME,
    "O": x509.NameOID.ORGANIZATION_NAME,
    "OU": x509.NameOID.ORGANIZATIONAL_UNIT_NAME,
    "C": x509.NameOID.COUNTRY_NAME,
    "ST": x509.NameOID.STATE_OR_PROVINCE_NAME,
    "L": x509.NameOID.LOCALITY_NAME,
    "DC": x509.NameOID.DOMAIN_COMPONENT,
}
_PLAIN: Final = frozenset(string.ascii_letters + string.digits + " .-_:/@()")
"""What means itself in RFC 4514, wherever it stands in a value that neither begins nor ends with a space."""


@lru_cache(maxsize=64)
def name_from_text(text: str) -> bytes:
    """Return the DER of the Name written as ``text`` (RFC 4514: last RDN first).

    Raises:
        LocalError: when it is no such text.
    """
    try:
        return (_plain_name(text) or x509.Name.from_rfc4514_string(text)).public_bytes()
    except ValueError as error:
        raise LocalError(
            f"{text!r} is not a distinguished name",
            remedy='Write it like "CN=enb-4711.ran.operator.example,O=Operator".',
        ) from error


def _plain_name(text: str) -> x509.Name | None:
    """Return the Name written as ``text`` where nothing in it needs rules, which is nearly always; None otherwise.

    It is what the library returns, whose rules are a pattern that takes longer to compile than a request to make.
    """
    attributes = []
    for part in reversed(text.split(",")):
        keyword, _, value = part.partition("=")
        oid = _KEYWORDS.get(keyword)
        if oid is None or not value or value != value.strip() or not _PLAIN.issuperset(value):
            return None
        attributes.append(x509.NameAttribute(oid, value))
    return x509.Name(attributes)


def common_name(text: str) -> bytes:
    """Return the DER of a Name with the one attribute CN: how a MAC-protected sender is named (RFC 9483 3.1).

    Raises:
        ValueError: unless it has 1 to 64 characters.
    """
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]).public_bytes()


def directory_name(name: bytes) -> bytes:
    """Return the DER of a GeneralName that holds the Name ``name``."""
    return der.wrap(_DIRECTORY_NAME, name)


def name_of(general_name: bytes) -> bytes | None:
    """Return the DER Name inside a GeneralName; None when it is of another kind.

    Raises:
        MalformedMessage: when it is no DER.
    """
    element = der.read(general_name)
    return general_name[element.contents :] if element.tag == _DIRECTORY_NAME else None


@lru_cache(maxsize=256)
def parse_name(name: bytes) -> x509.Name:
    """Return the DER Name as an object, read as ``cryptography`` reads the names in certificates.

    Raises:
        MalformedMessage: when it is no Name.
    """
    # ``cryptography`` reads a Name only as part of something. The smallest such thing is a certificate request, whose
    # signature nobody looks at here.
    information = der.wrap(der.SEQUENCE, b"\x02\x01\x00", name, _SOME_KEY, b"\xa0\x00")
    request = der.wrap(der.SEQUENCE, information, _SOME_ALGORITHM, _NO_BITS)
    try:
        der.unwrap(name)
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # about attributes of unusual length
            return x509.load_der_x509_csr(request).subject
    except (ValueError, TypeError) as error:  # TypeError: a BIT STRING where cryptography wants text
        raise der.malformed(f"a name in it is unreadable ({clean_text(str(error), 120)})") from error


_NO_BITS: Final = der.wrap(der.BIT_STRING, b"\x00")
_SOME_ALGORITHM: Final = bytes.fromhex("300a06082a8648ce3d040302")
_SOME_KEY: Final = der.wrap(der.SEQUENCE, _SOME_ALGORITHM, _NO_BITS)


def text_of(name: bytes) -> str:
    """Return the DER Name as RFC 4514 text, for people; damaged names come out as hex."""
    try:
        return parse_name(name).rfc4514_string() or "(empty name)"
    except MalformedMessage:
        return name.hex()


def same_name(one: bytes, other: bytes) -> bool:
    """Tell whether two DER Names are the same under RFC 5280 7.1 (see :func:`agent.cmp.name_keys.name_key`).

    Raises:
        MalformedMessage: when one of them is no Name.
    """
    return one == other or name_key(parse_name(one)) == name_key(parse_name(other))


def alternative_name(text: str) -> x509.GeneralName:
    """Return the general name written as ``dns:``, ``ip:``, ``uri:`` or ``email:`` and a value.

    Raises:
        LocalError: for another kind or a bad value.
    """
    kind, _, value = text.partition(":")
    try:
        if not value:
            raise ValueError("no value")  # noqa: TRY301 - one message for every way to be wrong
        found: x509.GeneralName = _ALTERNATIVES[kind](value)
    except (KeyError, ValueError) as error:
        raise LocalError(
            f"{text!r} is not an alternative name",
            remedy="Write dns:NAME, ip:ADDRESS, uri:URI or email:ADDRESS.",
        ) from error
    return found


def utf8_sequence(*texts: str) -> bytes:
    """Return the DER of a SEQUENCE OF UTF8String.

    Raises:
        LocalError: for text that cannot be written in UTF-8.
    """
    return der.wrap(der.SEQUENCE, *map(asn1.utf8_string, texts))


def extensions(parts: Iterable[tuple[x509.ExtensionType, bool]]) -> bytes | None:
    """Return the DER of Extensions with ``parts`` (extension, critical); None when there are none."""
    encoded = [_extension(extension, critical=critical) for extension, critical in parts]
    return der.wrap(der.SEQUENCE, *encoded) if encoded else None


def _extension(extension: x509.ExtensionType, *, critical: bool) -> bytes:
    value = der.wrap(der.OCTET_STRING, extension.public_bytes())
    return asn1.write_typed(extension.oid.dotted_string, _CRITICAL + value if critical else value)


_CRITICAL: Final = b"\x01\x01\xff"
"""BOOLEAN TRUE; its DEFAULT, FALSE, is left out."""


_ALTERNATIVES: Final[dict[str, Any]] = {
    "dns": x509.DNSName,
    "ip": lambda value: x509.IPAddress(ipaddress.ip_address(value)),
    "uri": x509.UniformResourceIdentifier,
    "email": x509.RFC822Name,
}
