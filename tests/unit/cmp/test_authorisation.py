from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.cmp.errors import UntrustedPeer
from agent.cmp.trust import Authorisation, Role, authorise
from tests.unit.cmp import pki
from tests.unit.cmp.paths import ROOT, SUB, path_of
from tests.unit.cmp.pki import Holder, authority, issue

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
    assert relaxed == Authorisation(role=Role.CMC_RA, key_usage_ignored=True)
    sound = issue("CN=ra", SUB, key_usage=pki.usage("digital_signature"), add=[CMC_RA])
    assert not authorise(sound.certificate, path_of(sound), ignore_key_usage=True).key_usage_ignored


def test_the_quirk_gives_nobody_a_role() -> None:
    neighbour = issue("CN=enb-4712", SUB, key_usage=pki.usage("key_encipherment"))
    assert "may not answer" in not_authorised(neighbour, ignore_key_usage=True)


def test_a_path_of_somebody_else_proves_nothing() -> None:
    neighbour = issue("CN=enb-4712", SUB)
    with pytest.raises(UntrustedPeer, match="is that of"):
        authorise(neighbour.certificate, path_of(SUB))
