from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from agent.cmp import der, names
from agent.cmp.errors import LocalError, MalformedMessage
from agent.cmp.name_keys import name_key
from tests.unit.cmp import openssl, strategies

W = der.wrap
CN = "550403"


def name(*rdns: tuple[str, int, bytes]) -> bytes:
    """Build a Name with one attribute an RDN: OID in hex, tag and contents of the value."""
    return W(
        der.SEQUENCE,
        *(W(der.SET, W(der.SEQUENCE, W(0x06, bytes.fromhex(oid)), W(tag, contents))) for oid, tag, contents in rdns),
    )


SPELLINGS = {
    "UTF8String": (0x0C, "Söder".encode()),
    "BMPString": (0x1E, "Söder".encode("utf-16-be")),
    "UniversalString": (0x1C, "Söder".encode("utf-32-be")),
}


@given(strategies.x509_names)
def test_a_name_is_read_as_it_was_written(written: x509.Name) -> None:
    octets = written.public_bytes()
    assert names.parse_name(octets) == written
    assert names.same_name(octets, octets)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["CN", "O", "OU", "C", "ST", "L", "DC", "UID", "cn", "2.5.4.3", "E", ""]),
            st.sampled_from(["=", "=", "=", " = ", ""]),
            st.text(st.sampled_from("aB0 .-_:/@()'+\\,;#\"<>=*\u00e4\t"), max_size=6) | st.just("DE"),
        ),
        max_size=4,
    )
)
def test_a_text_is_the_name_that_the_library_makes_of_it(parts: list[tuple[str, str, str]]) -> None:
    text = ",".join(map("".join, parts))
    try:
        expected = x509.Name.from_rfc4514_string(text).public_bytes()
    except ValueError:
        with pytest.raises(LocalError):
            names.name_from_text(text)
    else:
        assert names.name_from_text(text) == expected


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_of_a_text_is_the_same_name(spelling: tuple[int, bytes]) -> None:
    other = name((CN, *spelling))
    assert names.parse_name(other).rfc4514_string() == "CN=Söder"
    assert names.same_name(other, names.name_from_text("CN=Söder"))
    assert names.same_name(other, names.name_from_text("CN=söder"))
    assert not names.same_name(other, names.name_from_text("CN=Soder"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("CN=RA,O=Operator", "CN=ra,O=operator", True),
        ("CN=Operator  RA", "CN=Operator RA", True),
        ("CN=a+O=b", "O=b+CN=a", True),
        ("CN=RA,O=Operator", "O=Operator,CN=RA", False),
        ("CN=RA", "CN=RA,O=Operator", False),
        ("CN=RA", "O=RA", False),
    ],
)
def test_names_are_the_same_as_for_certificates(one: str, other: str, same: bool) -> None:
    first, second = names.name_from_text(one), names.name_from_text(other)
    assert names.same_name(first, second) == same
    assert (name_key(names.parse_name(first)) == name_key(names.parse_name(second))) == same


def test_a_certificates_own_name_is_the_same_as_its_text(openssl_folder: Path) -> None:
    certificate = x509.load_der_x509_certificate(openssl.der_files(openssl_folder)["ec.pem"])
    subject = names.name_from_text("CN=enb-4711.ran.operator.example,O=Operator,C=SE")
    assert names.same_name(certificate.subject.public_bytes(), subject)


@pytest.mark.parametrize("contents", [b"", b"a" * 65])
def test_a_value_of_unusual_length_is_read_without_a_warning(contents: bytes) -> None:
    assert len(names.parse_name(name((CN, 0x0C, contents)))) == 1


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x05\x00",
        b"\x31\x00",
        b"\x30\x00\x30\x00",
        b"\x30\x02\x31\x00",
        name((CN, 0x0C, b"\xff")),
        name((CN, 0x1E, b"\xd8\x00")),
        name((CN, 0x02, b"\x01")),
        W(der.SEQUENCE, b"\x30\x00"),
        names.name_from_text("CN=a")[:-1],
    ],
)
def test_what_is_no_name_is_refused(octets: bytes) -> None:
    with pytest.raises(MalformedMessage):
        names.parse_name(octets)
    with pytest.raises(MalformedMessage):
        names.same_name(octets, names.EMPTY)
    assert names.text_of(octets) == octets.hex()


@given(strategies.values | st.binary(max_size=40))
def test_anything_else_is_a_name_or_refused_in_our_words(octets: bytes) -> None:
    try:
        found = names.parse_name(octets)
    except MalformedMessage:
        return
    assert isinstance(found, x509.Name)


def test_names_are_shown_as_text() -> None:
    assert names.text_of(names.name_from_text("CN=a,O=b")) == "CN=a,O=b"
    assert names.text_of(names.EMPTY) == "(empty name)"


@pytest.mark.parametrize("text", ["CN", "CN=", "=a", "CN=a,,O=b", "nonsense", "O=\ud800", "C=DEU"])
def test_text_that_is_no_name_is_our_own_error(text: str) -> None:
    with pytest.raises(LocalError) as caught:
        names.name_from_text(text)
    assert "CN=enb-4711" in caught.value.remedy


@given(strategies.general_names)
def test_a_directory_name_is_found_in_a_general_name(general_name: bytes) -> None:
    inside = names.name_of(general_name)
    assert (inside is None) == (general_name[0] != 0xA4)
    if inside is not None:
        assert names.directory_name(inside) == general_name


def test_a_reference_becomes_a_common_name() -> None:
    subject = names.parse_name(names.common_name("enb-4711"))
    assert [(one.oid, one.value) for one in subject] == [(NameOID.COMMON_NAME, "enb-4711")]
    for text in ("", "a" * 65, "\ud800"):
        with pytest.raises(ValueError, match=r"length|surrogates"):
            names.common_name(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dns:enb.operator.example", x509.DNSName("enb.operator.example")),
        ("email:noc@operator.example", x509.RFC822Name("noc@operator.example")),
        ("uri:urn:enb:4711", x509.UniformResourceIdentifier("urn:enb:4711")),
    ],
)
def test_alternative_names_are_read_from_text(text: str, expected: x509.GeneralName) -> None:
    assert names.alternative_name(text) == expected


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_addresses_of_both_families_are_alternative_names(address: str) -> None:
    found = names.alternative_name(f"ip:{address}")
    assert isinstance(found, x509.IPAddress)
    assert str(found.value) == address


@pytest.mark.parametrize("text", ["", "enb", "dns", "dns:", "uri:", "ip:enb", "ip:192.0.2.0/24", "dns:söder", "x:1"])
def test_other_texts_are_no_alternative_names(text: str) -> None:
    with pytest.raises(LocalError, match="is not an alternative name"):
        names.alternative_name(text)


def test_texts_are_sent_as_utf8() -> None:
    assert names.utf8_sequence("gnb", "ö").hex() == "30090c03676e620c02c3b6"
    with pytest.raises(LocalError, match="cannot be sent"):
        names.utf8_sequence("\ud800")


def test_extensions_leave_out_the_default_of_critical() -> None:
    usage = x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH])
    octets = names.extensions([(usage, False), (x509.BasicConstraints(ca=False, path_length=None), True)])
    assert octets is not None
    der.check(octets)
    assert [len(der.values(one)) for one in der.values(octets)] == [2, 3]
    assert names.extensions([]) is None


def test_a_name_that_holds_a_bit_string_for_text_is_malformed_and_still_shown() -> None:
    name = bytes.fromhex("300e310c300a06035504030303000102")
    with pytest.raises(MalformedMessage):
        names.parse_name(name)
    assert names.text_of(name) == name.hex()
