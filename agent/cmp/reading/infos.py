"""InfoTypeAndValue in words: generalInfo of the header, questions and answers of genm and genp (RFC 9810 5.3.19)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from agent.cmp.reading import keys, oids, tlv, words, x509
from agent.cmp.reading.items import Item
from agent.cmp.reading.outline import outline
from agent.cmp.reading.requests import TEMPLATE, attribute
from agent.cmp.reading.session import NESTING, NotUnderstood, Session
from agent.cmp.reading.shapes import (
    Reader,
    apply,
    entries,
    list_of,
    needed,
    optional,
    said,
    sequence,
    sequence_of,
    tagged,
)
from agent.cmp.reading.tlv import CONTEXT, Value

CERTIFICATES: Final = sequence_of("certificate", x509.certificate)
CRLS: Final = sequence_of("CRL", x509.crl)

ROOT_UPDATE: Final = sequence(
    needed("newWithNew", tlv.SEQUENCE, x509.certificate),
    tagged("newWithOld", 0, x509.certificate),
    tagged("oldWithNew", 1, x509.certificate),
)
"""RootCaKeyUpdateContent (RFC 9810 5.3.19.15)."""

KEY_UPDATE: Final = sequence(
    needed("oldWithNew", tlv.SEQUENCE, x509.certificate),
    needed("newWithOld", tlv.SEQUENCE, x509.certificate),
    needed("newWithNew", tlv.SEQUENCE, x509.certificate),
)
"""CAKeyUpdAnnContent (RFC 9810 5.3.13), deprecated."""

_REQUEST_TEMPLATE: Final = sequence(
    needed("certTemplate", tlv.SEQUENCE, TEMPLATE),
    optional("keySpec", tlv.SEQUENCE, sequence_of("key specification", attribute)),
)


def _crl_source(name: str, value: Value, session: Session) -> Item:
    inside = tlv.within(value, session)
    if value.key == CONTEXT | 1:
        return list_of(words.general_name)(name, inside, session)
    if inside.key == CONTEXT | 0:
        return list_of(words.general_name)(name, inside, session)
    return Item(name, "a name relative to the issuer's")


_CRL_STATUS: Final = sequence(
    needed("source", (CONTEXT | 0, CONTEXT | 1), _crl_source),
    optional("thisUpdate", (tlv.UTC_TIME, tlv.GENERALIZED_TIME), said(words.time)),
)


def messages(name: str, value: Value, session: Session) -> Item:
    """Read PKIMessages: messages within a message, to a bounded depth.

    Raises:
        NotUnderstood: when they are nested too deep.
    """
    if session.depth >= NESTING:
        raise NotUnderstood(value.start, "messages are nested too deep")
    session.depth += 1
    try:
        return Item(name, "", entries("message", value, session.message, session))
    finally:
        session.depth -= 1


READERS: Final[Mapping[str, Reader]] = {
    "caProtEncCert": x509.certificate,
    "signKeyPairTypes": list_of(keys.short),
    "encKeyPairTypes": list_of(keys.short),
    "preferredSymmAlg": keys.algorithm,
    "caKeyUpdateInfo": KEY_UPDATE,
    "currentCRL": x509.crl,
    "unsupportedOIDs": list_of(words.named_oid),
    "keyPairParamReq": said(words.named_oid),
    "keyPairParamRep": keys.algorithm,
    "revPassphrase": keys.encrypted,
    "confirmWaitTime": said(words.time),
    "origPKIMessage": messages,
    "suppLangTags": list_of(words.text),
    "caCerts": CERTIFICATES,
    "rootCaKeyUpdate": ROOT_UPDATE,
    "certReqTemplate": _REQUEST_TEMPLATE,
    "rootCaCert": x509.certificate,
    "certProfile": list_of(words.text),
    "crlStatusList": sequence_of("CRL", _CRL_STATUS),
    "crls": CRLS,
    "KemCiphertextInfo": sequence(
        needed("kem", tlv.SEQUENCE, keys.algorithm),
        needed("ct", tlv.OCTET_STRING, said(lambda value, _: f"{value.size} octets")),
    ),
}
"""Readers of values by the type's name; others are shown as bare structure."""


def _unknown(name: str, value: Value, session: Session) -> Item:
    return Item(name, "", (outline(value, session),))


_MEANINGS: Final = {
    "implicitConfirm": "the certificate needs no confirmation message (certConf)",
    "confirmWaitTime": "the confirmation is awaited until then",
}


def info(name: str, value: Value, session: Session) -> Item:
    """Read an InfoTypeAndValue.

    Raises:
        NotUnderstood: when it is none.
    """
    oid, rest = words.labelled(value, session, f"an {name}")
    if len(rest) > 1:
        raise NotUnderstood(value.start, f"not an {name}")
    title = oids.INFO_TYPES.get(oid, f"unknown type {oid}")
    meaning = _MEANINGS.get(title, "")
    if not rest:
        return Item(title, meaning or "(without a value)")
    if rest[0].key == tlv.NULL:
        return Item(title, meaning)
    read = READERS.get(title, _unknown)
    item = apply(read, title, rest[0], session)
    return replace(item, value=f"{item.value} ({meaning})") if meaning and not item.stopped else item


INFOS: Final = sequence_of("information", info)
"""Value of generalInfo, body of genm and genp."""
