from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from agent.cmp.certificates import read
from agent.cmp.name_constraints import MAXIMUM_COMPARISONS, violation
from tests.unit.cmp import pki

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.cmp.certificates import Facts

KEY = pki.new_key()


def ca(permitted: Sequence[x509.GeneralName] = (), excluded: Sequence[x509.GeneralName] = ()) -> Facts:
    constraints = x509.NameConstraints(list(permitted) or None, list(excluded) or None)
    return read(pki.authority("CN=CA", key=KEY, critical=[constraints]).certificate)


def holder(*names: x509.GeneralName, subject: str | x509.Name = "CN=a,O=Operator") -> Facts:
    add = [x509.SubjectAlternativeName(names)] if names else []
    return read(pki.issue(subject, key=KEY, add=add).certificate)


def dns(value: str) -> x509.DNSName:
    return x509.DNSName._init_without_validation(value)


def mail(value: str) -> x509.RFC822Name:
    return x509.RFC822Name._init_without_validation(value)


def uri(value: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier._init_without_validation(value)


def network(value: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_network(value))


def address(value: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(value))


def directory(value: str) -> x509.DirectoryName:
    return x509.DirectoryName(pki.name(value))


INSIDE = [
    (dns("operator.example"), dns("operator.example")),
    (dns("operator.example"), dns("enb.ran.OPERATOR.example")),
    (dns("operator.example"), dns("enb.operator.example.")),
    (dns("operator.example"), dns("*.operator.example")),
    (dns(".operator.example"), dns("enb.operator.example")),
    (dns(""), dns("anything.at.all")),
    (network("10.0.0.0/8"), address("10.1.2.3")),
    (network("2001:db8::/32"), address("2001:db8::1")),
    (mail("operator.example"), mail("ops@Operator.example")),
    (mail("ops@operator.example"), mail("ops@operator.EXAMPLE")),
    (mail(".operator.example"), mail("ops@mail.operator.example")),
    (mail("operator.example"), mail('"odd@local"@operator.example')),
    (uri("nf.operator.example"), uri("https://nf.operator.example/path")),
    (uri(".operator.example"), uri("https://user@nf.operator.example:8443?query")),
    (directory("O=Operator"), directory("CN=a,O=Operator")),
    (directory("O=Operator"), directory("O=OPERATOR")),
]
OUTSIDE = [
    (dns("operator.example"), dns("notoperator.example")),
    (dns("operator.example"), dns("operator.example.evil")),
    (dns("operator.example"), dns("example")),
    (dns(".operator.example"), dns("operator.example")),
    (network("10.0.0.0/8"), address("11.0.0.1")),
    (network("10.0.0.0/8"), address("2001:db8::1")),
    (mail("operator.example"), mail("ops@mail.operator.example")),
    (mail("ops@operator.example"), mail("Ops@operator.example")),
    (mail(".operator.example"), mail("ops@operator.example")),
    (uri("operator.example"), uri("https://nf.operator.example/")),
    (uri(".operator.example"), uri("https://operator.example/")),
    (uri("operator.example"), uri("https://evil.example/operator.example")),
    (directory("CN=b,O=Operator"), directory("CN=a,O=Operator")),
    (directory("CN=a,O=Operator"), directory("O=Operator")),
]
INCOMPARABLE = [
    (mail("operator.example"), mail("no-at-sign")),
    (mail("operator.example"), mail("@operator.example")),
    (uri("operator.example"), uri("urn:uuid:6f1d3e8a")),
    (uri("operator.example"), uri("https://192.0.2.1/")),
    (uri("operator.example"), uri("https://[2001:db8::1]/")),
    (uri("operator.example"), uri("https://evil.example\\@operator.example/")),
]


@pytest.mark.parametrize(("subtree", "name"), INSIDE)
def test_a_name_inside_a_subtree(subtree: x509.GeneralName, name: x509.GeneralName) -> None:
    below = holder(name, subject=x509.Name([]))
    assert violation(ca(permitted=[subtree]), below) is None
    assert "is in an excluded subtree" in str(violation(ca(excluded=[subtree]), below))


@pytest.mark.parametrize(("subtree", "name"), OUTSIDE)
def test_a_name_outside_a_subtree(subtree: x509.GeneralName, name: x509.GeneralName) -> None:
    below = holder(name, subject=x509.Name([]))
    assert violation(ca(excluded=[subtree]), below) is None
    assert "is in no permitted subtree" in str(violation(ca(permitted=[subtree]), below))


@pytest.mark.parametrize(("subtree", "name"), INCOMPARABLE)
def test_a_name_that_cannot_be_compared_is_refused_either_way(
    subtree: x509.GeneralName, name: x509.GeneralName
) -> None:
    below = holder(name, subject=x509.Name([]))
    assert "cannot be compared" in str(violation(ca(permitted=[subtree]), below))
    assert "cannot be compared" in str(violation(ca(excluded=[subtree]), below))


def test_a_ca_without_constraints_may_issue_for_anything() -> None:
    assert violation(read(pki.authority("CN=CA").certificate), holder(dns("a"))) is None


def test_one_permitted_subtree_of_several_is_enough_and_every_name_needs_one() -> None:
    both = ca(permitted=[dns("a.example"), dns("b.example")])
    assert violation(both, holder(dns("x.a.example"), dns("x.b.example"))) is None
    assert "dns:x.c.example" in str(violation(both, holder(dns("x.a.example"), dns("x.c.example"))))


def test_an_excluded_subtree_wins_over_a_permitted_one() -> None:
    holes = ca(permitted=[dns("example")], excluded=[dns("secret.example")])
    assert violation(holes, holder(dns("a.example"))) is None
    assert violation(holes, holder(dns("a.secret.example")))


@pytest.mark.parametrize("name", ["*.example", "f*.example"])
def test_a_wildcard_may_not_stand_for_an_excluded_host(name: str) -> None:
    assert violation(ca(excluded=[dns("foo.example")]), holder(dns(name)))
    assert violation(ca(excluded=[dns("foo.other")]), holder(dns(name))) is None


def test_a_wildcard_in_an_odd_place_cannot_be_compared() -> None:
    assert "cannot be compared" in str(violation(ca(excluded=[dns("foo.other")]), holder(dns("a.*.example"))))


def test_forms_of_name_that_are_not_constrained_are_free() -> None:
    assert violation(ca(permitted=[dns("a.example")]), holder(address("192.0.2.1"), uri("urn:x"))) is None


def test_the_subject_is_a_directory_name() -> None:
    only = ca(permitted=[directory("O=Operator")])
    assert violation(only, holder()) is None
    assert '"CN=a,O=Elsewhere"' in str(violation(only, holder(subject="CN=a,O=Elsewhere")))


def test_an_empty_subject_is_no_name() -> None:
    assert violation(ca(permitted=[directory("O=Operator")]), holder(dns("a"), subject=x509.Name([]))) is None


def test_a_mail_address_in_the_subject_counts() -> None:
    only = ca(permitted=[mail("operator.example")])
    good = x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, "ops@operator.example")])
    bad = x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, "ops@evil.example")])
    assert violation(only, holder(subject=good)) is None
    assert "the mail address in" in str(violation(only, holder(subject=bad)))


def test_a_form_that_is_not_supported_is_refused_where_it_appears() -> None:
    kind = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
    for form in (x509.OtherName(kind, b"\x0c\x01a"), x509.RegisteredID(kind)):
        limited = ca(permitted=[form])
        assert violation(limited, holder(dns("a"))) is None
        assert "not supported" in str(violation(limited, holder(form)))


def test_other_names_of_another_type_are_free() -> None:
    one, other = x509.ObjectIdentifier("1.2.3"), x509.ObjectIdentifier("1.2.4")
    below = holder(x509.OtherName(other, b"\x05\x00"))
    assert violation(ca(permitted=[x509.OtherName(one, b"\x05\x00")]), below) is None


def test_a_subtree_with_a_minimum_is_refused() -> None:
    # NameConstraints with permitted subtree dns:a.b and minimum 1: RFC 5280 allows 0 only, and the library drops it.
    value = bytes.fromhex("300ca00a30088203612e62800101")
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.30"), value)
    limited = read(pki.authority("CN=CA", critical=[odd]).certificate)
    assert "not supported" in str(violation(limited, holder(dns("x.a.b"))))


def test_work_is_bounded() -> None:
    side = int(MAXIMUM_COMPARISONS**0.5) + 1
    many = ca(excluded=[dns(f"{number}.example") for number in range(side)])
    assert "too many names" in str(violation(many, holder(*(dns(f"{number}.other") for number in range(side)))))


LABELS = st.lists(st.sampled_from(["a", "b", "example"]), min_size=1, max_size=4).map(".".join)


@given(LABELS, LABELS)
def test_host_names_are_within_exactly_when_they_end_in_the_subtree_at_a_dot(name: str, subtree: str) -> None:
    inside = f".{name}".endswith(f".{subtree}")
    below = holder(dns(name))
    assert (violation(ca(permitted=[dns(subtree)]), below) is None) is inside
    assert (violation(ca(excluded=[dns(subtree)]), below) is not None) is inside
