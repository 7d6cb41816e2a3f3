"""A redacted message keeps its structure and tells nothing that a shared secret could be guessed by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cmp import der, messages
from agent.cmp.errors import MalformedMessage
from agent.cmp.messages import BodyType
from agent.cmp.protection import Kind, MacParameters, MacProtector, kind_of
from agent.cmp.redaction import without_macs
from agent.cmp.request import Wanted, by_secret
from hsm.algorithms import KeyAlgorithm
from hsm.software import SoftwareKeyStore
from tests.unit.cmp.device import PBM, PBMAC1, REFERENCE, SECRET, Device, by_vendor, lab


def transaction(device: Device) -> list[bytes]:
    """Every message of an enrollment, both ways."""
    heard: list[bytes] = []

    def keep(octets: bytes) -> bytes:
        heard.append(octets)
        return octets

    device.exchange(keep)
    device.exchange(keep)
    return [*device.sent, *heard]


@pytest.mark.parametrize("parameters", [PBM, PBMAC1], ids=["pbm", "pbmac1"])
def test_the_mac_goes_and_everything_else_stays(parameters: MacParameters) -> None:
    octets = transaction(Device(lab(), by=by_secret(REFERENCE, SECRET, parameters)))
    assert len(octets) == 4
    for one in octets:
        before, after = messages.parse(one), messages.parse(without_macs(one))
        assert kind_of(before) is Kind.MAC
        assert before.protection
        assert after.protection == b""
        assert before.protection not in without_macs(one)
        assert (after.header, after.body_octets, after.extra_certs) == (
            before.header, before.body_octets, before.extra_certs,
        )  # fmt: skip
        assert without_macs(without_macs(one)) == without_macs(one)


def test_a_signed_message_stays_octet_by_octet() -> None:
    ca = lab()
    octets = transaction(Device(ca, by=by_vendor(ca)))
    assert len(octets) == 4
    assert [without_macs(one) for one in octets] == octets


def test_the_mac_over_a_public_key_in_a_request_without_subject_goes(tmp_path: object) -> None:
    store = SoftwareKeyStore(str(tmp_path))
    key = store.generate(KeyAlgorithm.EC_P256, f"{tmp_path}/key.pem")
    protector = MacProtector(SECRET, PBM)
    body = Wanted(type=BodyType.IR, signer=key, subject=None, vouched_by=protector).body()
    octets = messages.build(messages.Header(protection_alg=protector.algorithm), body, protect=protector.protect)
    vouching = protector.protect(key.public_key)
    assert vouching in octets
    assert vouching not in without_macs(octets)
    assert messages.parse(without_macs(octets)).type is BodyType.IR


@pytest.mark.parametrize("oid", ["1.3.6.1.5.5.7.5.1.1", "1.3.6.1.5.5.7.5.1.2", "1.2.840.113549.1.9.7"])
def test_controls_that_are_secrets_go(oid: str) -> None:
    attribute = der.wrap(der.SEQUENCE, der.wrap(0x06, der.oid_contents(oid)), der.wrap(0x0C, SECRET))
    message = der.wrap(der.SEQUENCE, der.wrap(der.SEQUENCE), der.wrap(0xA0, der.wrap(der.SEQUENCE, attribute)))
    assert SECRET in message
    assert SECRET not in without_macs(message)
    der.check(without_macs(message))


def test_a_message_whose_protection_nobody_knows_loses_it() -> None:
    header = der.wrap(der.SEQUENCE)
    message = der.wrap(
        der.SEQUENCE, header, der.wrap(0xA0, der.wrap(der.SEQUENCE)), der.wrap(0xA0, der.wrap(0x03, b"\0tag"))
    )
    assert b"tag" not in without_macs(message)


@given(st.binary(max_size=200))
def test_what_cannot_be_read_is_refused(octets: bytes) -> None:
    try:
        der.check(without_macs(octets))
    except MalformedMessage as error:
        assert error.remedy  # noqa: PT017 - both ends are right
