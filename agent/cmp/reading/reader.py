"""The whole input to a reading: its parts, the values in each, and what every one of them is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from agent.cmp.reading import requests, tlv, x509
from agent.cmp.reading.items import Item, Reading
from agent.cmp.reading.message import message
from agent.cmp.reading.outline import MORE, outline
from agent.cmp.reading.parts import Part, parts, starts_with_http
from agent.cmp.reading.session import SIZE, NotUnderstood, Session
from agent.cmp.reading.shapes import Reader, apply
from agent.cmp.reading.tlv import CONTEXT, Value

_VALUES: Final = 100
"""Values of an input that are read: a dump of many messages must end somewhere."""

_LOOKED_AT, _LOOKED_INSIDE = 4, 8
"""Parts of a value that tell what it is, and parts of the first of them."""

_SAMPLE: Final = 32
"""Octets that tell text from other things."""

_WEB_PAGE: Final = (b"<!doctype html", b"<html")

_BLANK: Final = b" \t\r\n\0"


def read(raw: bytes, *, secret: bytes | None = None) -> Reading:
    """Read ``raw``, whatever it is; never raises.

    PKIMessages, certificates, PKCS#10 requests, CRLs and CertRequests, several behind one another, as DER, PEM, base64,
    hexadecimal or inside a dump of HTTP. At most 1 MiB is read. MACs are checked with ``secret``.
    """
    session = Session(message=message, secret=secret)
    items: list[Item] = []
    for part in parts(raw[:SIZE]):
        items.extend(_part(part, session, _VALUES + 1 - len(items)))
        if len(items) > _VALUES:
            items[_VALUES:] = [Item(MORE, f"only {_VALUES} values are read at once", stopped=True)]
            break
    if len(raw) > SIZE:
        items.append(Item(MORE, f"only the first {SIZE} of the {len(raw)} octets were read", stopped=True))
    return Reading(tuple(items) or (Item("nothing", "the input is empty", stopped=True),))


def _part(part: Part, session: Session, most: int) -> Iterator[Item]:
    notes = tuple(Item("note", note) for note in (*part.notes, *((f"from {part.source}",) if part.source else ())))
    if part.secret:
        yield Item("private key", "it is secret: nothing of it is read or shown", notes)
        return
    if part.trouble:
        yield Item("not understood", part.trouble, notes, stopped=True)
        return
    data = part.octets
    while data.strip(_BLANK) and most:
        most -= 1
        item, data = _first(data, session)
        yield replace(item, items=(*notes, *item.items))
        notes = ()
        if starts_with_http(data):
            for further in parts(data):
                yield from _part(further, session, most)
            return


def _first(data: bytes, session: Session) -> tuple[Item, bytes]:
    """Return the item for the first value of ``data``, and the octets behind it."""
    try:
        value = tlv.read(data, 0, len(data), session)
    except NotUnderstood as trouble:
        return _not_asn1(data, trouble), b""
    name, read_ = _kind(value, session)
    if read_ is _unknown and value.key != tlv.SEQUENCE:
        # Anything reads as a tag and a length by chance: what follows it is no more certain than itself.
        return _not_asn1(data, NotUnderstood(0, "no message begins like that")), b""
    return apply(read_, name, value, session), data[value.end :]


def _not_asn1(data: bytes, trouble: NotUnderstood) -> Item:
    text = data.strip()[:_SAMPLE]
    what = "octets"
    if text.isascii() and text.decode("ascii").replace("\r\n", " ").replace("\n", " ").isprintable():
        # Which text it is stays unsaid: it may be a secret that stands in the wrong file.
        what = "octets of a web page" if text.lower().startswith(_WEB_PAGE) else "octets of text"
    return Item(
        "not understood",
        f"{len(data)} {what}; at offset {trouble.offset}: {trouble}",
        offset=trouble.offset,
        stopped=True,
    )


def _unknown(name: str, value: Value, session: Session) -> Item:
    what = "neither a CMP message, nor a certificate, a request or a CRL"
    return Item(name, what, (outline(value, session),), 0, stopped=True)


def _private_key(name: str, _: Value, __: Session) -> Item:
    return Item(name, "it is secret: nothing of it is read or shown")


def _kind(value: Value, session: Session) -> tuple[str, Reader]:
    """Return what ``value`` is, told by the types of its parts and of the first one's parts, and its reader."""
    if value.key != tlv.SEQUENCE:
        return "unknown", _unknown
    outer = tlv.children(value, session, _LOOKED_AT).values
    keys = [one.key for one in outer]
    inner = (
        [one.key for one in tlv.children(outer[0], session, _LOOKED_INSIDE).values]
        if keys[:1] == [tlv.SEQUENCE]
        else []
    )
    return next(((name, read_) for name, is_it, read_ in _KINDS if is_it(keys, inner)), ("unknown", _unknown))


_Test = Callable[[list[int], list[int]], bool]
_SIGNED: Final = [tlv.SEQUENCE, tlv.SEQUENCE, tlv.BIT_STRING]
_TIMES: Final = frozenset({tlv.UTC_TIME, tlv.GENERALIZED_TIME})
_DIRECTORY_NAME: Final = CONTEXT | 4
_REQUEST_PARTS: Final = 4
_CERTIFICATE_PARTS: Final = 6


def _is_message(outer: list[int], inner: list[int]) -> bool:
    # A header is a number and a sender, whose tag is one of the context. Damaged ones are told by their body.
    whole = inner[:1] == [tlv.INTEGER] and any(key >= CONTEXT for key in inner[1:2])
    return whole or (any(key >= CONTEXT for key in outer[1:2]) and _DIRECTORY_NAME in inner)


def _is_crl(outer: list[int], inner: list[int]) -> bool:
    return outer == _SIGNED and not _TIMES.isdisjoint(inner)


def _is_pkcs10(outer: list[int], inner: list[int]) -> bool:
    start = [tlv.INTEGER, tlv.SEQUENCE, tlv.SEQUENCE]
    return outer == _SIGNED and inner[:3] == start and len(inner) <= _REQUEST_PARTS


def _is_certificate(outer: list[int], inner: list[int]) -> bool:
    return outer[:2] == _SIGNED[:2] and len(inner) >= _CERTIFICATE_PARTS


def _is_request(outer: list[int], _: list[int]) -> bool:
    return outer[:2] == [tlv.INTEGER, tlv.SEQUENCE] and set(outer[2:]) <= {tlv.SEQUENCE}


def _is_request_message(_: list[int], inner: list[int]) -> bool:
    return inner[:2] == [tlv.INTEGER, tlv.SEQUENCE]


def _is_request_messages(outer: list[int], inner: list[int]) -> bool:
    return set(outer) == {tlv.SEQUENCE} and inner[:1] == [tlv.SEQUENCE] and set(inner[1:]) <= {*range(CONTEXT, 0x100)}


def _is_private_key(outer: list[int], _: list[int]) -> bool:
    # PKCS#8 and SEC 1 hold an OCTET STRING; PKCS#1 and DSA are numbers only.
    return outer[:1] == [tlv.INTEGER] and (tlv.OCTET_STRING in outer or outer == [tlv.INTEGER] * _LOOKED_AT)


_KINDS: Final[tuple[tuple[str, _Test, Reader], ...]] = (
    ("message", _is_message, message),
    ("CRL", _is_crl, x509.crl),
    ("PKCS#10 request", _is_pkcs10, x509.request),
    ("certificate", _is_certificate, x509.certificate),
    ("CertReqMessages", _is_request_messages, requests.MESSAGES),
    ("CertReqMsg", _is_request_message, requests.message),
    ("CertRequest", _is_request, requests.request),
    ("private key", _is_private_key, _private_key),
)
"""Name, test on the tags, reader; the first that fits."""
