from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cmp import trust
from agent.cmp.certificates import Facts, load, signature_verifies
from agent.cmp.errors import CmpError, UntrustedPeer
from agent.cmp.trust import MODERN, Cause, Role, UntrustedPath, authorise, build_path
from tests.unit.cmp import pki
from tests.unit.cmp.pki import DAY, LEGACY, NOW, Holder, authority, issue

try:
    from cryptography.hazmat.primitives.asymmetric import mldsa

    ML_DSA: list[Callable[[], Any]] = [
        mldsa.MLDSA44PrivateKey.generate, mldsa.MLDSA65PrivateKey.generate, mldsa.MLDSA87PrivateKey.generate,
    ]  # fmt: skip
except ImportError:  # an older library: such certificates are refused there, which another test holds
    ML_DSA = []

ROOT = authority("CN=Root,O=Operator")
SUB = authority("CN=Issuing CA,O=Operator", ROOT)
LEAF = issue("CN=ra.operator.example,O=Operator", SUB)
STRANGER = authority("CN=Root,O=Somebody Else")


def path_of(
    leaf: Holder | x509.Certificate,
    *,
    sent: Sequence[Holder] = (SUB,),
    anchors: Sequence[Holder] = (ROOT,),
    at: datetime = NOW,
    rules: trust.AlgorithmRules = MODERN,
    **options: Any,
) -> tuple[x509.Certificate, ...]:
    certificate = leaf.certificate if isinstance(leaf, Holder) else leaf
    return build_path(
        certificate,
        intermediates=[one.certificate for one in sent],
        anchors=[one.certificate for one in anchors],
        at=at,
        rules=rules,
        **options,
    )


def refusal(leaf: Holder | x509.Certificate, **options: Any) -> UntrustedPath:
    with pytest.raises(UntrustedPath) as caught:
        path_of(leaf, **options)
    assert caught.value.remedy
    return caught.value


def certificates(*holders: Holder) -> tuple[x509.Certificate, ...]:
    return tuple(one.certificate for one in holders)


# --- good paths ---------------------------------------------------------------------------------------------------


def test_a_path_leads_over_an_intermediate_to_the_anchor() -> None:
    assert path_of(LEAF) == certificates(LEAF, SUB, ROOT)


def test_a_leaf_directly_below_the_anchor_needs_nothing_else() -> None:
    leaf = issue("CN=a", ROOT)
    assert path_of(leaf, sent=()) == certificates(leaf, ROOT)


def test_order_and_strangers_among_the_certificates_sent_do_not_matter() -> None:
    sent = (STRANGER, LEAF, ROOT, issue("CN=noise", STRANGER), SUB, SUB)
    assert path_of(LEAF, sent=sent) == certificates(LEAF, SUB, ROOT)


def test_an_anchor_need_not_be_a_root() -> None:
    assert path_of(LEAF, sent=(), anchors=(SUB,)) == certificates(LEAF, SUB)


def test_the_shortest_way_to_an_anchor_is_taken_when_a_ca_is_an_anchor_too() -> None:
    assert path_of(LEAF, anchors=(ROOT, SUB)) == certificates(LEAF, SUB)


def test_a_leaf_that_is_an_anchor_is_trusted_directly() -> None:
    assert path_of(LEAF, sent=(), anchors=(LEAF,)) == certificates(LEAF)


def test_an_expired_leaf_that_is_an_anchor_is_refused() -> None:
    old = issue("CN=ra", SUB, end=NOW - DAY)
    assert refusal(old, anchors=(old,)).cause is Cause.EXPIRED


def test_a_cross_certified_twin_of_an_anchor_is_represented_by_the_anchor() -> None:
    twin = authority("CN=Root,O=Operator", STRANGER, key=ROOT.key)
    assert path_of(twin, sent=()) == certificates(ROOT)


def test_below_a_cross_certified_twin_the_anchor_itself_ends_the_path() -> None:
    twin = authority("CN=Root,O=Operator", STRANGER, key=ROOT.key)
    assert path_of(LEAF, sent=(twin, SUB)) == certificates(LEAF, SUB, ROOT)


def test_an_expired_anchor_is_bypassed_over_its_cross_certificate() -> None:
    old = authority("CN=Old Root", end=NOW - DAY)
    cross = authority("CN=Old Root", ROOT, key=old.key)
    leaf = issue("CN=a", old)
    assert path_of(leaf, sent=(cross,), anchors=(old, ROOT)) == certificates(leaf, cross, ROOT)


def test_a_root_rolled_over_to_a_new_key_is_reached_over_its_link_certificate() -> None:
    new = authority("CN=Root,O=Operator")
    link = authority("CN=Root,O=Operator", ROOT, key=new.key)
    leaf = issue("CN=a", new)
    assert path_of(leaf, sent=(link,)) == certificates(leaf, link, ROOT)


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


def test_an_issuer_written_in_another_string_type_and_case_is_found() -> None:
    spelled = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "OPERATOR", x509.name._ASN1Type.PrintableString),
        x509.NameAttribute(NameOID.COMMON_NAME, "Issuing  CA", x509.name._ASN1Type.PrintableString),
    ])  # fmt: skip
    leaf = issue("CN=a", SUB, issuer=spelled)
    assert path_of(leaf) == certificates(leaf, SUB, ROOT)


def test_a_version_1_anchor_counts_as_a_ca() -> None:
    root = pki.version_1(ROOT, ROOT.key)
    leaf = issue("CN=a", root)
    assert path_of(leaf, anchors=(root,)) == certificates(leaf, root)


def test_a_good_path_is_found_among_bad_ones_of_the_same_name() -> None:
    fakes = [authority("CN=Issuing CA,O=Operator", STRANGER) for _ in range(10)]
    assert path_of(LEAF, sent=(*fakes, SUB)) == certificates(LEAF, SUB, ROOT)


def test_an_expired_intermediate_beside_its_successor_does_no_harm() -> None:
    old = authority("CN=Issuing CA,O=Operator", ROOT, key=SUB.key, end=NOW - DAY)
    assert path_of(LEAF, sent=(old, SUB)) == certificates(LEAF, SUB, ROOT)


def test_unreadable_certificates_beside_good_ones_do_no_harm() -> None:
    junk = Holder(pki.unreadable(SUB), SUB.key)
    assert path_of(LEAF, sent=(junk, SUB), anchors=(junk, ROOT)) == certificates(LEAF, SUB, ROOT)


@pytest.mark.parametrize(
    "generate",
    [
        lambda: rsa.generate_private_key(65537, 2048),
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate,
        ed448.Ed448PrivateKey.generate,
        *ML_DSA,
    ],
)
def test_modern_keys_sign_paths(generate: Callable[[], Any]) -> None:
    root = authority("CN=Root", key=generate())
    leaf = issue("CN=a", root, key=generate())
    assert path_of(leaf, sent=(), anchors=(root,)) == certificates(leaf, root)


def test_rsa_pss_signs_paths() -> None:
    root = authority("CN=Root", key=rsa.generate_private_key(65537, 2048), pss=True)
    leaf = issue("CN=a", root, pss=True)
    assert path_of(leaf, sent=(), anchors=(root,)) == certificates(leaf, root)


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


def test_how_an_anchor_signed_itself_does_not_matter() -> None:
    key = rsa.generate_private_key(65537, 2048)
    root = pki.weakened(authority("CN=Root", key=key), key, "rsa-sha1")
    leaf = issue("CN=a", root)
    assert path_of(leaf, anchors=(root,)) == certificates(leaf, root)


def test_eight_certificates_are_not_too_many() -> None:
    chain = [authority("CN=0")]
    for depth in range(1, 8):
        chain.append(authority(f"CN={depth}", chain[-1]))
    assert path_of(chain[-1], sent=chain, anchors=chain[:1]) == certificates(*reversed(chain))


# --- refusals -----------------------------------------------------------------------------------------------------


def test_without_anchors_nothing_is_trusted() -> None:
    error = refusal(LEAF, anchors=())
    assert error.cause is Cause.NO_ANCHORS
    assert "no trust anchor is configured" in str(error)


def test_an_unknown_issuer_is_named() -> None:
    error = refusal(LEAF, sent=())
    assert error.cause is Cause.NO_ISSUER
    assert '"CN=Issuing CA,O=Operator", who issued "CN=ra.operator.example,O=Operator"' in str(error)
    assert "CN=Root" in str(error)


def test_a_root_sent_along_is_never_an_anchor() -> None:
    error = refusal(issue("CN=a", STRANGER), sent=(STRANGER,))
    assert error.cause is Cause.NO_ISSUER
    assert "was sent along but is not among the trust anchors" in str(error)


def test_a_self_signed_leaf_is_not_trusted() -> None:
    assert refusal(issue("CN=a")).cause is Cause.NO_ISSUER


def test_a_signature_by_another_key_under_the_same_name_is_refused() -> None:
    impostor = authority("CN=Issuing CA,O=Operator", STRANGER)
    error = refusal(issue("CN=a", impostor))
    assert error.cause is Cause.SIGNATURE
    assert '"CN=a" is not signed with the key of "CN=Issuing CA,O=Operator" that we know' in str(error)


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


def test_a_damaged_anchor_is_refused() -> None:
    octets = bytearray(ROOT.octets)
    octets[-1] ^= 1
    damaged = Holder(x509.load_der_x509_certificate(bytes(octets)), ROOT.key)
    error = refusal(LEAF, anchors=(damaged,))
    assert error.cause is Cause.SIGNATURE
    assert "damaged" in str(error)


def test_nine_certificates_are_too_many() -> None:
    chain = [authority("CN=0")]
    for depth in range(1, 9):
        chain.append(authority(f"CN={depth}", chain[-1]))
    assert refusal(chain[-1], sent=chain, anchors=chain[:1]).cause is Cause.LIMIT


def test_certificates_that_certify_each_other_end_the_search() -> None:
    one, other = pki.new_key(), pki.new_key()
    a = authority("CN=A", Holder(authority("CN=B", key=other).certificate, other), key=one)
    b = authority("CN=B", Holder(authority("CN=A", key=one).certificate, one), key=other)
    assert refusal(issue("CN=a", a), sent=(a, b)).cause is Cause.NO_ISSUER


def test_a_mesh_of_valid_certificates_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"CN={number}" for number in range(6)]
    keys = [pki.new_key() for _ in names]
    roots = [authority(one, key=key) for one, key in zip(names, keys, strict=True)]
    mesh = [
        authority(names[below], roots[above], key=keys[below])
        for below in range(6) for above in range(6) if below != above
    ]  # fmt: skip
    checks: list[str] = []

    def counted(facts: Facts, issuer: Facts) -> bool:
        checks.append(facts.who)
        return signature_verifies(facts, issuer)

    monkeypatch.setattr("agent.cmp.trust.signature_verifies", counted)
    assert refusal(issue("CN=a", roots[0]), sent=mesh).cause is Cause.LIMIT
    assert len(checks) == trust.MAXIMUM_CHECKS


def test_an_unreadable_leaf_is_refused() -> None:
    assert refusal(pki.unreadable(LEAF)).cause is Cause.MALFORMED


def test_the_failure_of_the_path_that_came_nearest_is_told() -> None:
    old = authority("CN=Issuing CA,O=Operator", ROOT, key=SUB.key, end=NOW - DAY)
    fake = authority("CN=Issuing CA,O=Operator", STRANGER)
    assert refusal(LEAF, sent=(fake, old)).cause is Cause.EXPIRED


def test_names_from_a_certificate_cannot_forge_a_log_line() -> None:
    evil = issue(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a\nenrolld: trusted \x1b[32m")]), STRANGER)
    text = str(refusal(evil))
    assert "\n" not in text
    assert "\x1b" not in text


# --- properties ---------------------------------------------------------------------------------------------------


def accepted(octets: Sequence[bytes]) -> bool:
    leaf, sub, root = octets
    try:
        path = build_path(load(leaf), intermediates=[load(sub)], anchors=[load(root)], at=NOW, rules=MODERN)
    except CmpError:
        return False
    return len(path) == 3


def lazily_accepted(octets: Sequence[bytes]) -> bool:
    try:
        leaf, sub, root = (x509.load_der_x509_certificate(one) for one in octets)
    except (ValueError, x509.InvalidVersion):
        return False
    try:
        build_path(leaf, intermediates=[sub], anchors=[root], at=NOW, rules=MODERN)
    except CmpError:
        return False
    return True


GOOD = (LEAF.octets, SUB.octets, ROOT.octets)


def test_the_path_that_is_mutated_below_is_good() -> None:
    assert accepted(GOOD)
    assert lazily_accepted(GOOD)


@settings(max_examples=300)
@given(st.integers(0, 2), st.data())
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_no_flipped_bit_anywhere_in_a_good_path_is_accepted(which: int, data: st.DataObject) -> None:
    octets = bytearray(GOOD[which])
    bit = data.draw(st.integers(0, 8 * len(octets) - 1))
    octets[bit // 8] ^= 1 << bit % 8
    mutated = [*GOOD[:which], bytes(octets), *GOOD[which + 1 :]]
    assert not accepted(mutated)
    assert not lazily_accepted(mutated)


@settings(max_examples=100)
@given(st.integers(0, 2), st.data())
def test_no_truncated_or_lengthened_certificate_is_accepted(which: int, data: st.DataObject) -> None:
    cut = GOOD[which][: data.draw(st.integers(0, len(GOOD[which]) - 1))]
    octets = data.draw(st.sampled_from([cut, GOOD[which] + b"\x00", GOOD[which] + cut + b"\x00"]))
    mutated = [*GOOD[:which], octets, *GOOD[which + 1 :]]
    assert not accepted(mutated)
    assert not lazily_accepted(mutated)


KEYS = [pki.new_key() for _ in range(6)]
DEFECTS: dict[Cause, Callable[[int], dict[str, Any]]] = {
    Cause.EXPIRED: lambda _: {"end": NOW - DAY},
    Cause.NOT_YET_VALID: lambda _: {"start": NOW + DAY},
    Cause.WEAK: lambda _: {"key": ec.generate_private_key(ec.SECP256K1())},
    Cause.CRITICAL_EXTENSION: lambda _: {"critical": [x509.InhibitAnyPolicy(0)]},
    Cause.NOT_A_CA: lambda _: {"key_usage": pki.usage("digital_signature")},
    Cause.PATH_LENGTH: lambda below: {"path_length": below - 1},
    Cause.NAME_CONSTRAINT: lambda _: {
        "add": [x509.NameConstraints(None, [x509.DirectoryName(x509.Name([]))])],
    },
    Cause.SIGNATURE: lambda _: {"stranger": True},
    Cause.NO_ISSUER: lambda _: {"issuer": pki.name("CN=Nobody")},
}


def chain(depth: int, defect_at: int = -1, options: dict[str, Any] | None = None) -> list[Holder]:
    """Root first; the certificate number ``defect_at`` is issued with ``options``."""
    made: list[Holder] = []
    for level in range(depth):
        special = dict(options or {}) if level == defect_at else {}
        by = made[-1] if made else None
        if special.pop("stranger", False) and by is not None:
            by = Holder(by.certificate, KEYS[5])
        made.append(authority(f"CN=level {level}", by, **{"key": KEYS[level], **special}))
    return made


@settings(max_examples=30)
@given(st.integers(1, 5))
def test_random_good_chains_are_accepted(depth: int) -> None:
    made = chain(depth)
    assert path_of(made[-1], sent=made, anchors=made[:1]) == certificates(*reversed(made))


@settings(max_examples=150)
@given(st.integers(1, 5), st.sampled_from(sorted(DEFECTS)), st.data())
def test_random_chains_with_one_defect_are_refused(depth: int, cause: Cause, data: st.DataObject) -> None:
    # Some defects need an issuer above, some a certificate below; the root has no issuer, the leaf issues nothing.
    first = 1 if cause in {Cause.SIGNATURE, Cause.NO_ISSUER} else 0
    last = depth - 1
    if cause in {Cause.NOT_A_CA, Cause.NAME_CONSTRAINT}:
        last -= 1
    if cause is Cause.PATH_LENGTH:
        last -= 2
    if first > last:
        cause, first, last = Cause.EXPIRED, 0, depth - 1
    at = data.draw(st.integers(first, last))
    made = chain(depth, at, DEFECTS[cause](depth - 2 - at))
    assert refusal(made[-1], sent=made, anchors=made[:1]).cause is cause


# --- who may speak for the CA -------------------------------------------------------------------------------------

CMC_RA = x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")])
CMC_CA = x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.27")])
NEW = path_of(issue("CN=enb-4711", SUB))


def role_of(signer: Holder, *, anchors: Sequence[Holder] = (ROOT,), **options: Any) -> Role:
    path = path_of(signer, anchors=anchors)
    return authorise(signer.certificate, path, **options).role


def not_authorised(signer: Holder, **options: Any) -> str:
    with pytest.raises(UntrustedPeer) as caught:
        role_of(signer, **options)
    assert caught.value.remedy
    return str(caught.value)


@pytest.mark.parametrize("issued_path", [None, NEW], ids=["before", "with-a-certificate"])
@pytest.mark.parametrize(
    "extensions",
    [
        [],
        [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.IPSEC_IKE])],
        [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])],
    ],
)
def test_another_base_station_of_the_same_operator_may_not_answer(
    issued_path: tuple[x509.Certificate, ...] | None, extensions: list[x509.ExtensionType]
) -> None:
    neighbour = issue("CN=enb-4712,O=Operator", SUB, key_usage=pki.usage("digital_signature"), add=extensions)
    text = not_authorised(neighbour, issued_path=issued_path)
    assert '"CN=enb-4712,O=Operator" belongs to the operator\'s PKI, but may not answer for the CA' in text


def test_the_issuing_ca_may_answer() -> None:
    assert role_of(SUB, issued_path=NEW) is Role.ISSUING_CA


def test_a_ca_above_the_issuing_ca_may_answer() -> None:
    assert role_of(ROOT, issued_path=NEW) is Role.ISSUING_CA


def test_the_issuing_ca_may_answer_under_a_cross_certificate() -> None:
    twin = authority("CN=Issuing CA,O=Operator", ROOT, key=SUB.key)
    assert role_of(twin, issued_path=NEW) is Role.ISSUING_CA


def test_before_there_is_a_certificate_any_ca_of_the_operator_counts() -> None:
    assert role_of(authority("CN=Other CA", ROOT)) is Role.ISSUING_CA


def test_a_ca_that_did_not_issue_the_certificate_may_not_hand_it_out() -> None:
    assert "not the one that issued our certificate" in not_authorised(authority("CN=Other CA", ROOT), issued_path=NEW)


def test_cmc_usages_make_an_ra_and_a_ca() -> None:
    assert role_of(issue("CN=ra", SUB, add=[CMC_RA]), issued_path=NEW) is Role.CMC_RA
    assert role_of(issue("CN=ra", SUB, add=[CMC_CA]), issued_path=NEW) is Role.CMC_CA


@pytest.mark.parametrize("spelling", ["CN=Operator RA,O=Operator", "CN=OPERATOR  ra,O=operator"])
def test_the_configured_sender_may_answer(spelling: str) -> None:
    ra = issue("CN=Operator RA,O=Operator", SUB)
    assert role_of(ra, expected_sender=pki.name(spelling)) is Role.CONFIGURED_NAME


def test_where_a_sender_is_configured_another_ra_may_not_answer() -> None:
    other = issue("CN=Other RA,O=Operator", SUB, add=[CMC_RA])
    text = not_authorised(other, expected_sender=pki.name("CN=Operator RA,O=Operator"))
    assert '`sender` expects "CN=Operator RA,O=Operator"' in text


def test_where_a_sender_is_configured_the_issuing_ca_still_may_answer() -> None:
    assert role_of(SUB, issued_path=NEW, expected_sender=pki.name("CN=Operator RA")) is Role.ISSUING_CA


def test_a_sender_configured_in_the_wrong_order_is_explained() -> None:
    ra = issue("CN=Operator RA,O=Operator", SUB)
    assert "the same parts in another order" in not_authorised(
        ra, expected_sender=pki.name("O=Operator,CN=Operator RA")
    )


def test_a_pinned_key_may_answer_and_no_cmc_ra_beside_it() -> None:
    ra, other = issue("CN=ra", SUB), issue("CN=other", SUB, add=[CMC_RA])
    pins = frozenset({hashlib.sha256(ra.spki).digest()})
    assert role_of(ra, pins=pins) is Role.PINNED
    assert "its key is not pinned" in not_authorised(other, pins=pins)


def test_an_anchor_that_cannot_issue_was_given_to_be_believed_itself() -> None:
    ra = issue("CN=ra", SUB)
    assert role_of(ra, anchors=(ra,), issued_path=NEW) is Role.PINNED


def test_a_signer_without_digital_signature_is_refused_and_the_quirk_is_named() -> None:
    ra = issue("CN=ra", SUB, key_usage=pki.usage("key_encipherment"), add=[CMC_RA])
    with pytest.raises(UntrustedPeer, match="digitalSignature") as caught:
        role_of(ra)
    assert "ignore-key-usage" in caught.value.remedy


def test_the_quirk_lets_it_pass_and_says_so() -> None:
    ra = issue("CN=ra", SUB, key_usage=pki.usage("key_encipherment"), add=[CMC_RA])
    relaxed = authorise(ra.certificate, path_of(ra), ignore_key_usage=True)
    assert relaxed == trust.Authorisation(role=Role.CMC_RA, key_usage_ignored=True)
    sound = issue("CN=ra", SUB, key_usage=pki.usage("digital_signature"), add=[CMC_RA])
    assert not authorise(sound.certificate, path_of(sound), ignore_key_usage=True).key_usage_ignored


def test_the_quirk_gives_nobody_a_role() -> None:
    neighbour = issue("CN=enb-4712", SUB, key_usage=pki.usage("key_encipherment"))
    assert "may not answer" in not_authorised(neighbour, ignore_key_usage=True)


def test_a_path_of_somebody_else_proves_nothing() -> None:
    neighbour = issue("CN=enb-4712", SUB)
    with pytest.raises(UntrustedPeer, match="is that of"):
        authorise(neighbour.certificate, path_of(SUB))
