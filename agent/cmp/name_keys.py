"""Names as ``cryptography`` reads them: what makes two of them the same (RFC 5280 7.1), and how people read one."""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable

from cryptography import x509

from agent.cmp.failures import clean_text

NameKey = tuple[frozenset[tuple[str, str | bytes]], ...]
"""What two names must have equal to be the same name (see :func:`name_key`)."""


def name_key(name: x509.Name) -> NameKey:
    """Return what identifies a distinguished name under RFC 5280 7.1.

    The order of the RDNs counts, the order inside one does not; the string type does not count, nor do letter case and
    the amount of white space (caseIgnoreMatch). Values that are not text are compared as octets.
    """
    return tuple(frozenset((one.oid.dotted_string, _value_key(one.value)) for one in rdn) for rdn in name.rdns)


def general_name_key(name: x509.GeneralName) -> Hashable:
    """Return what identifies an alternative name: host names without letter case, everything else exactly."""
    match name:
        case x509.DNSName(value=value):
            return "dns", value.lower()
        case x509.RFC822Name(value=value):
            local, at, host = value.rpartition("@")
            return "email", local + at + host.lower()
        case x509.DirectoryName(value=value):
            return "dir", name_key(value)
        case _:
            return name


def general_name_text(name: x509.GeneralName) -> str:
    """Return an alternative name for people, written as in our configuration where it can be."""
    match name:
        case x509.DNSName(value=value):
            text = f"dns:{value}"
        case x509.IPAddress(value=value):
            text = f"ip:{value}"
        case x509.UniformResourceIdentifier(value=value):
            text = f"uri:{value}"
        case x509.RFC822Name(value=value):
            text = f"email:{value}"
        case x509.DirectoryName(value=value):
            text = f"dir:{value.rfc4514_string()}"
        case _:
            text = str(name)
    return clean_text(text)


def quoted(name: x509.Name) -> str:
    """Return a name as RFC 4514 text in quotes, safe to print."""
    return f'"{clean_text(name.rfc4514_string())}"'


def _value_key(value: str | bytes) -> str | bytes:
    if isinstance(value, bytes):
        return value
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold()).split())
