"""Algorithm identifiers and public keys in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from agent.cmp.protection import PASSWORD_BASED_MAC, PBKDF2, PBMAC1
from agent.cmp.reading import oids, tlv, words
from agent.cmp.reading.items import Item
from agent.cmp.reading.session import NotUnderstood, Session
from agent.cmp.reading.shapes import match, needed, optional, read_matched, said, sequence, structure, tagged

if TYPE_CHECKING:
    from agent.cmp.reading.tlv import Value


class Identifier(NamedTuple):
    """An AlgorithmIdentifier: dotted OID and the value of its parameters, if any."""

    oid: str
    parameters: Value | None


def identifier(value: Value, session: Session) -> Identifier:
    """Take an AlgorithmIdentifier apart.

    Raises:
        NotUnderstood: when it is none.
    """
    oid, rest = words.labelled(value, session, "an algorithm identifier")
    if len(rest) > 1:
        raise NotUnderstood(value.start, "not an algorithm identifier")
    return Identifier(oid, rest[0] if rest else None)


def algorithm(name: str, value: Value, session: Session) -> Item:
    """Read an AlgorithmIdentifier: its name, and its parameters where they say something."""
    found = identifier(value, session)
    text = oids.ALGORITHMS.get(found.oid, f"unknown algorithm {found.oid}")
    if found.oid in oids.LEGACY:
        text += f" ({oids.LEGACY[found.oid]})"
    parameters = found.parameters
    if parameters is None or parameters.key == tlv.NULL:
        return Item(name, text)
    if (fields := _PARAMETERS.get(found.oid)) is not None:
        items = read_matched(match(parameters, fields, session), session)
        if found.oid == PBKDF2 and not any(one.name == "prf" for one in items):
            items += (Item("prf", "hmac-sha1, since none is named"),)
        return Item(name, text, items)
    if parameters.key == tlv.OID:
        oid = words.oid(parameters, session)
        return Item(name, f"{text} {oids.CURVES.get(oid) or oids.ALGORITHMS.get(oid, oid)}")
    if found.oid in oids.IV_ALGORITHMS:
        return Item(name, text)
    return Item(name, text, (structure("parameters", parameters, session),))


def short(value: Value, session: Session) -> str:
    """Return an AlgorithmIdentifier on one line, without its parameters."""
    found = identifier(value, session)
    text = oids.ALGORITHMS.get(found.oid, found.oid)
    if found.parameters is not None and found.parameters.key == tlv.OID:
        text += f" {oids.CURVES.get(curve := words.oid(found.parameters, session), curve)}"
    return text


def iterations(value: Value, session: Session) -> int:
    """Return how many rounds of key derivation an AlgorithmIdentifier of a MAC asks for; 0 when it says nothing."""
    found = identifier(value, session)
    fields = _PARAMETERS.get(found.oid)
    if fields is None or found.parameters is None:
        return 0
    matched = match(found.parameters, fields, session)
    if (count := matched.value("iterationCount")) is not None:
        return words.number(count, session)
    derivation = matched.value("keyDerivationFunc")
    return iterations(derivation, session) if derivation is not None and found.oid == PBMAC1 else 0


def public_key(name: str, value: Value, session: Session) -> Item:
    """Read a SubjectPublicKeyInfo, or the same under an implicit tag."""
    return Item(name, key_words(value, session))


def key_words(value: Value, session: Session) -> str:
    """Return a SubjectPublicKeyInfo in words, such as "EC P-256" or "RSA 2048 bits".

    Raises:
        NotUnderstood: when it is none.
    """
    parts = tlv.children(value, session).complete()
    if [one.key for one in parts] != [tlv.SEQUENCE, tlv.BIT_STRING]:
        raise NotUnderstood(value.start, "not a public key")
    found = identifier(parts[0], session)
    kind = oids.KEY_KINDS.get(found.oid, f"a key of the unknown kind {found.oid}")
    if parts[1].size <= 1:
        return f"{kind}: none is given, the CA is to make the key"
    if kind.startswith("RSA"):
        numbers = tlv.children(tlv.within(parts[1], session, skip=1), session).complete()
        return f"{kind} {_bits(numbers[0])} bits" if numbers else kind
    if found.oid == oids.EC_PUBLIC_KEY and found.parameters is not None:
        if found.parameters.key != tlv.OID:
            return f"{kind} on a curve that is spelled out"
        return f"{kind} {oids.CURVES.get(curve := words.oid(found.parameters, session), curve)}"
    if kind == "DSA" and found.parameters is not None and found.parameters.key == tlv.SEQUENCE:
        numbers = tlv.children(found.parameters, session).complete()
        return f"{kind} {_bits(numbers[0])} bits" if numbers else kind
    return kind


def _bits(value: Value) -> int:
    # Without making a number of it: it may have a million octets.
    inside = value.inside.lstrip(b"\0")
    return 8 * len(inside) - 8 + inside[0].bit_length() if inside else 0


def _mask(value: Value, session: Session) -> str:
    found = identifier(value, session)
    if found.parameters is None or found.parameters.key != tlv.SEQUENCE:
        return short(value, session)
    return f"{short(value, session)} with {short(found.parameters, session)}"


_SALT: Final = said(lambda value, session: f"{len(tlv.string(value, session))} octets")

_PARAMETERS: Final = {
    PASSWORD_BASED_MAC: (
        needed("salt", tlv.OCTET_STRING, _SALT),
        needed("owf", tlv.SEQUENCE, algorithm),
        needed("iterationCount", tlv.INTEGER, said(words.decimal)),
        needed("mac", tlv.SEQUENCE, algorithm),
    ),
    PBMAC1: (
        needed("keyDerivationFunc", tlv.SEQUENCE, algorithm),
        needed("messageAuthScheme", tlv.SEQUENCE, algorithm),
    ),
    PBKDF2: (
        needed("salt", (tlv.OCTET_STRING, tlv.SEQUENCE), _SALT),
        needed("iterationCount", tlv.INTEGER, said(words.decimal)),
        optional("keyLength", tlv.INTEGER, said(words.decimal)),
        optional("prf", tlv.SEQUENCE, algorithm),
    ),
    oids.RSASSA_PSS: (
        tagged("hashAlgorithm", 0, algorithm),
        tagged("maskGenAlgorithm", 1, said(_mask)),
        tagged("saltLength", 2, said(words.decimal)),
        tagged("trailerField", 3, said(words.decimal)),
    ),
}
"""Fields of the parameters that are worth words, by the algorithm's OID."""


_RECIPIENTS: Final = {
    tlv.SEQUENCE: "key transport",
    tlv.CONTEXT | 1: "key agreement",
    tlv.CONTEXT | 2: "key encryption key",
    tlv.CONTEXT | 3: "password",
    tlv.CONTEXT | 4: "other (KEM)",
}

_CONTENT: Final = sequence(
    needed("contentType", tlv.OID, said(words.named_oid)),
    needed("contentEncryptionAlgorithm", tlv.SEQUENCE, algorithm),
    optional("encryptedContent", tlv.CONTEXT | 0, said(lambda value, _: f"{value.size} octets, encrypted")),
)


def _recipients(value: Value, session: Session) -> str:
    return ", ".join(_RECIPIENTS.get(one.key, "unknown") for one in tlv.children(value, session).complete())


ENVELOPED_DATA: Final = sequence(
    needed("version", tlv.INTEGER, said(words.decimal)),
    optional("originatorInfo", tlv.CONTEXT | 0, said(lambda value, _: f"{value.size} octets")),
    needed("recipientInfos", tlv.SET, said(_recipients)),
    needed("encryptedContentInfo", tlv.SEQUENCE, _CONTENT),
    optional("unprotectedAttrs", tlv.CONTEXT | 1, said(lambda value, _: f"{value.size} octets")),
)
"""EnvelopedData of CMS (RFC 5652 6.1): for whom and how it is encrypted, nothing of what is inside."""


def encrypted(name: str, value: Value, session: Session) -> Item:
    """Read an EncryptedKey (RFC 4211 2.1): EnvelopedData, or the deprecated EncryptedValue."""
    if value.key == tlv.CONTEXT | 0:
        item = ENVELOPED_DATA(name, value, session)
        return Item(name, "encrypted (EnvelopedData)", item.items)
    if value.key != tlv.SEQUENCE:
        raise NotUnderstood(value.start, "not an encrypted value")
    matched = match(value, _ENCRYPTED_VALUE, session)
    return Item(name, "encrypted (EncryptedValue, deprecated)", read_matched(matched, session))


_HIDDEN: Final = said(lambda value, _: f"{value.size} octets, encrypted")

_ENCRYPTED_VALUE: Final = (
    optional("intendedAlg", tlv.CONTEXT | 0, algorithm),
    optional("symmAlg", tlv.CONTEXT | 1, algorithm),
    optional("encSymmKey", tlv.CONTEXT | 2, _HIDDEN),
    optional("keyAlg", tlv.CONTEXT | 3, algorithm),
    optional("valueHint", tlv.CONTEXT | 4, _HIDDEN),
    needed("encValue", tlv.BIT_STRING, _HIDDEN),
)
