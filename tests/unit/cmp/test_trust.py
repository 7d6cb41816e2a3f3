from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cmp import der, trust
from agent.cmp.certificates import Facts, load, signature_verifies
from agent.cmp.errors import CmpError
from agent.cmp.trust import MODERN, Cause, UntrustedPath, build_path
from tests.unit.cmp import pki
from tests.unit.cmp.paths import LEAF, ROOT, STRANGER, SUB, certificates, path_of, refusal
from tests.unit.cmp.pki import DAY, NOW, Holder, authority, issue

try:
    from cryptography.hazmat.primitives.asymmetric import mldsa

    ML_DSA: list[Callable[[], Any]] = [
        mldsa.MLDSA44PrivateKey.generate, mldsa.MLDSA65PrivateKey.generate, mldsa.MLDSA87PrivateKey.generate,
    ]  # fmt: skip
except ImportError:  # an older library: such certificates are refused there, which another test holds
    ML_DSA = []


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


def test_an_issuer_written_in_another_string_type_and_case_is_found() -> None:
    spelled = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "OPERATOR", x509.name._ASN1Type.PrintableString),
        x509.NameAttribute(NameOID.COMMON_NAME, "Issuing  CA", x509.name._ASN1Type.PrintableString),
    ])  # fmt: skip
    leaf = issue("CN=a", SUB, issuer=spelled)
    assert path_of(leaf) == certificates(leaf, SUB, ROOT)


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


@pytest.mark.parametrize(
    ("algorithm", "said"),
    [
        ("2.16.840.1.101.3.4.3.31", "a signature with the unknown algorithm 2.16.840.1.101.3.4.3.31"),  # SLH-DSA
        ("1.2.840.113549.1.1.4", "a signature over md5"),
    ],
)
def test_a_signature_of_a_kind_nobody_here_verifies_is_called_so_and_no_tampering(algorithm: str, said: str) -> None:
    root = pki.authority("CN=root")
    identifier = der.wrap(der.SEQUENCE, der.wrap(der.OBJECT_IDENTIFIER, der.oid_contents(algorithm)))
    honest = pki.issue("CN=enb", by=root)
    fields = der.values(honest.certificate.tbs_certificate_bytes)
    signed = der.wrap(der.SEQUENCE, *fields[:2], identifier, *fields[3:])
    octets = der.wrap(der.SEQUENCE, signed, identifier, der.values(honest.octets)[2])
    with pytest.raises(UntrustedPath) as caught:
        build_path(load(octets), intermediates=(), anchors=(root.certificate,), at=pki.NOW, rules=MODERN)
    assert caught.value.cause is Cause.WEAK
    assert said in str(caught.value)
    assert "tampers" not in caught.value.remedy


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
