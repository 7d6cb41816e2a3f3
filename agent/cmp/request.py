"""Who we are and what we want: the two halves of every request, independent of any transaction's state."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Final, Protocol

from cryptography import x509

from agent.cmp import names
from agent.cmp.acceptance import DIGITAL_SIGNATURE
from agent.cmp.bodies import (
    Attribute,
    Body,
    CertId,
    CertReqMessages,
    CertRequest,
    CertTemplate,
    Control,
    General,
    Pkcs10,
    RevDetails,
    RevReq,
)
from agent.cmp.certificates import load, read, same_public_key
from agent.cmp.crmf import encode_cert_id
from agent.cmp.errors import LocalError, MalformedMessage, defect
from agent.cmp.messages import NULL_DN, PVNO_2, PVNO_3, BodyType, InfoTypeAndValue
from agent.cmp.possession import PopMethod, announce, sign_pkcs10, sign_request
from agent.cmp.protection import Kind, MacParameters, MacProtector, Protector, SignatureProtector
from agent.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from agent.cmp.algorithms import Signer
    from agent.cmp.decryption import Decryptor

ANSWER_TO: Final = {
    BodyType.IR: BodyType.IP,
    BodyType.CR: BodyType.CP,
    BodyType.P10CR: BodyType.CP,
    BodyType.KUR: BodyType.KUP,
    BodyType.RR: BodyType.RP,
    BodyType.GENM: BodyType.GENP,
}
"""The body that answers each request (RFC 9810 5.1.2)."""


class Request(Protocol):
    """What a transaction asks for. ``recipient`` is the DER of a GeneralName."""

    @property
    def type(self) -> BodyType:
        """The arm of PKIBody that is sent first."""

    @property
    def recipient(self) -> bytes:
        """Whom the first message addresses."""

    @property
    def certificate_profile(self) -> str | None:
        """Name of the certificate profile, for certProfile in the header."""

    @property
    def implicit_confirmation(self) -> bool:
        """Whether to ask that certConf be left out."""

    @property
    def pvno(self) -> int:
        """The version of CMP to speak: 3 where EnvelopedData is expected (RFC 9810 section 7)."""

    def body(self) -> Body:
        """Return the first message's body."""


@frozen(kw_only=True)
class Originator:
    """Who we are in one transaction: how our messages are protected and under which name.

    ``secret`` is kept to verify answers made with it; ``extra_certs`` are our certificate and its chain, own one first.
    """

    protector: Protector
    sender: bytes
    sender_kid: bytes | None
    extra_certs: tuple[bytes, ...] = ()
    secret: bytes | None = field(default=None, repr=False)

    @property
    def kind(self) -> Kind:
        """MAC or signature."""
        return self.protector.kind


def by_secret(reference: str, secret: bytes, parameters: MacParameters) -> Originator:
    """Return an originator that holds the one-time ``secret`` named ``reference``.

    The reference is both the CN of the sender and the senderKID: strict servers want them equal (RFC 9483 3.1).

    Raises:
        LocalError: for an empty or overlong reference, an empty secret, or parameters nobody should use.
    """
    try:
        sender = names.directory_name(names.common_name(reference))
        sender_kid = reference.encode()
    except ValueError as error:
        raise LocalError(
            f"the reference {reference!r} cannot be used as a name",
            remedy="Use the reference the operator gave: 1 to 64 characters.",
        ) from error
    return Originator(protector=MacProtector(secret, parameters), sender=sender, sender_kid=sender_kid, secret=secret)


def by_certificate(
    signer: Signer, certificate: bytes, chain: tuple[bytes, ...] = (), *, scheme: str | None = None
) -> Originator:
    """Return an originator that signs with ``signer``, whose DER ``certificate`` and ``chain`` go along.

    ``scheme`` names the signature algorithm; without it the key's best is taken.

    Raises:
        LocalError: when key and certificate do not belong together, the certificate is unreadable, or the key cannot
            sign so.
    """
    try:
        facts = read(load(certificate))
        subject = facts.subject.public_bytes()
        same = same_public_key(facts.spki, signer.public_key)
    except MalformedMessage as error:
        raise LocalError(
            f"our own certificate cannot be used: {error}", remedy="Install the certificate again."
        ) from error
    if not same:
        raise LocalError(
            "the certificate that should protect the request belongs to another key",
            remedy="Put the certificate and the key that belong together in place.",
        )
    return Originator(
        protector=SignatureProtector(signer, scheme),
        sender=names.directory_name(subject),
        sender_kid=facts.subject_key_identifier,
        extra_certs=(certificate, *chain),
    )


@frozen(kw_only=True)
class Wanted:
    """What we want: a certificate for ``signer``'s public key.

    ``type`` is ir, cr, p10cr or kur; ``subject`` is a DER Name, ``extensions`` the DER of Extensions; ``old`` names the
    certificate that a kur updates. ``recipient`` is a DER GeneralName. ``scheme`` names the signature algorithm of the
    proof of possession; without it the key's best is taken.

    Without ``subject`` the CA gives the name, and ``vouched_by`` says who asks (:func:`possession.sign_request`).

    For a key that does not sign, ``proof`` says how it proves itself and ``decryptor`` is the key once more, as what
    decrypts; ``enveloped`` False asks for the forms of RFC 4210, which RSA keys can open and old CAs know.
    """

    type: BodyType
    signer: Signer
    scheme: str | None = None
    subject: bytes | None
    vouched_by: bytes | Protector | None = None
    extensions: bytes | None = None
    old: CertId | None = None
    proof: PopMethod = PopMethod.SIGNATURE
    decryptor: Decryptor | None = None
    enveloped: bool = True
    recipient: bytes = NULL_DN
    certificate_profile: str | None = None
    implicit_confirmation: bool = False

    @property
    def pvno(self) -> int:
        """The version of CMP to speak."""
        return PVNO_3 if self.enveloped and self.proof is not PopMethod.SIGNATURE else PVNO_2

    def body(self) -> Body:
        """Return the request body with its proof of possession (by the new key).

        Raises:
            LocalError: when the key cannot be proven so.
        """
        self._check_proof()
        if self.type is BodyType.P10CR:
            return Pkcs10(sign_pkcs10(self.subject or names.EMPTY, self.extensions, self.signer, self.scheme))
        controls = (Attribute(Control.OLD_CERT_ID.value, encode_cert_id(self.old)),) if self.old else ()
        request = CertRequest(
            template=CertTemplate(subject=self.subject, public_key=self.signer.public_key, extensions=self.extensions),
            controls=controls,
        )
        if self.proof is not PopMethod.SIGNATURE:
            return CertReqMessages(self.type, (announce(request, self.proof),))
        return CertReqMessages(
            self.type, (sign_request(request, self.signer, self.scheme, vouched_by=self.vouched_by),)
        )

    def _check_proof(self) -> None:
        if self.proof is PopMethod.SIGNATURE:
            return
        if self.type is BodyType.P10CR:
            raise LocalError(
                "a PKCS#10 request is signed by the key it is about, and this key does not sign",
                remedy="Set `request` of the identity to ir.",
            )
        confirmed = self.proof is not PopMethod.ENCRYPTED_CERTIFICATE or not self.implicit_confirmation
        if self.decryptor is None or not confirmed:
            raise defect("a key that does not sign must decrypt, and its encrypted certificate must be confirmed")


@frozen(kw_only=True)
class Revocation:
    """What we want gone: the certificate named by ``issuer`` (DER Name) and ``serial_number`` (RFC 9483 4.2).

    ``reason`` is a CRLReason number (RFC 5280 5.3.1).
    """

    type: BodyType = field(default=BodyType.RR, init=False)
    issuer: bytes
    serial_number: int
    reason: int = 0
    recipient: bytes = NULL_DN
    certificate_profile: str | None = None
    implicit_confirmation: bool = field(default=False, init=False)
    pvno: int = field(default=PVNO_2, init=False)

    def body(self) -> Body:
        """Return the rr: issuer and serial number, and the reason as a CRL entry extension."""
        template = CertTemplate(issuer=self.issuer, serial_number=self.serial_number)
        reason = x509.CRLReason(_CRL_REASONS[self.reason])
        return RevReq((RevDetails(template=template, crl_entry_details=names.extensions([(reason, False)])),))


@frozen(kw_only=True)
class Inquiry:
    """What we want to know: one InfoTypeAndValue of a genm (RFC 9483 4.3); ``value`` is DER or None."""

    type: BodyType = field(default=BodyType.GENM, init=False)
    info_type: str
    value: bytes | None = None
    recipient: bytes = NULL_DN
    certificate_profile: str | None = None
    implicit_confirmation: bool = field(default=False, init=False)
    pvno: int = field(default=PVNO_2, init=False)

    def body(self) -> Body:
        """Return the genm."""
        return General(BodyType.GENM, (InfoTypeAndValue(self.info_type, self.value),))


_CRL_REASONS: Final = {
    0: x509.ReasonFlags.unspecified,
    1: x509.ReasonFlags.key_compromise,
    2: x509.ReasonFlags.ca_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    6: x509.ReasonFlags.certificate_hold,
    9: x509.ReasonFlags.privilege_withdrawn,
    10: x509.ReasonFlags.aa_compromise,
}


def wanted_extensions(
    alternative_names: Iterable[x509.GeneralName],
    key_usage: Collection[str] = DIGITAL_SIGNATURE,
    purposes: Collection[str] = (),
) -> bytes | None:
    """Return the Extensions to ask for: alternative names, key usage by the RFC's names, extended key usages by OID.

    Of the key usages, digitalSignature, keyEncipherment and keyAgreement are for an end entity to ask for.
    """
    usage = x509.KeyUsage(
        digital_signature="digitalSignature" in key_usage,
        content_commitment=False,
        key_encipherment="keyEncipherment" in key_usage,
        data_encipherment=False,
        key_agreement="keyAgreement" in key_usage,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    alternatives = list(alternative_names)
    parts: list[tuple[x509.ExtensionType, bool]] = [(usage, True)]
    if alternatives:
        parts.insert(0, (x509.SubjectAlternativeName(alternatives), False))
    if purposes:
        parts.append((x509.ExtendedKeyUsage(map(x509.ObjectIdentifier, sorted(purposes))), False))
    return names.extensions(parts)
