"""certReqTemplate (RFC 9483 4.3.3): read, held against a request, and used to complete it."""

from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from agent.cmp import der
from agent.cmp.errors import MalformedMessage
from agent.cmp.messages import Info
from agent.cmp.request import wanted_extensions
from agent.cmp.request_template import RequestTemplate, completed, decode, described, objections
from agent.labca import LabCa
from agent.labca.certificates import EXTENDED_KEY_USAGE, SUBJECT_ALTERNATIVE_NAME
from agent.labca.encoding import Extension, extensions, integer, oid
from tests.unit.cmp.device import lab, question

_ALG_ID, _RSA_KEY_LEN = "1.3.6.1.5.5.7.5.1.11", "1.3.6.1.5.5.7.5.1.12"
SERVER = Extension(EXTENDED_KEY_USAGE, critical=False, value=der.wrap(der.SEQUENCE, oid("1.3.6.1.5.5.7.3.1")))
NAMES = Extension(SUBJECT_ALTERNATIVE_NAME, critical=False, value=b"\x30\x00")
SUBJECT = x509.Name.from_rfc4514_string("CN=enb-4711,O=Operator")


def content(*parts: bytes, keys: tuple[bytes, ...] | None = None) -> bytes:
    specification = () if keys is None else (der.wrap(der.SEQUENCE, *keys),)
    return der.wrap(der.SEQUENCE, der.wrap(der.SEQUENCE, *parts), *specification)


def control(kind: str, value: bytes) -> bytes:
    return der.wrap(der.SEQUENCE, oid(kind), value)


def subject(*attributes: tuple[str, str]) -> bytes:
    """A subject in a template; the order is that of RFC 4514 turned round."""
    rdns = [
        der.wrap(der.SET, der.wrap(der.SEQUENCE, oid(kind), der.wrap(der.UTF8_STRING, value.encode())))
        for kind, value in attributes
    ]
    return der.wrap(0xA5, der.wrap(der.SEQUENCE, *rdns))


def wanted(*given: Extension) -> bytes:
    return der.wrap(0xA9, der.unwrap(extensions(given)))


CN, O = "2.5.4.3", "2.5.4.10"  # noqa: E741 - their names


def against(template: RequestTemplate, key: str = "ec-p256", *, alternative_names: bool = True) -> str:
    found = objections(template, subject=SUBJECT, alternative_names=alternative_names, key=key)
    return "; ".join(text for text, _ in found)


def test_the_lab_ca_says_which_keys_it_takes() -> None:
    ca: LabCa = lab()
    device = question(ca, Info.CERT_REQ_TEMPLATE)
    device.exchange()
    (answer,) = device.events[-1].body.infos  # type: ignore[union-attr]
    assert answer.value is not None
    template = decode(answer.value)
    assert template.keys == ("ec-p256", "ec-p384", "rsa-3072")
    assert against(template) == ""
    forbidden = against(template, "ed25519")
    assert forbidden == "the CA's template forbids our key: it allows ec-p256, ec-p384, rsa-3072, and ours is ed25519"


def test_without_a_list_of_keys_any_will_do() -> None:
    template = decode(content())
    assert template.keys is None
    assert against(template, "ml-dsa-87") == ""
    assert described(template) == ("keys: any",)


def test_an_empty_subject_is_any() -> None:
    template = decode(content(subject()))
    assert against(template) == ""
    assert described(template) == ("subject: any", "keys: any")
    assert described(decode(content(subject((O, "Operator"))))) == ('subject: "O=Operator"', "keys: any")


def test_a_key_of_a_kind_nobody_knows_is_named_by_its_number() -> None:
    template = decode(content(keys=(control(_ALG_ID, der.wrap(der.SEQUENCE, oid("1.2.3.4"))),)))
    assert template.keys == ("1.2.3.4",)
    odd = control(_ALG_ID, der.wrap(der.SEQUENCE, oid("1.2.840.10045.2.1"), oid("1.3.132.0.10")))
    assert decode(content(keys=(odd, control(_RSA_KEY_LEN, integer(4096))))).keys == ("ec on 1.3.132.0.10", "rsa-4096")


def test_given_parts_of_the_subject_must_be_ours_and_empty_ones_there() -> None:
    assert against(decode(content(subject((O, "Operator"), (CN, ""))))) == ""
    assert against(decode(content(subject((O, "OPERATOR"))))) == ""
    assert "wants O=Other in the subject" in against(decode(content(subject((O, "Other")))))
    assert "wants C in the subject, and ours has none" in against(decode(content(subject(("2.5.4.6", "")))))


def test_alternative_names_that_are_to_be_filled_in_must_be_configured() -> None:
    template = decode(content(wanted(NAMES)))
    assert against(template) == ""
    assert "wants alternative names" in against(template, alternative_names=False)


def test_usages_the_template_gives_are_asked_for_unless_we_ask_for_our_own() -> None:
    template = decode(content(wanted(SERVER, NAMES)))
    ours = wanted_extensions([x509.DNSName("a.example")])
    assert ours is not None
    both = completed(template, ours)
    assert both is not None
    found = der.values(both)
    assert found[: len(der.values(ours))] == der.values(ours)
    assert len(found) == len(der.values(ours)) + 1
    assert oid(EXTENDED_KEY_USAGE) in found[-1]
    assert completed(template, both) == both
    assert "extension extendedKeyUsage: with the CA's value" in described(template)
    assert completed(decode(content()), ours) == ours


@pytest.mark.parametrize(
    "octets",
    [
        b"\x30\x00",
        b"\x05\x00",
        content(keys=(b"\x05\x00",)),
        content(b"\x02\x01\x00"),
        content(der.wrap(0xA9, der.wrap(der.SEQUENCE, oid("2.5.29.17")))),
    ],
)
def test_what_is_no_template_is_refused_with_our_own_error(octets: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode(octets)


GOOD = content(subject((O, "Operator"), (CN, "")), wanted(SERVER, NAMES), keys=(control(_RSA_KEY_LEN, integer(3072)),))


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_damaged_template_is_read_or_refused_and_nothing_else(position: int, change: int) -> None:
    octets = bytearray(GOOD)
    octets[position] ^= change
    try:
        der.check(bytes(octets))  # as everything that comes in a message was
        template = decode(bytes(octets))
    except MalformedMessage:
        return
    assert all(line.isprintable() for line in (*described(template), against(template)))
