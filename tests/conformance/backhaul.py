"""The 3GPP contribution that profiles CMPv2 for the backhaul, held to by the profile ``backhaul``."""

from __future__ import annotations

from typing import Final

from tests.conformance.table import Chapter, at, done, family

_KINDS, _PROVING, _PROFILES = "worker/test_key_kinds", "cmp/test_proving", "cmp/test_profiles"
_BOUNCY_CASTLE = "interop/test_bouncycastle"
_SOURCE: Final = "contribution"


CHAPTERS: Final = (
    Chapter(
        title="The contribution: CMPv2 profile for the backhaul",
        about="All that it asks for works; its old algorithms in the profile `backhaul` only, and nowhere else.",
        rows=(
            done(
                "message ir",
                _SOURCE,
                at(_KINDS, "backhaul_speaks_with_servers_of_its_days_from_first_to_last"),
                at(_BOUNCY_CASTLE, "the_mac_bouncy_castle_takes_when_told_nothing_is_for_the_backhaul_profile"),
            ),
            done("message cr", _SOURCE, at("worker/test_enrollment", "every_request_for_a_first_certificate")),
            done("message p10cr", _SOURCE, at(_KINDS, "backhaul_takes_an_old_vendors_key_and_asks_by_pkcs10")),
            done(
                "message popdecr: a challenge for a key that cannot sign is answered, and nothing else is",
                "contribution, RFC 4210 5.2.8.3",
                at(_PROVING, "a_key_is_certified_by_a_challenge"),
                at(_PROVING, "an_rsa_key_is_certified_by_the_forms_of_rfc_4210"),
                at(
                    _PROVING, "a_challenge_that_is_none_is_not_answered", "a_challenge_nobody_asked_for_is_not_answered"
                ),
                at("worker/test_key_usage", "a_key_that_does_not_sign_is_enrolled"),
            ),
            done(
                "message kur",
                _SOURCE,
                at(_KINDS, "backhaul_speaks_with_servers_of_its_days_from_first_to_last"),
                at(_PROVING, "further_certificates_and_renewals_too"),
            ),
            done(
                "message rr",
                _SOURCE,
                at("worker/test_refreshing", "a_revocation_is_done_by_the_ca_and_remembered_here"),
                at("cmp/test_request", "a_revocation_names_issuer_number_and_reason"),
            ),
            done(
                "message error: the CA hears that a request is given up, in this profile only",
                "contribution, RFC 9810 5.3.21",
                at("worker/test_key_usage", "only_the_contributions_profile_tells_the_ca_that_an_answer_was_no_good"),
                at("worker/test_key_usage", "a_challenge_that_is_none_ends_with_an_error_and_no_number"),
                at("worker/test_key_usage", "a_ca_that_never_decides_is_told_to_forget_it"),
                at(_PROVING, "the_ca_is_told_that_a_request_is_given_up"),
            ),
            done(
                "message certConf",
                _SOURCE,
                at(_KINDS, "backhaul_speaks_with_servers_of_its_days_from_first_to_last"),
                at(_BOUNCY_CASTLE, "a_confirmation_of_something_else_is_noticed"),
            ),
            done(
                "message pollReq",
                _SOURCE,
                at("cmp/test_transaction_polling", "a_request_under_consideration_is_polled_for"),
                at("worker/test_key_usage", "a_ca_that_never_decides_is_told_to_forget_it"),
            ),
            done(
                "protection by MAC: PasswordBasedMac with a SHA-1 one-way function and HMAC-SHA1 under either OID",
                "contribution, RFC 4210 5.1.3.1",
                at(_KINDS, "backhaul_speaks_with_servers_of_its_days_from_first_to_last"),
                at(_BOUNCY_CASTLE, "combination[bouncy-castle-ir-passwordbasedmac-sha1-hmac-sha1-ietf-ec-p256]"),
                at("cmp/test_protection", "what_we_protect_we_verify"),
            ),
            done(
                "a MAC with SHA-1 as one-way function is refused in every other profile",
                "RFC 9045 4.1",
                at(_KINDS, "a_mac_with_an_old_one_way_function_is_refused"),
                at("cmp/test_protection", "an_old_one_way_function_needs_a_legacy_profile"),
            ),
            done(
                "protection by signature, with an earlier certificate of ours or the vendor's key",
                _SOURCE,
                at(_KINDS, "backhaul_takes_an_old_vendors_key_and_asks_by_pkcs10"),
                at(_KINDS, "backhaul_speaks_with_servers_of_its_days_from_first_to_last"),
            ),
            done(
                "RSA keys with 1024 bits; refused in every other profile",
                _SOURCE,
                at(_KINDS, "backhaul_speaks_with_servers_of_its_days_from_first_to_last"),
                at(_KINDS, "a_weak_key_is_not_certified_even_if_nobody_looked_at_the_configuration"),
                at(_KINDS, "a_weak_key_made_elsewhere_is_for_backhaul_only", "a_vendors_weak_key_protects_nothing"),
            ),
            done(
                "DSA keys with 1024 bits and dsa-with-sha1; refused in every other profile",
                _SOURCE,
                at(_KINDS, "backhaul_speaks_with_servers_of_its_days_from_first_to_last"),
                at(_KINDS, "backhaul_takes_an_old_vendors_key_and_asks_by_pkcs10"),
                at("cmp/test_algorithms", "sha_1_and_md5_and_dsa_are_legacy_everywhere"),
            ),
            done(
                "signatures with SHA-1, and with MD5 when they are asked for by name",
                _SOURCE,
                at(_PROFILES, "backhaul_signs_with_sha1_and_with_md5_only_when_told_to"),
                at(_PROFILES, "a_legacy_signature_is_made_in_no_other_profile"),
                at(_KINDS, "an_answer_with_an_old_signature_is_refused"),
                at(_KINDS, "an_old_signature_is_not_made_even_if_nobody_looked_at_the_configuration"),
            ),
            done(
                "certificates signed with SHA-1 or MD5 are accepted here; elsewhere refused, and the CA is told",
                _SOURCE,
                at(_KINDS, "backhaul_speaks_with_servers_of_its_days_from_first_to_last"),
                at(_KINDS, "an_old_certificate_is_refused_and_the_ca_is_told"),
            ),
            done(
                "proof of possession by signature over the CertRequest, poposkInput left out",
                "contribution, RFC 4211 4.1",
                at("cmp/test_possession", "with_a_subject_the_whole_request_is_signed"),
                at(_KINDS, "backhaul_speaks_with_servers_of_its_days_from_first_to_last"),
            ),
            done(
                "confirmation is mandatory: implicit confirmation cannot be configured",
                _SOURCE,
                at("config/test_rules", "what_cannot_work_together_is_refused"),
                at(_PROFILES, "legacy_is_one_switch_in_every_part_of_a_profile"),
            ),
            done(
                "key usage digitalSignature is asked for and must come back; a key that does not sign asks for its own",
                _SOURCE,
                at("cmp/test_request", "what_is_asked_for_is_a_key_for_signatures_and_the_names"),
                at(_PROVING, "the_certificate_is_for_what_the_key_can_do"),
                at(_PROVING, "a_certificate_without_the_right_key_usage_is_refused"),
                family("check_16_", "cmp/test_certificate_checks"),
            ),
            done(
                "whoever uses the profile is warned why",
                _SOURCE,
                at("config/test_key_rules", "using_the_profile_for_old_servers_is_warned_about_with_the_reason"),
                at(_KINDS, "other_profiles_do_not_mention_its_weakness"),
            ),
        ),
    ),
)
