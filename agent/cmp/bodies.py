"""The bodies of a PKIMessage as frozen dataclasses (RFC 9810 5.3, RFC 4211); ``codec`` takes them to octets and back.

Both directions of every message are here: an end entity sends one half and reads the other, a CA the reverse.
"""

from __future__ import annotations

from dataclasses import field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, ClassVar

from agent.cmp.messages import BodyType, InfoTypeAndValue
from agent.frozen import frozen

if TYPE_CHECKING:
    from datetime import datetime


class Control(StrEnum):
    """OIDs of CRMF controls that we use: id-regCtrl (RFC 4211 section 6)."""

    REG_TOKEN = "1.3.6.1.5.5.7.5.1.1"  # noqa: S105 - an OID
    AUTHENTICATOR = "1.3.6.1.5.5.7.5.1.2"
    OLD_CERT_ID = "1.3.6.1.5.5.7.5.1.5"
    ALG_ID = "1.3.6.1.5.5.7.5.1.11"
    RSA_KEY_LEN = "1.3.6.1.5.5.7.5.1.12"


@frozen
class Attribute:
    """AttributeTypeAndValue of CRMF: ``type`` is a dotted OID, ``value`` the DER of its value."""

    type: str
    value: bytes


@frozen(kw_only=True)
class CertTemplate:
    """What is asked for (RFC 4211 section 5). Everything is optional; names, key and extensions are DER."""

    version: int | None = None
    serial_number: int | None = None
    signing_alg: bytes | None = None
    issuer: bytes | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    subject: bytes | None = None
    public_key: bytes | None = None
    extensions: bytes | None = None


@frozen(kw_only=True)
class CertRequest:
    """CertRequest (RFC 4211 section 5)."""

    cert_req_id: int = 0
    template: CertTemplate
    controls: tuple[Attribute, ...] = ()

    def control(self, kind: str) -> bytes | None:
        """Return the DER value of the first control of ``kind``."""
        return next((entry.value for entry in self.controls if entry.type == kind), None)


@frozen
class RaVerified:
    """The RA vouches for possession; an end entity never says so."""


@frozen(kw_only=True)
class PopSignature:
    """POPOSigningKey (RFC 4211 4.1); ``input`` is the DER of POPOSigningKeyInput with its universal tag, if used."""

    algorithm: bytes
    signature: bytes
    input: bytes | None = None


class PopKey(StrEnum):
    """What a key that cannot sign is for."""

    ENCIPHERMENT = "keyEncipherment"
    AGREEMENT = "keyAgreement"


class SubsequentMessage(IntEnum):
    """How such a key proves itself later (RFC 4211 4.2)."""

    ENCR_CERT = 0
    CHALLENGE_RESP = 1


@frozen
class PopSubsequent:
    """POPOPrivKey with subsequentMessage."""

    key: PopKey
    method: SubsequentMessage


Possession = RaVerified | PopSignature | PopSubsequent


@frozen(kw_only=True)
class CertReqMsg:
    """CertReqMsg (RFC 4211 section 3). ``request_octets`` is the DER of certReq: what a POP signature covers."""

    request: CertRequest
    possession: Possession | None = None
    reg_info: tuple[Attribute, ...] = ()
    request_octets: bytes = field(default=b"", compare=False)


@frozen(kw_only=True)
class StatusInfo:
    """PKIStatusInfo (RFC 9810 5.2.3); ``failures`` are bit numbers of PKIFailureInfo."""

    status: int
    text: tuple[str, ...] = ()
    failures: frozenset[int] = frozenset()


@frozen(kw_only=True)
class CertResponse:
    """CertResponse (RFC 9810 5.3.4): ``certificate`` DER, or ``encrypted_certificate`` as DER of EncryptedKey."""

    cert_req_id: int
    status: StatusInfo
    certificate: bytes | None = None
    encrypted_certificate: bytes | None = None
    private_key: bytes | None = None
    rsp_info: bytes | None = None


@frozen(kw_only=True)
class CertStatus:
    """CertStatus of certConf (RFC 9810 5.3.18); ``hash_alg`` is the DER of an AlgorithmIdentifier."""

    cert_hash: bytes
    cert_req_id: int
    status: StatusInfo | None = None
    hash_alg: bytes | None = None


@frozen(kw_only=True)
class Poll:
    """One entry of pollRep: ask again after ``check_after`` seconds."""

    cert_req_id: int
    check_after: int
    reason: tuple[str, ...] = ()


@frozen(kw_only=True)
class Challenge:
    """Challenge of popdecc (RFC 9810 5.2.8.3.3); ``encrypted_rand`` is the DER of EnvelopedData."""

    owf: bytes | None
    witness: bytes
    challenge: bytes
    encrypted_rand: bytes | None = None


@frozen(kw_only=True)
class RevDetails:
    """RevDetails (RFC 9810 5.3.9); ``crl_entry_details`` is the DER of Extensions."""

    template: CertTemplate
    crl_entry_details: bytes | None = None


@frozen
class CertId:
    """CertId (RFC 4211 6.5); ``issuer`` is the DER of a GeneralName."""

    issuer: bytes
    serial_number: int


@frozen
class CertReqMessages:
    """Body of ir, cr and kur."""

    type: BodyType
    requests: tuple[CertReqMsg, ...]


@frozen
class CertRepMessage:
    """Body of ip, cp and kup. ``ca_pubs`` are certificates."""

    type: BodyType
    responses: tuple[CertResponse, ...]
    ca_pubs: tuple[bytes, ...] = ()


@frozen
class Pkcs10:
    """Body of p10cr: the DER of a CertificationRequest (RFC 2986)."""

    type: ClassVar = BodyType.P10CR
    request: bytes


@frozen
class PopDecChallenges:
    """Body of popdecc."""

    type: ClassVar = BodyType.POPDECC
    challenges: tuple[Challenge, ...]


@frozen
class PopDecResponses:
    """Body of popdecr: the numbers found, in the order of the challenges."""

    type: ClassVar = BodyType.POPDECR
    numbers: tuple[int, ...]


@frozen
class RevReq:
    """Body of rr."""

    type: ClassVar = BodyType.RR
    details: tuple[RevDetails, ...]


@frozen
class RevRep:
    """Body of rp."""

    type: ClassVar = BodyType.RP
    statuses: tuple[StatusInfo, ...]
    certificates: tuple[CertId, ...] = ()
    crls: tuple[bytes, ...] = ()


@frozen
class PkiConf:
    """Body of pkiconf."""

    type: ClassVar = BodyType.PKICONF


@frozen
class General:
    """Body of genm and genp."""

    type: BodyType
    infos: tuple[InfoTypeAndValue, ...]


@frozen
class ErrorMessage:
    """Body of error."""

    type: ClassVar = BodyType.ERROR
    status: StatusInfo
    code: int | None = None
    details: tuple[str, ...] = ()


@frozen
class CertConfirm:
    """Body of certConf; no statuses at all means "everything rejected"."""

    type: ClassVar = BodyType.CERTCONF
    statuses: tuple[CertStatus, ...]


@frozen
class PollRequest:
    """Body of pollReq."""

    type: ClassVar = BodyType.POLLREQ
    cert_req_ids: tuple[int, ...]


@frozen
class PollResponse:
    """Body of pollRep."""

    type: ClassVar = BodyType.POLLREP
    polls: tuple[Poll, ...]


@frozen
class Unread:
    """A body we only recognise (krr, announcements, nested ...): its octets without the outer tag."""

    type: BodyType
    octets: bytes


Body = (
    CertReqMessages
    | CertRepMessage
    | Pkcs10
    | PopDecChallenges
    | PopDecResponses
    | RevReq
    | RevRep
    | PkiConf
    | General
    | ErrorMessage
    | CertConfirm
    | PollRequest
    | PollResponse
    | Unread
)
