from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cmp.acceptance import CHECKS, Accepted, Expectation, Objection, examine
from agent.cmp.errors import LocalError
from agent.cmp.failures import PKIFailureInfo
from agent.cmp.trust import MODERN
from tests.unit.cmp import pki
from tests.unit.cmp.pki import DAY, LEGACY, NOW, Holder, authority, issue

ROOT = authority("CN=Root,O=Operator")
SUB = authority("CN=Issuing CA,O=Operator", ROOT)
KEY = pki.new_key()
SUBJECT = "CN=enb-4711.ran.operator.example,O=Operator"
DNS = x509.DNSName("enb-4711.ran.operator.example")
ADDRESS = x509.IPAddress(ipaddress.ip_address("192.0.2.7"))
SIGNING = pki.usage("digital_signature", "key_encipherment")
IPSEC = ExtendedKeyUsageOID.IPSEC_IKE

WANTED = Expectation(
    public_key=pki.spki(KEY),
    subject=pki.name(SUBJECT),
    alternative_names=frozenset({DNS, ADDRESS}),
    key_usage=frozenset({"digitalSignature"}),
    extended_key_usage=frozenset({IPSEC.dotted_string}),
    anchors=(ROOT.certificate,),
    intermediates=(SUB.certificate,),
    rules=MODERN,
    now=NOW,
)


def issued(subject: str | x509.Name = SUBJECT, by: Holder = SUB, **options: Any) -> Holder:
    """Issue what was asked for, but for ``options``."""
    names = options.pop("names", [DNS, ADDRESS])
    usages = options.pop("usages", [IPSEC])
    add = [*options.pop("add", [])]
    add += [x509.SubjectAlternativeName(names)] if names else []
    add += [x509.ExtendedKeyUsage(usages)] if usages else []
    return issue(subject, by, **{"key": KEY, "key_usage": SIGNING, "add": add, **options})


def accepted(holder: Holder, wanted: Expectation = WANTED, **changes: Any) -> Accepted:
    verdict = examine(holder.octets, replace(wanted, **changes))
    assert isinstance(verdict, Accepted), verdict
    return verdict


def objection(holder: Holder | bytes, wanted: Expectation = WANTED, **changes: Any) -> Objection:
    octets = holder if isinstance(holder, bytes) else holder.octets
    verdict = examine(octets, replace(wanted, **changes))
    assert isinstance(verdict, Objection)
    assert verdict.text
    assert verdict.remedy.endswith(".")
    return verdict


def test_what_was_asked_for_is_accepted_with_its_path() -> None:
    new = issued()
    verdict = accepted(new)
    assert verdict.certificate == new.certificate
    assert verdict.path == (new.certificate, SUB.certificate, ROOT.certificate)
    assert verdict.notes == ()


def test_every_check_has_a_name_of_its_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_octets_that_are_no_certificate_are_rejected() -> None:
    verdict = objection(b"rubbish")
    assert verdict.check == "readable"
    assert verdict.fail_info is PKIFailureInfo.BAD_DATA_FORMAT


def test_two_certificates_in_one_are_rejected() -> None:
    assert objection(issued().octets * 2).check == "readable"


def test_a_version_1_certificate_is_rejected() -> None:
    assert objection(pki.version_1(issued(), SUB.key)).check == "version"


def test_a_certificate_for_another_key_is_rejected() -> None:
    verdict = objection(issued(key=pki.new_key()))
    assert verdict.check == "public-key"
    assert verdict.fail_info is PKIFailureInfo.INCORRECT_DATA
    assert "a key that is not ours" in verdict.text


def test_a_key_of_another_kind_is_rejected() -> None:
    assert objection(issued(key=ec.generate_private_key(ec.SECP384R1()))).check == "public-key"


def test_a_renewal_that_certifies_the_old_key_again_is_explained() -> None:
    old = issued(key=pki.new_key())
    verdict = objection(issued(key=old.key), old=old.certificate)
    assert verdict.check == "public-key"
    assert "the old key again" in verdict.text


def test_the_old_certificate_once_more_is_rejected() -> None:
    old = issued(serial=77)
    verdict = objection(old, old=old.certificate)
    assert verdict.check == "renewed"
    assert "already have (serial number 4d)" in verdict.text


def test_a_renewal_with_the_same_key_is_accepted_when_it_was_asked_for() -> None:
    accepted(issued(serial=78), old=issued(serial=77).certificate)


def test_the_old_serial_number_from_another_issuer_is_a_new_certificate() -> None:
    old = issued(by=ROOT, serial=77)
    accepted(issued(serial=77), old=old.certificate)


def test_another_subject_is_rejected_with_both_names() -> None:
    verdict = objection(issued("CN=enb-4712.ran.operator.example,O=Operator"))
    assert verdict.check == "subject"
    assert "enb-4712" in verdict.text
    assert "enb-4711" in verdict.text
    assert "subject-pattern" in verdict.remedy


@pytest.mark.parametrize(
    "subject",
    [
        "O=Operator,CN=enb-4711.ran.operator.example",
        "CN=enb-4711.ran.operator.example",
        "CN=enb-4711.ran.operator.example,O=Operator,C=DE",
        "CN=enb-4711.ran.operator.example+O=Operator",
    ],
)
def test_the_same_parts_in_another_structure_are_another_subject(subject: str) -> None:
    assert objection(issued(subject)).check == "subject"


def test_string_types_and_letter_case_of_the_subject_do_not_matter() -> None:
    printable = x509.name._ASN1Type.PrintableString
    spelled = x509.Name([
        x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "OPERATOR", printable),
        x509.NameAttribute(x509.NameOID.COMMON_NAME, "enb-4711.ran.operator.example", printable),
    ])  # fmt: skip
    assert accepted(issued(spelled)).notes == ()


def test_a_subject_that_matches_the_pattern_is_accepted_and_noted() -> None:
    verdict = accepted(issued("CN=enb-4711.assigned.example,O=Operator"), subject_pattern=r"CN=enb-4711\..*,O=Operator")
    assert "the CA assigned the subject" in verdict.notes[0]


def test_a_pattern_must_match_the_whole_subject() -> None:
    verdict = objection(issued("CN=enb-4711.a,O=Operator,C=XX"), subject_pattern=r"CN=enb-4711\.a,O=Operator")
    assert verdict.check == "subject"
    assert "the subject pattern does not match" in verdict.text


def test_a_pattern_does_not_shut_out_what_was_asked_for() -> None:
    accepted(issued(), subject_pattern="CN=other")


def test_a_pattern_that_is_no_regular_expression_is_our_mistake() -> None:
    with pytest.raises(LocalError, match="subject pattern"):
        examine(issued("CN=x").octets, replace(WANTED, subject_pattern="("))


def test_granted_with_mods_excuses_nothing() -> None:
    verdict = objection(issued("CN=other"), granted_with_mods=True)
    assert verdict.check == "subject"
    assert "the CA said that it changed the request" in verdict.text


def test_a_requested_alternative_name_that_is_missing_is_rejected() -> None:
    verdict = objection(issued(names=[DNS]))
    assert verdict.check == "alternative-names"
    assert "lacks the requested ip:192.0.2.7" in verdict.text
    assert objection(issued(names=[])).check == "alternative-names"


def test_alternative_names_on_top_are_accepted_and_noted() -> None:
    verdict = accepted(issued(names=[DNS, ADDRESS, x509.DNSName("extra.example")]))
    assert verdict.notes == ("the CA added dns:extra.example",)


def test_a_ca_certificate_is_rejected() -> None:
    verdict = objection(issued(ca=True))
    assert verdict.check == "not-a-ca"
    assert verdict.fail_info is PKIFailureInfo.UNACCEPTED_EXTENSION


@pytest.mark.parametrize("names", [("key_encipherment",), ("key_agreement", "content_commitment")])
def test_a_key_usage_without_digital_signature_is_rejected(names: tuple[str, ...]) -> None:
    verdict = objection(issued(key_usage=pki.usage(*names)))
    assert verdict.check == "key-usage"
    assert "lacks digitalSignature" in verdict.text


def test_every_wanted_key_usage_must_be_there() -> None:
    wanted = frozenset({"digitalSignature", "keyEncipherment"})
    accepted(issued(), key_usage=wanted)
    assert "lacks keyEncipherment" in objection(issued(key_usage=pki.usage("digital_signature")), key_usage=wanted).text


def test_a_certificate_without_key_usage_may_be_used_for_all() -> None:
    accepted(issued(key_usage=None))


def test_an_extended_key_usage_without_the_wanted_one_is_rejected() -> None:
    verdict = objection(issued(usages=[ExtendedKeyUsageOID.SERVER_AUTH]))
    assert verdict.check == "extended-key-usage"
    assert IPSEC.dotted_string in verdict.text


@pytest.mark.parametrize("usages", [[], [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]])
def test_no_or_any_extended_key_usage_may_be_used_for_all(usages: list[x509.ObjectIdentifier]) -> None:
    accepted(issued(usages=usages))


def test_an_unknown_critical_extension_is_rejected() -> None:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    verdict = objection(issued(critical=[odd]))
    assert verdict.fail_info is PKIFailureInfo.UNACCEPTED_EXTENSION
    assert "1.3.6.1.4.1.99999.1" in verdict.text
    accepted(issued(add=[odd, x509.SubjectAlternativeName([DNS, ADDRESS])], names=[]))


def test_a_certificate_that_expired_already_is_rejected_with_both_times() -> None:
    verdict = objection(issued(end=NOW - DAY))
    assert verdict.check == "validity"
    assert verdict.fail_info is PKIFailureInfo.BAD_TIME
    assert "expired on 2026-05-31 12:00 UTC already: it is 2026-06-01 12:00 UTC now" in verdict.text


def test_a_certificate_that_ends_this_second_is_rejected() -> None:
    assert objection(issued(end=NOW)).check == "validity"


def test_a_certificate_that_is_not_yet_valid_is_rejected_with_both_times() -> None:
    verdict = objection(issued(start=NOW + DAY))
    assert verdict.check == "validity"
    assert "begins only on 2026-06-02 12:00 UTC: it is 2026-06-01 12:00 UTC now" in verdict.text
    assert "clock" in verdict.remedy


def test_a_small_skew_between_the_clocks_is_allowed() -> None:
    accepted(issued(start=NOW + timedelta(minutes=4)))
    assert objection(issued(start=NOW + timedelta(minutes=6))).check == "validity"


def test_with_an_untrusted_clock_only_the_known_past_counts() -> None:
    long_ago = NOW - 2000 * DAY
    accepted(issued(), now=long_ago, clock_trusted=False)
    verdict = objection(issued(end=NOW - DAY), clock_trusted=False)
    assert verdict.check == "validity"
    assert "at least" in verdict.text


def test_a_certificate_that_ends_before_it_begins_is_rejected() -> None:
    def swap(fields: list[bytes]) -> list[bytes]:
        start, end = fields[4][2:17], fields[4][17:32]
        return [*fields[:4], fields[4][:2] + end + start, *fields[5:]]

    verdict = objection(pki.rebuild(issued(), SUB.key, swap), clock_trusted=False)
    assert verdict.check == "validity"
    assert "before it begins" in verdict.text


def test_a_life_longer_than_allowed_is_rejected() -> None:
    accepted(issued(), maximum_lifetime=200 * DAY)
    assert objection(issued(), maximum_lifetime=199 * DAY).check == "lifetime"


def test_a_chain_that_ends_nowhere_is_rejected() -> None:
    verdict = objection(issued(), intermediates=())
    assert verdict.check == "chain"
    assert verdict.fail_info is PKIFailureInfo.SIGNER_NOT_TRUSTED


def test_a_chain_to_a_root_that_only_came_along_is_rejected() -> None:
    stranger = authority("CN=Root,O=Somebody Else")
    verdict = objection(issued(by=stranger), intermediates=(stranger.certificate,))
    assert verdict.check == "chain"
    assert "not among the trust anchors" in verdict.text


def test_an_expired_ca_in_the_chain_is_rejected_as_a_matter_of_time() -> None:
    old = authority("CN=Issuing CA,O=Operator", ROOT, end=NOW - DAY)
    verdict = objection(issued(by=old), intermediates=(old.certificate,))
    assert verdict.check == "chain"
    assert verdict.fail_info is PKIFailureInfo.BAD_TIME


def test_a_weak_algorithm_is_rejected() -> None:
    root = authority("CN=Root", key=rsa.generate_private_key(65537, 2048))
    weak = pki.weakened(issued(by=root), root.key, "rsa-sha1")
    verdict = objection(weak, anchors=(root.certificate,))
    assert verdict.check == "chain"
    assert verdict.fail_info is PKIFailureInfo.BAD_ALG
    accepted(weak, anchors=(root.certificate,), rules=LEGACY)


def test_a_self_signed_certificate_is_rejected_even_if_it_is_an_anchor() -> None:
    own = issued(by=Holder(issue(SUBJECT, key=KEY).certificate, KEY))
    assert objection(own).check == "chain"
    assert "not issued by one" in objection(own, anchors=(own.certificate,)).text


def test_an_old_certificate_that_cannot_be_read_is_our_mistake() -> None:
    with pytest.raises(LocalError, match="to be renewed"):
        examine(issued().octets, replace(WANTED, old=pki.unreadable(issued())))


def test_a_requested_key_that_is_none_is_our_mistake() -> None:
    with pytest.raises(LocalError, match="SubjectPublicKeyInfo"):
        examine(issued().octets, replace(WANTED, public_key=b"\x30\x00"))


def test_a_peer_cannot_write_into_our_log() -> None:
    evil = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x\nfake entry\u202e")])
    assert objection(issued(evil)).text.isprintable()


GOOD = issued()


@settings(max_examples=200)
@given(st.data())
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_no_mutation_of_a_good_certificate_is_accepted(data: st.DataObject) -> None:
    octets = bytearray(GOOD.octets)
    bit = data.draw(st.integers(0, 8 * len(octets) - 1))
    octets[bit // 8] ^= 1 << bit % 8
    assert isinstance(examine(GOOD.octets, WANTED), Accepted)
    assert isinstance(examine(bytes(octets), WANTED), Objection)


@given(st.binary(max_size=400))
def test_no_rubbish_is_accepted(octets: bytes) -> None:
    assert isinstance(examine(octets, WANTED), Objection)
