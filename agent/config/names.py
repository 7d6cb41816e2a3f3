"""The names in certificates as people write them: distinguished names and alternative names.

A distinguished name comes out in one spelling, the one every RFC 4514 reader knows: no spaces around separators,
attribute types in capitals, and dotted numbers for the types RFC 4514 has no short name for. What is accepted here is
accepted by ``cryptography``; a test holds that, because importing it just to read a file would be slow.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final

from agent.config.findings import Wrong, choose, shown

_SHORT_NAMES: Final = ("CN", "L", "ST", "O", "OU", "C", "STREET", "DC", "UID")
"""RFC 4514 section 3."""

_NUMBERS: Final = {
    "SN": "2.5.4.4",
    "SURNAME": "2.5.4.4",
    "SERIALNUMBER": "2.5.4.5",
    "TITLE": "2.5.4.12",
    "NAME": "2.5.4.41",
    "GIVENNAME": "2.5.4.42",
    "INITIALS": "2.5.4.43",
    "GENERATIONQUALIFIER": "2.5.4.44",
    "DNQUALIFIER": "2.5.4.46",
    "PSEUDONYM": "2.5.4.65",
    "ORGANIZATIONIDENTIFIER": "2.5.4.97",
    "EMAILADDRESS": "1.2.840.113549.1.9.1",
}
"""Other attributes of RFC 5280 appendix A.1, by the names OpenSSL and directories give them."""

_OID: Final = re.compile(r"(?:[01]\.(?:[0-9]|[1-3][0-9])|2\.(?:0|[1-9][0-9]{0,2}))(?:\.(?:0|[1-9][0-9]{0,8})){1,20}")
_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,./:=?-]+")
_SEPARATOR: Final = re.compile(r"[,+]")
_ESCAPED: Final = re.compile(r'\\(?:([ "#+,;<=>\\])|((?:[0-9A-Fa-f]{2})(?:\\[0-9A-Fa-f]{2})*))')
_PLAIN: Final = re.compile(r'[^"+,;<>\\]+')
_SPECIAL: Final = re.compile(r'([\\"+,;<>])')
_LONGEST_COMMON_NAME: Final = 64
_EASY: Final = r"(?:CN|L|ST|O|OU|STREET|DC|UID)=[A-Za-z0-9._-](?:[A-Za-z0-9 ._-]{0,62}[A-Za-z0-9._-])?"
_EASY_NAME: Final = re.compile(rf"{_EASY}(?:,{_EASY})*")
"""A name that is in its one spelling already, and has nothing to be checked: nearly every one, of a thousand."""
_EXAMPLE: Final = 'write it like "CN=enb-4711.ran.operator.example,O=Operator"'

_IA5: Final = ("DC", _NUMBERS["EMAILADDRESS"])
_PRINTABLE_ONLY: Final = (_NUMBERS["SERIALNUMBER"], _NUMBERS["DNQUALIFIER"])

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LONGEST_HOST: Final = 253
_URI: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(?!//(?:[/?#]|$))(?:%[0-9A-Fa-f]{2}|[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-])+"
)
_MAILBOX: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")


def distinguished_name(text: str) -> str:
    """Return an RFC 4514 name in its one spelling.

    Raises:
        Wrong: naming the part that cannot be read.
    """
    if _EASY_NAME.fullmatch(text):
        return text
    if text.startswith("/"):
        raise Wrong("this is OpenSSL's old way to write a name", _EXAMPLE)
    rdns: list[list[tuple[str, str]]] = []
    separator, rest = ",", text
    while separator:
        kind, value, rest = _attribute(rest)
        if separator == ",":
            rdns.append([])
        elif (kind, value) in rdns[-1]:
            raise Wrong(f"{kind} stands on both sides of a + with one value", "remove one of them")
        rdns[-1].append((kind, value))
        separator, rest = rest[:1], rest[1:]
    return ",".join("+".join(f"{kind}={_escape(value)}" for kind, value in rdn) for rdn in rdns)


def _attribute(text: str) -> tuple[str, str, str]:
    """Split ``TYPE=value,rest`` into type, value without escapes, and the rest from its separator on."""
    label, equals, rest = text.partition("=")
    if not equals or _SEPARATOR.search(label):
        raise Wrong(f"{shown(label.strip() or text)} has no = between attribute and value", _EXAMPLE)
    kind = _attribute_type(label.strip())
    raw, rest = _value_text(rest)
    value = _unescape(raw)
    _check_value(kind, value)
    return kind, value, rest


def _attribute_type(label: str) -> str:
    name = label.upper()
    if name in _SHORT_NAMES:
        return name
    if name in _NUMBERS:
        return _NUMBERS[name]
    if _OID.fullmatch(label):
        return label
    raise Wrong(
        f"{shown(label)} is no attribute of a name",
        "use CN, O, OU, C, ST, L, STREET, DC, UID, serialNumber or a dotted object identifier",
    )


def _value_text(text: str) -> tuple[str, str]:
    """Split at the first separator that is not escaped; spaces around the value do not count unless escaped."""
    text = text.lstrip(" ")
    if text.startswith("#"):
        raise Wrong("a value that begins with # is in hexadecimal, which is not supported", r"write \# for the sign #")
    end = 0
    while end < len(text) and text[end] not in ",+":
        end += 2 if text[end] == "\\" else 1
    raw, rest = text[:end], text[end:]
    stripped = raw.rstrip(" ")
    escaped_space = (len(stripped) - len(stripped.rstrip("\\"))) % 2 == 1 and len(raw) > len(stripped)
    return (f"{stripped} " if escaped_space else stripped), rest


def _unescape(raw: str) -> str:
    value = ""
    rest = raw
    while rest:
        if match := _PLAIN.match(rest):
            value += match[0]
        elif match := _ESCAPED.match(rest):
            value += match[1] or _from_hex(match[2])
        else:
            raise Wrong(f"the sign {shown(rest[0])} in {shown(raw)} needs a backslash", rf"write \{rest[0]}")
        rest = rest[match.end() :]
    return value


def _from_hex(pairs: str) -> str:
    try:
        return bytes.fromhex(pairs.replace("\\", "")).decode()
    except UnicodeDecodeError:
        raise Wrong(f"{shown(pairs)} is not UTF-8 in hexadecimal", "write the letters themselves") from None


def _check_value(kind: str, value: str) -> None:
    if not value:
        raise Wrong(f"{kind} has no value", "give it one, or leave it out")
    if not value.isprintable():
        raise Wrong(f"the value of {kind} holds a control character", "remove it")
    if kind == "C" and not re.fullmatch(r"[A-Za-z]{2}", value):
        raise Wrong("C is a country code of exactly two letters", "write it like C=SE")
    if kind == "CN" and len(value.encode()) > _LONGEST_COMMON_NAME:
        raise Wrong(
            f"CN is longer than {_LONGEST_COMMON_NAME} octets", "shorten it, and use alternative-names for the rest"
        )
    if kind in _IA5 and not value.isascii():
        raise Wrong(f"the value of {kind} holds letters beyond ASCII", "use the xn-- form")
    if kind in _PRINTABLE_ONLY and not _PRINTABLE.fullmatch(value):
        raise Wrong(
            f"the value of {kind} holds a sign not allowed there", "use letters, digits, spaces and '()+,-./:=?"
        )


def _escape(value: str) -> str:
    escaped = _SPECIAL.sub(r"\\\1", value)
    if escaped[0] in "# ":
        escaped = f"\\{escaped}"
    if escaped[-1] == " " and len(value) > 1:
        escaped = f"{escaped[:-1]}\\ "
    return escaped


def alternative_name(text: str) -> str:
    """Return a ``dns:``, ``ip:``, ``uri:`` or ``email:`` name, its kind in small letters.

    Raises:
        Wrong: for another kind, or a value that is not of its kind.
    """
    label, colon, value = text.partition(":")
    kind = label.lower()
    if not colon or kind not in _ALTERNATIVES:
        remedy = choose(kind, _ALTERNATIVES) if colon else 'write it like "dns:enb-4711.operator.example"'
        raise Wrong("expected dns:NAME, ip:ADDRESS, uri:URI or email:ADDRESS", remedy)
    _ALTERNATIVES[kind](value)
    return f"{kind}:{value}"


def host_name(name: str, *, underscore: bool = False) -> None:
    """Check a host name: labels of letters, digits and hyphens (RFC 5280 section 4.2.1.6).

    Resolvers know names with an ``underscore`` too; certificates must not hold them.

    Raises:
        Wrong: when it is none.
    """
    if underscore:
        name = name.replace("_", "x")
    if not name.isascii():
        raise Wrong(f"the host name {shown(name)} holds letters beyond ASCII", "write it in the xn-- form")
    if not _HOST.fullmatch(name) or len(name) > _LONGEST_HOST or name.rpartition(".")[2].isdigit():
        raise Wrong(f"{shown(name)} is not a host name", "use labels of letters, digits and hyphens, joined by dots")


def ip_address(text: str, *, zone: bool = False) -> str:
    """Check an IP address without prefix length; ``zone``: an IPv6 zone (``fe80::1%eth0``) is allowed.

    Raises:
        Wrong: when it is none.
    """
    if "/" in text:
        raise Wrong(
            f"{shown(text)} has a prefix length, which is not part of an address", "remove the / and the number"
        )
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise Wrong(f"{shown(text)} is not an IP address", "write it like 192.0.2.7 or 2001:db8::7") from None
    if "%" in text and not zone:
        raise Wrong(f"{shown(text)} has a zone, which means nothing to others", "remove the % and what follows")
    if address.is_multicast or address.is_unspecified:
        raise Wrong(f"{shown(text)} is not the address of one machine", "write the machine's own address")
    return text


def _dns(value: str) -> None:
    host_name(value.removeprefix("*."))


def _ip(value: str) -> None:
    ip_address(value)


def _uri(value: str) -> None:
    if not _URI.fullmatch(value):
        raise Wrong(
            f"{shown(value)} is not an absolute URI", "write it like uri:urn:enb:4711, in ASCII and without spaces"
        )


def _email(value: str) -> None:
    mailbox, at, domain = value.rpartition("@")
    if not at or not _MAILBOX.fullmatch(mailbox):
        raise Wrong(f"{shown(value)} is not a mail address", "write it like email:noc@operator.example")
    host_name(domain)


_ALTERNATIVES: Final[dict[str, Callable[[str], None]]] = {"dns": _dns, "ip": _ip, "uri": _uri, "email": _email}
