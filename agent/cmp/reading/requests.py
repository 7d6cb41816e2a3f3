"""Certificate requests in words (RFC 4211, CRMF), and the bodies of CMP that are made of their parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent.cmp import der
from agent.cmp.failures import clean_text
from agent.cmp.reading import checks, keys, oids, tlv, words
from agent.cmp.reading.extensions import extensions
from agent.cmp.reading.items import Item
from agent.cmp.reading.session import NotUnderstood, Session
from agent.cmp.reading.shapes import (
    Reader,
    apply,
    explicit,
    match,
    needed,
    optional,
    read_matched,
    said,
    sequence,
    sequence_of,
    structure,
    tagged,
)
from agent.cmp.reading.tlv import CONTEXT, Value

_TIME: Final = explicit(said(words.time))

TEMPLATE: Final = sequence(
    optional("version", CONTEXT | 0, said(lambda value, session: f"{words.number(value, session) + 1}")),
    optional("serialNumber", CONTEXT | 1, said(words.serial)),
    optional("signingAlg", CONTEXT | 2, keys.algorithm),
    tagged("issuer", 3, said(words.name)),
    optional(
        "validity",
        CONTEXT | 4,
        sequence(optional("notBefore", CONTEXT | 0, _TIME), optional("notAfter", CONTEXT | 1, _TIME)),
    ),
    tagged("subject", 5, said(words.name)),
    optional("publicKey", CONTEXT | 6, keys.public_key),
    optional("issuerUID", CONTEXT | 7, said(words.octets)),
    optional("subjectUID", CONTEXT | 8, said(words.octets)),
    optional("extensions", CONTEXT | 9, extensions),
)
"""CertTemplate (RFC 4211 section 5)."""

CERT_ID: Final = sequence(
    needed("issuer", words.GENERAL_NAME_KEYS, said(words.party)),
    needed("serialNumber", tlv.INTEGER, said(words.serial)),
)
"""CertId (RFC 4211 6.5)."""


def _secret(name: str, value: Value, session: Session) -> Item:
    return Item(name, words.withheld(value, session))


def _archive(name: str, value: Value, session: Session) -> Item:
    if value.key == CONTEXT | 0:
        return explicit(keys.encrypted)(name, value, session)
    kind = {CONTEXT | 1: "parameters to make the key from", CONTEXT | 2: "whether the CA keeps the key"}.get(value.key)
    return Item(name, kind or f"{value.size} octets")


def _pairs(name: str, value: Value, session: Session) -> Item:
    """Name the pairs of ``name?value%``; what was registered there may be a password."""
    pairs = words.plain_text(value, session).split("%")[:100]
    known = ", ".join(pair.partition("?")[0] for pair in pairs if pair)
    return Item(name, f"{clean_text(known)} (their values are withheld)")


def request(name: str, value: Value, session: Session) -> Item:
    """Read a CertRequest (RFC 4211 section 5)."""
    return _REQUEST(name, value, session)


CONTROLS: Final[Mapping[str, Reader]] = {
    "regToken": _secret,
    "authenticator": _secret,
    "pkiArchiveOptions": _archive,
    "oldCertID": CERT_ID,
    "protocolEncrKey": keys.public_key,
    "algId": keys.algorithm,
    "rsaKeyLen": said(words.decimal),
    "utf8Pairs": _pairs,
    "certReq": request,
}
"""Readers of controls and registration information by name; others are shown as bare structure."""


def attribute(name: str, value: Value, session: Session) -> Item:
    """Read an AttributeTypeAndValue of CRMF: a control, a piece of registration information, a key specification.

    Raises:
        NotUnderstood: when it is none.
    """
    oid, (inside,) = words.labelled(value, session, f"a {name}", 1)
    title = oids.CONTROLS.get(oid, f"unknown type {oid}")
    return apply(CONTROLS.get(title, structure), title, inside, session)


_REQUEST: Final = sequence(
    needed("certReqId", tlv.INTEGER, said(words.decimal)),
    needed("certTemplate", tlv.SEQUENCE, TEMPLATE),
    optional("controls", tlv.SEQUENCE, sequence_of("control", attribute)),
)

_MAC_VALUE: Final = sequence(
    needed("algId", tlv.SEQUENCE, keys.algorithm),
    needed("value", tlv.BIT_STRING, said(words.withheld)),
)
_POP_INPUT: Final = (
    tagged("sender", 0, said(words.party)),
    optional("publicKeyMAC", tlv.SEQUENCE, _MAC_VALUE),
    needed("publicKey", tlv.SEQUENCE, keys.public_key),
)
_POP_SIGNATURE: Final = (
    optional("poposkInput", CONTEXT | 0, sequence(*_POP_INPUT)),
    needed("algorithmIdentifier", tlv.SEQUENCE, keys.algorithm),
    needed("signature", tlv.BIT_STRING, structure),
)
_SUBSEQUENT: Final = {
    0: "by an encrypted certificate (encrCert)",
    1: "by a challenge (challengeResp)",
}


def _subsequent(value: Value, session: Session) -> str:
    number = words.number(value, session)
    return _SUBSEQUENT.get(number, f"by the unknown method {number}")


_POP_PRIVATE: Final[Mapping[int, tuple[str, Reader]]] = {
    CONTEXT | 0: ("thisMessage, deprecated", _secret),
    CONTEXT | 1: ("subsequentMessage", said(_subsequent)),
    CONTEXT | 2: ("dhMAC, deprecated", _secret),
    CONTEXT | 3: ("agreeMAC", _MAC_VALUE),
    CONTEXT | 4: ("encryptedKey", keys.ENVELOPED_DATA),
}
_POP_KINDS: Final = {CONTEXT | 0: "raVerified", CONTEXT | 2: "keyEncipherment", CONTEXT | 3: "keyAgreement"}
_POP_KEYS: Final = (CONTEXT | 0, CONTEXT | 1, CONTEXT | 2, CONTEXT | 3)
_POP: Final = "proof of possession"


def _possession(name: str, value: Value, session: Session) -> Item:
    """Read what a ProofOfPossession says, except for whether a signature verifies."""
    kind = _POP_KINDS.get(value.key)
    if kind is None:
        return Item(name, "signature", read_matched(match(value, _POP_SIGNATURE, session), session))
    if value.key == CONTEXT | 0:
        return Item(name, f"{kind}: an RA vouches for it")
    inside = tlv.within(value, session)
    if inside.key not in _POP_PRIVATE:
        raise NotUnderstood(inside.start, "an unknown proof of possession")
    title, read = _POP_PRIVATE[inside.key]
    item = apply(read, title, inside, session)
    return Item(name, f"{kind}, {title}" + (f": {item.value}" if item.value else ""), item.items, stopped=item.stopped)


_MESSAGE: Final = (
    needed("certReq", tlv.SEQUENCE, request),
    optional(_POP, _POP_KEYS, _possession),
    optional("regInfo", tlv.SEQUENCE, sequence_of("information", attribute)),
)


def message(name: str, value: Value, session: Session) -> Item:
    """Read a CertReqMsg (RFC 4211 section 3); the parts of its CertRequest stand beside the proof of possession."""
    matched = match(value, _MESSAGE, session)
    items: list[Item] = []
    for item in read_matched(matched, session):
        if item.name == "certReq" and not item.stopped:
            items.extend(item.items)
        elif item.name == _POP and item.value == "signature":
            items.append(_signature(item, matched.value("certReq"), matched.value(_POP), session))
        else:
            items.append(item)
    if matched.value(_POP) is None:
        reason = "the request is cut off before it" if value.cut else "the CA is to make the key, or it was forgotten"
        items.append(Item(_POP, f"none: {reason}"))
    return Item(name, "", tuple(items))


def _signature(item: Item, request: Value | None, proof: Value | None, session: Session) -> Item:
    """Return ``item`` with the verdict on the signature in place of its parts (RFC 4211 4.1)."""
    found = match(proof, _POP_SIGNATURE, session) if proof is not None else None
    algorithm, signature = (found.value("algorithmIdentifier"), found.value("signature")) if found else (None, None)
    if found is None or request is None or algorithm is None or signature is None:
        return item
    signed, key = request.octets, _requested_key(request, session)
    if (given := found.value("poposkInput")) is not None:
        # Signed is the value with the tag it has by itself, not the one in the message, as OpenSSL does it.
        signed = der.wrap(der.SEQUENCE, given.inside)
        copy = match(given, _POP_INPUT, session).value("publicKey")
        key = key or (copy.octets if copy is not None else None)
    verdict = checks.possession(key, algorithm.octets, signature, signed, session)
    inside = tuple(one for one in item.items if one.name == "poposkInput" or one.stopped)
    return Item(item.name, f"signature, {keys.short(algorithm, session)}; {verdict}", inside, item.offset)


def _requested_key(request: Value, session: Session) -> bytes | None:
    template = [one for one in tlv.children(request, session).values if one.key == tlv.SEQUENCE][:1]
    found = [one for outer in template for one in tlv.children(outer, session).values if one.key == CONTEXT | 6]
    return der.wrap(der.SEQUENCE, found[0].inside) if found else None


MESSAGES: Final = sequence_of("request", message)
"""Body of ir, cr, kur, krr and ccr."""
