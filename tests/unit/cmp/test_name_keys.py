from __future__ import annotations

import ipaddress
import unicodedata

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from agent.cmp.name_keys import general_name_key, general_name_text, name_key
from tests.unit.cmp import pki


def spelled(text: str, kind: _ASN1Type = _ASN1Type.UTF8String) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text, kind)])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (spelled("Operator RA"), spelled("Operator RA", _ASN1Type.PrintableString)),
        (spelled("Operator RA"), spelled("OPERATOR  ra ")),
        (spelled("Straße"), spelled("STRASSE")),
        (spelled("A\u030a"), spelled("\u00e5")),  # A and a ring above, and the letter that is both
        (spelled("BMP", _ASN1Type.BMPString), spelled("bmp")),
    ],
)
def test_the_same_name_in_other_clothes_is_the_same_name(one: x509.Name, other: x509.Name) -> None:
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CN=a,O=b", "O=b,CN=a"),
        ("CN=a", "CN=a,O=b"),
        ("CN=a", "OU=a"),
        ("CN=a+OU=b", "CN=a,OU=b"),
        ("CN=ab", "CN=a b"),
        ("CN=a", "CN=\u0430"),  # a Cyrillic letter of the same look
    ],
)
def test_other_names_stay_other_names(one: str, other: str) -> None:
    assert name_key(pki.name(one)) != name_key(pki.name(other))


def test_the_order_inside_one_rdn_does_not_matter() -> None:
    assert name_key(pki.name("CN=a+OU=b")) == name_key(pki.name("OU=b+CN=a"))


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_equality_of_names_is_blind_to_nothing_but_case_form_and_space(one: str, other: str) -> None:
    def folded(text: str) -> str:
        return "".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())

    if name_key(spelled(one)) == name_key(spelled(other)):
        assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (x509.DNSName("ENB.example"), x509.DNSName("enb.EXAMPLE"), True),
        (x509.RFC822Name("Ops@Example.org"), x509.RFC822Name("Ops@example.org"), True),
        (x509.RFC822Name("ops@example.org"), x509.RFC822Name("Ops@example.org"), False),
        (x509.DirectoryName(pki.name("CN=A")), x509.DirectoryName(pki.name("CN=a")), True),
        (x509.UniformResourceIdentifier("urn:A"), x509.UniformResourceIdentifier("urn:a"), False),
        (x509.DNSName("a"), x509.UniformResourceIdentifier("a"), False),
        (x509.IPAddress(ipaddress.ip_address("::1")), x509.IPAddress(ipaddress.ip_address("0::1")), True),
    ],
)
def test_alternative_names_are_compared_by_their_own_rules(
    one: x509.GeneralName, other: x509.GeneralName, equal: bool
) -> None:
    assert (general_name_key(one) == general_name_key(other)) is equal


def test_alternative_names_are_written_as_in_the_configuration() -> None:
    names = [
        x509.DNSName("a.b"), x509.IPAddress(ipaddress.ip_address("10.0.0.1")), x509.UniformResourceIdentifier("urn:a"),
        x509.RFC822Name("a@b"), x509.DirectoryName(pki.name("CN=a")), x509.RegisteredID(x509.ObjectIdentifier("1.2")),
    ]  # fmt: skip
    texts = [general_name_text(one) for one in names]
    assert texts[:5] == ["dns:a.b", "ip:10.0.0.1", "uri:urn:a", "email:a@b", "dir:CN=a"]
    assert "1.2" in texts[5]
