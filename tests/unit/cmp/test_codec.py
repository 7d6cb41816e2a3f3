from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cmp import asn1, codec, crmf, der, names
from agent.cmp.bodies import (
    Attribute,
    Body,
    CertConfirm,
    CertId,
    CertRepMessage,
    CertReqMessages,
    CertReqMsg,
    CertRequest,
    CertResponse,
    CertStatus,
    CertTemplate,
    Control,
    ErrorMessage,
    General,
    PkiConf,
    Poll,
    PollRequest,
    PollResponse,
    PopKey,
    PopSignature,
    PopSubsequent,
    Possession,
    RaVerified,
    RevDetails,
    RevReq,
    StatusInfo,
    SubsequentMessage,
    Unread,
)
from agent.cmp.errors import LocalError, MalformedMessage
from agent.cmp.failures import PKIFailureInfo, PKIStatus, decode_failures, encode_failures
from agent.cmp.messages import BodyType, Header, Info, InfoTypeAndValue, build, parse
from tests.unit.cmp import openssl, strategies

ENCODINGS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "encodings.json").read_text())
CA = names.name_from_text("CN=CA")
ACCEPTED = StatusInfo(status=PKIStatus.ACCEPTED)
HASH = bytes(range(1, 9))

BODIES: dict[str, Body] = {
    "ip that says waiting": CertRepMessage(
        BodyType.IP, (CertResponse(cert_req_id=0, status=StatusInfo(status=PKIStatus.WAITING)),)
    ),
    "pollReq": PollRequest((0,)),
    "pollRep": PollResponse((Poll(cert_req_id=0, check_after=1),)),
    "pkiconf": PkiConf(),
    "certConf that accepts": CertConfirm((CertStatus(cert_hash=HASH, cert_req_id=0, status=ACCEPTED),)),
    "certConf that rejects": CertConfirm(
        (
            CertStatus(
                cert_hash=HASH,
                cert_req_id=0,
                status=StatusInfo(
                    status=PKIStatus.REJECTION, text=("key",), failures=frozenset({PKIFailureInfo.INCORRECT_DATA})
                ),
            ),
        )
    ),
    "rr, serial number 42, reason superseded": RevReq(
        (
            RevDetails(
                template=CertTemplate(serial_number=42, issuer=CA),
                crl_entry_details=bytes.fromhex("300c300a0603551d1504030a0104"),
            ),
        )
    ),
}


@pytest.mark.parametrize("name", ENCODINGS["bodies"])
def test_bodies_are_written_as_in_the_vectors(name: str, openssl_folder: Path) -> None:
    expected = bytes.fromhex(ENCODINGS["bodies"][name])
    kind, octets = codec.encode(BODIES[name])
    assert der.wrap(0xA0 | kind, octets) == expected
    assert codec.decode(kind, octets) == BODIES[name]
    assert openssl.run("asn1parse", "-inform", "DER", folder=openssl_folder, stdin=expected)


def test_infos_are_written_as_in_the_vectors() -> None:
    infos = (
        InfoTypeAndValue(Info.IMPLICIT_CONFIRM.value, b"\x05\x00"),
        InfoTypeAndValue(Info.CERT_PROFILE.value, names.utf8_sequence("gnb")),
    )
    expected = der.wrap(der.SEQUENCE, *map(bytes.fromhex, ENCODINGS["infos"].values()))
    assert codec.encode(General(BodyType.GENM, infos)) == (BodyType.GENM, expected)


@pytest.mark.parametrize("vector", ENCODINGS["failures"])
def test_failures_are_written_as_in_the_vectors(vector: dict[str, Any]) -> None:
    contents = der.unwrap(bytes.fromhex(vector["der"]), der.BIT_STRING)
    assert encode_failures(vector["bits"]) == contents
    assert decode_failures(contents) == frozenset(vector["bits"])


POSSESSIONS: dict[str, Possession] = {
    "raVerified": RaVerified(),
    "encrCert": PopSubsequent(PopKey.ENCIPHERMENT, SubsequentMessage.ENCR_CERT),
    "challengeResp": PopSubsequent(PopKey.ENCIPHERMENT, SubsequentMessage.CHALLENGE_RESP),
}


@pytest.mark.parametrize("name", ENCODINGS["possessions"])
def test_proofs_of_possession_are_written_as_in_the_vectors(name: str) -> None:
    octets = crmf.encode_message(CertReqMsg(request=CertRequest(template=CertTemplate()), possession=POSSESSIONS[name]))
    assert der.values(octets)[1] == bytes.fromhex(ENCODINGS["possessions"][name])
    assert crmf.decode_message(octets).possession == POSSESSIONS[name]


@given(st.lists(strategies.all_bodies, min_size=1, max_size=3))
def test_every_body_comes_back(bodies: list[Body]) -> None:
    for body in bodies:
        kind, octets = codec.encode(body)
        der.check(der.wrap(0xA0 | kind, octets))
        assert codec.decode(kind, octets) == body


def test_a_template_has_the_tags_of_rfc_4211() -> None:
    wanted = CertTemplate(
        version=2,
        serial_number=-129,
        signing_alg=der.wrap(der.SEQUENCE, b"\x06\x01\x2a"),
        issuer=CA,
        not_before=datetime(2026, 1, 1, tzinfo=UTC),
        not_after=datetime(2050, 1, 1, tzinfo=UTC),
        subject=names.EMPTY,
        public_key=der.wrap(der.SEQUENCE, b"\x03\x01\x00"),
        extensions=der.wrap(der.SEQUENCE, b"\x30\x00"),
    )
    octets = codec.encode_template(wanted)
    parts = der.values(octets)
    assert [part[0] for part in parts] == [0x80, 0x81, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA9]
    assert parts[1] == bytes.fromhex("8102ff7f")
    assert parts[3] == der.wrap(0xA3, CA)
    assert parts[4] == bytes.fromhex("a424a00f170d3236303130313030303030305aa111180f32303530303130313030303030305a")
    assert parts[5:7] == [bytes.fromhex("a5023000"), bytes.fromhex("a603030100")]
    assert codec.decode_template(octets) == wanted


@pytest.mark.parametrize(
    ("year", "tag"), [(1, 0x18), (999, 0x18), (1949, 0x18), (1950, 0x17), (2049, 0x17), (2050, 0x18), (9999, 0x18)]
)
def test_two_digits_of_a_year_are_never_taken_for_another_century(year: int, tag: int) -> None:
    wanted = CertTemplate(not_after=datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC))
    octets = codec.encode_template(wanted)
    assert octets[6] == tag
    assert codec.decode_template(octets) == wanted


def test_an_open_end_of_validity_stays_open() -> None:
    wanted = CertTemplate(not_before=datetime(2026, 1, 1, tzinfo=UTC))
    assert codec.decode_template(codec.encode_template(wanted)) == wanted


@given(strategies.cert_ids)
def test_a_certificate_identifier_comes_back(cert_id: CertId) -> None:
    assert codec.decode_cert_id(codec.encode_cert_id(cert_id)) == cert_id


def test_what_a_proof_of_possession_covers_is_cut_from_the_octets_received() -> None:
    request = CertRequest(
        template=CertTemplate(subject=CA, public_key=der.wrap(der.SEQUENCE)),
        controls=(Attribute(Control.REG_TOKEN.value, b"\x0c\x01a"),),
    )
    message = CertReqMsg(request=request, possession=PopSignature(algorithm=der.wrap(der.SEQUENCE), signature=b"1"))
    read = parse(build(Header(), CertReqMessages(BodyType.IR, (message, message)))).body()
    assert isinstance(read, CertReqMessages)
    assert [one.request_octets for one in read.requests] == [codec.encode_request(request)] * 2
    assert read.requests[0].request.control(Control.REG_TOKEN) == b"\x0c\x01a"
    assert read.requests[0].request.control(Control.OLD_CERT_ID) is None


def test_an_unread_body_keeps_its_octets() -> None:
    octets = bytes.fromhex("30020500")
    assert codec.decode(BodyType.NESTED, octets) == Unread(BodyType.NESTED, octets)


@pytest.mark.parametrize(
    "body",
    [
        CertReqMessages(BodyType.IP, ()),
        CertReqMessages(BodyType.KRR, ()),
        CertRepMessage(BodyType.IR, ()),
        General(BodyType.ERROR, ()),
    ],
)
def test_a_body_is_not_sent_as_something_else(body: Body) -> None:
    with pytest.raises(LocalError, match="cannot be sent as"):
        codec.encode(body)


def test_a_response_without_certificate_cannot_carry_a_key() -> None:
    lonely = CertResponse(cert_req_id=0, status=ACCEPTED, private_key=der.wrap(der.SEQUENCE))
    with pytest.raises(LocalError, match="without its certificate"):
        codec.encode(CertRepMessage(BodyType.IP, (lonely,)))


def seq(*parts: bytes) -> bytes:
    return der.wrap(der.SEQUENCE, *parts)


ONE = b"\x02\x01\x01"
HUGE = b"\x02\x09\x00\x80" + bytes(7)
STATUS = seq(ONE)


def template(*fields: bytes) -> bytes:
    return seq(seq(seq(*fields)))


def proof(octets: str) -> bytes:
    return seq(seq(seq(ONE, seq()), bytes.fromhex(octets)))


FAULTS = {
    "pkiconf that is no NULL": (BodyType.PKICONF, seq()),
    "error without status": (BodyType.ERROR, seq()),
    "error with a text for a code": (BodyType.ERROR, seq(STATUS, b"\x0c\x01a")),
    "error with something at its end": (BodyType.ERROR, seq(STATUS, ONE, seq(), seq())),
    "status of 64 bits": (BodyType.ERROR, seq(seq(HUGE))),
    "failInfo before statusString": (BodyType.ERROR, seq(seq(ONE, b"\x03\x01\x00", seq()))),
    "checkAfter of 64 bits": (BodyType.POLLREP, seq(seq(ONE, HUGE))),
    "pollRep with a time": (BodyType.POLLREP, seq(seq(ONE, b"\x17\x0d260101000000Z"))),
    "pollReq of another shape": (BodyType.POLLREQ, seq(seq(ONE, ONE))),
    "certConf that is a SET": (BodyType.CERTCONF, b"\x31\x00"),
    "caPubs with a number": (BodyType.IP, seq(der.wrap(0xA1, seq(ONE)), seq())),
    "crl that is a number": (BodyType.RP, seq(seq(), der.wrap(0xA1, seq(ONE)))),
    "no list of responses": (BodyType.IP, seq()),
    "certificate that is a number": (BodyType.IP, seq(seq(seq(ONE, STATUS, seq(der.wrap(0xA0, ONE)))))),
    "pkcs10 that is a number": (BodyType.P10CR, ONE),
    "popdecr with a text": (BodyType.POPDECR, seq(b"\x0c\x01a")),
    "popo by thisMessage": (BodyType.IR, proof("a203800100")),
    "popo with an unknown method": (BodyType.IR, proof("a203810102")),
    "popo with an empty method": (BodyType.IR, proof("a2028100")),
    "popo with a padded method": (BodyType.IR, proof("a20481020000")),
    "raVerified with contents": (BodyType.IR, proof("800100")),
    "signature with unused bits": (BodyType.IR, proof("a10630000302 0102")),
    "template with a padded serial number": (BodyType.RR, template(b"\x81\x02\x00\x01")),
    "template out of order": (BodyType.RR, template(b"\xa5\x02\x30\x00", b"\x81\x01\x00")),
    "template whose subject is a number": (BodyType.RR, template(der.wrap(0xA5, ONE))),
    "template with a validity that says nothing": (BodyType.RR, template(b"\xa4\x00")),
    "template with a validity that is a time": (BodyType.RR, template(der.wrap(0xA4, b"\x17\x0d260101000000Z"))),
    "template that begins in month 13": (
        BodyType.RR, template(der.wrap(0xA4, der.wrap(0xA0, b"\x17\x0d261301000000Z"))),
    ),
    "template with an unknown field": (BodyType.RR, template(b"\xaa\x00")),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "octets"), FAULTS.values(), ids=FAULTS)
def test_a_body_that_does_not_fit_is_refused(kind: BodyType, octets: bytes) -> None:
    der.check(octets)
    with pytest.raises(MalformedMessage):
        codec.decode(kind, octets)


def test_lists_are_bounded() -> None:
    most = PollRequest((0,) * asn1.MAXIMUM_ITEMS)
    assert codec.decode(*codec.encode(most)) == most
    with pytest.raises(MalformedMessage, match="65 entries"):
        codec.decode(*codec.encode(PollRequest((0,) * (asn1.MAXIMUM_ITEMS + 1))))


def test_certificates_in_an_answer_are_bounded() -> None:
    certificates = (der.wrap(der.SEQUENCE),) * 33
    with pytest.raises(MalformedMessage, match="33 entries"):
        codec.decode(*codec.encode(CertRepMessage(BodyType.IP, (), certificates)))


def test_texts_of_an_error_keep_every_letter() -> None:
    body = ErrorMessage(StatusInfo(status=2, text=("Österreich", "", "\x00\n\u202e😀")), 7, ("a" * 1000,))
    assert codec.decode(*codec.encode(body)) == body
