"""TS 33.310 clause 9: enrolling base stations, held to by the profile ``3gpp``."""

from __future__ import annotations

from typing import Final

from tests.conformance.table import Chapter, at, done

_BOUNCY_CASTLE, _KINDS = "interop/test_bouncycastle", "worker/test_key_kinds"

CHAPTERS: Final = (
    Chapter(
        title="TS 33.310 clause 9: enrollment of base stations",
        about=(
            "The text of the clause is not public in full; rows follow what its public excerpts and annex G say, and "
            "what RFC 9483 section 1.6 says about it."
        ),
        rows=(
            done(
                "ir and kur are all there is: cr, p10cr and the like cannot be configured with the profile `3gpp`",
                "TS 33.310 9.5.1",
                at("config/test_key_rules", "the_first_requests_that_can_be_configured_are_those_of_the_profile"),
            ),
            done(
                "each HTTP message carries exactly one PKIMessage",
                "TS 33.310 9.5.2",
                at("net/test_http", "a_message_is_posted_as_rfc_9811_wants_it"),
                at("cmp/test_answer_checks", "check_2_octets_that_are_not_one_canonical_message_are_refused"),
            ),
            done(
                "ir is signed with the vendor's key; the vendor's certificate and its chain go along in extraCerts",
                "TS 33.310 9.5.4.2, annex G",
                at("interop/test_openssl_server", "an_enrollment_by_the_vendor_certificate"),
                at(_BOUNCY_CASTLE, "combination[bouncy-castle-ir-signature-ecdsa-p-256-ec-p256]"),
                at(_BOUNCY_CASTLE, "a_device_of_another_vendor_is_not_let_in"),
                at("cmp/test_transaction", "an_originator_by_certificate_shows_its_chain"),
            ),
            done(
                "extraCerts are taken in any order",
                "TS 33.310 9.5.2",
                at("cmp/test_trust", "order_and_strangers_among_the_certificates_sent_do_not_matter"),
                at("cmp/test_mutations", "extra_certs_that_do_not_matter_change_nothing"),
            ),
            done(
                "proof of possession is a signature by the key to be certified, which may differ from the vendor's",
                "TS 33.310 9.5.4.2",
                at(_KINDS, "a_signature_setting_is_for_keys_of_its_kind_only"),
                at(_BOUNCY_CASTLE, "combination[bouncy-castle-ir-signature-ecdsa-p-256-ec-p256]"),
            ),
            done(
                "without a subject (profile `3gpp-strict`), poposkInput names the vendor's identity as sender",
                "TS 33.310 9.5.4.2, RFC 4211 4.1",
                at("worker/test_first_trust", "strict_3gpp_asks_for_no_name_and_says_whose_certificate_signs"),
                at("cmp/test_possession", "without_a_subject_the_name_and_the_key_are_signed"),
                at("cmp/test_proving", "the_vendors_name_vouches_for_a_request_without_a_subject"),
                at("cmp/test_proving", "another_name_does_not_vouch"),
                at(
                    "interop/test_possession",
                    "openssl_accepts_the_proof",
                    "openssl_refuses_a_proof_over_something_else",
                ),
            ),
            done(
                "the operator may assign the name: another subject than ours is taken only if a pattern fits",
                "TS 33.310 annex G",
                at("cmp/test_transaction", "a_name_assigned_by_the_ca_is_accepted_if_the_pattern_fits_and_remarked"),
                at(
                    "cmp/test_certificate_checks",
                    "check_15_an_assigned_name_that_does_not_fit_the_pattern_is_refused_by_certconf",
                ),
            ),
            done(
                "the operator's root is installed beforehand, and then a root that comes along counts for nothing",
                "TS 33.310 9.2, 9.5.4.3",
                at("cmp/test_pitfalls", "pitfall_4_a_root_among_extra_certs_is_not_trusted"),
                at("cmp/test_pitfalls", "pitfall_4_a_signer_who_brings_his_own_root_is_refused"),
                at("cmp/test_pitfalls", "pitfall_2_roots_in_a_signed_answer_are_not_trusted"),
            ),
            done(
                "with no root installed, that of ip's extraCerts is taken once, by explicit choice, told loudly",
                "TS 33.310 9.5.4.3",
                at("cmp/test_learning", "the_root_that_comes_along_with_ip_is_trusted_and_kept"),
                at("cmp/test_learning", "without_that_choice_a_root_in_extra_certs_proves_nothing"),
                at("cmp/test_learning", "what_the_first_answer_brought_binds_the_rest_of_the_transaction"),
                at("worker/test_first_trust", "a_root_taken_on_trust_is_kept_and_told_loudly_and_only_once"),
                at("worker/test_first_trust", "once_learned_no_other_root_is_taken"),
            ),
            done(
                "certConf and pkiConf are mandatory: implicit confirmation cannot be configured",
                "TS 33.310 9.5.4, RFC 9483 1.6",
                at("config/test_rules", "what_cannot_work_together_is_refused"),
                at("interop/test_openssl_server", "an_enrollment_by_secret_with_explicit_confirmation"),
            ),
            done(
                "certConf of a first enrollment is signed with the vendor's key, not the new one",
                "TS 33.310 annex G, RFC 9483 4.1.1",
                at(_BOUNCY_CASTLE, "combination[bouncy-castle-ir-signature-ecdsa-p-256-ec-p256]"),
            ),
            done(
                "kur is signed with the operator's certificate, keeps its subject, and certifies a new key",
                "TS 33.310 9.5.4, RFC 9483 4.1.3",
                at("cmp/test_transaction", "a_key_update_is_signed_with_the_old_certificate_and_brings_another_one"),
                at(_BOUNCY_CASTLE, "combination[bouncy-castle-kur-signature-ecdsa-p-256-ec-p256]"),
            ),
            done(
                "RSA and ECDSA with SHA-256 or better; SHA-1, MD5 and RSA below 2048 bits are refused",
                "TS 33.310 6.1.1, 9.5.1",
                at(
                    _KINDS,
                    "an_answer_with_an_old_signature_is_refused",
                    "an_old_certificate_is_refused_and_the_ca_is_told",
                ),
                at(_KINDS, "a_weak_key_is_not_certified_even_if_nobody_looked_at_the_configuration"),
                at(_KINDS, "a_vendors_weak_key_protects_nothing"),
            ),
            done(
                "a key of a kind that the profile does not name is warned about",
                "TS 33.310 6.1.1",
                at("config/test_key_rules", "a_key_that_3gpp_does_not_name_is_warned_about"),
            ),
            done(
                "key usage of a gateway's certificate: digitalSignature and keyEncipherment, by setting",
                "TS 33.310 6.1.3, contribution",
                at(
                    "worker/test_renewal",
                    "the_usages_of_a_security_gateway_are_asked_for_demanded_and_asked_for_again",
                ),
                at("cmp/test_certificate_checks", "check_16_a_certificate_that_may_not_sign_is_refused_by_certconf"),
            ),
            done(
                "TLS under CMP is optional, and never a substitute for the protection of messages",
                "TS 33.310 9.5.4.3, 9.6",
                at("net/test_tls", "https_works_with_the_configured_anchor", "http_needs_no_anchors"),
                at("cmp/test_answer_checks", "check_6_an_unprotected_answer_is_refused"),
            ),
        ),
    ),
)
