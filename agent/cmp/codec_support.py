"""Bodies beside an enrollment to octets and back (RFC 9483 4.2, 4.3 and 3.6.4): revocation, questions, errors.

What it offers is its table; :mod:`agent.cmp.codec` says what readers and writers do.
"""

from __future__ import annotations

from typing import Final

from agent.cmp import asn1, by_schema, der, schema
from agent.cmp.bodies import ErrorMessage, General, RevDetails, RevRep, RevReq
from agent.cmp.codec_pieces import (
    Codec,
    certificates_in,
    number_of,
    read_status,
    sequence_of,
    write_status,
    write_texts,
)
from agent.cmp.crmf import decode_cert_id, decode_template, encode_cert_id, encode_template
from agent.cmp.messages import BodyType, read_infos, write_infos

# --- genm, genp, error ----------------------------------------------------------------------------------------------


def _read_general(kind: BodyType, octets: bytes) -> General:
    return General(kind, read_infos(octets))


def _write_general(body: General) -> bytes:
    return der.wrap(der.SEQUENCE, write_infos(body.infos))


def _read_error(_: BodyType, octets: bytes) -> ErrorMessage:
    value = by_schema.decode(octets, schema.ErrorMsgContent())
    return ErrorMessage(
        read_status(asn1.required(value["pKIStatusInfo"])),
        number_of(value["errorCode"]),
        asn1.texts(asn1.whole(value["errorDetails"])),
    )


def _write_error(body: ErrorMessage) -> bytes:
    value = schema.ErrorMsgContent()
    value["pKIStatusInfo"] = der.unwrap(write_status(body.status))
    if body.code is not None:
        value["errorCode"] = body.code
    if body.details:
        value["errorDetails"] = write_texts(body.details)
    return by_schema.encode(value)


# --- rr, rp ---------------------------------------------------------------------------------------------------------


def _read_revocations(_: BodyType, octets: bytes) -> RevReq:
    values = (by_schema.decode(one, schema.RevDetails()) for one in asn1.items(octets))
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
    return sequence_of(map(_write_revocation, body.details))


def _write_revocation(details: RevDetails) -> bytes:
    value = schema.RevDetails()
    value["certDetails"] = der.unwrap(encode_template(details.template))
    if details.crl_entry_details is not None:
        value["crlEntryDetails"] = der.unwrap(details.crl_entry_details)
    return by_schema.encode(value)


def _read_revocation_answer(_: BodyType, octets: bytes) -> RevRep:
    value = by_schema.decode(octets, schema.RevRepContent())
    return RevRep(
        tuple(map(read_status, asn1.items(asn1.required(value["status"])))),
        tuple(map(decode_cert_id, asn1.items(asn1.whole(value["revCerts"])))),
        certificates_in(asn1.whole(value["crls"])),
    )


def _write_revocation_answer(body: RevRep) -> bytes:
    value = schema.RevRepContent()
    value["status"] = b"".join(map(write_status, body.statuses))
    if body.certificates:
        value["revCerts"] = b"".join(map(encode_cert_id, body.certificates))
    if body.crls:
        value["crls"] = b"".join(body.crls)
    return by_schema.encode(value)


# --- the table ------------------------------------------------------------------------------------------------------

_GENERAL: Final = Codec(General, _read_general, _write_general)

CODECS: Final[dict[BodyType, Codec]] = {
    BodyType.RR: Codec(RevReq, _read_revocations, _write_revocations),
    BodyType.RP: Codec(RevRep, _read_revocation_answer, _write_revocation_answer),
    BodyType.GENM: _GENERAL,
    BodyType.GENP: _GENERAL,
    BodyType.ERROR: Codec(ErrorMessage, _read_error, _write_error),
}
