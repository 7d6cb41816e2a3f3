"""What the CA wants in a request: CertReqTemplateContent, to check ours against and to complete it (RFC 9483 4.3.3).

A value that the template gives is to be asked for as it stands; an empty one is ours to fill in. keySpec lists the keys
that may be certified.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509

from agent.cmp import algorithms, asn1, der, names
from agent.cmp.bodies import Control
from agent.cmp.crmf import decode_template
from agent.cmp.failures import clean_text
from agent.cmp.name_keys import name_key, quoted
from agent.frozen import frozen

_CURVES: Final = {
    "1.2.840.10045.3.1.7": "ec-p256",
    "1.3.132.0.34": "ec-p384",
    "1.3.132.0.35": "ec-p521",
}
_EC_PUBLIC_KEY: Final = "1.2.840.10045.2.1"
_KINDS: Final = {
    "1.3.101.110": "x25519",
    "1.3.101.112": "ed25519",
    "1.3.101.113": "ed448",
    "2.16.840.1.101.3.4.3.17": "ml-dsa-44",
    "2.16.840.1.101.3.4.3.18": "ml-dsa-65",
    "2.16.840.1.101.3.4.3.19": "ml-dsa-87",
}
_SUBJECT_ALTERNATIVE_NAME: Final = "2.5.29.17"
_COMPLETED: Final = frozenset({"2.5.29.32", "2.5.29.37"})
"""Extensions taken over from a template: certificatePolicies and extKeyUsage. Others are ours or the CA's to make."""
_MAXIMUM_KEYS: Final = 64
_OCTET_STRING: Final = 0x04
_EXTENSION_PARTS: Final = (2, 3)
"""extnID, critical unless it is the default, extnValue."""
_EMPTY: Final = frozenset({b"", b"\x30\x00", b"\x05\x00"})
"""How "fill this in" is written as a value."""


@frozen(kw_only=True)
class RequestTemplate:
    """What the CA wants. ``keys`` are named as in our settings, others by OID; None where any key will do."""

    subject: x509.Name | None = None
    given: tuple[tuple[str, bytes], ...] = ()
    """Extensions with a value: OID and DER of Extension."""
    filled_in: frozenset[str] = frozenset()
    """OIDs of extensions that the requester has to fill in."""
    keys: tuple[str, ...] | None = None


def decode(octets: bytes) -> RequestTemplate:
    """Read the DER of CertReqTemplateContent.

    Raises:
        MalformedMessage: when it is none.
    """
    parts = asn1.items(octets, 2)
    if not parts:
        raise der.malformed("its request template is empty")
    wanted = decode_template(parts[0])
    extensions = _parts(wanted.extensions)
    given = tuple((oid, whole) for oid, whole, value in extensions if value not in _EMPTY)
    filled_in = frozenset(oid for oid, _, value in extensions if value in _EMPTY)
    return RequestTemplate(
        subject=names.parse_name(wanted.subject) if wanted.subject is not None else None,
        given=given,
        filled_in=filled_in,
        keys=tuple(map(_key, asn1.items(parts[1], _MAXIMUM_KEYS))) if len(parts) > 1 else None,
    )


def objections(
    template: RequestTemplate, *, subject: x509.Name, alternative_names: bool, key: str
) -> tuple[tuple[str, str], ...]:
    """Return what is wrong with a request under ``template``: (what, setting), in words, most serious first.

    ``key`` is named as in our settings; ``alternative_names`` whether any are asked for.
    """
    found = []
    if template.keys is not None and key not in template.keys:
        allowed = ", ".join(template.keys) or "no key at all"
        found.append((f"the CA's template forbids our key: it allows {allowed}, and ours is {key}", "key"))
    found += [(text, "subject") for text in _missing_names(template.subject, subject)]
    if _SUBJECT_ALTERNATIVE_NAME in template.filled_in and not alternative_names:
        found.append(("the CA's template wants alternative names, and we ask for none", "alternative-names"))
    return tuple(found)


def completed(template: RequestTemplate, extensions: bytes | None) -> bytes | None:
    """Return our Extensions (DER) with those that the template gives and we did not ask for."""
    ours = _parts(extensions)
    asked = {oid for oid, _, _ in ours}
    added = [whole for oid, whole in template.given if oid in _COMPLETED and oid not in asked]
    return der.wrap(der.SEQUENCE, *(whole for _, whole, _ in ours), *added) if added else extensions


def described(template: RequestTemplate) -> tuple[str, ...]:
    """Return what the template says, one line a fact, safe to print."""
    lines = []
    if template.subject is not None:
        lines.append(f"subject: {quoted(template.subject) if template.subject.rdns else 'any'}")
    lines += [f"extension {_extension(oid)}: with the CA's value" for oid, _ in template.given]
    lines += [f"extension {_extension(oid)}: ours to fill in" for oid in sorted(template.filled_in)]
    keys = "any" if template.keys is None else ", ".join(template.keys) or "none"
    return (*lines, f"keys: {keys}")


def _key(control: bytes) -> str:
    """Return the kind of key that one control of keySpec allows (algId or rsaKeyLen, RFC 9810 5.3.19.16)."""
    kind, value = asn1.read_typed(control)
    if kind == Control.RSA_KEY_LEN and value is not None:
        return f"rsa-{der.integer(der.unwrap(value, der.INTEGER))}"
    if kind != Control.ALG_ID or value is None:
        return clean_text(kind)
    oid, parameters = algorithms.parse_algorithm(value)
    if oid == _EC_PUBLIC_KEY and parameters is not None:
        curve = der.oid(der.unwrap(parameters, der.OBJECT_IDENTIFIER))
        return _CURVES.get(curve, f"ec on {curve}")
    return _KINDS.get(oid, oid)


def _parts(extensions: bytes | None) -> list[tuple[str, bytes, bytes]]:
    """Return OID, DER and extnValue of each of ``extensions`` (DER Extensions)."""
    found = []
    for whole in asn1.items(extensions):
        der.unwrap(whole)
        parts = der.values(whole)
        if len(parts) not in _EXTENSION_PARTS:
            raise der.malformed("an extension in its request template has the wrong parts")
        oid = der.oid(der.unwrap(parts[0], der.OBJECT_IDENTIFIER))
        found.append((oid, whole, der.unwrap(parts[-1], _OCTET_STRING)))
    return found


def _extension(oid: str) -> str:
    name = x509.ObjectIdentifier(oid)._name  # noqa: SLF001 - the library's own table of names
    return oid if name == "Unknown OID" else name


def _missing_names(template: x509.Name | None, ours: x509.Name) -> list[str]:
    present = [pair for rdn in name_key(ours) for pair in rdn]
    kinds = {oid for oid, _ in present}
    found = []
    for attribute in template or ():
        ((pair,),) = name_key(x509.Name([x509.RelativeDistinguishedName([attribute])]))
        label = clean_text(attribute.rfc4514_attribute_name)
        if not attribute.value and pair[0] not in kinds:
            found.append(f"the CA's template wants {label} in the subject, and ours has none")
        elif attribute.value and pair not in present:
            found.append(f"the CA's template wants {label}={clean_text(str(attribute.value))} in the subject")
    return found
