"""Bodies of a PKIMessage to octets and back: one table, BodyType -> reader and writer.

Readers take the DER of a body without its outer context tag, already through the strict gate; they raise
``MalformedMessage`` for what does not fit. Writers return such DER.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from agent.cmp import asn1, der, schema
from agent.cmp.bodies import (
    Body,
    CertConfirm,
    CertRepMessage,
    CertReqMessages,
    CertResponse,
    CertStatus,
    Challenge,
    ErrorMessage,
    General,
    Pkcs10,
    PkiConf,
    Poll,
    PollRequest,
    PollResponse,
    PopDecChallenges,
    PopDecResponses,
    RevDetails,
    RevRep,
    RevReq,
    StatusInfo,
    Unread,
)
from agent.cmp.crmf import (
    decode_cert_id,
    decode_message,
    decode_template,
    encode_cert_id,
    encode_message,
    encode_request,
    encode_template,
)
from agent.cmp.errors import LocalError
from agent.cmp.failures import decode_failures, encode_failures
from agent.cmp.messages import MAXIMUM_CERTIFICATES, BodyType, read_infos, write_infos

__all__ = [
    "decode",
    "decode_cert_id",
    "decode_template",
    "encode",
    "encode_cert_id",
    "encode_request",
    "encode_template",
]


def encode(body: Body) -> tuple[BodyType, bytes]:
    """Return the type of ``body`` and its DER without the outer context tag.

    Raises:
        LocalError: when the body cannot be built, or carries a type that is not its own.
    """
    if isinstance(body, Unread):
        return body.type, body.octets
    codec = _CODECS.get(body.type)
    if codec is None or not isinstance(body, codec.body):
        raise _defect(f"a {type(body).__name__} cannot be sent as {body.type.label}")
    return body.type, codec.write(body)


def decode(kind: BodyType, octets: bytes) -> Body:
    """Read the DER of a body without its outer context tag.

    Raises:
        MalformedMessage: when it does not fit.
    """
    codec = _CODECS.get(kind)
    if codec is None:
        return Unread(kind, octets)
    body: Body = codec.read(kind, octets)
    return body


# --- pieces: readers take a decoded schema object or the DER of one, writers return what is assigned to a field -----


def _defect(what: str) -> LocalError:
    return LocalError(what, remedy="This is a defect of enrolld; please report it with the output of the command.")


def _octets(value: Any) -> bytes | None:
    return bytes(value) if value.isValue else None


def _number(value: Any) -> int | None:
    return asn1.number(value) if value.isValue else None


def _list(entries: Iterable[bytes]) -> bytes:
    return der.wrap(der.SEQUENCE, *entries)


def _certificates(octets: bytes | None) -> tuple[bytes, ...]:
    """Return a list of certificates or CRLs: each is one SEQUENCE, more is not known here."""
    found = asn1.items(octets, MAXIMUM_CERTIFICATES)
    for one in found:
        der.unwrap(one)
    return tuple(found)


def _texts(values: tuple[str, ...]) -> bytes:
    return b"".join(map(asn1.utf8_string, values))


def _read_status(value: Any) -> StatusInfo:
    bits = value["failInfo"]
    return StatusInfo(
        status=asn1.number(value["status"]),
        text=asn1.texts(asn1.whole(value["statusString"])),
        failures=decode_failures(bytes(bits)) if bits.isValue else frozenset(),
    )


def _write_status(target: Any, status: StatusInfo) -> Any:
    target["status"] = status.status
    if status.text:
        target["statusString"] = _texts(status.text)
    if status.failures:
        target["failInfo"] = encode_failures(status.failures)
    return target


# --- ir, cr, kur, p10cr ---------------------------------------------------------------------------------------------


def _read_requests(kind: BodyType, octets: bytes) -> CertReqMessages:
    return CertReqMessages(kind, tuple(map(decode_message, asn1.items(octets))))


def _write_requests(body: CertReqMessages) -> bytes:
    return _list(map(encode_message, body.requests))


def _read_pkcs10(_: BodyType, octets: bytes) -> Pkcs10:
    der.unwrap(octets)
    return Pkcs10(octets)


def _write_pkcs10(body: Pkcs10) -> bytes:
    return body.request


# --- ip, cp, kup ----------------------------------------------------------------------------------------------------


def _read_responses(kind: BodyType, octets: bytes) -> CertRepMessage:
    value = asn1.decode(octets, schema.CertRepMessage())
    return CertRepMessage(
        kind,
        tuple(map(_read_response, asn1.items(asn1.required(value["response"])))),
        _certificates(asn1.whole(value["caPubs"])),
    )


def _read_response(octets: bytes) -> CertResponse:
    value = asn1.decode(octets, schema.CertResponse())
    certificate = encrypted = private_key = None
    pair = value["certifiedKeyPair"]
    if pair.isValue:
        choice = pair["certOrEncCert"]
        if choice.getName() == "certificate":
            certificate = asn1.required(choice["certificate"])
        else:
            encrypted = _read_encrypted(choice["encryptedCert"])
        private_key = _read_encrypted(pair["privateKey"])
    return CertResponse(
        cert_req_id=asn1.number(value["certReqId"]),
        status=_read_status(value["status"]),
        certificate=certificate,
        encrypted_certificate=encrypted,
        private_key=private_key,
        rsp_info=_octets(value["rspInfo"]),
    )


def _write_responses(body: CertRepMessage) -> bytes:
    value = schema.CertRepMessage()
    if body.ca_pubs:
        value["caPubs"] = b"".join(body.ca_pubs)
    value["response"] = b"".join(map(_write_response, body.responses))
    return asn1.encode(value)


def _write_response(response: CertResponse) -> bytes:
    value = schema.CertResponse()
    value["certReqId"] = response.cert_req_id
    _write_status(value["status"], response.status)
    if response.certificate is not None:
        value["certifiedKeyPair"]["certOrEncCert"]["certificate"] = der.unwrap(response.certificate)
    elif response.encrypted_certificate is not None:
        _write_encrypted(value["certifiedKeyPair"]["certOrEncCert"]["encryptedCert"], response.encrypted_certificate)
    elif response.private_key is not None:
        raise _defect("a private key cannot be sent without its certificate")
    if response.private_key is not None:
        _write_encrypted(value["certifiedKeyPair"]["privateKey"], response.private_key)
    if response.rsp_info is not None:
        value["rspInfo"] = response.rsp_info
    return asn1.encode(value)


_ENCRYPTED_KEY: Final = {"encryptedValue": der.SEQUENCE, "envelopedData": 0xA0}
"""Arms of EncryptedKey and their tags."""


def _read_encrypted(value: Any) -> bytes | None:
    return der.wrap(_ENCRYPTED_KEY[value.getName()], bytes(value.getComponent())) if value.isValue else None


def _write_encrypted(target: Any, octets: bytes) -> None:
    arm = "encryptedValue" if octets[0] == der.SEQUENCE else "envelopedData"
    target[arm] = der.unwrap(octets, _ENCRYPTED_KEY[arm])


# --- certConf, pkiconf, pollReq, pollRep ----------------------------------------------------------------------------


def _read_confirmation(_: BodyType, octets: bytes) -> CertConfirm:
    values = (asn1.decode(one, schema.CertStatus()) for one in asn1.items(octets))
    return CertConfirm(
        tuple(
            CertStatus(
                cert_hash=bytes(one["certHash"]),
                cert_req_id=asn1.number(one["certReqId"]),
                status=_read_status(one["statusInfo"]) if one["statusInfo"].isValue else None,
                hash_alg=asn1.whole(one["hashAlg"]),
            )
            for one in values
        )
    )


def _write_confirmation(body: CertConfirm) -> bytes:
    return _list(map(_write_cert_status, body.statuses))


def _write_cert_status(status: CertStatus) -> bytes:
    value = schema.CertStatus()
    value["certHash"] = status.cert_hash
    value["certReqId"] = status.cert_req_id
    if status.status is not None:
        _write_status(value["statusInfo"], status.status)
    if status.hash_alg is not None:
        value["hashAlg"] = der.unwrap(status.hash_alg)
    return asn1.encode(value)


def _read_pkiconf(_: BodyType, octets: bytes) -> PkiConf:
    if octets != _NULL:
        raise der.malformed("its pkiconf is not NULL")
    return PkiConf()


def _write_pkiconf(_: PkiConf) -> bytes:
    return _NULL


_NULL: Final = b"\x05\x00"


def _read_poll_request(_: BodyType, octets: bytes) -> PollRequest:
    values = (asn1.decode(one, schema.PollReq()) for one in asn1.items(octets))
    return PollRequest(tuple(asn1.number(one["certReqId"]) for one in values))


def _write_poll_request(body: PollRequest) -> bytes:
    return _list(der.wrap(der.SEQUENCE, _integer(number)) for number in body.cert_req_ids)


def _read_poll_response(_: BodyType, octets: bytes) -> PollResponse:
    values = (asn1.decode(one, schema.PollRep()) for one in asn1.items(octets))
    return PollResponse(
        tuple(
            Poll(
                cert_req_id=asn1.number(one["certReqId"]),
                check_after=asn1.number(one["checkAfter"]),
                reason=asn1.texts(asn1.whole(one["reason"])),
            )
            for one in values
        )
    )


def _write_poll_response(body: PollResponse) -> bytes:
    return _list(
        der.wrap(
            der.SEQUENCE,
            _integer(one.cert_req_id),
            _integer(one.check_after),
            der.wrap(der.SEQUENCE, _texts(one.reason)) if one.reason else b"",
        )
        for one in body.polls
    )


def _integer(number: int) -> bytes:
    return der.wrap(der.INTEGER, der.integer_contents(number))


# --- genm, genp, error, rr, rp, popdecc, popdecr --------------------------------------------------------------------


def _read_general(kind: BodyType, octets: bytes) -> General:
    return General(kind, read_infos(octets))


def _write_general(body: General) -> bytes:
    return der.wrap(der.SEQUENCE, write_infos(body.infos))


def _read_error(_: BodyType, octets: bytes) -> ErrorMessage:
    value = asn1.decode(octets, schema.ErrorMsgContent())
    return ErrorMessage(
        _read_status(value["pKIStatusInfo"]),
        _number(value["errorCode"]),
        asn1.texts(asn1.whole(value["errorDetails"])),
    )


def _write_error(body: ErrorMessage) -> bytes:
    value = schema.ErrorMsgContent()
    _write_status(value["pKIStatusInfo"], body.status)
    if body.code is not None:
        value["errorCode"] = body.code
    if body.details:
        value["errorDetails"] = _texts(body.details)
    return asn1.encode(value)


def _read_revocations(_: BodyType, octets: bytes) -> RevReq:
    values = (asn1.decode(one, schema.RevDetails()) for one in asn1.items(octets))
    return RevReq(
        tuple(
            RevDetails(
                template=decode_template(asn1.required(one["certDetails"])),
                crl_entry_details=asn1.whole(one["crlEntryDetails"]),
            )
            for one in values
        )
    )


def _write_revocations(body: RevReq) -> bytes:
    return _list(map(_write_revocation, body.details))


def _write_revocation(details: RevDetails) -> bytes:
    value = schema.RevDetails()
    value["certDetails"] = der.unwrap(encode_template(details.template))
    if details.crl_entry_details is not None:
        value["crlEntryDetails"] = der.unwrap(details.crl_entry_details)
    return asn1.encode(value)


def _read_revocation_answer(_: BodyType, octets: bytes) -> RevRep:
    value = asn1.decode(octets, schema.RevRepContent())
    statuses = (asn1.decode(one, schema.PKIStatusInfo()) for one in asn1.items(asn1.required(value["status"])))
    return RevRep(
        tuple(map(_read_status, statuses)),
        tuple(map(decode_cert_id, asn1.items(asn1.whole(value["revCerts"])))),
        _certificates(asn1.whole(value["crls"])),
    )


def _write_revocation_answer(body: RevRep) -> bytes:
    value = schema.RevRepContent()
    value["status"] = b"".join(asn1.encode(_write_status(schema.PKIStatusInfo(), one)) for one in body.statuses)
    if body.certificates:
        value["revCerts"] = b"".join(map(encode_cert_id, body.certificates))
    if body.crls:
        value["crls"] = b"".join(body.crls)
    return asn1.encode(value)


def _read_challenges(_: BodyType, octets: bytes) -> PopDecChallenges:
    values = (asn1.decode(one, schema.Challenge()) for one in asn1.items(octets))
    return PopDecChallenges(
        tuple(
            Challenge(
                owf=asn1.whole(one["owf"]),
                witness=bytes(one["witness"]),
                challenge=bytes(one["challenge"]),
                encrypted_rand=asn1.whole(one["encryptedRand"]),
            )
            for one in values
        )
    )


def _write_challenges(body: PopDecChallenges) -> bytes:
    return _list(map(_write_challenge, body.challenges))


def _write_challenge(challenge: Challenge) -> bytes:
    value = schema.Challenge()
    if challenge.owf is not None:
        value["owf"] = der.unwrap(challenge.owf)
    value["witness"] = challenge.witness
    value["challenge"] = challenge.challenge
    if challenge.encrypted_rand is not None:
        value["encryptedRand"] = der.unwrap(challenge.encrypted_rand)
    return asn1.encode(value)


def _read_found_numbers(_: BodyType, octets: bytes) -> PopDecResponses:
    return PopDecResponses(tuple(der.integer(der.unwrap(one, der.INTEGER)) for one in asn1.items(octets)))


def _write_found_numbers(body: PopDecResponses) -> bytes:
    return _list(map(_integer, body.numbers))


# --- the table ------------------------------------------------------------------------------------------------------


class _Codec(NamedTuple):
    body: type[Any]
    read: Callable[[BodyType, bytes], Any]
    write: Callable[[Any], bytes]


_REQUESTS: Final = _Codec(CertReqMessages, _read_requests, _write_requests)
_RESPONSES: Final = _Codec(CertRepMessage, _read_responses, _write_responses)
_GENERAL: Final = _Codec(General, _read_general, _write_general)

_CODECS: Final[dict[BodyType, _Codec]] = {
    BodyType.IR: _REQUESTS,
    BodyType.IP: _RESPONSES,
    BodyType.CR: _REQUESTS,
    BodyType.CP: _RESPONSES,
    BodyType.P10CR: _Codec(Pkcs10, _read_pkcs10, _write_pkcs10),
    BodyType.POPDECC: _Codec(PopDecChallenges, _read_challenges, _write_challenges),
    BodyType.POPDECR: _Codec(PopDecResponses, _read_found_numbers, _write_found_numbers),
    BodyType.KUR: _REQUESTS,
    BodyType.KUP: _RESPONSES,
    BodyType.RR: _Codec(RevReq, _read_revocations, _write_revocations),
    BodyType.RP: _Codec(RevRep, _read_revocation_answer, _write_revocation_answer),
    BodyType.PKICONF: _Codec(PkiConf, _read_pkiconf, _write_pkiconf),
    BodyType.GENM: _GENERAL,
    BodyType.GENP: _GENERAL,
    BodyType.ERROR: _Codec(ErrorMessage, _read_error, _write_error),
    BodyType.CERTCONF: _Codec(CertConfirm, _read_confirmation, _write_confirmation),
    BodyType.POLLREQ: _Codec(PollRequest, _read_poll_request, _write_poll_request),
    BodyType.POLLREP: _Codec(PollResponse, _read_poll_response, _write_poll_response),
}
