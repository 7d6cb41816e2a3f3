"""certConf and error: the end entity says whether it takes the certificate (RFC 9483 4.1.1, RFC 9810 5.3.18)."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from agent.cmp import algorithms, der
from agent.cmp.bodies import CertConfirm, CertStatus, PkiConf
from agent.cmp.failures import PKIFailureInfo as Failure
from agent.cmp.failures import PKIStatus
from agent.cmp.messages import PVNO_3, BodyType
from agent.labca.office import Answer
from agent.labca.records import CertificateStatus, TransactionState
from agent.labca.refusal import Refusal

if TYPE_CHECKING:
    from agent.cmp.bodies import Body
    from agent.labca.office import Exchange, Office
    from agent.labca.records import Certificate


def handle(office: Office, exchange: Exchange, body: Body) -> Answer:
    """Take note of what the end entity made of its certificate."""
    assert isinstance(body, CertConfirm)  # noqa: S101 - the codec reads nothing else for this type
    certificate = _awaited(office, exchange)
    accepted = bool(body.statuses) and _accepts(_only(body), certificate, exchange)
    status = CertificateStatus.CONFIRMED if accepted else CertificateStatus.REFUSED
    office.database.set_status(certificate.serial, status)
    exchange.transaction.state = TransactionState.CONFIRMED if accepted else TransactionState.REFUSED
    return Answer(body=PkiConf())


def give_up(office: Office, exchange: Exchange, _: Body) -> Answer:
    """End a transaction because the end entity sent an error; what was not confirmed counts as refused."""
    transaction = exchange.transaction
    certificate = office.database.certificate(int(transaction.serial, 16)) if transaction.serial else None
    if certificate is not None and certificate.status is CertificateStatus.ISSUED:
        office.database.set_status(certificate.serial, CertificateStatus.REFUSED)
    if transaction.state is not TransactionState.CONFIRMED:
        transaction.state = TransactionState.ENDED
    return Answer(body=PkiConf())


def _awaited(office: Office, exchange: Exchange) -> Certificate:
    """Return the certificate whose confirmation is awaited."""
    serial = exchange.transaction.serial
    certificate = office.database.certificate(int(serial, 16)) if serial else None
    if certificate is None:
        raise Refusal(Failure.BAD_CERT_ID, "there is no certificate to confirm in this transaction")
    if certificate.status is CertificateStatus.CONFIRMED:
        raise Refusal(Failure.CERT_CONFIRMED, "the certificate is confirmed already")
    if certificate.status is CertificateStatus.REVOKED:
        raise Refusal(Failure.CERT_REVOKED, "the certificate is revoked")
    if certificate.status is CertificateStatus.REFUSED:
        raise Refusal(Failure.BAD_CERT_ID, "the certificate was refused, or not confirmed in time")
    return certificate


def _only(body: CertConfirm) -> CertStatus:
    if len(body.statuses) != 1:
        raise Refusal(Failure.BAD_REQUEST, "exactly one CertStatus is expected (RFC 9483 4.1.1)")
    return body.statuses[0]


def _accepts(status: CertStatus, certificate: Certificate, exchange: Exchange) -> bool:
    allowed = {exchange.transaction.cert_req_id}
    if exchange.transaction.type is BodyType.P10CR:
        allowed = {0, -1}  # RFC 9483 contradicts itself: -1 in cp, 0 in its table for certConf
    if status.cert_req_id not in allowed:
        raise Refusal(Failure.BAD_CERT_ID, f"certReqId {status.cert_req_id} was not asked for")
    if not hmac.compare_digest(_hash(status, certificate.octets, exchange.message.header.pvno), status.cert_hash):
        raise Refusal(Failure.BAD_CERT_ID, "certHash is not the hash of the certificate that was issued")
    answer = status.status.status if status.status is not None else PKIStatus.ACCEPTED
    if answer not in {PKIStatus.ACCEPTED, PKIStatus.REJECTION}:
        raise Refusal(Failure.BAD_REQUEST, "statusInfo must be accepted or rejection (RFC 9483 4.1.1)")
    return answer == PKIStatus.ACCEPTED


def _hash(status: CertStatus, certificate: bytes, pvno: int) -> bytes:
    """Return the hash of the certificate: by hashAlg, else by the certificate's own signature (RFC 9810 5.3.18)."""
    if status.hash_alg is not None:
        if pvno != PVNO_3:
            raise Refusal(Failure.BAD_DATA_FORMAT, "hashAlg needs pvno 3 (RFC 9810 section 7)")
        return algorithms.hash_algorithm(status.hash_alg).digest(certificate)
    algorithm = der.children(certificate)[1]
    rule = algorithms.signature_algorithm(certificate[algorithm.start : algorithm.end])
    return algorithms.HASHES[rule.cert_hash].digest(certificate)
