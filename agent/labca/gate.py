"""Who sent this request: the lab CA's own judgement of header and protection (RFC 9483 3.1 to 3.5, the server's side).

Nothing of the client's checks is used here, only the codec and the cryptography: the CA is there to find out when the
client is wrong.
"""

from __future__ import annotations

import hashlib
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from agent.cmp import names, protection
from agent.cmp.errors import CmpError, WrongMac
from agent.cmp.failures import PKIFailureInfo as Failure
from agent.cmp.messages import BodyType
from agent.cmp.protection import Kind, ProtectionRules
from agent.frozen import frozen
from agent.labca import mac
from agent.labca.records import CertificateStatus
from agent.labca.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.cmp.messages import Header, Message
    from agent.labca.database import Database
    from agent.labca.records import Certificate
    from agent.labca.settings import LabCaSettings

_Value = TypeVar("_Value", bound=x509.ExtensionType)

_UNREADABLE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for certificates it cannot read, some of it only when an extension is touched."""

_NONCE_SIZE: Final = 16
_MAXIMUM_DEPTH: Final = 6
_VENDOR_MAY: Final = frozenset({BodyType.IR, BodyType.CR, BodyType.P10CR, BodyType.GENM})
_OWN_MAY: Final = frozenset({BodyType.CR, BodyType.P10CR, BodyType.KUR, BodyType.RR, BodyType.GENM})
FOLLOW_UPS: Final = frozenset({BodyType.CERTCONF, BodyType.POLLREQ, BodyType.POPDECR, BodyType.ERROR})
"""Messages that continue a transaction; all others open one."""


@frozen(kw_only=True)
class Requester:
    """Who asks. ``identity`` must stay the same through a transaction."""

    identity: str
    kind: Kind
    reference: str = ""
    secret: bytes = field(default=b"", repr=False)
    certificate: bytes = b""
    """DER of the certificate that verified the signature."""
    subject: str = ""
    issuer: bytes = b""
    """DER Name of whoever issued that certificate."""
    own: Certificate | None = None
    """That certificate as we issued it; None for a vendor's."""

    @property
    def name(self) -> str:
        """Who asks, in a word or two for people."""
        return self.reference or self.subject

    @property
    def owner(self) -> str:
        """Who will own what is issued now: renewals stay with the first owner."""
        return self.own.owner if self.own else self.identity


class Gate:
    """Checks header and protection of requests. Called with the CA's lock held."""

    def __init__(self, settings: LabCaSettings, database: Database, vendor_roots: Sequence[x509.Certificate]) -> None:
        """Take the settings, the record of secrets and certificates, and the roots of device vendors."""
        self._settings = settings
        self._database = database
        self._vendor_roots = tuple(vendor_roots)
        self._rules = ProtectionRules(legacy=settings.legacy_algorithms)

    def check_header(self, header: Header, now: datetime) -> None:
        """Refuse a header that RFC 9483 3.1 does not allow, whatever the protection."""
        if header.pvno not in {2, 3}:
            raise Refusal(Failure.UNSUPPORTED_VERSION, f"pvno {header.pvno} is not supported, 2 and 3 are")
        if not header.transaction_id:
            raise Refusal(Failure.BAD_DATA_FORMAT, "transactionID is missing")
        if header.sender_nonce is None or len(header.sender_nonce) < _NONCE_SIZE:
            raise Refusal(Failure.BAD_SENDER_NONCE, f"senderNonce is missing or shorter than {_NONCE_SIZE} octets")
        tolerance = self._settings.clock_tolerance
        if tolerance is not None and header.message_time is not None and abs(header.message_time - now) > tolerance:
            raise Refusal(
                Failure.BAD_TIME, f"messageTime is {header.message_time:%Y-%m-%dT%H:%M:%SZ}, here it is {now:%H:%M:%SZ}"
            )

    def identify(self, message: Message, known_signer: bytes, now: datetime) -> Requester:
        """Return who protected ``message``. ``known_signer`` is the signer of the transaction's first message.

        Raises:
            Refusal: when that cannot be told, or it is nobody we serve.
        """
        try:
            kind = protection.kind_of(message)
        except CmpError as error:
            raise Refusal(Failure.BAD_MESSAGE_CHECK, str(error)) from error
        if kind is None:
            raise Refusal(Failure.BAD_MESSAGE_CHECK, "the message is not protected")
        return self._by_mac(message) if kind is Kind.MAC else self._by_signature(message, known_signer, now)

    def authorise(self, requester: Requester, kind: BodyType) -> None:
        """Refuse what this requester may not ask for (RFC 9483 4.1.1 to 4.1.3: who protects which request)."""
        if requester.kind is Kind.MAC or kind in FOLLOW_UPS:
            return
        if kind not in (_OWN_MAY if requester.own else _VENDOR_MAY):
            whose = "a certificate of this CA" if requester.own else "a vendor's certificate"
            raise Refusal(Failure.NOT_AUTHORIZED, f"{kind.label} may not be protected by {whose}", requester)

    # --- MAC ---------------------------------------------------------------------------------------------------------

    def _by_mac(self, message: Message) -> Requester:
        reference = self._reference(message.header)
        found = self._database.secret(reference)
        if found is None:
            raise Refusal(Failure.BAD_MESSAGE_CHECK, f"the reference {reference!r} is not known")
        requester = Requester(identity=f"mac:{reference}", kind=Kind.MAC, reference=reference, secret=found[0])
        try:
            mac.verify(message, found[0], self._rules)
        except WrongMac as error:
            text = f"the MAC of the request is not made with the secret of the reference {reference!r}"
            raise Refusal(Failure.BAD_MESSAGE_CHECK, text, requester) from error
        except CmpError as error:
            raise Refusal(Failure.BAD_MESSAGE_CHECK, str(error), requester) from error
        return requester

    def _reference(self, header: Header) -> str:
        """Return the reference: senderKID, or else the sender's CN (RFC 9483 3.1; OpenSSL sends only the first)."""
        sender = _common_name(header)
        kid = header.sender_kid.decode("utf-8", "replace") if header.sender_kid is not None else ""
        if self._settings.strict_sender and (not kid or sender != kid):
            raise Refusal(Failure.BAD_MESSAGE_CHECK, "sender must be a directoryName whose CN equals senderKID")
        if not kid and not sender:
            raise Refusal(Failure.BAD_MESSAGE_CHECK, "neither senderKID nor the sender's CN names a secret")
        return kid or sender

    # --- signature ---------------------------------------------------------------------------------------------------

    def _by_signature(self, message: Message, known_signer: bytes, now: datetime) -> Requester:
        octets = message.extra_certs[0] if message.extra_certs else known_signer
        if not octets:
            raise Refusal(Failure.BAD_MESSAGE_CHECK, "extraCerts must begin with the certificate of the signer")
        try:
            certificate = x509.load_der_x509_certificate(octets)
            protection.verify_signature(message, certificate.public_key(), self._rules)
            _check_names(message.header, certificate)
            return self._trusted(certificate, octets, message.extra_certs[1:], now)
        except CmpError as error:
            raise Refusal(Failure.BAD_MESSAGE_CHECK, str(error)) from error
        except _UNREADABLE as error:
            raise Refusal(Failure.BAD_MESSAGE_CHECK, f"a certificate in extraCerts is unreadable: {error}") from error

    def _trusted(
        self, certificate: x509.Certificate, octets: bytes, others: Sequence[bytes], now: datetime
    ) -> Requester:
        """Return who holds ``certificate``, if it is one of ours or leads to a vendor's root."""
        own = self._database.certificate_by_octets(octets)
        requester = Requester(
            identity=f"certificate:{hashlib.sha256(octets).hexdigest()}",
            kind=Kind.SIGNATURE,
            certificate=octets,
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.public_bytes(),
            own=own,
        )
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise Refusal(
                Failure.SIGNER_NOT_TRUSTED, "the certificate of the signer is expired or not yet valid", requester
            )
        if own is None:
            self._check_vendor_path(certificate, others, now, requester)
        elif own.status is CertificateStatus.REVOKED:
            raise Refusal(Failure.CERT_REVOKED, "the certificate of the signer is revoked", requester)
        elif own.status is CertificateStatus.REFUSED:
            raise Refusal(
                Failure.SIGNER_NOT_TRUSTED, "the certificate of the signer was refused, or never confirmed", requester
            )
        return requester

    def _check_vendor_path(
        self, certificate: x509.Certificate, others: Sequence[bytes], now: datetime, requester: Requester
    ) -> None:
        pool = [*self._vendor_roots, *(x509.load_der_x509_certificate(one) for one in others)]
        at = certificate
        for _ in range(_MAXIMUM_DEPTH):
            issuer = next((one for one in pool if _issued(one, at, now)), None)
            if issuer is None:
                break
            if issuer in self._vendor_roots:
                return
            at = issuer
        raise Refusal(
            Failure.SIGNER_NOT_TRUSTED,
            f"no path from {certificate.subject.rfc4514_string()!r} to a vendor root known here",
            requester,
        )


def _common_name(header: Header) -> str:
    name = names.name_of(header.sender)
    if name is None or name == names.EMPTY:
        return ""
    try:
        attributes = names.parse_name(name).get_attributes_for_oid(NameOID.COMMON_NAME)
    except CmpError:
        return ""
    return str(attributes[0].value) if len(attributes) == 1 else ""


def _check_names(header: Header, certificate: x509.Certificate) -> None:
    """Check that sender, senderKID and keyUsage fit the certificate that verified the signature (RFC 9483 3.1, 3.2)."""
    sender = names.name_of(header.sender)
    if sender is None or not names.same_name(sender, certificate.subject.public_bytes()):
        raise Refusal(Failure.BAD_MESSAGE_CHECK, "sender is not the subject of the certificate that signed")
    identifier = _extension(certificate, x509.SubjectKeyIdentifier)
    if identifier is not None and header.sender_kid not in {None, identifier.digest}:
        raise Refusal(
            Failure.BAD_MESSAGE_CHECK, "senderKID is not the subjectKeyIdentifier of the certificate that signed"
        )
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise Refusal(Failure.SIGNER_NOT_TRUSTED, "the certificate that signed is not for digitalSignature")


def _issued(issuer: x509.Certificate, subject: x509.Certificate, now: datetime) -> bool:
    constraints, usage = _extension(issuer, x509.BasicConstraints), _extension(issuer, x509.KeyUsage)
    may_issue = constraints is not None and constraints.ca and (usage is None or usage.key_cert_sign)
    if not may_issue or not issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc:
        return False
    try:
        subject.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _extension(certificate: x509.Certificate, kind: type[_Value]) -> _Value | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
