"""Certificates, certificate requests (PKCS#10) and CRLs in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent.cmp import certificates
from agent.cmp.errors import MalformedMessage
from agent.cmp.reading import checks, keys, oids, tlv, words
from agent.cmp.reading.extensions import extensions
from agent.cmp.reading.items import Item
from agent.cmp.reading.outline import MORE
from agent.cmp.reading.session import NotUnderstood, Session
from agent.cmp.reading.shapes import (
    Field,
    entries,
    match,
    needed,
    optional,
    read_matched,
    said,
    structure,
    tagged,
)
from agent.cmp.reading.tlv import CONTEXT, Value

_CERTIFICATE_COST: Final = 60
"""Values that reading a certificate strictly counts as."""


def _validity(name: str, value: Value, session: Session) -> Item:
    times = [words.time(one, session) for one in tlv.children(value, session).complete()]
    if len(times) != 2:  # noqa: PLR2004 - notBefore and notAfter
        raise NotUnderstood(value.start, "not a pair of times")
    return Item(name, " to ".join(times))


_VERSION: Final = said(lambda value, session: f"{words.number(value, session) + 1}")

_SIGNED: Final = (
    needed("signed part", tlv.SEQUENCE, structure),
    needed("signatureAlgorithm", tlv.SEQUENCE, keys.algorithm),
    needed("signature", tlv.BIT_STRING, structure),
)
"""What certificates, requests and CRLs are: three parts (RFC 5280 4.1)."""

_TIMES: Final = (tlv.UTC_TIME, tlv.GENERALIZED_TIME)

_CERTIFICATE: Final = (
    tagged("version", 0, _VERSION),
    needed("serialNumber", tlv.INTEGER, said(words.serial)),
    needed("signed with", tlv.SEQUENCE, keys.algorithm),
    needed("issuer", tlv.SEQUENCE, said(words.name)),
    needed("validity", tlv.SEQUENCE, _validity),
    needed("subject", tlv.SEQUENCE, said(words.name)),
    needed("key", tlv.SEQUENCE, keys.public_key),
    optional("issuerUniqueID", CONTEXT | 1, said(words.octets)),
    optional("subjectUniqueID", CONTEXT | 2, said(words.octets)),
    tagged("extensions", 3, extensions),
)


def certificate(name: str, value: Value, session: Session) -> Item:
    """Read an X.509 certificate: its subject beside its name, everything else below."""
    items = _signed(value, _CERTIFICATE, session)
    subject = next((one.value for one in items if one.name == "subject" and not one.stopped), "")
    usual = {("subject", subject), ("version", "3")}
    rest = (one for one in items if (one.name, one.value) not in usual or one.stopped)
    return Item(name, subject, (*rest, *_refusal(value, session)), value.start)


def _signed(value: Value, fields: tuple[Field, ...], session: Session) -> tuple[Item, ...]:
    """Return the items of the signed part, its extensions among them, and what is wrong around it."""
    outer = match(value, _SIGNED, session)
    signed = outer.value("signed part")
    inner = read_matched(match(signed, fields, session), session) if signed is not None else ()
    flat = (one for item in inner for one in (item.items if item.name == "extensions" and item.items else (item,)))
    return (*flat, *outer.problems)


def _refusal(value: Value, session: Session) -> tuple[Item, ...]:
    """Say so when the strict reader, which decides, does not take a certificate."""
    if session.values < _CERTIFICATE_COST:
        return ()
    session.values -= _CERTIFICATE_COST
    try:
        certificates.read(certificates.load(value.octets))
    except MalformedMessage as error:
        return (Item("note", f"refused when received: {words.reason(error)}"),)
    return ()


_ATTRIBUTE_SECRETS: Final = frozenset({"1.2.840.113549.1.9.7"})
_EXTENSION_REQUESTS: Final = frozenset({"1.2.840.113549.1.9.14", "1.3.6.1.4.1.311.2.1.14"})


def _attribute(name: str, value: Value, session: Session) -> Item:
    oid, (inside,) = words.labelled(value, session, f"an {name}", 1)
    if oid in _EXTENSION_REQUESTS:
        return extensions("extensions", tlv.within(inside, session), session)
    title = oids.ATTRIBUTES.get(oid, f"attribute {oid}")
    if oid in _ATTRIBUTE_SECRETS:
        return Item(title, words.withheld(inside, session))
    return structure(title, inside, session)


def _attributes(name: str, value: Value, session: Session) -> Item:
    return Item(name, "" if value.size else "(none)", entries("attribute", value, _attribute, session))


_REQUEST: Final = (
    needed("version", tlv.INTEGER, _VERSION),
    needed("subject", tlv.SEQUENCE, said(words.name)),
    needed("key", tlv.SEQUENCE, keys.public_key),
    optional("attributes", CONTEXT | 0, _attributes),
)


def request(name: str, value: Value, session: Session) -> Item:
    """Read a PKCS#10 request (RFC 2986), and whether its own signature verifies."""
    outer = match(value, _SIGNED, session)
    signed, algorithm, signature = (outer.value(field.name) for field in _SIGNED)
    if signed is None:
        return Item(name, "", outer.problems, value.start)
    inner = match(signed, _REQUEST, session)
    items = read_matched(inner, session)
    if algorithm is not None and signature is not None:
        key = inner.value("key")
        spki = key.octets if key is not None else None
        verdict = checks.possession(spki, algorithm.octets, signature, signed.octets, session)
        items += (Item("proof of possession", f"signature, {keys.short(algorithm, session)}; {verdict}"),)
    return Item(name, "", (*items, *outer.problems), value.start)


_REVOKED: Final = (
    needed("serialNumber", tlv.INTEGER, said(words.serial)),
    needed("revocationDate", _TIMES, said(words.time)),
    optional("crlEntryExtensions", tlv.SEQUENCE, extensions),
)


def _revoked(name: str, value: Value, session: Session) -> Item:
    items = read_matched(match(value, _REVOKED, session), session)
    if any(one.stopped for item in items for one in item.walk()):
        return Item(name, "", items)
    serial, date, *rest = items
    reasons = [one.value for item in rest for one in item.items if one.name == "cRLReason"]
    return Item(name, ", ".join([serial.value, date.value, *reasons]))


def _revocations(name: str, value: Value, session: Session) -> Item:
    items = entries("certificate", value, _revoked, session)
    # A long list is nothing unusual, and what matters in it is found with other tools.
    return Item(name, "", tuple(replace(one, stopped=False) if one.name == MORE else one for one in items))


_CRL: Final = (
    optional("version", tlv.INTEGER, _VERSION),
    needed("signed with", tlv.SEQUENCE, keys.algorithm),
    needed("issuer", tlv.SEQUENCE, said(words.name)),
    needed("thisUpdate", _TIMES, said(words.time)),
    optional("nextUpdate", _TIMES, said(words.time)),
    optional("revokedCertificates", tlv.SEQUENCE, _revocations),
    tagged("extensions", 0, extensions),
)


def crl(name: str, value: Value, session: Session) -> Item:
    """Read a CertificateList (RFC 5280 section 5)."""
    return Item(name, "", _signed(value, _CRL, session), value.start)
