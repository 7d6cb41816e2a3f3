"""rr: a certificate is revoked at the wish of its owner (RFC 9483 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.cmp import der, names
from agent.cmp.bodies import CertId, RevRep, RevReq, StatusInfo
from agent.cmp.failures import PKIFailureInfo as Failure
from agent.cmp.failures import PKIStatus
from agent.labca import encoding
from agent.labca.certificates import REASON_CODE
from agent.labca.office import Answer
from agent.labca.records import CertificateStatus, TransactionState
from agent.labca.refusal import Refusal

if TYPE_CHECKING:
    from agent.cmp.bodies import Body, RevDetails
    from agent.labca.office import Exchange, Office
    from agent.labca.records import Certificate

_ENUMERATED: Final = 0x0A
_REASONS: Final = frozenset({0, 1, 3, 4, 5, 6, 9})
"""CRLReason of RFC 5280 5.3.1 that an end entity may give: not those of CAs, and no removal of a hold."""


def handle(office: Office, exchange: Exchange, body: Body) -> Answer:
    """Revoke the one certificate that is named."""
    assert isinstance(body, RevReq)  # noqa: S101 - the codec reads nothing else for this type
    if len(body.details) != 1:
        raise Refusal(Failure.BAD_REQUEST, "exactly one certificate can be revoked at a time (RFC 9483 4.2)")
    certificate = _certificate(office, exchange, body.details[0])
    reason = _reason(body.details[0].crl_entry_details)
    office.database.revoke(certificate.serial, exchange.now.timestamp(), reason)
    office.crl.invalidate()
    exchange.transaction.state = TransactionState.ANSWERED
    cert_id = CertId(names.directory_name(office.pki.issuing.subject), certificate.serial)
    return Answer(body=RevRep((StatusInfo(status=PKIStatus.ACCEPTED),), (cert_id,)))


def _certificate(office: Office, exchange: Exchange, details: RevDetails) -> Certificate:
    template, requester = details.template, exchange.requester
    if template.serial_number is None or template.issuer is None:
        raise Refusal(Failure.BAD_CERT_TEMPLATE, "rr must name serialNumber and issuer")
    found = (
        office.database.certificate(template.serial_number)
        if names.same_name(template.issuer, office.pki.issuing.subject) and template.serial_number > 0
        else None
    )
    if found is None:
        raise Refusal(Failure.BAD_CERT_ID, "this CA issued no such certificate")
    if found.owner != requester.owner or (requester.own is not None and requester.own.serial != found.serial):
        raise Refusal(Failure.NOT_AUTHORIZED, "a certificate is revoked under its own protection only")
    if found.status is CertificateStatus.REVOKED:
        raise Refusal(Failure.CERT_REVOKED, "the certificate is revoked already")
    return found


def _reason(extensions: bytes | None) -> int:
    parts = encoding.read_extensions(extensions) if extensions is not None else ()
    value = next((one.value for one in parts if one.oid == REASON_CODE), None)
    if value is None:
        return 0
    number = int.from_bytes(der.unwrap(value, _ENUMERATED), "big")
    if number not in _REASONS:
        raise Refusal(Failure.BAD_REQUEST, f"the revocation reason {number} cannot be given by an end entity")
    return number
