"""What real servers do that a client must bear: by default where it is harmless, by a named quirk where it is not."""

from __future__ import annotations

from typing import Final

from tests.conformance.table import Chapter, at, done

_POLLING, _BOUNCY_CASTLE = "cmp/test_transaction_polling", "interop/test_bouncycastle"

CHAPTERS: Final = (
    Chapter(
        title="What real servers do",
        about="Seen with servers in the field. What weakens a check needs its quirk, told each time it is used.",
        done_word="borne",
        rows=(
            done(
                "certReqId 0 or -1 in the answer to p10cr",
                "RFC 9483 4.1.4",
                at("worker/test_field", "nokia_insta_and_ejbca_the_request_number_0_after_p10cr_is_borne"),
                at("cmp/test_answer_checks", "check_12_minus_one_is_the_number_of_a_pkcs10_request_alone"),
                at("cmp/test_transaction", "a_certificate_is_requested_checked_and_confirmed"),
            ),
            done(
                "certReqId -1 in a rejection of ir, cr or kur",
                "RFC 9483 4.1.4",
                at("worker/test_field", "a_rejection_without_the_number_of_the_request_tells_a_person_why"),
                at("cmp/test_answer_checks", "check_12_a_rejection_without_the_number_of_the_request_is_the_ca_s_no"),
            ),
            done(
                "pkiConf without extraCerts and senderKID",
                "RFC 9483 3.1, 3.3",
                at(_POLLING, "a_bare_pkiconf_is_verified_with_the_signer_kept_from_before"),
                at(_POLLING, "a_signer_who_does_not_say_who_he_is_can_still_prove_it"),
            ),
            done(
                "extraCerts that are left out once they were sent",
                "RFC 9483 3.3",
                at("worker/test_field", "nokia_insta_and_siemens_certificates_that_came_once_need_not_come_again"),
                at(_POLLING, "certificates_that_came_earlier_need_not_come_again"),
            ),
            done(
                "either nonce in the answer after polling",
                "RFC 9483 3.5, 4.4",
                at("worker/test_field", "openssl_and_strict_servers_either_nonce_after_polling_is_taken"),
                at(_POLLING, "a_request_under_consideration_is_polled_for"),
                at("interop/test_openssl_server", "a_request_that_the_server_lets_wait"),
            ),
            done(
                "delayed answers to certConf, rr and genm",
                "RFC 9483 4.4",
                at("worker/test_field", "openssl_and_siemens_every_answer_can_be_delayed"),
                at(_POLLING, "the_answer_to_certconf_can_be_delayed_too"),
                at(_POLLING, "answers_to_revocations_and_questions_can_be_delayed_too"),
            ),
            done(
                "waiting, said once more in place of pollRep",
                "RFC 9810 5.3.22",
                at(_POLLING, "waiting_said_again_is_taken_as_a_pollrep_without_a_time"),
            ),
            done(
                "the other version of CMP than ours",
                "RFC 9810 7",
                at("cmp/test_answer_checks", "check_3_the_other_of_the_two_known_versions_is_borne_and_remarked"),
            ),
            done(
                "HMAC-SHA1 under either OID, PBES2's OID for PBKDF2's, key lengths in bits",
                "RFC 9045 4.3, RFC 8018 A.5",
                at(
                    "worker/test_field",
                    "trustpoint_and_xipki_the_object_identifier_of_the_mac_is_chosen",
                    "openssl_answers_by_its_own_mac_parameters_are_verified",
                ),
                at("cmp/test_protection", "pbmac1_of_servers_in_the_field_verifies", "hmac_sha1_can_be_switched_off"),
                at(_BOUNCY_CASTLE, "combination[bouncy-castle-ir-pbmac1-hmac-sha256-ec-p256]"),
            ),
            done(
                "an unprotected error for a MAC that is refused: shown, and decides nothing",
                "RFC 9483 3.6.4",
                at("worker/test_field", "xipki_an_unprotected_error_for_a_refused_mac_is_shown_and_decides_nothing"),
            ),
            done(
                "an answer that names us as its sender, and no senderKID",
                "RFC 9483 3.1",
                at(
                    "worker/test_field",
                    "xipki_an_answer_that_repeats_the_recipient_as_sender_without_sender_kid_is_borne",
                ),
            ),
            done(
                "a server that wants sender and senderKID equal, messageTime, certProfile or our certificate first",
                "RFC 9483 3.1, 3.3",
                at("worker/test_field", "strict_servers_sender_and_sender_kid_are_equal"),
                at("worker/test_field", "xipki_the_wait_for_certconf_is_named_and_messages_carry_the_time"),
                at("worker/test_field", "xipki_and_siemens_the_certificate_profile_goes_with_every_request"),
                at("worker/test_field", "nokia_and_insta_the_own_certificate_comes_along_first"),
            ),
            done(
                "a transactionID that was answered is never used for a request again",
                "RFC 9483 3.1",
                at(
                    "worker/test_field",
                    "nokia_and_insta_an_answered_request_is_never_repeated_under_its_transaction_id",
                ),
            ),
            done(
                "a server that blocks until its poll comes: the same transaction is polled again",
                "RFC 9483 4.4",
                at("worker/test_field", "openssls_mock_nothing_is_left_open_that_it_would_wait_for"),
            ),
            done(
                "a good CMP message with HTTP status 500",
                "RFC 9811 3.1",
                at("worker/test_field", "several_servers_http_500_with_a_good_message_counts"),
                at("net/test_http", "a_cmp_body_counts_whatever_error_status_it_comes_with"),
            ),
            done(
                "HTTP 503 with a web page beyond a limit of requests: asked again when the server says",
                "RFC 9110 10.2.3",
                at("worker/test_field", "nokia_and_insta_503_with_html_is_waited_out"),
                at("worker/test_enrollment", "a_busy_server_is_tried_again_when_it_said"),
                at("net/test_answers", "retry_after_is_seconds_or_a_date_within_bounds"),
            ),
            done(
                "quirk signed-response-to-mac: a signed answer to a request by MAC",
                "RFC 9483 4.1.5",
                at("worker/test_field", "xipki_and_ejbca_a_signed_answer_to_a_mac_needs_its_quirk"),
                at("cmp/test_transaction", "a_signed_answer_to_a_mac_is_accepted_with_the_quirk_alone_and_remarked"),
                at(_BOUNCY_CASTLE, "a_signed_answer_to_a_secret_is_refused_unless_the_quirk_is_configured"),
                at(_BOUNCY_CASTLE, "with_the_quirk_the_root_or_its_ra_may_sign_the_answer"),
            ),
            done(
                "quirk missing-sender-nonce: answers without senderNonce",
                "RFC 9483 3.1",
                at("worker/test_field", "xipki_an_answer_without_sender_nonce_needs_its_quirk"),
                at("cmp/test_answer_checks", "check_9_a_missing_sender_nonce_is_borne_with_the_quirk_and_remarked"),
            ),
            done(
                "quirk ignore-key-usage: a signer whose key usage lacks digitalSignature, and who gets no role by it",
                "RFC 9483 3.2",
                at(
                    "cmp/test_answer_checks",
                    "check_7_a_signer_whose_key_usage_forbids_signatures_is_refused_unless_a_quirk_bears_it",
                ),
                at("cmp/test_authorisation", "the_quirk_lets_it_pass_and_says_so", "the_quirk_gives_nobody_a_role"),
            ),
            done(
                "quirk error-with-pvno-1: a well protected error in version 1 counts as the CA's no, nothing else does",
                "RFC 9810 7.1.1",
                at(
                    "cmp/test_answer_checks",
                    "field_old_servers_an_error_in_version_1_is_a_no_by_quirk_if_its_protection_is_good",
                    "field_old_servers_an_unproven_error_in_version_1_stays_a_claim_even_by_quirk",
                    "field_old_servers_nothing_but_a_no_is_heard_in_version_1",
                ),
            ),
        ),
    ),
)
