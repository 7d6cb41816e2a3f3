"""The schema of RFC 9810 (CMP) and RFC 4211 (CRMF) for pyasn1, and of what they rest on.

Two kinds of parts stay octets: what somebody else reads better than pyasn1 (certificates, names, keys, algorithm
identifiers, extensions), and lists. :class:`Raw` is "a SEQUENCE, kept as it came". What protection or a signature
covers is thus never re-encoded, a message with ten certificates costs no more than one without, and a list of ten
thousand entries is refused before pyasn1 turns it into ten thousand objects. Tagging: CMP's module is EXPLICIT, CRMF's
is IMPLICIT except for CHOICE types (RFC 4211 appendix B).
"""

from __future__ import annotations

from typing import Any

from pyasn1.type import namedtype, tag, tagmap, univ


class _Opaque(univ.Any):
    """A value of a known tag whose contents stay octets."""

    @property
    def tagMap(self) -> tagmap.TagMap:  # noqa: N802 - pyasn1's name
        """Claim our own tag only; ``Any`` would claim every tag and make optional fields ambiguous."""
        return tagmap.TagMap({self.tagSet: self})


class Raw(_Opaque):
    """A SEQUENCE kept as octets: what is assigned and read are its contents, without tag and length."""

    tagSet = tag.initTagSet(tag.Tag(tag.tagClassUniversal, tag.tagFormatConstructed, 16))  # noqa: N815


class RawBits(_Opaque):
    """A BIT STRING kept as octets, count of unused bits first: a hostile one must not become a million numbers."""

    tagSet = tag.initTagSet(tag.Tag(tag.tagClassUniversal, tag.tagFormatSimple, 3))  # noqa: N815


class RawTime(_Opaque):
    """A GeneralizedTime as its text: pyasn1 would refuse fractions of a certain length."""

    tagSet = tag.initTagSet(tag.Tag(tag.tagClassUniversal, tag.tagFormatSimple, 24))  # noqa: N815


class RawUtcTime(_Opaque):
    """A UTCTime as its text."""

    tagSet = tag.initTagSet(tag.Tag(tag.tagClassUniversal, tag.tagFormatSimple, 23))  # noqa: N815


def _context(number: int, *, constructed: bool) -> Any:
    form = tag.tagFormatConstructed if constructed else tag.tagFormatSimple
    return _Opaque(tagSet=tag.initTagSet(tag.Tag(tag.tagClassContext, form, number)))


def _explicit(number: int, value: Any) -> Any:
    return value.subtype(explicitTag=tag.Tag(tag.tagClassContext, tag.tagFormatConstructed, number))


def _implicit(number: int, value: Any) -> Any:
    return value.subtype(implicitTag=tag.Tag(tag.tagClassContext, tag.tagFormatConstructed, number))


def _fields(*fields: Any) -> namedtype.NamedTypes:
    return namedtype.NamedTypes(
        *(field if isinstance(field, namedtype.NamedType) else namedtype.NamedType(*field) for field in fields)
    )


def _optional(name: str, value: Any) -> namedtype.OptionalNamedType:
    return namedtype.OptionalNamedType(name, value)


class GeneralName(univ.Choice):
    """RFC 5280 4.2.1.6; a directoryName is explicitly tagged, since Name is itself a CHOICE."""

    componentType = _fields(  # noqa: N815
        ("otherName", _context(0, constructed=True)),
        ("rfc822Name", _context(1, constructed=False)),
        ("dNSName", _context(2, constructed=False)),
        ("x400Address", _context(3, constructed=True)),
        ("directoryName", _explicit(4, Raw())),
        ("ediPartyName", _context(5, constructed=True)),
        ("uniformResourceIdentifier", _context(6, constructed=False)),
        ("iPAddress", _context(7, constructed=False)),
        ("registeredID", _context(8, constructed=False)),
    )


class Time(univ.Choice):
    """RFC 5280 4.1.2.5."""

    componentType = _fields(("utcTime", RawUtcTime()), ("generalTime", RawTime()))  # noqa: N815


class OptionalValidity(univ.Sequence):
    """RFC 4211 section 5; Time is a CHOICE, so its tags are explicit."""

    componentType = _fields(  # noqa: N815
        _optional("notBefore", _explicit(0, Time())), _optional("notAfter", _explicit(1, Time()))
    )


class CertTemplate(univ.Sequence):
    """RFC 4211 section 5: implicit tags, except for the names; the numbers are contents octets of an INTEGER."""

    componentType = _fields(  # noqa: N815
        _optional("version", _context(0, constructed=False)),
        _optional("serialNumber", _context(1, constructed=False)),
        _optional("signingAlg", _implicit(2, Raw())),
        _optional("issuer", _explicit(3, Raw())),
        _optional("validity", _implicit(4, OptionalValidity())),
        _optional("subject", _explicit(5, Raw())),
        _optional("publicKey", _implicit(6, Raw())),
        _optional("issuerUID", _context(7, constructed=False)),
        _optional("subjectUID", _context(8, constructed=False)),
        _optional("extensions", _implicit(9, Raw())),
    )


class CertRequest(univ.Sequence):
    """RFC 4211 section 5; ``controls`` is a list of AttributeTypeAndValue."""

    componentType = _fields(  # noqa: N815
        ("certReqId", univ.Integer()), ("certTemplate", CertTemplate()), _optional("controls", Raw())
    )


class POPOSigningKey(univ.Sequence):
    """RFC 4211 4.1."""

    componentType = _fields(  # noqa: N815
        _optional("poposkInput", _implicit(0, Raw())), ("algorithmIdentifier", Raw()), ("signature", RawBits())
    )


class POPOPrivKey(univ.Choice):
    """RFC 4211 4.2; of these only ``subsequentMessage`` (contents octets of an INTEGER) is read."""

    componentType = _fields(  # noqa: N815
        ("thisMessage", _context(0, constructed=False)),
        ("subsequentMessage", _context(1, constructed=False)),
        ("dhMAC", _context(2, constructed=False)),
        ("agreeMAC", _implicit(3, Raw())),
        ("encryptedKey", _implicit(4, Raw())),
    )


class ProofOfPossession(univ.Choice):
    """RFC 4211 section 4."""

    componentType = _fields(  # noqa: N815
        ("raVerified", _implicit(0, univ.Null())),
        ("signature", _implicit(1, POPOSigningKey())),
        ("keyEncipherment", _explicit(2, POPOPrivKey())),
        ("keyAgreement", _explicit(3, POPOPrivKey())),
    )


class CertReqMsg(univ.Sequence):
    """RFC 4211 section 3; ``regInfo`` is a list of AttributeTypeAndValue."""

    componentType = _fields(  # noqa: N815
        ("certReq", CertRequest()), _optional("popo", ProofOfPossession()), _optional("regInfo", Raw())
    )


class Challenge(univ.Sequence):
    """RFC 9810 5.2.8.3.3."""

    componentType = _fields(  # noqa: N815
        _optional("owf", Raw()),
        ("witness", univ.OctetString()),
        ("challenge", univ.OctetString()),
        _optional("encryptedRand", _explicit(0, Raw())),
    )


class CertStatus(univ.Sequence):
    """RFC 9810 5.3.18."""

    componentType = _fields(  # noqa: N815
        ("certHash", univ.OctetString()),
        ("certReqId", univ.Integer()),
        _optional("statusInfo", Raw()),
        _optional("hashAlg", _explicit(0, Raw())),
    )


class PollReq(univ.Sequence):
    """One entry of PollReqContent (RFC 9810 5.3.22)."""

    componentType = _fields(("certReqId", univ.Integer()))  # noqa: N815


class PollRep(univ.Sequence):
    """One entry of PollRepContent (RFC 9810 5.3.22); ``reason`` is a list of UTF8String."""

    componentType = _fields(  # noqa: N815
        ("certReqId", univ.Integer()), ("checkAfter", univ.Integer()), _optional("reason", Raw())
    )


class ErrorMsgContent(univ.Sequence):
    """RFC 9810 5.3.21; ``errorDetails`` is a list of UTF8String."""

    componentType = _fields(  # noqa: N815
        ("pKIStatusInfo", Raw()), _optional("errorCode", univ.Integer()), _optional("errorDetails", Raw())
    )


class RevDetails(univ.Sequence):
    """RFC 9810 5.3.9; ``certDetails`` is a CertTemplate."""

    componentType = _fields(("certDetails", Raw()), _optional("crlEntryDetails", Raw()))  # noqa: N815


class CertId(univ.Sequence):
    """RFC 4211 6.5."""

    componentType = _fields(("issuer", GeneralName()), ("serialNumber", univ.Integer()))  # noqa: N815


class RevRepContent(univ.Sequence):
    """RFC 9810 5.3.10: lists of PKIStatusInfo, CertId and CertificateList."""

    componentType = _fields(  # noqa: N815
        ("status", Raw()), _optional("revCerts", _explicit(0, Raw())), _optional("crls", _explicit(1, Raw()))
    )


class RootCaKeyUpdateContent(univ.Sequence):
    """RFC 9810 5.3.19.15: the new root, the new signed by the old, the old signed by the new."""

    componentType = _fields(  # noqa: N815
        ("newWithNew", Raw()),
        _optional("newWithOld", _explicit(0, Raw())),
        _optional("oldWithNew", _explicit(1, Raw())),
    )


class CRLStatus(univ.Sequence):
    """RFC 9810 5.3.19.17; ``source`` stays octets."""

    componentType = _fields(("source", univ.Any()), _optional("thisUpdate", Time()))  # noqa: N815


class CertReqTemplateContent(univ.Sequence):
    """RFC 9810 5.3.19.16; ``keySpec`` is a list of AttributeTypeAndValue."""

    componentType = _fields(("certTemplate", CertTemplate()), _optional("keySpec", Raw()))  # noqa: N815


class PBMParameter(univ.Sequence):
    """RFC 4211 4.4."""

    componentType = _fields(  # noqa: N815
        ("salt", univ.OctetString()), ("owf", Raw()), ("iterationCount", univ.Integer()), ("mac", Raw())
    )


class Pbkdf2Params(univ.Sequence):
    """RFC 8018 A.2; a salt from another source is not accepted."""

    componentType = _fields(  # noqa: N815
        ("salt", univ.OctetString()),
        ("iterationCount", univ.Integer()),
        _optional("keyLength", univ.Integer()),
        _optional("prf", Raw()),
    )


class Pbmac1Params(univ.Sequence):
    """RFC 8018 A.5."""

    componentType = _fields(("keyDerivationFunc", Raw()), ("messageAuthScheme", Raw()))  # noqa: N815


class CertificationRequestInfo(univ.Sequence):
    """RFC 2986 4.1; ``attributes`` are the contents of the SET."""

    componentType = _fields(  # noqa: N815
        ("version", univ.Integer()),
        ("subject", Raw()),
        ("subjectPKInfo", Raw()),
        ("attributes", _context(0, constructed=True)),
    )


class CertificationRequest(univ.Sequence):
    """RFC 2986 4.2."""

    componentType = _fields(  # noqa: N815
        ("certificationRequestInfo", CertificationRequestInfo()),
        ("signatureAlgorithm", Raw()),
        ("signature", univ.BitString()),
    )


class RsaPssParams(univ.Sequence):
    """RFC 8017 A.2.3: absent fields mean SHA-1, MGF1 with SHA-1, 20 octets of salt."""

    componentType = _fields(  # noqa: N815
        _optional("hashAlgorithm", _explicit(0, Raw())),
        _optional("maskGenAlgorithm", _explicit(1, Raw())),
        _optional("saltLength", _explicit(2, univ.Integer())),
        _optional("trailerField", _explicit(3, univ.Integer())),
    )
