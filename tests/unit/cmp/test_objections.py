from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from agent.cmp.objections import Cause
from tests.unit.cmp import pki
from tests.unit.cmp.paths import LEAF, ROOT, SUB, certificates, path_of, refusal
from tests.unit.cmp.pki import DAY, LEGACY, NOW, Holder, authority, issue


def test_a_self_issued_certificate_does_not_count_for_the_path_length() -> None:
    root = authority("CN=Root", path_length=0)
    new = authority("CN=Root")
    link = authority("CN=Root", root, key=new.key)
    leaf = issue("CN=a", new)
    assert path_of(leaf, sent=(link,), anchors=(root,)) == certificates(leaf, link, root)


def test_the_last_certificate_does_not_count_for_the_path_length_even_if_it_is_a_ca() -> None:
    root = authority("CN=Root", path_length=0)
    sub = authority("CN=Sub", root)
    assert path_of(sub, sent=(), anchors=(root,)) == certificates(sub, root)


def test_a_version_1_anchor_counts_as_a_ca() -> None:
    root = pki.version_1(ROOT, ROOT.key)
    leaf = issue("CN=a", root)
    assert path_of(leaf, anchors=(root,)) == certificates(leaf, root)


@pytest.fixture(scope="module")
def weak_root() -> Holder:
    return authority("CN=Weak Root", key=rsa.generate_private_key(65537, 1024))


@pytest.mark.parametrize("algorithm", ["rsa-sha1", "rsa-md5"])
def test_a_laxer_rule_set_accepts_old_hashes_and_short_keys(weak_root: Holder, algorithm: str) -> None:
    leaf = pki.weakened(issue("CN=a", weak_root), weak_root.key, algorithm)
    assert path_of(leaf, anchors=(weak_root,), rules=LEGACY) == certificates(leaf, weak_root)


def test_dsa_is_accepted_by_a_laxer_rule_set_only() -> None:
    root = authority("CN=Root", key=dsa.generate_private_key(1024))
    leaf = issue("CN=a", root)
    assert path_of(leaf, anchors=(root,), rules=LEGACY) == certificates(leaf, root)
    assert refusal(leaf, anchors=(root,)).cause is Cause.WEAK


@pytest.mark.parametrize("which", ["certificate", "CA certificate", "trust anchor"])
def test_an_expired_certificate_anywhere_on_the_path_is_named_with_both_times(which: str) -> None:
    past = NOW - DAY
    root = authority("CN=R", end=past if which == "trust anchor" else NOW + DAY)
    sub = authority("CN=S", root, end=past if which == "CA certificate" else NOW + DAY)
    leaf = issue("CN=L", sub, end=past if which == "certificate" else NOW + DAY)
    error = refusal(leaf, sent=(sub,), anchors=(root,))
    assert error.cause is Cause.EXPIRED
    assert f"the {which} " in str(error)
    assert "expired on 2026-05-31 12:00 UTC, and it is 2026-06-01 12:00 UTC now" in str(error)
    assert "clock" in error.remedy


def test_a_certificate_of_the_future_is_refused() -> None:
    error = refusal(issue("CN=a", SUB, start=NOW + DAY))
    assert error.cause is Cause.NOT_YET_VALID
    assert "begins on 2026-06-02 12:00 UTC, and it is 2026-06-01 12:00 UTC now" in str(error)


def test_a_small_skew_is_allowed_for_the_beginning_only() -> None:
    soon = issue("CN=a", SUB, start=NOW + timedelta(minutes=4))
    assert path_of(soon, skew=timedelta(minutes=5))[0] == soon.certificate
    gone = issue("CN=a", SUB, end=NOW - timedelta(minutes=4))
    assert refusal(gone, skew=timedelta(minutes=5)).cause is Cause.EXPIRED


def test_times_are_valid_to_their_very_second() -> None:
    exact = issue("CN=a", SUB, start=NOW, end=NOW + DAY)
    assert path_of(exact, at=NOW)
    assert path_of(exact, at=NOW + DAY)
    assert refusal(exact, at=NOW - timedelta(seconds=1)).cause is Cause.NOT_YET_VALID
    assert refusal(exact, at=NOW + DAY + timedelta(seconds=1)).cause is Cause.EXPIRED


def test_an_untrusted_clock_is_only_a_lower_bound() -> None:
    assert path_of(LEAF, at=NOW - 3000 * DAY, clock_trusted=False)
    error = refusal(LEAF, at=NOW + 3000 * DAY, clock_trusted=False)
    assert error.cause is Cause.EXPIRED
    assert "it is at least" in str(error)


def test_with_an_untrusted_clock_certificates_must_have_a_moment_in_common() -> None:
    root = authority("CN=R", end=NOW + DAY)
    leaf = issue("CN=a", root, start=NOW + 2 * DAY)
    error = refusal(leaf, anchors=(root,), clock_trusted=False)
    assert error.cause is Cause.NOT_YET_VALID
    assert 'when "CN=R" has expired' in str(error)


@pytest.mark.parametrize(
    "base_station",
    [
        issue("CN=enb-1", ROOT),
        issue("CN=enb-1", ROOT, key_usage=pki.usage("key_cert_sign")),
        issue("CN=enb-1", ROOT, critical=[x509.BasicConstraints(ca=False, path_length=None)]),
        authority("CN=enb-1", ROOT, key_usage=pki.usage("digital_signature")),
    ],
    ids=["nothing", "only-key-usage", "ca-false", "no-keyCertSign"],
)
def test_a_certificate_that_is_no_ca_issues_nothing(base_station: Holder) -> None:
    error = refusal(issue("CN=a", base_station), sent=(base_station,))
    assert error.cause is Cause.NOT_A_CA
    assert '"CN=enb-1" is not a CA, yet it issued "CN=a"' in str(error)


def test_an_anchor_that_is_no_ca_issues_nothing() -> None:
    ra = issue("CN=ra", ROOT)
    assert refusal(issue("CN=a", ra), anchors=(ra,)).cause is Cause.NOT_A_CA


def test_a_version_1_intermediate_is_no_ca() -> None:
    sub = pki.version_1(SUB, ROOT.key)
    assert refusal(issue("CN=a", sub), sent=(sub,)).cause is Cause.NOT_A_CA


def test_a_path_length_that_is_exceeded_is_refused() -> None:
    root = authority("CN=R", path_length=0)
    sub = authority("CN=S", root)
    error = refusal(issue("CN=a", sub), sent=(sub,), anchors=(root,))
    assert error.cause is Cause.PATH_LENGTH
    assert "allows 0 CAs below it, and there are 1" in str(error)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_unknown_critical_extension_is_refused_wherever_it_is(place: int) -> None:
    odd = [x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")]
    root = authority("CN=R", critical=odd if place == 2 else ())
    sub = authority("CN=S", root, critical=odd if place == 1 else ())
    error = refusal(issue("CN=L", sub, critical=odd if place == 0 else ()), sent=(sub,), anchors=(root,))
    assert error.cause is Cause.CRITICAL_EXTENSION
    assert "1.3.6.1.4.1.99999.1" in str(error)


def test_an_unknown_extension_that_is_not_critical_is_ignored() -> None:
    odd = [x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")]
    assert path_of(issue("CN=a", SUB, add=odd))


def test_a_critical_demand_for_policies_is_refused_because_they_are_not_processed() -> None:
    demand = [x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None)]
    assert refusal(issue("CN=a", SUB, critical=demand)).cause is Cause.CRITICAL_EXTENSION


@pytest.mark.parametrize("by_anchor", [True, False])
def test_a_name_outside_the_constraints_is_refused(by_anchor: bool) -> None:
    only = [x509.NameConstraints([x509.DNSName("operator.example")], None)]
    root = authority("CN=R", critical=only if by_anchor else ())
    sub = authority("CN=S", root, critical=() if by_anchor else only)
    good = issue("CN=a", sub, add=[x509.SubjectAlternativeName([x509.DNSName("ra.operator.example")])])
    bad = issue("CN=a", sub, add=[x509.SubjectAlternativeName([x509.DNSName("ra.elsewhere.example")])])
    assert path_of(good, sent=(sub,), anchors=(root,))
    error = refusal(bad, sent=(sub,), anchors=(root,))
    assert error.cause is Cause.NAME_CONSTRAINT
    assert "may not issue for dns:ra.elsewhere.example" in str(error)


def test_name_constraints_pass_over_self_issued_cas_but_not_over_the_last_certificate() -> None:
    only = [x509.NameConstraints([x509.DirectoryName(pki.name("O=Elsewhere"))], None)]
    root = authority("CN=Root", critical=only)
    new = authority("CN=Root")
    link = authority("CN=Root", root, key=new.key)
    inside, outside = issue("CN=a,O=Elsewhere", new), issue("CN=a,O=Operator", new)
    assert path_of(inside, sent=(link,), anchors=(root,))
    assert refusal(outside, sent=(link,), anchors=(root,)).cause is Cause.NAME_CONSTRAINT
    assert refusal(link, sent=(), anchors=(root,)).cause is Cause.NAME_CONSTRAINT


@pytest.mark.parametrize(("algorithm", "hash_"), [("rsa-sha1", "sha1"), ("rsa-md5", "md5")])
def test_an_old_hash_is_refused(algorithm: str, hash_: str) -> None:
    root = authority("CN=R", key=rsa.generate_private_key(65537, 2048))
    error = refusal(pki.weakened(issue("CN=a", root), root.key, algorithm), anchors=(root,))
    assert error.cause is Cause.WEAK
    assert f"a signature over {hash_}" in str(error)


def test_a_short_rsa_key_is_refused(weak_root: Holder) -> None:
    error = refusal(issue("CN=a", weak_root), anchors=(weak_root,))
    assert error.cause is Cause.WEAK
    assert "an RSA key of 1024 bits, less than 2048" in str(error)


def test_a_curve_that_is_not_allowed_is_refused() -> None:
    error = refusal(issue("CN=a", SUB, key=ec.generate_private_key(ec.SECP256K1())))
    assert error.cause is Cause.WEAK
    assert "secp256k1" in str(error)


def test_a_key_or_signature_of_a_kind_that_is_not_allowed_is_refused() -> None:
    root = authority("CN=R", key=ed25519.Ed25519PrivateKey.generate())
    assert "a key of the kind ed25519" in str(refusal(issue("CN=a", SUB, key=root.key), rules=LEGACY))
    assert "a signature with ed25519" in str(refusal(issue("CN=a", root), anchors=(root,), rules=LEGACY))


def test_a_key_of_an_unknown_kind_is_refused() -> None:
    def elsewhere(fields: list[bytes]) -> list[bytes]:
        p256, unknown = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f")
        return [field.replace(p256, unknown) for field in fields]

    error = refusal(pki.rebuild(issue("CN=a", SUB), SUB.key, elsewhere))
    assert error.cause is Cause.WEAK
    assert "unknown" in str(error)
