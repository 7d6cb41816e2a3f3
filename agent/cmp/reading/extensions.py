"""X.509 extensions in words, of certificates, requests and CRLs (RFC 5280 section 4.2 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from agent.cmp.reading import oids, tlv, words
from agent.cmp.reading.items import Item
from agent.cmp.reading.session import NotUnderstood, Session
from agent.cmp.reading.shapes import (
    Reader,
    apply,
    entries,
    explicit,
    list_of,
    match,
    optional,
    read_matched,
    said,
    structure,
)
from agent.cmp.reading.tlv import CONTEXT, Value


def extensions(name: str, value: Value, session: Session) -> Item:
    """Read Extensions: an item for each, named as in the RFC."""
    return Item(name, "" if value.size else "(an empty list)", entries("extension", value, extension, session))


def extension(name: str, value: Value, session: Session) -> Item:
    """Read one Extension.

    Raises:
        NotUnderstood: when it is none.
    """
    oid, rest = words.labelled(value, session, f"an {name}")
    flag = rest[0] if [one.key for one in rest[:-1]] == [tlv.BOOLEAN] else None
    if not rest or rest[-1].key != tlv.OCTET_STRING or (flag is None and len(rest) > 1):
        raise NotUnderstood(value.start, f"not an {name}")
    title = oids.EXTENSIONS.get(oid, f"extension {oid}")
    item = apply(explicit(READERS.get(oid, structure)), title, rest[-1], session)
    if flag is not None and any(flag.inside):
        item = replace(item, value=f"{item.value} (critical)".lstrip())
    return item


_KEY_USAGES: Final = {
    0: "digitalSignature",
    1: "nonRepudiation",
    2: "keyEncipherment",
    3: "dataEncipherment",
    4: "keyAgreement",
    5: "keyCertSign",
    6: "cRLSign",
    7: "encipherOnly",
    8: "decipherOnly",
}

_REASONS: Final = {
    0: "unspecified",
    1: "keyCompromise",
    2: "cACompromise",
    3: "affiliationChanged",
    4: "superseded",
    5: "cessationOfOperation",
    6: "certificateHold",
    8: "removeFromCRL",
    9: "privilegeWithdrawn",
    10: "aACompromise",
}


def _key_usage(value: Value, session: Session) -> str:
    return _bit_names(value, _KEY_USAGES, session)


def _bit_names(value: Value, names: Mapping[int, str], session: Session) -> str:
    found = sorted(words.bits(value, session))
    return ", ".join(names.get(bit, f"bit {bit}") for bit in found) or "(none)"


def _crl_reason(value: Value, session: Session) -> str:
    number = words.number(value, session)
    return f"{_REASONS.get(number, 'unknown reason')} ({number})"


def _purpose(value: Value, session: Session) -> str:
    oid = words.oid(value, session)
    return oids.KEY_PURPOSES.get(oid, oid)


def _basic_constraints(value: Value, session: Session) -> str:
    matched = match(value, _BASIC_CONSTRAINTS, session)
    if matched.problems:
        raise NotUnderstood(value.start, "not basic constraints")
    authority, length = matched.value("cA"), matched.value("pathLenConstraint")
    text = "a CA" if authority is not None and any(authority.inside) else "not a CA"
    return text if length is None else f"{text}, path length {words.decimal(length, session)}"


_BASIC_CONSTRAINTS: Final = (
    optional("cA", tlv.BOOLEAN, said(words.boolean)),
    optional("pathLenConstraint", tlv.INTEGER, said(words.decimal)),
)

_AUTHORITY_KEY: Final = (
    optional("keyIdentifier", CONTEXT | 0, said(words.octets)),
    optional("authorityCertIssuer", CONTEXT | 1, list_of(words.general_name)),
    optional("authorityCertSerialNumber", CONTEXT | 2, said(words.serial)),
)


def _authority_key(name: str, value: Value, session: Session) -> Item:
    items = read_matched(match(value, _AUTHORITY_KEY, session), session)
    if len(items) == 1 and items[0].name == "keyIdentifier" and not items[0].stopped:
        return Item(name, items[0].value)
    return Item(name, "", items)


def _distribution_point(value: Value, session: Session) -> str:
    """Return the places of a CRL: only full names are shown, nearly all are."""
    found = [
        words.general_name(name, session)
        for part in tlv.children(value, session).complete()
        if part.key == CONTEXT | 0
        for choice in tlv.children(part, session).complete()
        if choice.key == CONTEXT | 0
        for name in tlv.children(choice, session).complete()
    ]
    return ", ".join(found) or "(relative, or by issuer)"


def _access(value: Value, session: Session) -> str:
    method, (place,) = words.labelled(value, session, "an access description", 1)
    return f"{oids.named(method).partition(' ')[0]} {words.general_name(place, session)}"


def _policy(value: Value, session: Session) -> str:
    oid, _ = words.labelled(value, session, "a certificate policy")
    return "any policy" if oid == "2.5.29.32.0" else oid


def _subtree(value: Value, session: Session) -> str:
    parts = tlv.children(value, session).complete()
    if not parts:
        raise NotUnderstood(value.start, "not a subtree of names")
    return words.general_name(parts[0], session)


_NAME_CONSTRAINTS: Final = (
    optional("permitted", CONTEXT | 0, list_of(_subtree)),
    optional("excluded", CONTEXT | 1, list_of(_subtree)),
)


def _name_constraints(name: str, value: Value, session: Session) -> Item:
    return Item(name, "", read_matched(match(value, _NAME_CONSTRAINTS, session), session))


READERS: Final[Mapping[str, Reader]] = {
    "2.5.29.14": said(words.octets),
    "2.5.29.15": said(_key_usage),
    "2.5.29.17": list_of(words.general_name),
    "2.5.29.18": list_of(words.general_name),
    "2.5.29.19": said(_basic_constraints),
    "2.5.29.20": said(words.decimal),
    "2.5.29.21": said(_crl_reason),
    "2.5.29.24": said(words.time),
    "2.5.29.27": said(words.decimal),
    "2.5.29.30": _name_constraints,
    "2.5.29.31": list_of(_distribution_point),
    "2.5.29.32": list_of(_policy),
    "2.5.29.35": _authority_key,
    "2.5.29.37": list_of(_purpose),
    "2.5.29.46": list_of(_distribution_point),
    "1.3.6.1.5.5.7.1.1": list_of(_access),
    "1.3.6.1.5.5.7.1.11": list_of(_access),
    "1.3.6.1.5.5.7.48.1.5": said(lambda _, __: "this responder is not checked for revocation"),
    "2.16.840.1.113730.1.13": said(words.text),
}
"""Readers of extension values by OID; others are shown as bare structure."""
