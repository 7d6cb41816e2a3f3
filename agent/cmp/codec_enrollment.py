"""Bodies of an enrollment to octets and back (RFC 9483 4.1 and 4.4): requests, answers, proofs, confirming, waiting.

What it offers is its table; :mod:`agent.cmp.codec` says what readers and writers do.
"""

from __future__ import annotations

from typing import Final

from agent.cmp import asn1, by_schema, der, schema
from agent.cmp.bodies import (
    CertConfirm,
    CertRepMessage,
    CertReqMessages,
    CertResponse,
    CertStatus,
    Challenge,
    Pkcs10,
    PkiConf,
    Poll,
    PollRequest,
    PollResponse,
    PopDecChallenges,
    PopDecResponses,
)
from agent.cmp.codec_pieces import (
    Codec,
    certificates_in,
    integer,
    read_integer,
    read_status,
    sequence_of,
    write_status,
    write_texts,
)
from agent.cmp.crmf import decode_message, encode_message
from agent.cmp.errors import defect
from agent.cmp.messages import BodyType

# --- ir, cr, kur, p10cr ---------------------------------------------------------------------------------------------


def _read_requests(kind: BodyType, octets: bytes) -> CertReqMessages:
    return CertReqMessages(kind, tuple(map(decode_message, asn1.items(octets))))


def _write_requests(body: CertReqMessages) -> bytes:
    return sequence_of(map(encode_message, body.requests))


def _read_pkcs10(_: BodyType, octets: bytes) -> Pkcs10:
    der.unwrap(octets)
    return Pkcs10(octets)


def _write_pkcs10(body: Pkcs10) -> bytes:
    return body.request


# --- ip, cp, kup ----------------------------------------------------------------------------------------------------


_FIRST: Final = 0xA0
_SECOND: Final = 0xA1
"""Explicit tags, and in EncryptedKey the implicit one of EnvelopedData."""


def _read_responses(kind: BodyType, octets: bytes) -> CertRepMessage:
    fields = asn1.Fields(octets, "CertRepMessage")
    ca_pubs = fields.optional(_SECOND)
    responses = asn1.items(fields.required(der.SEQUENCE))
    fields.end()
    certificates = () if ca_pubs is None else certificates_in(asn1.within(ca_pubs, "CertRepMessage"))
    return CertRepMessage(kind, tuple(map(_read_response, responses)), certificates)


def _read_response(octets: bytes) -> CertResponse:
    fields = asn1.Fields(octets, "CertResponse")
    number, status = fields.required(der.INTEGER), fields.required(der.SEQUENCE)
    pair, info = fields.optional(der.SEQUENCE), fields.optional(der.OCTET_STRING)
    fields.end()
    return CertResponse(
        cert_req_id=read_integer(number),
        status=read_status(status),
        rsp_info=None if info is None else der.unwrap(info, der.OCTET_STRING),
        **({} if pair is None else _read_pair(pair)),
    )


def _read_pair(octets: bytes) -> dict[str, bytes | None]:
    """Read a CertifiedKeyPair; return the arguments of CertResponse that it gives."""
    name = "CertifiedKeyPair"
    fields = asn1.Fields(octets, name)
    choice = fields.required(_FIRST, _SECOND)
    private_key, publication = fields.optional(_FIRST), fields.optional(_SECOND)
    fields.end()
    if publication is not None:
        der.unwrap(asn1.within(publication, name))
    issued = asn1.within(choice, name)
    plain = choice[0] == _FIRST
    if plain:
        der.unwrap(issued)
    return {
        "certificate": issued if plain else None,
        "encrypted_certificate": None if plain else _encrypted(issued),
        "private_key": None if private_key is None else _encrypted(asn1.within(private_key, name)),
    }


def _write_responses(body: CertRepMessage) -> bytes:
    certificates = der.wrap(_SECOND, sequence_of(body.ca_pubs)) if body.ca_pubs else b""
    return der.wrap(der.SEQUENCE, certificates, sequence_of(map(_write_response, body.responses)))


def _write_response(response: CertResponse) -> bytes:
    info = response.rsp_info
    return der.wrap(
        der.SEQUENCE,
        integer(response.cert_req_id),
        write_status(response.status),
        _write_pair(response),
        der.wrap(der.OCTET_STRING, info) if info is not None else b"",
    )


def _write_pair(response: CertResponse) -> bytes:
    if response.certificate is not None:
        issued = der.wrap(_FIRST, der.wrap(der.SEQUENCE, der.unwrap(response.certificate)))
    elif response.encrypted_certificate is not None:
        issued = der.wrap(_SECOND, _encrypted(response.encrypted_certificate))
    elif response.private_key is not None:
        raise defect("a private key cannot be sent without its certificate")
    else:
        return b""
    private_key = der.wrap(_FIRST, _encrypted(response.private_key)) if response.private_key is not None else b""
    return der.wrap(der.SEQUENCE, issued, private_key)


def _encrypted(octets: bytes) -> bytes:
    """Return the DER of an EncryptedKey: EncryptedValue (deprecated) or EnvelopedData (RFC 4211 2.1)."""
    der.unwrap(octets, der.SEQUENCE if octets[0] == der.SEQUENCE else _FIRST)
    return octets


# --- popdecc, popdecr -----------------------------------------------------------------------------------------------


def _read_challenges(_: BodyType, octets: bytes) -> PopDecChallenges:
    values = (by_schema.decode(one, schema.Challenge()) for one in asn1.items(octets))
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
    return sequence_of(map(_write_challenge, body.challenges))


def _write_challenge(challenge: Challenge) -> bytes:
    value = schema.Challenge()
    if challenge.owf is not None:
        value["owf"] = der.unwrap(challenge.owf)
    value["witness"] = challenge.witness
    value["challenge"] = challenge.challenge
    if challenge.encrypted_rand is not None:
        value["encryptedRand"] = der.unwrap(challenge.encrypted_rand)
    return by_schema.encode(value)


def _read_found_numbers(_: BodyType, octets: bytes) -> PopDecResponses:
    return PopDecResponses(tuple(der.integer(der.unwrap(one, der.INTEGER)) for one in asn1.items(octets)))


def _write_found_numbers(body: PopDecResponses) -> bytes:
    return sequence_of(map(integer, body.numbers))


# --- certConf, pkiconf, pollReq, pollRep ----------------------------------------------------------------------------


def _read_confirmation(_: BodyType, octets: bytes) -> CertConfirm:
    values = (by_schema.decode(one, schema.CertStatus()) for one in asn1.items(octets))
    return CertConfirm(
        tuple(
            CertStatus(
                cert_hash=bytes(one["certHash"]),
                cert_req_id=asn1.number(one["certReqId"]),
                status=read_status(asn1.required(one["statusInfo"])) if one["statusInfo"].isValue else None,
                hash_alg=asn1.whole(one["hashAlg"]),
            )
            for one in values
        )
    )


def _write_confirmation(body: CertConfirm) -> bytes:
    return sequence_of(map(_write_cert_status, body.statuses))


def _write_cert_status(status: CertStatus) -> bytes:
    info, hash_ = status.status, status.hash_alg
    return der.wrap(
        der.SEQUENCE,
        der.wrap(der.OCTET_STRING, status.cert_hash),
        integer(status.cert_req_id),
        write_status(info) if info is not None else b"",
        der.wrap(_FIRST, der.wrap(der.SEQUENCE, der.unwrap(hash_))) if hash_ is not None else b"",
    )


def _read_pkiconf(_: BodyType, octets: bytes) -> PkiConf:
    if octets != _NULL:
        raise der.malformed("its pkiconf is not NULL")
    return PkiConf()


def _write_pkiconf(_: PkiConf) -> bytes:
    return _NULL


_NULL: Final = b"\x05\x00"


def _read_poll_request(_: BodyType, octets: bytes) -> PollRequest:
    values = (by_schema.decode(one, schema.PollReq()) for one in asn1.items(octets))
    return PollRequest(tuple(asn1.number(one["certReqId"]) for one in values))


def _write_poll_request(body: PollRequest) -> bytes:
    return sequence_of(der.wrap(der.SEQUENCE, integer(number)) for number in body.cert_req_ids)


def _read_poll_response(_: BodyType, octets: bytes) -> PollResponse:
    values = (by_schema.decode(one, schema.PollRep()) for one in asn1.items(octets))
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
    return sequence_of(
        der.wrap(
            der.SEQUENCE,
            integer(one.cert_req_id),
            integer(one.check_after),
            der.wrap(der.SEQUENCE, write_texts(one.reason)) if one.reason else b"",
        )
        for one in body.polls
    )


# --- the table ------------------------------------------------------------------------------------------------------

_REQUESTS: Final = Codec(CertReqMessages, _read_requests, _write_requests)
_RESPONSES: Final = Codec(CertRepMessage, _read_responses, _write_responses)

CODECS: Final[dict[BodyType, Codec]] = {
    BodyType.IR: _REQUESTS,
    BodyType.IP: _RESPONSES,
    BodyType.CR: _REQUESTS,
    BodyType.CP: _RESPONSES,
    BodyType.P10CR: Codec(Pkcs10, _read_pkcs10, _write_pkcs10),
    BodyType.POPDECC: Codec(PopDecChallenges, _read_challenges, _write_challenges),
    BodyType.POPDECR: Codec(PopDecResponses, _read_found_numbers, _write_found_numbers),
    BodyType.KUR: _REQUESTS,
    BodyType.KUP: _RESPONSES,
    BodyType.PKICONF: Codec(PkiConf, _read_pkiconf, _write_pkiconf),
    BodyType.CERTCONF: Codec(CertConfirm, _read_confirmation, _write_confirmation),
    BodyType.POLLREQ: Codec(PollRequest, _read_poll_request, _write_poll_request),
    BodyType.POLLREP: Codec(PollResponse, _read_poll_response, _write_poll_response),
}
