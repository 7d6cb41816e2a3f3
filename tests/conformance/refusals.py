"""What an end entity checks in an answer, and what other clients fell for: every row is done wrong by a lab CA.

The numbers are those in the names of the tests: ``test_check_7_...`` and ``test_pitfall_7_...``.
"""

from __future__ import annotations

from typing import Final

from tests.conformance.table import Chapter, Row, at, done, family

_CHECK_FILES: Final = ("cmp/test_answer_checks", "cmp/test_certificate_checks")


def _checks(*rows: tuple[str, str, tuple[str, ...]]) -> tuple[Row, ...]:
    """Return a row for each text, with the tests that have its number, and more where the row names them."""
    return tuple(
        done(what, source, family(f"check_{number}_", *_CHECK_FILES), more)
        for number, (what, source, more) in enumerate(rows, 1)
    )


def _pitfalls(*rows: tuple[str, str, tuple[str, ...]]) -> tuple[Row, ...]:
    return tuple(
        done(what, source, family(f"pitfall_{number}_", "cmp/test_pitfalls"), more)
        for number, (what, source, more) in enumerate(rows, 1)
    )


CHAPTERS: Final = (
    Chapter(
        title="What is checked in an answer, in this order",
        about=(
            "A lab CA gets each of these wrong: the answer is refused with the right error, the state stays, "
            "nothing on disk changes and nothing is trusted; a certificate that fails is refused by certConf."
        ),
        numbered=True,
        rows=_checks(
            (
                "HTTP: status, content type and size",
                "RFC 9811 3",
                (
                    *at("net/test_http", "no_success_but_200_is_one", "another_content_type_is_not_cmp"),
                    *at("net/test_http", "an_empty_answer_is_not_cmp", "what_is_not_http_is_not_cmp"),
                    *at("net/test_connection", "an_answer_announced_too_large_is_refused_unread"),
                    *at("net/test_connection", "an_endless_answer_is_cut_off"),
                    *at("net/test_connection", "a_truncated_answer_is_never_taken_for_a_whole_one"),
                    *at("net/test_http", "whatever_a_server_says_is_an_answer_or_one_of_three_errors"),
                    *at("cli/test_bad_input", "an_answer_that_is_no_good"),
                ),
            ),
            (
                "one PKIMessage in canonical DER, nothing after it, within bounds of size, depth and number",
                "RFC 9810 5.1",
                at("cmp/test_messages", "a_hostile_message_costs_little_time_and_memory"),
            ),
            ("version 2 or 3; an error in version 1 shows its reason and is not trusted", "RFC 9483 3.5", ()),
            ("transactionID present and ours", "RFC 9483 3.5", ()),
            ("a body that this state awaits", "RFC 9483 3.5", ()),
            (
                "protection present, of the request's kind, by an algorithm and parameters that are allowed",
                "RFC 9483 3.2",
                (),
            ),
            (
                "the MAC or signature verifies; sender and senderKID name the signer, who may sign",
                "RFC 9483 3.2, 3.5",
                at("cmp/test_mutations", "no_bit_can_be_changed"),
            ),
            (
                "the signer leads to an anchor of the operator and may speak for the CA; another station may not",
                "RFC 9483 3.4, RFC 9480 2.2",
                at("cmp/test_authorisation", "another_base_station_of_the_same_operator_may_not_answer"),
            ),
            ("senderNonce present and long enough, recipNonce ours", "RFC 9483 3.1, 3.5", ()),
            ("messageTime near ours; a difference is remarked", "RFC 9483 3.5", ()),
            ("status, failInfo and what came with it fit together", "RFC 9483 4.1.1", ()),
            ("certReqId ours", "RFC 9483 4.1.1", ()),
            ("the certificate is one X.509 version 3 certificate", "RFC 9483 4.1.1, RFC 5280 4.1", ()),
            ("it certifies the key that was asked for", "RFC 9483 4.1.1, RFC 4211 5", ()),
            ("its names are those asked for, or fit the configured pattern", "RFC 4211 5", ()),
            ("it may be used for what we need, it is no CA, and has no unknown critical extension", "RFC 5280 4.2", ()),
            ("it is valid now and not for longer than allowed", "RFC 5280 4.1.2.5", ()),
            ("it leads to an anchor of the operator", "RFC 5280 6", ()),
            ("its signature and its key are strong enough", "RFC 9481 2, 3", ()),
            ("it is not the one that is renewed", "RFC 9483 4.1.3", ()),
            ("the private key at hand belongs to it", "RFC 9810 5.2.8", ()),
            (
                "only after pkiConf, or implicit confirmation that was granted, is it installed, as one",
                "RFC 9483 4.1.1",
                (
                    *at("worker/test_interrupted", "an_enrollment_survives_the_death_of_the_worker_at_every_change"),
                    *at("worker/test_enrollment", "an_answer_that_is_no_good_leaves_the_credential_in_use_as_it_was"),
                    *at(
                        "worker/test_enrollment",
                        "an_unproven_answer_to_the_confirmation_neither_replaces_a_valid_certificate_nor_ends_its_renewal",
                    ),
                ),
            ),
        ),
    ),
    Chapter(
        title="Pitfalls",
        done_word="avoided",
        about="What clients of CMP fell for, or could fall for, tried on ours.",
        numbered=True,
        rows=_pitfalls(
            (
                "another certificate under the operator's root poses as its RA",
                "RFC 9483 3.4",
                at("interop/test_openssl_server", "a_neighbour_with_a_certificate_under_the_same_root_may_not_answer"),
            ),
            ("caPubs of a signed answer become anchors", "RFC 9810 5.3.2", ()),
            (
                "caPubs of a MAC-protected answer are trusted before its nonces are checked, or without being roots",
                "RFC 9810 5.3.2",
                (),
            ),
            ("a root in extraCerts, which nothing protects, is trusted", "RFC 9483 3.3", ()),
            (
                "an unprotected error, rejection or pkiConf is believed",
                "RFC 9483 3.6, RFC 9810 5.3.21",
                at("interop/test_openssl_server", "an_unprotected_error_is_shown_and_not_believed"),
            ),
            (
                "a signed answer to a request by MAC, or the reverse",
                "RFC 9483 3.5, 4.1.5",
                at("interop/test_openssl_server", "a_signed_answer_to_a_request_by_secret_is_refused"),
            ),
            ("the peer chooses a weaker algorithm than is allowed", "RFC 9481 7", ()),
            (
                "a certificate for another key",
                "RFC 4211 5",
                at("interop/test_openssl_server", "a_certificate_for_another_key_is_refused"),
            ),
            (
                "grantedWithMods excuses any change",
                "RFC 9810 5.2.3",
                at("interop/test_openssl_server", "a_certificate_with_another_subject_is_refused"),
            ),
            ("the new certificate is installed without a path to an anchor", "RFC 5280 6", ()),
            ("nonces or transactionIDs are used twice, or are not random", "RFC 9483 3.1", ()),
            ("an old answer is replayed", "RFC 9810 5.1.1", ()),
            ("time is taken from a message that nobody vouches for", "RFC 9810 5.1.1", ()),
            ("an iteration count makes us compute for minutes", "RFC 9045 4.3, RFC 9481 6", ()),
            ("secrets that can be guessed", "RFC 9045 4.1, RFC 9810 8.4", ()),
            (
                "depth, huge numbers, indefinite lengths, trailing data",
                "RFC 9810 5.1",
                at("cmp/test_der", "caps_are_exact"),
            ),
            (
                "certificates that anybody can add to extraCerts explode the search for a path or push out the signer",
                "RFC 9483 3.3",
                (),
            ),
            (
                "SHA-1, MD5 and short keys",
                "RFC 9481 2",
                at("worker/test_key_kinds", "an_old_certificate_is_refused_and_the_ca_is_told"),
            ),
            (
                "addresses in a certificate, or a redirect, make us connect elsewhere",
                "RFC 9811 5",
                at("net/test_http", "a_redirect_is_named_and_never_followed"),
            ),
            (
                "certConf or pkiConf is lost, and the CA revokes what we use",
                "RFC 9483 4.1.1",
                at("worker/test_enrollment", "a_lost_confirmation_is_sent_again_and_the_certificate_is_installed"),
            ),
            ("a bad certificate under implicit confirmation is kept", "RFC 9483 3.6.1", ()),
            ("a pinned signer whose certificate is no longer valid", "RFC 5280 6", ()),
            (
                "secrets and private keys in snapshots, logs and dumps",
                "RFC 9810 8.4",
                at("cli/test_secrecy", "an_enrollment_shows_neither_secret_nor_key", "a_defect_shows_no_secret"),
            ),
            (
                "decrypting for anybody who asks",
                "RFC 9810 5.2.8.3",
                at("cmp/test_challenge", "whatever_is_encrypted_only_a_challenge_is_answered"),
            ),
            (
                "words of the peer write into logs and terminals",
                "RFC 9810 5.2.3",
                at("cli/test_output", "no_text_can_move_the_cursor"),
            ),
            ("protection is verified over a new encoding of what came", "RFC 9810 5.1.3", ()),
            (
                "polling for ever, or until a checkAfter far away",
                "RFC 9483 4.4",
                at("worker/test_enrollment", "the_wait_is_bounded_by_the_configuration"),
            ),
            ("PBMAC1 and other MACs are taken for signatures", "RFC 9481 6", ()),
        ),
    ),
)
