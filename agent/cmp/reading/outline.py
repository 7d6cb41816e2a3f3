"""The bare structure of octets that nobody understood: types, sizes and offsets, nothing that could be a secret.

Integers, strings and octets of an unknown value may be a private key, a password or a MAC. Shown are small numbers,
object identifiers, times, and text only where a name or a PKIFreeText must be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.cmp.reading import oids, tlv, words
from agent.cmp.reading.items import Item
from agent.cmp.reading.session import NotUnderstood, Session

if TYPE_CHECKING:
    from agent.cmp.reading.tlv import Value

MORE: Final = "and more"
"""The name of the item that stands for what was not read."""

_TYPES: Final = {
    tlv.BOOLEAN: "BOOLEAN",
    tlv.INTEGER: "INTEGER",
    tlv.BIT_STRING: "BIT STRING",
    tlv.OCTET_STRING: "OCTET STRING",
    tlv.NULL: "NULL",
    tlv.OID: "OBJECT IDENTIFIER",
    tlv.ENUMERATED: "ENUMERATED",
    tlv.UTF8: "UTF8String",
    tlv.SEQUENCE: "SEQUENCE",
    tlv.SET: "SET",
    tlv.NUMERIC: "NumericString",
    tlv.PRINTABLE: "PrintableString",
    tlv.TELETEX: "TeletexString",
    tlv.IA5: "IA5String",
    tlv.UTC_TIME: "UTCTime",
    tlv.GENERALIZED_TIME: "GeneralizedTime",
    tlv.VISIBLE: "VisibleString",
    tlv.UNIVERSAL: "UniversalString",
    tlv.BMP: "BMPString",
}
_CLASSES: Final = {0x00: "UNIVERSAL ", 0x40: "APPLICATION ", 0x80: "", 0xC0: "PRIVATE "}
_HIGH_TAG: Final = 0x1F
_DEPTH: Final = 12
_SMALL: Final = 8
"""Octets of a number that may be shown: too few for a key."""


def type_name(value: Value) -> str:
    """Return the type of a value as ASN.1 spells it: ``SEQUENCE``, ``[0]`` ..."""
    if value.key in _TYPES:
        return _TYPES[value.key]
    number = value.key & _HIGH_TAG
    return f"[{_CLASSES[value.key & 0xC0]}{number if number < _HIGH_TAG else '31 or more'}]"


def outline(value: Value, session: Session, *, text: bool = True, depth: int = 0) -> Item:
    """Return the structure of ``value``; ``text`` False: no text in it is shown. Damage inside is marked as a stop."""
    session.outlined -= 1
    name = f"offset {value.start}: {type_name(value)}"
    size = f"{value.size} octets"
    if value.constructed and depth < _DEPTH and session.outlined > 0:
        inside = tlv.children(value, session)
        text = text and _may_hold_text(inside.values, session)
        items: list[Item] = []
        for one in inside.values:
            if session.outlined <= 0:
                items.append(Item(MORE, "not shown", stopped=True))
                break
            items.append(with_trouble(outline(one, session, text=text, depth=depth + 1), one))
        if inside.trouble:
            items.append(stop(inside.trouble))
        return Item(name, size, tuple(items), value.start)
    # What a text by itself is for cannot be told from its surroundings.
    return Item(name, _leaf(value, session, text=text and depth > 0) or size, offset=value.start)


def stop(trouble: NotUnderstood) -> Item:
    """Return the item that says where reading ended and why."""
    return Item(f"stopped at offset {trouble.offset}", str(trouble), offset=trouble.offset, stopped=True)


def with_trouble(item: Item, value: Value) -> Item:
    """Return ``item`` with a stop inside when the end of ``value`` is missing."""
    if not value.trouble:
        return item
    cut = stop(NotUnderstood(value.start, f"the value that begins there is cut off: {value.trouble}"))
    return Item(item.name, item.value, (*item.items, cut), item.offset, item.stopped)


def _leaf(value: Value, session: Session, *, text: bool) -> str:
    shown = _LEAVES.get(value.key)
    if value.key in words.STRINGS:
        shown = words.text if text else None
    if shown is None or (value.key in _NUMBERS and value.size > _SMALL):
        return ""
    try:
        return shown(value, session)
    except NotUnderstood:
        return ""


_NUMBERS: Final = (tlv.INTEGER, tlv.ENUMERATED)
_LEAVES: Final = {
    tlv.BOOLEAN: words.boolean,
    tlv.INTEGER: words.decimal,
    tlv.ENUMERATED: words.decimal,
    tlv.OID: words.named_oid,
    tlv.UTC_TIME: words.time,
    tlv.GENERALIZED_TIME: words.time,
}
"""Types whose values may be shown."""


def _may_hold_text(values: tuple[Value, ...], session: Session) -> bool:
    """Tell whether text inside is a part of a name or of a PKIFreeText: beside anything else it may be a password."""
    strings = [one.key in words.STRINGS for one in values]
    if not any(strings):
        return not values or values[0].key != tlv.OID
    if all(strings):
        # An object identifier with a damaged tag is no text either.
        return not any(octet < ord(" ") for one in values for octet in one.inside)
    try:
        return words.oid(values[0], session) in oids.NAME_ATTRIBUTES
    except NotUnderstood:
        return False
