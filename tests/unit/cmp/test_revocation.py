"""CRLs: what proves that a certificate was revoked, what proves that it was not, and what proves nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from agent.cmp import revocation
from agent.cmp.certificates import MODERN, read
from agent.cmp.errors import MalformedMessage
from agent.cmp.revocation import Finding, Standing
from agent.cmp.sizes import MAXIMUM_LIST, SMALLER_LISTS
from tests.unit.cmp.pki import DAY, NOW, Holder, issue, usage

ROOT = issue("CN=Root", ca=True)
ISSUING = issue("CN=Issuing", ROOT, ca=True)
POINT = x509.UniformResourceIdentifier("http://crl.example/a.crl")


def points(*names: str, **more: Any) -> x509.CRLDistributionPoints:
    full = [x509.UniformResourceIdentifier(one) for one in names]
    values = {"relative_name": None, "reasons": None, "crl_issuer": None} | more
    return x509.CRLDistributionPoints([x509.DistributionPoint(full_name=full, **values)])


LEAF = issue("CN=enb", ISSUING, add=[points(POINT.value)])


def scope(**more: Any) -> x509.IssuingDistributionPoint:
    values: dict[str, Any] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**(values | more))


def crl(
    by: Holder = ISSUING,
    *revoked: Holder,
    reason: x509.ReasonFlags | None = None,
    this_update: datetime = NOW - DAY,
    next_update: datetime = NOW + DAY,
    issuer: x509.Name | None = None,
    key: Any = None,
    hash_: hashes.SHA256 | hashes.SHA3_256 | None = None,
    critical: tuple[x509.ExtensionType, ...] = (),
) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer or by.certificate.subject)
        .last_update(this_update)
        .next_update(next_update)
    )
    for one in critical:
        builder = builder.add_extension(one, critical=True)
    for holder in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(holder.certificate.serial_number)
        entry = entry.revocation_date(NOW - 2 * DAY)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key or by.key, hash_ or hashes.SHA256()).public_bytes(Encoding.DER)


def found(*lists: bytes, leaf: Holder = LEAF, at: datetime = NOW, clock_trusted: bool = True) -> Finding:
    return revocation.standing(
        read(leaf.certificate),
        read(ISSUING.certificate),
        revocation.load_all(lists),
        at=at,
        rules=MODERN,
        clock_trusted=clock_trusted,
    )


def test_a_certificate_that_is_not_listed_is_good_until_the_next_update() -> None:
    finding = found(crl(ISSUING, issue("CN=other", ISSUING)))
    assert finding.standing is Standing.GOOD
    assert finding.next_update == NOW + DAY


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (None, Standing.REVOKED),
        (x509.ReasonFlags.key_compromise, Standing.REVOKED),
        (x509.ReasonFlags.certificate_hold, Standing.ON_HOLD),
    ],
)
def test_a_listed_certificate_is_revoked_or_on_hold(reason: x509.ReasonFlags | None, expected: Standing) -> None:
    finding = found(crl(ISSUING, LEAF, reason=reason))
    assert finding.standing is expected
    assert finding.reason == (reason.value if reason else "unspecified")
    assert finding.since == NOW - 2 * DAY
    assert "enb" in finding.text


USERS = issue("CN=Users only", ISSUING)


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (crl(ISSUING, LEAF, key=ROOT.key), "is not signed with the key of"),
        (crl(ISSUING, LEAF, next_update=NOW - timedelta(hours=1)), "it was in force until"),
        (crl(ISSUING, LEAF, this_update=NOW + timedelta(hours=1)), "it begins only on"),
        (crl(ISSUING, LEAF, hash_=hashes.SHA3_256()), "a signature over sha3-256"),
        (crl(ISSUING, LEAF, critical=(x509.DeltaCRLIndicator(1),)), "the unknown critical extension 2.5.29.27"),
        (crl(ISSUING, LEAF, critical=(scope(indirect_crl=True),)), "an indirect CRL"),
        (
            crl(ISSUING, LEAF, critical=(scope(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})),)),
            "for some reasons only",
        ),
        (crl(ISSUING, LEAF, critical=(scope(only_contains_ca_certs=True),)), "for certificates of CAs only"),
        (crl(ISSUING, LEAF, critical=(scope(only_contains_attribute_certs=True),)), "for attribute certificates"),
        (
            crl(ISSUING, LEAF, critical=(scope(full_name=[x509.UniformResourceIdentifier("http://b.example")]),)),
            "for another distribution point",
        ),
        (crl(ROOT, LEAF), "no CRL is at hand"),
    ],
)
def test_a_list_that_proves_nothing_leaves_the_standing_unknown(octets: bytes, why: str) -> None:
    finding = found(octets)
    assert finding.standing is Standing.UNKNOWN
    assert why in finding.text


def test_a_list_for_the_very_distribution_point_counts() -> None:
    assert found(crl(ISSUING, LEAF, critical=(scope(full_name=[POINT], only_contains_user_certs=True),))).standing is (
        Standing.REVOKED
    )


def test_an_issuer_that_may_not_sign_lists_proves_nothing() -> None:
    ca = issue("CN=No lists", ca=True, key_usage=usage("key_cert_sign"))
    leaf = issue("CN=leaf", ca)
    octets = crl(ca, leaf)
    finding = revocation.standing(
        read(leaf.certificate), read(ca.certificate), revocation.load_all([octets]), at=NOW, rules=MODERN
    )
    assert finding.standing is Standing.UNKNOWN
    assert "may not sign CRLs" in finding.text


def test_the_newest_list_decides_and_a_forged_newer_one_does_not() -> None:
    older = crl(ISSUING, LEAF, this_update=NOW - 3 * DAY)
    assert found(older, crl(ISSUING)).standing is Standing.GOOD
    forged = crl(ISSUING, key=ROOT.key, this_update=NOW - timedelta(hours=1))
    assert found(older, forged).standing is Standing.REVOKED


def test_with_a_clock_that_lost_its_time_a_list_from_the_future_counts_and_one_from_the_past_does_not() -> None:
    early = NOW - 30 * DAY
    assert found(crl(ISSUING, LEAF), at=early, clock_trusted=False).standing is Standing.REVOKED
    late = NOW + 30 * DAY
    assert found(crl(ISSUING, LEAF), at=late, clock_trusted=False).standing is Standing.UNKNOWN


def test_every_certificate_of_a_path_but_the_anchor_has_a_standing() -> None:
    path = [one.certificate for one in (LEAF, ISSUING, ROOT)]
    lists = revocation.load_all([crl(ISSUING), crl(ROOT, ISSUING, reason=x509.ReasonFlags.ca_compromise)])
    findings = revocation.standings(path, lists, at=NOW, rules=MODERN)
    assert [one.standing for one in findings] == [Standing.GOOD, Standing.REVOKED]
    assert revocation.standings(path[-1:], lists, at=NOW, rules=MODERN) == ()


def test_only_addresses_for_http_are_taken_and_not_many() -> None:
    addresses = ["ldap://a.example/cn=a", "file:///etc/passwd", "HTTP://b.example/b", "https://c.example/c"]
    addresses += [f"http://{number}.example/" for number in range(20)]
    leaf = read(issue("CN=a", ISSUING, add=[points(*addresses)]).certificate)
    assert revocation.places(leaf) == ("HTTP://b.example/b", "https://c.example/c", *addresses[4:6])
    assert revocation.places(read(issue("CN=a", ISSUING).certificate)) == ()


def test_an_address_of_another_authority_is_left_out() -> None:
    other = points("http://a.example/", crl_issuer=[x509.DirectoryName(ROOT.certificate.subject)])
    assert revocation.places(read(issue("CN=a", ISSUING, add=[other]).certificate)) == ()


def test_a_list_too_large_is_refused_unread() -> None:
    with pytest.raises(MalformedMessage, match="more than") as caught:
        revocation.load(bytes(MAXIMUM_LIST + 1))
    assert caught.value.remedy == SMALLER_LISTS


GOOD_LIST = crl(ISSUING, LEAF, reason=x509.ReasonFlags.key_compromise)


@given(st.integers(0, len(GOOD_LIST) - 1), st.integers(1, 255))
def test_no_changed_octet_makes_a_list_say_something_else(position: int, change: int) -> None:
    octets = bytearray(GOOD_LIST)
    octets[position] ^= change
    for one in revocation.load_all([bytes(octets)]):
        finding = revocation.standing(read(LEAF.certificate), read(ISSUING.certificate), [one], at=NOW, rules=MODERN)
        assert finding.standing in {Standing.UNKNOWN, Standing.REVOKED}


@given(st.binary(max_size=200))
def test_rubbish_is_refused_with_our_own_error(octets: bytes) -> None:
    with pytest.raises(MalformedMessage):
        revocation.load(octets)
