"""An end entity for tests of the lab CA: it keeps nonces and transactionID, and nothing else stops it from errors."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from agent.cmp import algorithms, crmf, messages, names
from agent.cmp.bodies import (
    CertConfirm,
    CertRepMessage,
    CertReqMessages,
    CertReqMsg,
    CertRequest,
    CertResponse,
    CertStatus,
    CertTemplate,
    ErrorMessage,
    PollRequest,
    PopSignature,
    RevRep,
    StatusInfo,
)
from agent.cmp.failures import failure_names
from agent.cmp.messages import BodyType, Header, Message
from agent.cmp.protection import MacParameters, MacProtector, Protector, SignatureProtector
from agent.labca import LabCa, LabCaSettings
from agent.labca.keys import LabKey

if TYPE_CHECKING:
    from agent.cmp.bodies import Attribute, Body
    from agent.labca.certificates import Credential

NOW = datetime(2027, 3, 1, 12, 0, 0, tzinfo=UTC)
SUBJECT = names.name_from_text("CN=enb-4711.ran.operator.example,O=Operator")
SAN = (
    x509.SubjectAlternativeName([x509.DNSName("enb-4711.example"), x509.IPAddress(ipaddress.ip_address("192.0.2.7"))]),
    False,
)


def lab(**settings: Any) -> LabCa:
    """Return a CA in memory that knows the secret of ``enb-4711``."""
    return LabCa(LabCaSettings(**{"secrets": {"enb-4711": "one-time"}, **settings}), now=NOW)


class Entity:
    """One end entity in one transaction at a time."""

    def __init__(self, ca: LabCa, credential: Credential | None = None, *, now: datetime = NOW) -> None:
        """Protect with ``credential``, or with the secret of ``enb-4711``."""
        self.ca = ca
        self.now = now
        self.key = LabKey.generate()
        self.protector: Protector
        if credential is None:
            self.protector = MacProtector(b"one-time", MacParameters(salt=b"0123456789abcdef", iterations=200))
            self.sender, self.kid = names.directory_name(names.common_name("enb-4711")), b"enb-4711"
            self.extra_certs: tuple[bytes, ...] = ()
        else:
            self.protector = SignatureProtector(credential.key)
            self.sender, self.kid = names.directory_name(credential.subject), credential.key_identifier
            self.extra_certs = (credential.certificate, *credential.chain)
        self.begin()

    def begin(self) -> None:
        """Begin a new transaction."""
        self.transaction_id = secrets.token_bytes(16)
        self.nonce = b""
        self.heard: bytes | None = None
        self.sent = b""

    def message(self, body: Body, **header: Any) -> bytes:
        """Return ``body`` as a protected message; ``header`` replaces fields."""
        self.nonce = secrets.token_bytes(16)
        values = {
            "sender": self.sender,
            "message_time": self.now,
            "protection_alg": self.protector.algorithm,
            "sender_kid": self.kid,
            "transaction_id": self.transaction_id,
            "sender_nonce": self.nonce,
            "recip_nonce": self.heard,
            **header,
        }
        protect = self.protector.protect if values["protection_alg"] is not None else None
        return messages.build(Header(**values), body, protect=protect, extra_certs=self.extra_certs)

    def send(self, octets: bytes) -> Message:
        """Send a message and return the answer."""
        self.sent = octets
        answer = messages.parse(self.ca.answer(octets, self.now))
        self.heard = answer.header.sender_nonce
        return answer

    def ask(self, body: Body, **header: Any) -> Message:
        """Send ``body`` and return the answer."""
        return self.send(self.message(body, **header))

    def request(self, kind: BodyType = BodyType.IR, *, controls: tuple[Attribute, ...] = (), **template: Any) -> Body:
        """Return a certificate request for our key; ``template`` replaces fields."""
        values = {"subject": SUBJECT, "public_key": self.key.public_key, **template}
        wanted = CertRequest(template=CertTemplate(**values), controls=controls)
        return CertReqMessages(kind, (prove(wanted, self.key),))

    def confirm(self, certificate: bytes, *, status: StatusInfo | None = None, number: int = 0) -> Body:
        """Return certConf for a certificate signed with SHA-256."""
        digest = hashlib.sha256(certificate).digest()
        return CertConfirm((CertStatus(cert_hash=digest, cert_req_id=number, status=status),))

    def poll(self, number: int = 0) -> Message:
        """Ask whether the CA has decided."""
        return self.ask(PollRequest((number,)))

    def enroll(self, kind: BodyType = BodyType.IR, **template: Any) -> bytes:
        """Get a certificate and confirm it; return its DER."""
        certificate = certificate_in(self.ask(self.request(kind, **template)))
        assert self.ask(self.confirm(certificate)).type is BodyType.PKICONF
        return certificate


def prove(request: CertRequest, key: LabKey) -> CertReqMsg:
    """Return ``request`` with a signature over it, whatever is in it."""
    octets = crmf.encode_request(request)
    scheme = key.schemes[0]
    identifier = algorithms.signature_identifier(algorithms.SIGNATURES[scheme])
    possession = PopSignature(algorithm=identifier, signature=key.sign(octets, scheme))
    return CertReqMsg(request=request, possession=possession, request_octets=octets)


def response_in(answer: Message) -> CertResponse:
    """Return the one CertResponse of an answer."""
    body = answer.body()
    assert isinstance(body, CertRepMessage)
    return body.responses[0]


def certificate_in(answer: Message) -> bytes:
    """Return the certificate of an answer."""
    certificate = response_in(answer).certificate
    assert certificate is not None, response_in(answer).status
    return certificate


def status_in(answer: Message) -> StatusInfo:
    """Return the PKIStatusInfo of an answer, in whatever body."""
    match answer.body():
        case CertRepMessage(responses=(response, *_)):
            return response.status
        case RevRep(statuses=(status, *_)):
            return status
        case ErrorMessage(status=status):
            return status
        case body:
            raise AssertionError(body)


def failures_in(answer: Message) -> tuple[str, ...]:
    """Return why the CA said no."""
    return failure_names(status_in(answer).failures)


def changed(body: Body, **changes: Any) -> Body:
    """Return a certificate request whose CertReqMsg has other fields."""
    assert isinstance(body, CertReqMessages)
    return replace(body, requests=tuple(replace(one, **changes) for one in body.requests))


def loaded(octets: bytes) -> x509.Certificate:
    """Return a DER certificate as an object."""
    return x509.load_der_x509_certificate(octets)


def csr(key: LabKey, *extensions: tuple[x509.ExtensionType, bool], common_name: str = "enb-4711") -> bytes:
    """Return a PKCS#10 request made by the library."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key.private, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
