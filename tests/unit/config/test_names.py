from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from hypothesis import example, given
from hypothesis import strategies as st

from agent.config.findings import Wrong
from agent.config.names import alternative_name, distinguished_name, host_name, ip_address


def refusal(text: str) -> str:
    with pytest.raises(Wrong) as caught:
        distinguished_name(text)
    return f"{caught.value.text} ({caught.value.remedy})"


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("CN=enb-4711.ran.operator.example,O=Operator", "CN=enb-4711.ran.operator.example,O=Operator"),
        ("cn = a , o = b c ,c=SE", "CN=a,O=b c,C=SE"),
        ("CN=a+serialNumber=12,O=b", "CN=a+2.5.4.5=12,O=b"),
        ("emailAddress=noc@operator.example", "1.2.840.113549.1.9.1=noc@operator.example"),
        ("2.5.4.97=VATSE-556", "2.5.4.97=VATSE-556"),
        ("DC=ran,DC=operator,DC=example", "DC=ran,DC=operator,DC=example"),
        (r"O=Operator\, Inc.", r"O=Operator\, Inc."),
        (r"O=\ a\ ,CN=x", r"O=\ a\ ,CN=x"),
        (r"O=a\  ,CN=x", r"O=a\ ,CN=x"),
        (r"O=\#1", r"O=\#1"),
        (r"O=\C3\A5sa", "O=åsa"),
        (r"O=a\2Cb", r"O=a\,b"),
        ("O=a=b", "O=a=b"),
        ("STREET=a;b".replace(";", r"\;"), r"STREET=a\;b"),
        (r"O=\\", r"O=\\"),
    ],
)
def test_a_distinguished_name_comes_out_in_one_spelling(text: str, spelling: str) -> None:
    assert distinguished_name(text) == spelling
    assert x509.Name.from_rfc4514_string(spelling).rfc4514_string() == spelling


@example("CN=" + "a" * 64)
@example("CN=" + "a" * 65)
@example("O=a b ,CN=a")
@given(
    st.text(st.sampled_from("CNOL=,+. a1\\#-"), max_size=20)
    | st.from_regex(r"(CN|O|DC|C|ST|SN)=[a-z. _-]{0,3}(,(CN|O|DC)=[A-Z0-9 -]{0,3}){0,2}", fullmatch=True)
)
def test_a_name_in_its_one_spelling_is_read_as_one_that_is_not(text: str) -> None:
    try:
        long_way = distinguished_name(f" {text}")
    except Wrong:
        long_way = None
    assert distinguished_name(text) == long_way if long_way else refusal(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/O=Operator/CN=a", "OpenSSL's old way"),
        ("enb-4711", "'enb-4711' has no = between attribute and value"),
        ("CN=a,Operator", "'Operator' has no ="),
        ("CN=a,Operator,O=b", "has no ="),
        ("CN=a,", "has no ="),
        ("CN=a+,O=b", "has no ="),
        ("XY=a", "'XY' is no attribute of a name (use CN, O, OU, "),
        ("OID.2.5.4.3=a", "is no attribute of a name"),
        ("3.5=a", "is no attribute of a name"),
        ("1.40.1=a", "is no attribute of a name"),
        ("CN=", "CN has no value"),
        ("CN= ,O=a", "CN has no value"),
        ('O="a, b"', 'needs a backslash (write \\")'),
        ("O=a;CN=b", "the sign ';' in 'a;CN=b' needs a backslash"),
        ("O=a<b", "needs a backslash"),
        ("O=a\\", "needs a backslash"),
        (r"O=\zz", "needs a backslash"),
        (r"O=\C3", "is not UTF-8 in hexadecimal"),
        (r"O=\00", "holds a control character"),
        ("O=#04024869", "in hexadecimal, which is not supported"),
        ("C=SWE", "C is a country code of exactly two letters (write it like C=SE)"),
        ("C=1a", "exactly two letters"),
        (f"CN={'a' * 65}", "CN is longer than 64 octets"),
        (f"CN={'å' * 33}", "CN is longer than 64 octets"),
        ("DC=åsa", "letters beyond ASCII (use the xn-- form)"),
        ("serialNumber=a_b", "holds a sign not allowed there"),
        ("CN=a+CN=a", "stands on both sides of a + with one value"),
    ],
)
def test_what_is_no_distinguished_name_is_refused_by_its_part(text: str, said: str) -> None:
    assert said in refusal(text)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["CN", "O", "OU", "L", "ST", "UID", "STREET", "2.5.4.65", "1.3.6.1.4.1.99999.1"]),
            st.text(st.characters(codec="utf-8").filter(str.isprintable), min_size=1, max_size=16),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_printable_value_can_be_written_and_means_the_same_to_cryptography(
    attributes: list[tuple[str, str]],
) -> None:
    written = ",".join(
        f"{kind}={''.join(chr(92) + c if c in chr(92) + ',+;<># =' + chr(34) else c for c in value)}"
        for kind, value in attributes
    )
    name = x509.Name.from_rfc4514_string(distinguished_name(written))
    assert [attribute.value for rdn in reversed(name.rdns) for attribute in rdn] == [value for _, value in attributes]
    assert name.public_bytes()


PIECES = (
    *("CN", "O", "C", "DC", "serialNumber", "2.5.4.5", "1.2", "=", "=", ",", "+", " ", "a", "SE", "é", "\U0001f4e1"),
    *("\\", "\\\\", "\\ ", "\\,", "\\20", "\\23", "\\C3\\A4", '"', "#", ";", "<"),
)


@example("CN=a\\")
@example("2.999.1=a")
@example("1.39.999999999.0=a")
@given(
    st.lists(
        st.sampled_from(PIECES),
        max_size=12,
    ).map("".join)
)
def test_whatever_is_accepted_is_accepted_by_cryptography_too(text: str) -> None:
    try:
        spelling = distinguished_name(text)
    except Wrong:
        return
    assert distinguished_name(spelling) == spelling
    name = x509.Name.from_rfc4514_string(spelling)
    assert name.rfc4514_string() == spelling
    assert name.public_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "dns:enb-4711.ran.operator.example",
        "dns:localhost",
        "dns:*.operator.example",
        "dns:xn--4ca.example",
        "ip:192.0.2.7",
        "ip:2001:db8::7",
        "uri:urn:uuid:6f1a2b34-5c6d-4e7f-8a9b-0c1d2e3f4a5b",
        "uri:spiffe://operator.example/amf",
        "uri:https://[2001:db8::1]/a%20b",
        "email:noc@operator.example",
    ],
)
def test_alternative_names_of_four_kinds_are_taken(text: str) -> None:
    assert alternative_name(text) == text
    kind, _, rest = text.partition(":")
    make = {
        "dns": x509.DNSName,
        "ip": lambda value: x509.IPAddress(ipaddress.ip_address(value)),
        "uri": x509.UniformResourceIdentifier,
        "email": x509.RFC822Name,
    }[kind]
    assert str(make(rest).value) == rest


def test_the_kind_may_be_in_capitals() -> None:
    assert alternative_name("DNS:Enb.Example") == "dns:Enb.Example"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("enb.example", 'expected dns:NAME, ip:ADDRESS, uri:URI or email:ADDRESS (write it like "dns:'),
        ("dn:enb.example", "(did you mean dns?)"),
        ("dns:", "is not a host name"),
        ("dns:enb example", "is not a host name"),
        ("dns:enb_1.example", "is not a host name"),
        ("dns:-enb.example", "is not a host name"),
        ("dns:enb.example.", "is not a host name"),
        ("dns:192.0.2.7", "is not a host name"),
        ("dns:a.*.example", "is not a host name"),
        (f"dns:{'a' * 64}.example", "is not a host name"),
        ("dns:" + ".".join(["a" * 50] * 6), "is not a host name"),
        ("dns:åsa.example", "write it in the xn-- form"),
        ("ip:192.0.2.7/24", "has a prefix length"),
        ("ip:192.0.2", "is not an IP address"),
        ("ip:192.0.2.07", "is not an IP address"),
        ("ip:[2001:db8::7]", "is not an IP address"),
        ("ip:fe80::1%eth0", "has a zone"),
        ("ip:0.0.0.0", "is not the address of one machine"),
        ("ip:ff02::1", "is not the address of one machine"),
        ("uri:enb", "is not an absolute URI"),
        ("uri:http://", "is not an absolute URI"),
        ("uri:http:///path", "is not an absolute URI"),
        ("uri:urn:a b", "is not an absolute URI"),
        ("uri:urn:å", "is not an absolute URI"),
        ("uri:urn:%zz", "is not an absolute URI"),
        ("email:operator.example", "is not a mail address"),
        ("email:@operator.example", "is not a mail address"),
        ("email:a b@operator.example", "is not a mail address"),
        ("email:noc@-", "is not a host name"),
    ],
)
def test_what_is_no_alternative_name_is_refused(text: str, said: str) -> None:
    with pytest.raises(Wrong) as caught:
        alternative_name(text)
    assert said in f"{caught.value.text} ({caught.value.remedy})"


def test_a_resolver_may_know_names_with_an_underscore() -> None:
    host_name("cmp_ra.example", underscore=True)
    with pytest.raises(Wrong, match="is not a host name"):
        host_name("cmp_ra.example")


def test_a_zone_is_for_addresses_of_this_machine() -> None:
    assert ip_address("fe80::1%eth0", zone=True) == "fe80::1%eth0"
