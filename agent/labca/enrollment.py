"""ir, cr, p10cr and kur: a certificate is issued (RFC 9483 4.1.1 to 4.1.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography import x509

from agent.cmp import algorithms, der, names
from agent.cmp.bodies import CertRepMessage, CertResponse, StatusInfo, SubsequentMessage
from agent.cmp.failures import PKIFailureInfo as Failure
from agent.cmp.failures import PKIStatus
from agent.cmp.messages import BodyType, Info, InfoTypeAndValue
from agent.cmp.protection import Kind
from agent.labca import certificates, challenge, encoding, issuance
from agent.labca.office import Answer
from agent.labca.records import Certificate, CertificateStatus, TransactionState
from agent.labca.refusal import Refusal

if TYPE_CHECKING:
    from agent.cmp.bodies import Body
    from agent.labca.issuance import Order
    from agent.labca.office import Exchange, Office

RESPONSES: Final = {
    BodyType.IR: BodyType.IP,
    BodyType.CR: BodyType.CP,
    BodyType.P10CR: BodyType.CP,
    BodyType.KUR: BodyType.KUP,
}
"""Request -> the body that answers it."""


def examine(office: Office, exchange: Exchange, body: Body) -> Order:
    """Judge a certificate request without issuing anything.

    Raises:
        Refusal: when it is not granted.
    """
    exchange.transaction.cert_req_id = issuance.cert_req_id(body, office.settings)
    _check_profile(office, exchange)
    requester = exchange.requester
    if requester.kind is Kind.MAC:
        found = office.database.secret(requester.reference)
        if found is not None and found[1] is not None and found[1] <= 0:
            raise Refusal(Failure.NOT_AUTHORIZED, f"the secret of {requester.reference!r} is used up")
    return issuance.examine(body, requester, office, exchange.now)


def handle(office: Office, exchange: Exchange, body: Body) -> Answer:
    """Issue a certificate and answer with it, or with a challenge that must be solved first."""
    order = examine(office, exchange, body)
    public_key = order.plan.public_key
    if challenge.is_due(body, exchange.transaction):
        return challenge.pose(office, exchange, public_key)
    secretly = challenge.wants(body, SubsequentMessage.ENCR_CERT)
    if secretly:
        challenge.check_sealable(exchange, public_key)
    certificate, chain = _issue(office, exchange, order)
    status = PKIStatus.GRANTED_WITH_MODS if order.modified else PKIStatus.ACCEPTED
    response = CertResponse(
        cert_req_id=exchange.transaction.cert_req_id,
        status=StatusInfo(status=status),
        certificate=None if secretly else certificate,
        encrypted_certificate=challenge.seal(office, exchange, certificate, public_key) if secretly else None,
    )
    kind = exchange.message.type
    hands_out_root = office.settings.ca_pubs and kind is BodyType.IR and exchange.requester.kind is Kind.MAC
    ca_pubs = (office.pki.root.certificate,) if hands_out_root else ()
    return Answer(
        body=CertRepMessage(RESPONSES[kind], (response,), ca_pubs),
        general_info=_confirmation(office, exchange, order, secretly=secretly),
        chain=chain,
    )


def _check_profile(office: Office, exchange: Exchange) -> None:
    info = exchange.message.header.info(Info.CERT_PROFILE)
    if info is None:
        return
    value = info.value or names.EMPTY
    der.unwrap(value)
    profiles = [value[one.contents : one.end].decode("utf-8", "replace") for one in der.children(value)]
    if len(profiles) != 1:
        raise Refusal(Failure.BAD_REQUEST, "certProfile must hold exactly one name (RFC 9483 3.1)")
    known = office.settings.certificate_profiles
    if known and profiles[0] not in known:
        raise Refusal(Failure.BAD_REQUEST, f"the certificate profile {profiles[0]!r} is not known")


def _issue(office: Office, exchange: Exchange, order: Order) -> tuple[bytes, tuple[bytes, ...]]:
    """Sign the certificate and write it down; return it with the chain that goes along."""
    pki, requester, transaction = office.pki, exchange.requester, exchange.transaction
    plan, issuer = office.faults.certificate(exchange.message.type, order.plan, pki)
    octets = certificates.sign(plan, issuer)
    loaded = _readable(octets)
    office.database.add_certificate(
        Certificate(
            serial=plan.serial,
            octets=octets,
            subject=loaded.subject.rfc4514_string(),
            status=CertificateStatus.ISSUED,
            owner=requester.owner,
            key=order.plan.public_key,
            transaction_id=transaction.id,
            issued=exchange.now.timestamp(),
        )
    )
    if requester.kind is Kind.MAC:
        office.database.spend_secret(requester.reference)
    transaction.serial = f"{plan.serial:x}"
    transaction.state = TransactionState.ISSUED
    return octets, pki.chain if issuer is pki.issuing else (issuer.certificate,)


def _readable(certificate: bytes) -> x509.Certificate:
    """Return the certificate as a relying party reads it; a CA must not hand out one that nobody can."""
    try:
        loaded = x509.load_der_x509_certificate(certificate)
        _ = loaded.extensions, loaded.subject
    except (ValueError, x509.UnsupportedGeneralNameType) as error:
        raise Refusal(Failure.BAD_CERT_TEMPLATE, f"no readable certificate can be made of this: {error}") from error
    return loaded


def _confirmation(office: Office, exchange: Exchange, order: Order, *, secretly: bool) -> tuple[InfoTypeAndValue, ...]:
    """Grant implicit confirmation, or say by when the certificate must be confirmed (RFC 9483 3.1).

    The hash of an encrypted certificate is the proof of possession: it must come (RFC 9810 5.2.8.3.2).
    """
    settings, transaction = office.settings, exchange.transaction
    asked = exchange.message.header.info(Info.IMPLICIT_CONFIRM) is not None
    if settings.implicit_confirm and asked and not secretly:
        transaction.state = TransactionState.CONFIRMED
        office.database.set_status(order.plan.serial, CertificateStatus.CONFIRMED)
        return (InfoTypeAndValue(Info.IMPLICIT_CONFIRM, algorithms.NULL),)
    if settings.confirm_wait is None:
        return ()
    deadline = certificates.whole_seconds(exchange.now + settings.confirm_wait)
    transaction.confirm_by = deadline.timestamp()
    return (InfoTypeAndValue(Info.CONFIRM_WAIT_TIME, encoding.generalized_time(deadline)),)
