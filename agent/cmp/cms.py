"""The shapes in which something is encrypted for one recipient: EnvelopedData (RFC 5652 section 6), EncryptedValue.

Shapes only: what may be in them and how it is opened is :mod:`agent.cmp.decryption`'s to say. They are cut by hand,
since the few parts we need are simple, and the ready-made schema takes longer to import than all the rest of a job.
Exactly one recipient is read and written: us (RFC 9483 4.1.6). The originator's certificates, attributes and versions
say nothing that we need, and are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from agent.cmp import der
from agent.frozen import frozen

ID_DATA: Final = bytes.fromhex("06092a864886f70d010701")
"""DER of the OID id-data: the content is octets, whose meaning the context knows."""

OCTET_STRING: Final = 0x04
_OID: Final = 0x06
_IMPLICIT_OCTETS: Final = 0x80
_IMPLICIT_BITS: Final = 0x82
_CONTEXT: Final = 0xA0
"""Tag [0], constructed; the number is added."""
_ENCRYPTED_VALUE: Final = der.SEQUENCE
_ENVELOPED_DATA: Final = _CONTEXT
_WHOLE_OCTETS: Final = b"\x00"

# Versions, by the recipient who is there (RFC 5652 6.1, 6.2.1 and 6.2.2; recipients are named by issuer and serial
# number).
_VERSION_0: Final = b"\x02\x01\x00"
_VERSION_2: Final = b"\x02\x01\x02"
_VERSION_3: Final = b"\x02\x01\x03"


@frozen(kw_only=True)
class KeyTransport:
    """KeyTransRecipientInfo (RFC 5652 6.2.1). ``recipient`` and ``algorithm`` are DER."""

    recipient: bytes
    algorithm: bytes
    encrypted_key: bytes


@frozen(kw_only=True)
class KeyAgreement:
    """KeyAgreeRecipientInfo (RFC 5652 6.2.2) with the sender's key for this one message.

    ``originator_algorithm``, ``recipient`` and ``algorithm`` are DER, ``originator_key`` the octets of the public key,
    ``ukm`` the user keying material.
    """

    originator_algorithm: bytes
    originator_key: bytes
    ukm: bytes | None = None
    recipient: bytes
    algorithm: bytes
    encrypted_key: bytes


@frozen(kw_only=True)
class EnvelopedData:
    """EnvelopedData (RFC 5652 6.1). ``content_type`` and ``algorithm`` are DER, ``content`` is encrypted."""

    recipient: KeyTransport | KeyAgreement
    content_type: bytes = ID_DATA
    algorithm: bytes
    content: bytes


@frozen(kw_only=True)
class EncryptedValue:
    """EncryptedValue (RFC 4211 2.1, deprecated). The algorithms are DER, ``key`` and ``value`` are encrypted."""

    symmetric_algorithm: bytes
    key: bytes
    key_algorithm: bytes
    value: bytes


def decode(octets: bytes) -> EnvelopedData:
    """Read the DER of EnvelopedData.

    Raises:
        MalformedMessage: when it is none, has more than one recipient, or one of a kind that is not for us.
    """
    der.check(octets)
    der.unwrap(octets)
    _, _, recipients, content, _ = _parts(
        octets,
        _needed(der.INTEGER),
        _optional(_CONTEXT),
        _needed(der.SET),
        _needed(der.SEQUENCE),
        _optional(_CONTEXT | 1),
    )
    content_type, algorithm, encrypted = _parts(
        content, _needed(_OID), _needed(der.SEQUENCE), _needed(_IMPLICIT_OCTETS)
    )
    (recipient,) = _parts(recipients, _needed(*_RECIPIENTS))
    return EnvelopedData(
        recipient=_RECIPIENTS[recipient[0]](recipient),
        content_type=content_type,
        algorithm=algorithm,
        content=der.unwrap(encrypted, _IMPLICIT_OCTETS),
    )


def encode(enveloped: EnvelopedData) -> bytes:
    """Return the DER of EnvelopedData."""
    transport = isinstance(enveloped.recipient, KeyTransport)
    return der.wrap(
        der.SEQUENCE,
        _VERSION_0 if transport else _VERSION_2,
        der.wrap(der.SET, _encode_recipient(enveloped.recipient)),
        der.wrap(
            der.SEQUENCE,
            enveloped.content_type,
            enveloped.algorithm,
            der.wrap(_IMPLICIT_OCTETS, enveloped.content),
        ),
    )


def decode_encrypted_key(octets: bytes) -> EnvelopedData | EncryptedValue:
    """Read the DER of EncryptedKey (RFC 4211 2.1): EnvelopedData under [0], or the EncryptedValue of old.

    Raises:
        MalformedMessage: when it is none, or lacks a part that we need.
    """
    if der.read(octets).tag == _ENVELOPED_DATA:
        return decode(der.wrap(der.SEQUENCE, der.unwrap(octets, _ENVELOPED_DATA)))
    return _decode_value(octets)


def encode_encrypted_key(encrypted: EnvelopedData | EncryptedValue) -> bytes:
    """Return the DER of EncryptedKey."""
    if isinstance(encrypted, EnvelopedData):
        return der.wrap(_ENVELOPED_DATA, der.unwrap(encode(encrypted)))
    return der.wrap(
        _ENCRYPTED_VALUE,
        der.wrap(_CONTEXT | 1, der.unwrap(encrypted.symmetric_algorithm)),
        der.wrap(_IMPLICIT_BITS, _WHOLE_OCTETS, encrypted.key),
        der.wrap(_CONTEXT | 3, der.unwrap(encrypted.key_algorithm)),
        der.wrap(der.BIT_STRING, _WHOLE_OCTETS, encrypted.value),
    )


def oaep_parameters(octets: bytes) -> tuple[bytes, bytes, bytes]:
    """Return hash, mask generation and label of RSAES-OAEP-params (RFC 8017 A.2.1), DER; b"" stands for the default.

    Raises:
        MalformedMessage: when they are none.
    """
    der.unwrap(octets)
    fields = _parts(octets, *(_optional(_CONTEXT | number) for number in range(3)))
    hash_, mask, label = (der.unwrap(one, _CONTEXT | at) if one else b"" for at, one in enumerate(fields))
    return hash_, mask, label


def shared_info(wrap: bytes, ukm: bytes | None, size: int) -> bytes:
    """Return the DER of ECC-CMS-SharedInfo (RFC 5753 7.2): what the other input of the key derivation is.

    ``wrap`` is the AlgorithmIdentifier of the key wrap as it was sent, ``size`` the octets of its key.
    """
    return der.wrap(
        der.SEQUENCE,
        wrap,
        b"" if ukm is None else der.wrap(_CONTEXT, der.wrap(OCTET_STRING, ukm)),
        der.wrap(_CONTEXT | 2, der.wrap(OCTET_STRING, (8 * size).to_bytes(4, "big"))),
    )


def _decode_value(octets: bytes) -> EncryptedValue:
    der.check(octets)
    der.unwrap(octets)
    _, symmetric, key, key_algorithm, _, value = _parts(
        octets,
        _optional(_CONTEXT),
        _needed(_CONTEXT | 1),
        _needed(_IMPLICIT_BITS),
        _needed(_CONTEXT | 3),
        _optional(_IMPLICIT_OCTETS | 4),
        _needed(der.BIT_STRING),
    )
    return EncryptedValue(
        symmetric_algorithm=der.wrap(der.SEQUENCE, der.unwrap(symmetric, _CONTEXT | 1)),
        key=_whole(der.unwrap(key, _IMPLICIT_BITS)),
        key_algorithm=der.wrap(der.SEQUENCE, der.unwrap(key_algorithm, _CONTEXT | 3)),
        value=_whole(der.unwrap(value, der.BIT_STRING)),
    )


def _decode_transport(octets: bytes) -> KeyTransport:
    _, recipient, algorithm, key = _parts(
        octets,
        _needed(der.INTEGER),
        _needed(der.SEQUENCE, _IMPLICIT_OCTETS),
        _needed(der.SEQUENCE),
        _needed(OCTET_STRING),
    )
    return KeyTransport(recipient=recipient, algorithm=algorithm, encrypted_key=der.unwrap(key, OCTET_STRING))


def _decode_agreement(octets: bytes) -> KeyAgreement:
    _, originator, ukm, algorithm, keys = _parts(
        octets,
        _needed(der.INTEGER),
        _needed(_CONTEXT),
        _optional(_CONTEXT | 1),
        _needed(der.SEQUENCE),
        _needed(der.SEQUENCE),
    )
    # Of the three ways to name the sender's key, [1] brings it along; the others need a certificate of his.
    (public,) = _parts(originator, _needed(_CONTEXT | 1))
    originator_algorithm, bits = _parts(public, _needed(der.SEQUENCE), _needed(der.BIT_STRING))
    (pair,) = _parts(keys, _needed(der.SEQUENCE))
    recipient, key = _parts(pair, _needed(der.SEQUENCE, _CONTEXT), _needed(OCTET_STRING))
    return KeyAgreement(
        originator_algorithm=originator_algorithm,
        originator_key=_whole(der.unwrap(bits, der.BIT_STRING)),
        ukm=der.unwrap(der.unwrap(ukm, _CONTEXT | 1), OCTET_STRING) if ukm else None,
        recipient=recipient,
        algorithm=algorithm,
        encrypted_key=der.unwrap(key, OCTET_STRING),
    )


def _encode_recipient(recipient: KeyTransport | KeyAgreement) -> bytes:
    key = der.wrap(OCTET_STRING, recipient.encrypted_key)
    if isinstance(recipient, KeyTransport):
        return der.wrap(der.SEQUENCE, _VERSION_0, recipient.recipient, recipient.algorithm, key)
    bits = der.wrap(der.BIT_STRING, _WHOLE_OCTETS, recipient.originator_key)
    ukm = recipient.ukm
    return der.wrap(
        _CONTEXT | 1,
        _VERSION_3,
        der.wrap(_CONTEXT, der.wrap(_CONTEXT | 1, recipient.originator_algorithm, bits)),
        b"" if ukm is None else der.wrap(_CONTEXT | 1, der.wrap(OCTET_STRING, ukm)),
        recipient.algorithm,
        der.wrap(der.SEQUENCE, der.wrap(der.SEQUENCE, recipient.recipient, key)),
    )


_RECIPIENTS: Final[dict[int, Callable[[bytes], KeyTransport | KeyAgreement]]] = {
    der.SEQUENCE: _decode_transport,
    _CONTEXT | 1: _decode_agreement,
}
"""By tag. The others ([2] to [4]: shared key, password, other) are not for somebody who asks for a certificate."""


class _Field(NamedTuple):
    tags: frozenset[int]
    optional: bool


def _needed(*tags: int) -> _Field:
    return _Field(frozenset(tags), optional=False)


def _optional(*tags: int) -> _Field:
    return _Field(frozenset(tags), optional=True)


def _parts(octets: bytes, *fields: _Field) -> list[bytes]:
    """Return the values directly inside ``octets``, one for each field; b"" for one that is absent.

    Raises:
        MalformedMessage: when they do not fit, or there are more.
    """
    values = der.values(octets)
    found = []
    for field in fields:
        if values and values[0][0] in field.tags:
            found.append(values.pop(0))
        elif field.optional:
            found.append(b"")
        else:
            break
    if values or len(found) < len(fields):
        raise der.malformed("what is encrypted in it does not have the parts it must have, for one recipient")
    return found


def _whole(bits: bytes) -> bytes:
    """Return the octets in the contents of a BIT STRING."""
    if not bits.startswith(_WHOLE_OCTETS):
        raise der.malformed("an encrypted value or a key in it is not a whole number of octets")
    return bits[1:]
