"""A PKIMessage in words (RFC 9810 section 5): how it would be received, header, body, protection, extraCerts."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent.cmp import der, messages
from agent.cmp.enclosed import enclosed_lists
from agent.cmp.errors import CmpError
from agent.cmp.messages import BodyType
from agent.cmp.reading import checks, infos, keys, oids, requests, responses, tlv, words, x509
from agent.cmp.reading.items import Item
from agent.cmp.reading.outline import with_trouble
from agent.cmp.reading.session import NotUnderstood, Session
from agent.cmp.reading.shapes import (
    Reader,
    explicit,
    list_of,
    match,
    needed,
    optional,
    read_matched,
    said,
    sequence,
    sequence_of,
    tagged,
)
from agent.cmp.reading.tlv import CONTEXT, Value

_VERSIONS: Final = {1: "cmp1999: refused when received", 2: "cmp2000", 3: "cmp2021"}
_NONCE_OCTETS: Final = 16


def _version(value: Value, session: Session) -> str:
    number = words.number(value, session)
    return f"{number} ({_VERSIONS.get(number, 'unknown: refused when received')})"


def _nonce(value: Value, session: Session) -> str:
    found = tlv.string(value, session)
    if len(found) >= _NONCE_OCTETS:
        return words.hexadecimal(found)
    return f"{words.hexadecimal(found)} (only {len(found)} octets; RFC 9483 wants {_NONCE_OCTETS})"


_HEADER: Final = sequence(
    needed("pvno", tlv.INTEGER, said(_version)),
    needed("sender", words.GENERAL_NAME_KEYS, said(words.party)),
    needed("recipient", words.GENERAL_NAME_KEYS, said(words.party)),
    tagged("messageTime", 0, said(words.time)),
    tagged("protectionAlg", 1, keys.algorithm),
    tagged("senderKID", 2, said(words.text_or_octets)),
    tagged("recipKID", 3, said(words.text_or_octets)),
    tagged("transactionID", 4, said(words.octets)),
    tagged("senderNonce", 5, said(_nonce)),
    tagged("recipNonce", 6, said(_nonce)),
    tagged("freeText", 7, list_of(words.text)),
    tagged("generalInfo", 8, infos.INFOS),
)
"""PKIHeader (RFC 9810 5.1.1)."""

_BODIES: Final[dict[BodyType, tuple[str, Reader]]] = {
    BodyType.IR: ("initialization request", requests.MESSAGES),
    BodyType.IP: ("initialization response", responses.RESPONSES),
    BodyType.CR: ("certification request", requests.MESSAGES),
    BodyType.CP: ("certification response", responses.RESPONSES),
    BodyType.P10CR: ("certification request in the form of PKCS#10", x509.request),
    BodyType.POPDECC: ("challenge for a proof of possession", responses.CHALLENGES),
    BodyType.POPDECR: ("answer to a challenge", responses.CHALLENGE_ANSWERS),
    BodyType.KUR: ("key update request", requests.MESSAGES),
    BodyType.KUP: ("key update response", responses.RESPONSES),
    BodyType.KRR: ("key recovery request", requests.MESSAGES),
    BodyType.KRP: ("key recovery response", responses.KEY_RECOVERY),
    BodyType.RR: ("revocation request", responses.REVOCATIONS),
    BodyType.RP: ("revocation response", responses.REVOCATION_ANSWERS),
    BodyType.CCR: ("cross-certification request", requests.MESSAGES),
    BodyType.CCP: ("cross-certification response", responses.RESPONSES),
    BodyType.CKUANN: ("CA key update announcement", responses.key_update_announcement),
    BodyType.CANN: ("certificate announcement", x509.certificate),
    BodyType.RANN: ("revocation announcement", responses.REVOCATION_ANNOUNCEMENT),
    BodyType.CRLANN: ("CRL announcement", infos.CRLS),
    BodyType.PKICONF: ("confirmation", responses.empty),
    BodyType.NESTED: ("nested messages", infos.messages),
    BodyType.GENM: ("general message", infos.INFOS),
    BodyType.GENP: ("general response", infos.INFOS),
    BodyType.ERROR: ("error message", responses.ERROR),
    BodyType.CERTCONF: ("certificate confirmation", responses.confirmation),
    BodyType.POLLREQ: ("polling request", responses.POLL_REQUESTS),
    BodyType.POLLREP: ("polling response", responses.POLL_ANSWERS),
}
"""Arms of PKIBody: what they are, and their readers (RFC 9810 5.1.2)."""

_ARM: Final = 0x1F


def _body(name: str, value: Value, session: Session) -> Item:
    number = value.key & _ARM
    if number not in BodyType.__members__.values():
        raise NotUnderstood(value.start, f"there is no body with the tag [{number}]")
    kind = BodyType(number)
    item = explicit(_BODIES[kind][1])(name, value, session)
    return replace(item, name=f"body {kind.label}")


_HEADER_FIELD: Final = needed("header", tlv.SEQUENCE, _HEADER)
_BODY_FIELD: Final = needed("body", tuple(CONTEXT | number for number in range(_ARM)), _body)
_EXTRA_CERTS: Final = tagged("extraCerts", 1, sequence_of("certificate", x509.certificate))


_CUT: Final = "the end of it is missing; refused when received"
_NOT_THERE: Final = "not there: the message is cut off before it"


def message(name: str, value: Value, session: Session) -> Item:
    """Read a PKIMessage. How it would be received comes first, its type stands beside its name."""
    received, form = (None, _CUT) if value.cut else _received(value.octets)

    def protection(name: str, value: Value, session: Session) -> Item:
        bits = tlv.within(value, session)
        return with_trouble(Item(name, _protection(bits, matched.value("header"), received, session)), bits)

    fields = (_HEADER_FIELD, _BODY_FIELD, optional("protection", CONTEXT | 0, protection), _EXTRA_CERTS)
    matched = match(value, fields, session)
    items = (Item("as received", form), *read_matched(matched, session))
    if matched.value("protection") is None:
        items += (Item("protection", _NOT_THERE if value.cut else "none: nothing in this message is proven"),)
    size = f"{len(value.octets)} octets"
    if value.cut:
        size = f"cut off after {size}"
    return Item(name, f"{_title(matched.value('body'))}, {size}", items, value.start)


def _title(body: Value | None) -> str:
    number = body.key & _ARM if body is not None else -1
    if number not in BodyType.__members__.values():
        return "of an unknown type"
    kind = BodyType(number)
    return f"{kind.label} ({_BODIES[kind][0]})"


def _received(octets: bytes) -> tuple[messages.Message | None, str]:
    """Return what the strict reader, which decides, makes of a message, and that in words."""
    try:
        der.check(octets, opaque=enclosed_lists(octets))
    except CmpError as error:
        return None, f"not canonical DER: {words.reason(error)}; refused when received"
    received = None
    try:
        received = messages.parse(octets)
        received.body()
    except CmpError as error:
        return received, f"canonical DER, but refused when received: {words.reason(error)}"
    return received, "canonical DER, all its parts fit the standard"


def _protection(bits: Value, header: Value | None, received: messages.Message | None, session: Session) -> str:
    """Return the kind of protection, its size, and whether it verifies. The value stays withheld."""
    size = max(bits.size - 1, 0)
    algorithm = _algorithm(header, session)
    if algorithm is None:
        return f"{size} octets, withheld; not checked: the header names no algorithm"
    oid, name = keys.identifier(algorithm, session).oid, keys.short(algorithm, session)
    # A MAC is as good as the secret to whoever wants to guess it at leisure.
    text = f"MAC, {name}, {size} octets, withheld" if oid in oids.MACS else f"signature, {name}, {size} octets"
    if received is None:
        return f"{text}; not checked: the message is refused as it came"
    return f"{text}; {checks.message(received, algorithm, session)}"


def _algorithm(header: Value | None, session: Session) -> Value | None:
    if header is None:
        return None
    # A sender that is an rfc822Name has the same tag, but holds nothing.
    candidates = (one for one in tlv.children(header, session).values if one.key == CONTEXT | 1 and one.constructed)
    found = next((tlv.within(one, session) for one in candidates), None)
    return found if found is not None and found.key == tlv.SEQUENCE else None
