"""From a certificate request to a planned certificate: proof of possession, template, policy (RFC 4211, RFC 9483 4.1).

Everything is judged before anything is written, so the same examination serves a request that is answered at once and
one that is put on the waiting list.
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from agent.cmp import algorithms, der, names
from agent.cmp.bodies import CertReqMessages, CertTemplate, Control, Pkcs10, PopSignature, PopSubsequent
from agent.cmp.errors import CmpError
from agent.cmp.failures import PKIFailureInfo as Failure
from agent.cmp.messages import BodyType
from agent.frozen import frozen
from agent.labca import certificates, challenge, encoding, mac
from agent.labca.certificates import Plan
from agent.labca.encoding import Extension
from agent.labca.refusal import Refusal

if TYPE_CHECKING:
    from agent.cmp.bodies import Body, CertReqMsg
    from agent.labca.gate import Requester
    from agent.labca.office import Office
    from agent.labca.records import Certificate
    from agent.labca.settings import LabCaSettings

_EXTENSION_REQUEST: Final = "1.2.840.113549.1.9.14"
_END_ENTITY_USAGES: Final = frozenset({0, 1, 2, 3, 4})
"""Bits of keyUsage a device may ask for: digitalSignature to keyAgreement."""
_IDENTIFIERS: Final = frozenset({certificates.SUBJECT_KEY_IDENTIFIER, certificates.AUTHORITY_KEY_IDENTIFIER})
_CONTEXT_0: Final = 0xA0


@frozen(kw_only=True)
class Order:
    """What will be issued. ``modified`` says that it is not all that was asked for (grantedWithMods)."""

    plan: Plan
    modified: bool


@frozen(kw_only=True)
class _Wish:
    """A request of either syntax: what it asks for and the proof that came with it, already verified."""

    template: CertTemplate
    old_certificate: bytes | None = None
    """DER of oldCertID."""


def cert_req_id(body: Body, settings: LabCaSettings) -> int:
    """Return the certReqId that answers to ``body`` carry."""
    if isinstance(body, CertReqMessages) and body.requests:
        return body.requests[0].request.cert_req_id
    return settings.p10cr_cert_req_id


def examine(body: Body, requester: Requester, office: Office, now: datetime) -> Order:
    """Return what to issue for ``body``.

    Raises:
        Refusal: badPOP, badCertTemplate and the like.
    """
    wish = _pkcs10(body, office) if isinstance(body, Pkcs10) else _crmf(body, requester, office)
    template = wish.template
    _check_fixed_fields(template, requester, office)
    _check_key(template.public_key or b"", office)
    subject, wanted = template.subject or names.EMPTY, _requested(template.extensions)
    if body.type is BodyType.KUR:
        subject, wanted = _renewed(template, wanted, _old_certificate(wish, requester, office))
    elif template.subject is None and office.settings.assigned_subject is not None:
        subject = _assigned(office.settings.assigned_subject, requester)
    extensions, modified = _granted(wanted)
    if subject == names.EMPTY and not any(one.oid == certificates.SUBJECT_ALTERNATIVE_NAME for one in extensions):
        raise Refusal(Failure.BAD_CERT_TEMPLATE, "neither subject nor subjectAltName is given")
    if office.settings.crl_distribution_point and office.crl_url is not None:
        extensions = (*extensions, certificates.crl_distribution_point(office.crl_url))
    plan = Plan(
        serial=certificates.new_serial(),
        subject=subject,
        public_key=template.public_key or b"",
        not_before=certificates.whole_seconds(now) - office.settings.backdate,
        not_after=certificates.whole_seconds(now) + office.settings.validity,
        extensions=extensions,
    )
    plan, limited = _limited(plan, template)
    return Order(plan=plan, modified=modified or limited)


# --- the two syntaxes -------------------------------------------------------------------------------------------------


def _crmf(body: Body, requester: Requester, office: Office) -> _Wish:
    if not isinstance(body, CertReqMessages) or len(body.requests) != 1:
        raise Refusal(Failure.BAD_REQUEST, "exactly one request in a message is served (RFC 9483 4.1.1)")
    one = body.requests[0]
    if one.request.cert_req_id != 0:
        raise Refusal(Failure.BAD_REQUEST, "certReqId must be 0 (RFC 9483 4.1.1)")
    _check_possession(one, requester, office)
    return _Wish(
        template=one.request.template,
        old_certificate=one.request.control(Control.OLD_CERT_ID),
    )


def _pkcs10(body: Pkcs10, office: Office) -> _Wish:
    info, algorithm, signature = _parts(body.request, 3)  # RFC 2986 4.2
    _, subject, public_key, attributes = _parts(info, 4)  # RFC 2986 4.1
    _check_signature(public_key, algorithm, encoding.read_bit_string(signature), info, office)
    extensions = _extension_request(attributes)
    return _Wish(template=CertTemplate(subject=subject, public_key=public_key, extensions=extensions))


# --- proof of possession ----------------------------------------------------------------------------------------------


def _check_possession(one: CertReqMsg, requester: Requester, office: Office) -> None:
    template, proof = one.request.template, one.possession
    if template.public_key is None:
        raise Refusal(Failure.BAD_CERT_TEMPLATE, "publicKey is missing; keys are not made centrally here")
    if isinstance(proof, PopSubsequent):
        challenge.check(proof, template.public_key)
        return
    if not isinstance(proof, PopSignature):
        raise Refusal(Failure.BAD_POP, "the requester must prove possession of the key to be certified")
    complete = template.subject is not None
    if complete == (proof.input is not None):
        what = "must be absent with" if complete else "is needed without"
        raise Refusal(Failure.BAD_POP, f"poposkInput {what} subject in the template (RFC 4211 4.1)")
    if proof.input is not None:
        _check_input(proof.input, template.public_key, requester, office)
    _check_signature(template.public_key, proof.algorithm, proof.signature, proof.input or one.request_octets, office)


def _check_input(octets: bytes, public_key: bytes, requester: Requester, office: Office) -> None:
    """Check POPOSigningKeyInput (RFC 4211 4.1): the same key, and a name or a MAC that fits the requester."""
    info, key = _parts(octets, 2)
    if key != public_key:
        raise Refusal(Failure.BAD_POP, "poposkInput names another key than the template")
    if info[0] == _CONTEXT_0:
        _check_sender(der.unwrap(info, _CONTEXT_0), requester)
        return
    if requester.secret:
        algorithm, value = _parts(info, 2)
        made = mac.mirrored(algorithm, requester.secret, office.rules)
        if made and hmac.compare_digest(made.protect(public_key), encoding.read_bit_string(value)):
            return
    raise Refusal(Failure.BAD_POP, "publicKeyMAC in poposkInput is wrong")


def _check_sender(general_name: bytes, requester: Requester) -> None:
    """Check that poposkInput names whose certificate protects the message (RFC 4211 4.1, TS 33.310 9.5.4.2)."""
    name = names.name_of(general_name)
    if not requester.certificate:
        raise Refusal(Failure.BAD_POP, "poposkInput with a sender needs a signature; with a MAC, publicKeyMAC")
    subject = x509.load_der_x509_certificate(requester.certificate).subject.public_bytes()
    if name is None or not names.same_name(name, subject):
        raise Refusal(Failure.BAD_POP, "sender in poposkInput is not the subject of the certificate that signed")


def _check_signature(public_key: bytes, algorithm: bytes, signature: bytes, signed: bytes, office: Office) -> None:
    try:
        rule = algorithms.signature_algorithm(algorithm)
        key = algorithms.load_public_key(public_key)
    except CmpError as error:
        raise Refusal(Failure.BAD_ALG, str(error)) from error
    if rule.legacy and not office.rules.legacy:
        raise Refusal(Failure.BAD_ALG, f"{rule.name} is not accepted")
    if not algorithms.verify(key, rule, signature, signed):
        raise Refusal(Failure.BAD_POP, "the signature that proves possession is wrong")


# --- policy -----------------------------------------------------------------------------------------------------------


def _check_key(public_key: bytes, office: Office) -> None:
    key = algorithms.load_public_key(public_key)
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < office.settings.minimum_rsa_bits:
        raise Refusal(
            Failure.BAD_CERT_TEMPLATE,
            f"RSA keys need {office.settings.minimum_rsa_bits} bits, this one has {key.key_size}",
        )
    if office.settings.refuse_known_keys and office.database.knows_key(public_key):
        raise Refusal(Failure.DUPLICATE_CERT_REQ, "this key was certified before; make a new one")


def _old_certificate(wish: _Wish, requester: Requester, office: Office) -> Certificate:
    """Return the certificate to be renewed: the one that signed, or under a MAC the one in oldCertID."""
    named = _cert_id(wish.old_certificate) if wish.old_certificate else None
    old = requester.own
    if old is None and named is not None:
        old = office.database.certificate(named[1])
    if old is None:
        raise Refusal(Failure.BAD_CERT_ID, "oldCertID names no certificate of this CA")
    if named not in {None, (names.directory_name(office.pki.issuing.subject), old.serial)}:
        raise Refusal(Failure.BAD_CERT_ID, "oldCertID is not the certificate that protects the request")
    if old.owner != requester.owner:
        raise Refusal(Failure.NOT_AUTHORIZED, "the certificate in oldCertID belongs to somebody else")
    return old


def _cert_id(octets: bytes) -> tuple[bytes, int]:
    """Return the GeneralName and the serial number of a CertId (RFC 4211 6.5)."""
    issuer, serial = _parts(octets, 2)
    return issuer, encoding.read_integer(serial)


def _check_fixed_fields(template: CertTemplate, requester: Requester, office: Office) -> None:
    if template.serial_number is not None or template.signing_alg is not None:
        raise Refusal(Failure.BAD_CERT_TEMPLATE, "serialNumber and signingAlg are not the requester's to choose")
    if template.version not in {None, 2}:
        raise Refusal(Failure.BAD_CERT_TEMPLATE, "only X.509 version 3 is issued")
    issuer = office.pki.issuing.subject
    # OpenSSL asks for the issuer of the certificate it signs with, the vendor's CA too: that is no wish of anybody.
    tolerated = (issuer, *((requester.issuer,) if requester.issuer else ()))
    if template.issuer is not None and not any(names.same_name(template.issuer, one) for one in tolerated):
        raise Refusal(Failure.WRONG_AUTHORITY, f"this is {names.text_of(issuer)}, not the issuer asked for")


def _assigned(form: str, requester: Requester) -> bytes:
    """Return the name the operator gives a device that signed with its vendor's certificate (TS 33.310 annex G)."""
    if not requester.certificate:
        raise Refusal(Failure.BAD_CERT_TEMPLATE, "a name is given to devices with a vendor's certificate only")
    subject = x509.load_der_x509_certificate(requester.certificate).subject
    device = next((str(one.value) for one in subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)), "device")
    return names.name_from_text(form.format(device=device))


def _requested(extensions: bytes | None) -> tuple[Extension, ...]:
    wanted = encoding.read_extensions(extensions) if extensions is not None else ()
    if len({one.oid for one in wanted}) != len(wanted):
        raise Refusal(Failure.BAD_CERT_TEMPLATE, "an extension is asked for twice")
    return wanted


def _granted(wanted: tuple[Extension, ...]) -> tuple[tuple[Extension, ...], bool]:
    """Return the extensions to put in, and whether they differ from what was asked for."""
    granted, modified = [], False
    for one in wanted:
        match one.oid:
            case certificates.SUBJECT_ALTERNATIVE_NAME | certificates.EXTENDED_KEY_USAGE:
                granted.append(one)
            case certificates.KEY_USAGE if encoding.read_named_bits(one.value) <= _END_ENTITY_USAGES:
                granted.append(one._replace(critical=True))
            case certificates.KEY_USAGE:
                raise Refusal(Failure.BAD_CERT_TEMPLATE, "keyUsage asks for the rights of a CA")
            case certificates.BASIC_CONSTRAINTS if one.value == b"\x30\x00":
                granted.append(one)
            case certificates.BASIC_CONSTRAINTS:
                raise Refusal(Failure.BAD_CERT_TEMPLATE, "basicConstraints asks for a CA certificate")
            case _ if one.critical:
                raise Refusal(Failure.UNACCEPTED_EXTENSION, f"the critical extension {one.oid} is not known here")
            case _:
                # The key identifiers are the CA's to write: leaving out the requested ones changes nothing.
                modified = modified or one.oid not in _IDENTIFIERS
    if not any(one.oid == certificates.KEY_USAGE for one in granted):
        granted += certificates.end_entity_extensions()
    return tuple(granted), modified


def _renewed(
    template: CertTemplate, wanted: tuple[Extension, ...], old: Certificate
) -> tuple[bytes, tuple[Extension, ...]]:
    """Return subject and extensions of the successor: both names must stay what they were (RFC 9483 4.1.3)."""
    certificate = x509.load_der_x509_certificate(old.octets)
    subject = certificate.subject.public_bytes()
    if template.subject is not None and not names.same_name(template.subject, subject):
        raise Refusal(Failure.BAD_CERT_TEMPLATE, "a key update may not change the subject")
    before = {
        one.oid.dotted_string: Extension(one.oid.dotted_string, one.critical, one.value.public_bytes())
        for one in certificate.extensions
    }
    names_before = before.get(certificates.SUBJECT_ALTERNATIVE_NAME)
    asked = next((one for one in wanted if one.oid == certificates.SUBJECT_ALTERNATIVE_NAME), None)
    if asked is not None and (names_before is None or asked.value != names_before.value):
        raise Refusal(Failure.BAD_CERT_TEMPLATE, "a key update may not change subjectAltName")
    kept = (
        certificates.SUBJECT_ALTERNATIVE_NAME,
        certificates.KEY_USAGE,
        certificates.EXTENDED_KEY_USAGE,
    )
    present = {one.oid for one in wanted}
    inherited = tuple(before[oid] for oid in kept if oid in before and oid not in present)
    return template.subject or subject, (*wanted, *inherited)


def _limited(plan: Plan, template: CertTemplate) -> tuple[Plan, bool]:
    """Narrow the validity to what the template asks for; what goes beyond the CA's own is not granted."""
    modified = False
    if template.not_before is not None:
        modified = template.not_before < plan.not_before
        plan = replace(plan, not_before=max(plan.not_before, template.not_before))
    if template.not_after is not None:
        modified = modified or template.not_after > plan.not_after
        plan = replace(plan, not_after=min(plan.not_after, template.not_after))
    if plan.not_before >= plan.not_after:
        raise Refusal(Failure.BAD_CERT_TEMPLATE, "the validity asked for is empty")
    return plan, modified


def _extension_request(attributes: bytes) -> bytes | None:
    """Return the DER of Extensions from the attributes of a PKCS#10 request (RFC 2985 5.4.2)."""
    for attribute in _parts(attributes):
        kind, values = _parts(attribute, 2)
        if encoding.read_oid(kind) == _EXTENSION_REQUEST:
            return _parts(values, 1)[0]
    return None


def _parts(octets: bytes, count: int = 0) -> list[bytes]:
    """Return the values directly inside ``octets``; exactly ``count``, unless that is 0."""
    parts = [octets[one.start : one.end] for one in der.children(octets)]
    if count and len(parts) != count:
        raise Refusal(Failure.BAD_DATA_FORMAT, "a structure does not have the parts it must have")
    return parts
