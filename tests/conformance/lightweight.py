"""RFC 9483 section 7 for an end entity, and what its flows rest on."""

from __future__ import annotations

from typing import Final

from tests.conformance.table import Chapter, at, done, family, not_done

_MACHINE, _POLLING, _RESTARTS = "cmp/test_transaction", "cmp/test_transaction_polling", "cmp/test_transaction_restarts"
_ENROLLMENT, _REFRESHING, _PROTECTION = "worker/test_enrollment", "worker/test_refreshing", "cmp/test_protection"
_BOUNCY_CASTLE = "interop/test_bouncycastle"

_FLOWS: Final = Chapter(
    title="Message flows: RFC 9483 section 7.1",
    about="Every flow that the section lists for an end entity (EE), with the level of support it asks for.",
    rows=(
        done(
            "EE MUST: header, protection and extraCerts in the general form",
            "RFC 9483 3",
            at("cmp/test_request", "a_shared_secret_is_named_in_sender_and_sender_kid_alike"),
            at("cmp/test_request", "a_certificate_goes_along_with_its_chain_and_names_the_sender"),
            at(_MACHINE, "every_message_has_a_new_nonce_and_repeats_that_of_the_answer_before"),
            at("cmp/test_messages", "every_message_comes_back_as_it_was_built"),
        ),
        done(
            "EE MUST: ir, ip, certConf, pkiConf with a new PKI",
            "RFC 9483 4.1.1",
            at(_MACHINE, "a_certificate_is_requested_checked_and_confirmed"),
            at(_ENROLLMENT, "an_enrollment_goes_through_its_steps_in_order"),
            at("interop/test_openssl_server", "an_enrollment_by_the_vendor_certificate"),
            at(_BOUNCY_CASTLE, "combination[bouncy-castle-ir-signature-ecdsa-p-256-ec-p256]"),
        ),
        done(
            "EE MAY: cr and cp with a PKI that knows us",
            "RFC 9483 4.1.2",
            at(_ENROLLMENT, "every_request_for_a_first_certificate"),
            at(_BOUNCY_CASTLE, "combination[bouncy-castle-cr-passwordbasedmac-sha256-hmac-sha256-ec-p256]"),
        ),
        done(
            "EE MUST: kur and kup, signed with the certificate that is renewed, for a new key",
            "RFC 9483 4.1.3",
            at(_MACHINE, "a_key_update_is_signed_with_the_old_certificate_and_brings_another_one"),
            at(_ENROLLMENT, "a_key_update_needs_no_secret_and_makes_a_new_key"),
            at(_BOUNCY_CASTLE, "combination[bouncy-castle-kur-signature-ecdsa-p-256-ec-p256]"),
            at(_BOUNCY_CASTLE, "an_update_of_another_certificate_than_the_signing_one_is_not_granted"),
        ),
        done(
            "EE MAY: p10cr and cp; the answer's certReqId is -1, and 0 is borne",
            "RFC 9483 4.1.4",
            at("cmp/test_request", "a_pkcs10_request_is_what_openssl_verifies"),
            at("cmp/test_answer_checks", "check_12_minus_one_is_the_number_of_a_pkcs10_request_alone"),
            at(
                _BOUNCY_CASTLE,
                "combination[bouncy-castle-p10cr-passwordbasedmac-sha256-hmac-sha256-ec-p256]",
                "a_request_left_waiting_is_taken_up_later",
            ),
        ),
        done(
            "EE MAY: enrollment protected by a shared secret, PBMAC1 or PasswordBasedMac, in every message",
            "RFC 9483 4.1.5",
            at(_PROTECTION, "macs_are_made_as_in_the_vectors", "openssl_verifies_our_password_based_mac"),
            at(_BOUNCY_CASTLE, "combination[bouncy-castle-ir-passwordbasedmac-sha256-hmac-sha256-ec-p256]"),
            at(
                "interop/test_openssl_server",
                "combination[openssl-server-ir-passwordbasedmac-sha256-hmac-sha256-ec-p256]",
            ),
            at(_BOUNCY_CASTLE, "combination[bouncy-castle-ir-pbmac1-hmac-sha256-ec-p256]"),
        ),
        not_done(
            "EE MAY: a key pair made by the CA",
            "RFC 9483 4.1.6",
            "keys are made where they are used; a private key in an answer is refused",
            at("cmp/test_answer_checks", "check_11_a_private_key_nobody_asked_for_is_refused"),
        ),
        done(
            "EE SHOULD: rr and rp with a reason, signed with the certificate to be revoked",
            "RFC 9483 4.2",
            at(_MACHINE, "a_revocation_is_answered_and_one_done_already_counts_as_done"),
            at(_MACHINE, "a_revocation_that_is_refused_is_declined"),
            at("cmp/test_request", "a_revocation_names_issuer_number_and_reason"),
            at(_REFRESHING, "a_revocation_is_done_by_the_ca_and_remembered_here"),
            at(_BOUNCY_CASTLE, "a_revoked_certificate_renews_nothing"),
        ),
        done(
            "EE MAY: genm for CA certificates; they are kept as links of a chain and trusted for nothing",
            "RFC 9483 4.3.1",
            at(_REFRESHING, "ca_certificates_are_kept_and_trusted_for_nothing"),
        ),
        done(
            "EE MAY: genm for a new root, accepted only if the old one vouches for it, and kept beside it",
            "RFC 9483 4.3.2",
            at(_REFRESHING, "a_new_root_that_the_old_one_vouches_for_is_trusted_beside_it"),
            at(_REFRESHING, "a_new_root_of_a_stranger_is_refused_and_nothing_changes"),
            at("cmp/test_root_update", "a_root_that_the_old_one_vouches_for_is_accepted"),
            at("cmp/test_root_update", "a_new_root_is_refused_when", "no_changed_octet_is_taken_for_a_root"),
        ),
        done(
            "EE MAY: genm for a request template; a request that it forbids is not sent, what it gives is asked for",
            "RFC 9483 4.3.3",
            at("worker/test_templating", "a_request_that_the_template_forbids_is_not_sent"),
            at("cmp/test_request_template", "usages_the_template_gives_are_asked_for_unless_we_ask_for_our_own"),
        ),
        done(
            "EE MAY: genm for a CRL newer than ours (crlStatusList, crls); it is verified before it says anything",
            "RFC 9483 4.3.4",
            at("worker/test_crls", "the_ca_itself_is_asked_where_no_address_helps"),
            at("worker/test_crls", "a_forged_crl_marks_nothing"),
        ),
        done(
            "EE MAY: polling, for a certificate and for a whole message, over days and restarts",
            "RFC 9483 4.4",
            at(_POLLING, "a_request_under_consideration_is_polled_for"),
            at(_POLLING, "the_answer_to_certconf_can_be_delayed_too"),
            at(_POLLING, "answers_to_revocations_and_questions_can_be_delayed_too"),
            at(_ENROLLMENT, "a_request_stays_open_and_goes_on_in_the_same_transaction"),
            at("interop/test_openssl_server", "a_request_that_the_server_lets_wait"),
            at(_BOUNCY_CASTLE, "combination[bouncy-castle-ir-passwordbasedmac-sha256-hmac-sha256-ec-p256-polled]"),
        ),
    ),
)

_TRANSFER: Final = Chapter(
    title="Transfer: RFC 9483 section 7.2",
    about="How messages reach the RA or CA.",
    rows=(
        done(
            "HTTP: POST of one DER message as application/pkixcmp; only 200 is success; any error may carry CMP",
            "RFC 9483 6.1, RFC 9811 3",
            at("net/test_http", "a_message_is_posted_as_rfc_9811_wants_it", "no_success_but_200_is_one"),
            at("net/test_http", "a_cmp_body_counts_whatever_error_status_it_comes_with"),
            at("net/test_http", "another_content_type_is_not_cmp"),
        ),
        done(
            "HTTP: a redirect is never followed",
            "RFC 9811 3.1",
            at("net/test_http", "a_redirect_is_named_and_never_followed"),
        ),
        done(
            "HTTPS: TLS 1.2 or later, verified against configured anchors, with a client certificate where wanted",
            "RFC 9483 6.2",
            at("net/test_tls", "https_works_with_the_configured_anchor", "nothing_older_than_tls_1_2_is_offered"),
            at("net/test_tls", "a_certificate_for_another_name_is_refused"),
            at("net/test_tls", "a_client_certificate_is_shown_when_configured"),
        ),
        not_done(
            "Offline: messages carried in files",
            "RFC 9483 6.3",
            "a station reaches its CA itself; a url that is not http or https is refused",
            at("net/test_route", "what_is_no_url_of_a_server_is_a_configuration_error"),
        ),
        not_done(
            "CoAP",
            "RFC 9483 6.4, RFC 9482",
            "not for stations with an IP network; a url that is not http or https is refused",
            at("net/test_route", "what_is_no_url_of_a_server_is_a_configuration_error"),
        ),
    ),
)

_RULES: Final = Chapter(
    title="Rules within the flows",
    about="What an end entity must hold to in what it sends and keeps. What it checks in answers is further below.",
    rows=(
        done(
            "pvno is 2, and 3 only where something of version 3 is in the message or expected",
            "RFC 9483 3.1, RFC 9810 7",
            at("cmp/test_request", "the_version_is_2_unless_something_of_3_is_expected"),
            at("worker/test_key_kinds", "a_ca_with_ml_dsa_is_confirmed_by_a_hash_that_is_named"),
        ),
        done(
            "transactionID and senderNonce are 16 fresh octets; without randomness nothing is sent",
            "RFC 9483 3.1",
            family("pitfall_11_", "cmp/test_pitfalls"),
        ),
        done(
            "certProfile and implicitConfirm stand in the first message only",
            "RFC 9483 3.1",
            at(_MACHINE, "the_profile_and_the_wish_for_no_confirmation_are_in_the_header_of_the_first_message_only"),
        ),
        done(
            "implicit confirmation counts only if it was asked for and granted; else certConf is sent",
            "RFC 9483 4.1.1, RFC 9810 5.1.1.1",
            at(_MACHINE, "granted_implicit_confirmation_leaves_certconf_out"),
            at(_MACHINE, "implicit_confirmation_that_is_not_granted_means_certconf"),
            at(_MACHINE, "implicit_confirmation_nobody_asked_for_is_not_believed"),
        ),
        done(
            "proof of possession is a signature over the whole CertRequest where the template has subject and key",
            "RFC 9483 4.1.1, RFC 4211 4.1",
            at("cmp/test_possession", "with_a_subject_the_whole_request_is_signed", "an_empty_subject_is_a_subject"),
            at("cmp/test_possession", "a_changed_request_breaks_the_proof"),
            at(_BOUNCY_CASTLE, "a_broken_proof_of_possession_is_noticed"),
        ),
        done(
            "certHash is taken over the certificate as it came, by the hash of its signature; hashAlg with pvno 3 only",
            "RFC 9483 4.1.1, RFC 9481 3.3, RFC 9810 5.3.18",
            at("cmp/test_confirmation", "the_certificate_is_hashed_as_it_came"),
            at("cmp/test_confirmation", "the_hash_is_that_of_the_signature_algorithm", "eddsa_has_its_own_hashes"),
            at("cmp/test_confirmation", "ml_dsa_names_its_hash", "openssl_sends_the_same_hash"),
        ),
        done(
            "a certificate that is not acceptable is refused by certConf with a reason, and the end of that is awaited",
            "RFC 9483 3.6.1, 4.1.1",
            at(_ENROLLMENT, "the_ca_is_told_why_its_certificate_is_refused"),
            at("cmp/test_certificate_checks", "whatever_the_ca_says_to_a_refusal_it_is_over"),
        ),
        done(
            "oldCertID names the certificate that is renewed; its names and extensions are asked for again",
            "RFC 9483 4.1.3, RFC 4211 6.5",
            at(
                "worker/test_renewal",
                "a_key_update_asks_for_names_and_usages_of_the_old_certificate_and_not_for_key_identifiers",
                "a_key_update_names_the_certificate_it_renews_unless_the_configuration_says_no",
            ),
            at("cmp/test_request", "a_request_holds_subject_key_extensions_and_its_proof"),
            at(
                "worker/test_renewal",
            ),
            at(_MACHINE, "a_key_update_is_signed_with_the_old_certificate_and_brings_another_one"),
        ),
        done(
            "an error message ends the transaction, unless it says waiting",
            "RFC 9483 3.6.4, 4.4",
            at("cmp/test_answer_checks", "check_11_any_other_error_ends_the_transaction_and_brings_nothing"),
            at(_MACHINE, "no_is_no"),
            at(_POLLING, "the_answer_to_certconf_can_be_delayed_too"),
        ),
        done(
            "after polling, either the nonce of the delayed request or that of the last pollReq is accepted",
            "RFC 9483 3.5, 4.4",
            at(_POLLING, "a_request_under_consideration_is_polled_for"),
            at("cmp/test_answer_checks", "check_9_a_pollrep_must_answer_the_pollreq_itself"),
            at("cmp/test_answer_checks", "check_9_the_nonce_of_a_poll_before_the_last_is_refused"),
        ),
        done(
            "certificates that came along earlier in a transaction need not come again",
            "RFC 9483 3.3",
            at(_POLLING, "certificates_that_came_earlier_need_not_come_again"),
            at(_POLLING, "a_bare_pkiconf_is_verified_with_the_signer_kept_from_before"),
        ),
        done(
            "EE SHOULD: whether the signer of an answer was revoked is looked up; unknown is a remark, or fatal",
            "RFC 9483 3.3, RFC 5280 6.3",
            at(
                "worker/test_crls",
                "answers_of_a_revoked_ra_are_refused",
                "a_crl_that_cannot_be_had_is_remarked_or_refused",
            ),
            at("cmp/test_revocation", "a_list_that_proves_nothing_leaves_the_standing_unknown"),
        ),
        done(
            "nothing of a transaction is lost by a restart at any moment",
            "RFC 9483 4.4",
            at(_RESTARTS, "a_restart_before_and_after_every_message_changes_nothing"),
            at("worker/test_interrupted", "an_enrollment_survives_the_death_of_the_worker_at_every_change"),
            at("worker/test_crash", "a_request_under_consideration_survives_kill_at_every_effect_with_one_certificate"),
        ),
        done(
            "the signer of an answer and those above it are looked up in CRLs; unknown is a state of its own",
            "RFC 9483 3.4, RFC 5280 6.3",
            at("worker/test_crls", "answers_of_a_revoked_ra_are_refused"),
            at("worker/test_crls", "an_issuing_ca_that_the_root_revoked_is_refused"),
            at("worker/test_crls", "a_crl_that_cannot_be_had_is_remarked_or_refused"),
            at("cmp/test_revocation", "a_list_that_proves_nothing_leaves_the_standing_unknown"),
            at("cmp/test_revocation", "the_newest_list_decides_and_a_forged_newer_one_does_not"),
            at("cmp/test_revocation", "no_changed_octet_makes_a_list_say_something_else"),
        ),
        done(
            "our own certificate is looked up too; found revoked, it is marked and a person told",
            "RFC 5280 6.3",
            at("worker/test_crls", "our_own_certificate_found_revoked_is_marked_told_and_left_alone"),
            at("worker/test_crls", "a_hold_is_shown_and_ends"),
        ),
        done(
            "CA certificates, a new root and CRLs are asked for on a schedule",
            "RFC 9483 4.3",
            at("worker/test_crls", "the_next_refresh_is_planned_when_the_certificate_comes_and_after_each"),
            at("worker/test_crls", "a_refresh_that_fails_is_tried_sooner_and_disturbs_nothing_else"),
        ),
        done(
            "who may answer can be pinned by key; then nobody else may, not even an RA of the operator",
            "RFC 9483 3.4",
            at("worker/test_first_trust", "a_pin_of_another_key_keeps_even_an_ra_of_the_operator_out"),
            at("cmp/test_learning", "pins_say_whose_key_may_sign_answers"),
            at("cmp/test_authorisation", "a_pinned_key_may_answer_and_no_cmc_ra_beside_it"),
        ),
        done(
            "a key that cannot sign is renewed by an identity that can, or as it was enrolled, never by its kur",
            "RFC 9483 4.1.3, RFC 9810 5.2.8",
            at(
                "worker/test_renewal",
                "a_key_that_does_not_sign_is_not_renewed_by_kur_even_if_nobody_looked_at_the_configuration",
            ),
            at("worker/test_renewal", "a_key_that_does_not_sign_is_renewed_by_an_identity_that_does"),
            at("worker/test_renewal", "a_renewal_can_be_asked_for_as_the_first_certificate_was"),
        ),
        done(
            "keys that cannot sign prove themselves by an encrypted certificate, confirmed without exception",
            "RFC 9810 5.2.8.3, 5.2.8.4",
            at("cmp/test_proving", "a_key_is_certified_by_an_encrypted_certificate"),
            at("cmp/test_proving", "an_encrypted_certificate_must_be_confirmed"),
            at("worker/test_key_usage", "a_key_that_does_not_sign_is_enrolled"),
        ),
        done(
            "messages and proofs are signed by RSA PKCS #1 and PSS, ECDSA on three curves, Ed25519, Ed448, ML-DSA",
            "RFC 9481 3, RFC 9881",
            at("worker/test_key_kinds", "a_key_of_every_kind_is_enrolled_and_renewed"),
            at("worker/test_key_kinds", "pss_is_used_for_messages_and_proofs_where_the_setting_says_so"),
            at(_MACHINE, "keys_of_every_kind_are_certified_by_a_ca_of_the_same_kind"),
        ),
        done(
            "an ML-DSA key is refused in words, before anything is sent, where the library cannot make it",
            "RFC 9881",
            at("worker/test_key_kinds", "a_library_without_ml_dsa_is_named_before_anything_is_sent"),
        ),
        not_done(
            "protection by KEM-based MAC",
            "RFC 9810 5.1.3.4",
            "refused as a MAC that is not known",
            at("cmp/test_pitfalls", "pitfall_28_a_mac_we_do_not_make_is_refused_as_a_mac_and_not_as_a_signature"),
        ),
        not_done(
            "messages of RAs and CAs among themselves: nested, ccr, krr and announcements",
            "RFC 9483 5, RFC 9810 5.3",
            "not for an end entity; such an answer is refused in every state",
            at("cmp/test_answer_checks", "check_5_a_body_that_this_state_does_not_await_is_refused"),
        ),
    ),
)

CHAPTERS: Final = (_FLOWS, _TRANSFER, _RULES)
