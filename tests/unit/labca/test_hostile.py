"""Whatever comes in, a PKIMessage goes out, and nothing is issued that should not be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cmp import codec, messages
from agent.cmp.bodies import CertConfirm, General, Pkcs10, PollRequest, Unread
from agent.cmp.errors import MalformedMessage
from agent.cmp.messages import NULL_DN, BodyType, Info, InfoTypeAndValue
from tests.unit.labca.entity import NOW, Entity, csr, lab
from tests.unit.labca.test_revocation import revocation

if TYPE_CHECKING:
    from agent.cmp.bodies import Body

CA = lab()
DEVICE = CA.make_device("enb-4711", now=NOW)
CHANGES = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "double", "put"]), st.integers(0, 2**16), st.integers(1, 255)),
    min_size=1,
    max_size=4,
)


def damage(octets: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    data = bytearray(octets)
    for how, where, what in changes:
        at = where % (len(data) or 1)
        match how:
            case "flip" if data:
                data[at] ^= what
            case "cut":
                del data[at : at + what]
            case "double":
                data[at:at] = data[at : at + what]
            case _:
                data[at:at] = bytes((what,))
    return bytes(data)


def bodies() -> list[Body]:
    entity = Entity(CA)
    certificate = entity.enroll()
    return [
        entity.request(),
        entity.request(BodyType.KUR),
        Pkcs10(csr(entity.key)),
        entity.confirm(certificate),
        PollRequest((0,)),
        CertConfirm(()),
        revocation(CA, certificate),
        General(BodyType.GENM, (InfoTypeAndValue(Info.CRL_STATUS_LIST, b"\x30\x04\x30\x02\xa0\x00"),)),
        General(BodyType.GENM, (InfoTypeAndValue(Info.ROOT_CA_CERT, b"\x05\x00"),)),
    ]


BODIES = bodies()
ANSWERS = {BodyType.ERROR, BodyType.IP, BodyType.CP, BodyType.KUP, BodyType.RP, BodyType.GENP}


@given(CHANGES, st.booleans())
@settings(max_examples=50)
def test_a_damaged_message_is_answered_and_nothing_is_issued(changes: list[tuple[str, int, int]], signed: bool) -> None:
    entity = Entity(CA, DEVICE if signed else None)
    good = entity.message(entity.request())
    octets = damage(good, changes)
    before = len(CA.record(NOW).certificates)
    assert messages.parse(CA.answer(octets, NOW)).type in {BodyType.ERROR, BodyType.IP}
    # extraCerts are not protected, and damage may undo itself: then the request is still the good one.
    assert len(CA.record(NOW).certificates) <= before + (_covered(octets) == _covered(good))


@given(CHANGES, st.sampled_from(BODIES))
@settings(max_examples=80)
def test_a_damaged_body_under_good_protection_is_answered(changes: list[tuple[str, int, int]], body: Body) -> None:
    kind, octets = codec.encode(body)
    entity = Entity(CA)
    answer = messages.parse(CA.answer(entity.message(Unread(kind, damage(octets, changes))), NOW))
    assert answer.type in ANSWERS


@given(st.binary(max_size=60))
def test_octets_out_of_nowhere_are_answered_with_an_error(octets: bytes) -> None:
    assert messages.parse(CA.answer(octets, NOW)).type is BodyType.ERROR


@given(CHANGES)
@settings(max_examples=40)
def test_a_damaged_certificate_in_extra_certs_is_answered(changes: list[tuple[str, int, int]]) -> None:
    entity = Entity(CA, DEVICE)
    entity.extra_certs = (damage(DEVICE.certificate, changes), DEVICE.certificate)
    octets = entity.message(entity.request(), sender=NULL_DN)
    assert messages.parse(CA.answer(octets, NOW)).type is BodyType.ERROR


def _covered(octets: bytes) -> tuple[bytes, bytes | None] | None:
    try:
        message = messages.parse(octets)
    except MalformedMessage:
        return None
    return message.protected_part, message.protection
