"""CRLs inside messages: as large as any, and the gate stays shut around them."""

from __future__ import annotations

import pytest

from agent.cmp import der
from agent.cmp.bodies import Body, CertRepMessage, General, RevRep, StatusInfo
from agent.cmp.enclosed import enclosed_lists
from agent.cmp.errors import MalformedMessage
from agent.cmp.messages import BodyType, Header, Info, InfoTypeAndValue, build, parse
from agent.cmp.sizes import MAXIMUM_LIST, SMALLER_LISTS

ENTRY = der.wrap(der.SEQUENCE, der.wrap(der.INTEGER, b"\x01" * 16), der.wrap(0x17, b"260101000000Z"))
CRL = der.wrap(der.SEQUENCE, der.wrap(der.SEQUENCE, *(ENTRY,) * 50_000))
"""As large as one of fifty thousand entries; nobody reads it here."""
BAD = der.wrap(der.SEQUENCE, b"\x02\x00")
"""An empty INTEGER."""


def genp(*crls: bytes, kind: str = Info.CRLS) -> General:
    return General(BodyType.GENP, (InfoTypeAndValue(kind, der.wrap(der.SEQUENCE, *crls)),))


def rp(*crls: bytes) -> RevRep:
    return RevRep((StatusInfo(status=0),), (), crls)


@pytest.mark.parametrize("body", [genp(CRL), rp(CRL), genp(BAD), rp(BAD), genp(), rp()])
def test_the_octets_of_crls_come_out_as_they_came_in(body: Body) -> None:
    assert parse(build(Header(), body)).body() == body


@pytest.mark.parametrize("make", [genp, rp])
def test_crls_beyond_their_cap_are_called_so(make: object) -> None:
    part = der.wrap(der.SEQUENCE, der.wrap(der.OCTET_STRING, bytes(MAXIMUM_LIST // 2)))
    with pytest.raises(MalformedMessage, match="brings CRLs of 4194324 octets, more than the cap of 4194304") as caught:
        parse(build(Header(), make(part, part)))  # type: ignore[operator]
    assert caught.value.remedy == SMALLER_LISTS


@pytest.mark.parametrize(
    "octets",
    [
        build(Header(), genp(CRL, kind=Info.CA_CERTS)),
        build(Header(), genp(BAD, kind=Info.CA_CERTS)),
        build(Header(), genp(CRL), extra_certs=(BAD,)),
        build(Header(), genp(der.wrap(der.OCTET_STRING, CRL), BAD[2:])),
        build(Header(), CertRepMessage(BodyType.IP, (), (CRL,))),
        build(Header(), genp(CRL)) + b"\x00",
        build(Header(sender=der.wrap(0xA4, BAD)), genp(CRL)),
    ],
)
def test_everything_else_passes_the_gate_or_is_refused(octets: bytes) -> None:
    with pytest.raises(MalformedMessage, match="not a well-formed CMP message"):
        parse(octets)


def test_what_is_beside_a_crl_counts_as_ever() -> None:
    large = der.wrap(der.SEQUENCE, der.wrap(der.OCTET_STRING, bytes(1_048_577)))
    with pytest.raises(MalformedMessage, match="more than the cap of 1048576"):
        parse(build(Header(), genp(CRL), extra_certs=(large,)))


@pytest.mark.parametrize("octets", [b"", b"\x30", b"\x30\x80\x00\x00", b"<html>", der.wrap(der.SEQUENCE), bytes(100)])
def test_nothing_is_found_in_what_is_no_message(octets: bytes) -> None:
    assert enclosed_lists(octets) == ()
