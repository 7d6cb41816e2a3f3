"""The threat model as data: each claim with the tests that show it. docs/security.md is written from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.conformance.table import at


@dataclass(frozen=True)
class Claim:
    """What holds, and pytest's node ids of what shows it."""

    text: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Attacker:
    """Somebody against us: what we assume he has, what holds against him, and what he gets all the same."""

    title: str
    has: str
    claims: tuple[Claim, ...]
    gets: str


def _file(path: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"tests/{path}.py::test_{one}" for one in tests)


ON_THE_PATH: Final = Attacker(
    "On the path to the CA",
    "He reads, drops, delays, changes and invents every octet between the device and the CA, DNS and HTTP proxies "
    "included. CMP is protected in itself: http is as good as https here.",
    (
        Claim(
            "He cannot make the device accept an answer: protection is verified over the octets received, before the "
            "body is looked at, and by nobody but the CA or whoever it authorised.",
            at(
                "cmp/test_answer_checks",
                "check_7_a_mac_with_another_secret_is_refused",
                "check_8_a_signer_under_another_root_is_refused",
                "check_6_a_signed_answer_to_a_mac_is_refused",
            )
            + at("cmp/test_pitfalls", "pitfall_5_a_pkiconf_without_good_protection_confirms_nothing"),
        ),
        Claim(
            "He cannot replay: another transaction's answer, an earlier one of the same, one without our nonce.",
            at(
                "cmp/test_answer_checks",
                "check_4_the_same_kind_of_answer_from_another_transaction_is_refused",
                "check_9_an_answer_without_recip_nonce_is_refused",
                "check_9_the_first_waiting_replayed_to_a_poll_is_refused",
            ),
        ),
        Claim(
            "What he claims without proof is shown as unproven: no open request ends by it, unless nothing else comes "
            "for weeks and another can be made; no certificate in use is touched, and nobody is sent for another "
            "secret once the CA took ours.",
            at("cmp/test_answer_checks", "check_6_an_unprotected_error_is_shown_as_unproven_and_changes_nothing")
            + at(
                "worker/test_enrollment",
                "an_unproven_answer_to_the_confirmation_neither_replaces_a_valid_certificate_nor_ends_its_renewal",
                "a_bad_answer_in_the_middle_does_not_call_for_another_secret",
            )
            + at(
                "worker/test_lifespan",
                "a_renewal_that_the_ca_has_forgotten_is_given_up_while_another_one_can_be_made",
                "a_request_that_cost_a_one_time_secret_stays_open_and_the_way_out_is_named",
            ),
        ),
        Claim(
            "He cannot plant a root: anchors are configured, by choice learned from the first MAC-protected answer, "
            "and later only if a trusted root vouches for them.",
            at("cmp/test_trust", "a_root_sent_along_is_never_an_anchor")
            + at(
                "cmp/test_pitfalls",
                "pitfall_3_roots_in_a_mac_protected_answer_are_trusted_only_if_that_is_wanted",
                "pitfall_3_a_key_update_teaches_no_anchors",
            )
            + at("worker/test_refreshing", "a_new_root_of_a_stranger_is_refused_and_nothing_changes"),
        ),
        Claim(
            "He cannot exhaust the device: size, depth, iterations, headers and time are bounded before anything is "
            "parsed or computed.",
            at("cmp/test_der", "caps_are_exact")
            + at("cmp/test_messages", "a_hostile_message_costs_little_time_and_memory")
            + at(
                "cmp/test_pitfalls", "pitfall_14_an_iteration_count_out_of_bounds_is_refused_before_anything_is_hashed"
            )
            + at("net/test_answers", "a_length_beyond_the_cap_is_refused")
            + at("net/test_parsing", "lines_and_octets_without_end_are_given_up")
            + at(
                "net/test_connection",
                "an_endless_answer_is_cut_off",
                "endless_interim_answers_are_cut_off",
                "a_silent_server_ends_the_exchange_in_time",
                "a_drip_does_not_extend_the_deadline",
            ),
        ),
        Claim(
            "One forged answer does not put a request off for long: a wait that HTTP asks for is cut to an hour, and "
            "one that CMP asks for counts in a protected answer only.",
            at("net/test_answers", "retry_after_is_within_bounds_whatever_it_says")
            + at("worker/test_enrollment", "a_wait_that_nobody_vouches_for_is_an_hour_at_the_most")
            + at("cmp/test_answer_checks", "check_6_an_unprotected_waiting_is_not_waited_for"),
        ),
        Claim(
            "He cannot lead it elsewhere: redirects are not followed, and no environment variable names a proxy.",
            at("net/test_http", "a_redirect_is_named_and_never_followed")
            + at("net/test_proxy", "the_environment_names_no_proxy"),
        ),
        Claim(
            "He cannot write on a terminal or forge a line of the journal.",
            at("net/test_text", "what_a_terminal_might_obey_is_escaped")
            + at("net/test_http", "a_redirect_cannot_paint_on_the_terminal")
            + at("cmp/test_trust", "names_from_a_certificate_cannot_forge_a_log_line"),
        ),
        Claim(
            "However he disturbs a request, no certificate is lost or doubled, and the one in use stays "
            "([faults.md](faults.md)).",
            _file("faults/test_matrix", "no_certificate_was_lost_or_is_in_force_twice"),
        ),
        Claim(
            "Where https is configured it is TLS 1.2 or newer with the configured anchors alone.",
            at(
                "net/test_tls",
                "nothing_older_than_tls_1_2_is_offered",
                "a_certificate_for_another_name_is_refused",
                "an_issuer_we_do_not_trust_is_refused",
                "the_roots_of_the_system_vouch_for_nobody",
                "https_without_anchors_is_a_configuration_error",
            ),
        ),
    ),
    "He can stop every message, so no certificate comes while he does; the device tries again until he is gone. Before "
    "the CA has taken the one-time secret, a forged refusal of it looks like a true one, which no CA can protect: then "
    "the daemon waits for a person, so that no reference is locked, and `enrollctl enroll NAME` sends it again. "
    "With http he reads names and certificates, which are public. From a message protected by a shared secret he can "
    "try guesses at leisure: a secret needs the strength of a key (`enrollctl lab-ca` makes such), not of a password.",
)

ANOTHER_USER: Final = Attacker(
    "On the host, as another user",
    "He has a shell, but is neither root, nor `enrolld`, nor in a group the site gave rights to.",
    (
        Claim(
            "Keys, secrets and state are for their owner alone, whatever the umask; where others could write, nothing "
            "is used.",
            at("store/test_generations", "directories_and_files_are_for_their_owner_alone")
            + at("store/test_generations", "a_state_directory_that_others_may_write_to_is_refused")
            + at("hsm/test_keyfile", "a_new_file_is_for_its_owner_alone_whatever_the_umask_is")
            + at("hsm/test_keyfile", "a_key_of_ours_that_others_may_reach_is_refused"),
        ),
        Claim(
            "A secret in a file that everybody may read is refused; so is one written into the configuration.",
            at("supervisor/test_secrets", "a_file_that_everybody_may_read_or_write_is_refused")
            + at("test_config", "a_secret_in_clear_is_refused_and_not_repeated"),
        ),
        Claim(
            "Secrets and PINs are in no argument, environment, output or log: they travel by inherited pipes.",
            at(
                "supervisor/test_children",
                "the_secret_comes_by_a_descriptor_that_the_job_names",
                "each_pin_comes_by_a_descriptor_under_the_name_of_its_token",
                "no_descriptor_but_the_named_ones_reaches_the_worker",
            )
            + at(
                "cli/test_secrecy",
                "an_enrollment_shows_neither_secret_nor_key",
                "a_refused_secret_is_not_repeated",
                "a_defect_shows_no_secret",
            )
            + _file("hsm/test_command", "neither_the_right_pin_nor_a_wrong_one_is_shown_or_written_anywhere"),
        ),
        Claim(
            "Links planted in a directory lead nowhere.",
            at(
                "store/test_atomic",
                "a_link_in_the_place_of_a_file_is_replaced_and_not_followed",
                "reading_neither_follows_links_nor_waits_for_a_pipe",
                "a_directory_that_becomes_a_link_while_it_is_removed_leads_nowhere",
            )
            + at("store/test_locking", "a_link_is_not_followed"),
        ),
        Claim(
            "A worker or daemon that crashes leaves no core file with keys or secrets in it, nor does a program get it "
            "to which the kernel pipes such files.",
            _file("security/test_security", "a_worker_leaves_no_core_file")
            + at("supervisor/test_daemon", "it_leaves_no_core_file_with_secrets_that_pass_through_it"),
        ),
        Claim(
            "He can ask the daemon for nothing, even where its socket was opened to all: the kernel says who he is. "
            "The group of the service may look, and change nothing.",
            at(
                "supervisor/test_control",
                "who_is_neither_root_nor_enrolld_nor_of_its_group_is_told_so_and_hung_up_on",
            ),
        ),
        Claim(
            "Nor can anybody on the socket keep root out, hold up the others or use up memory: places, sizes and what "
            "is left unread are bounded.",
            at(
                "supervisor/test_varlink",
                "those_who_may_only_read_leave_places_to_those_who_may_act",
                "those_on_whose_connection_nothing_happens_give_way_and_are_told",
                "a_client_has_one_call_done_in_a_turn_however_many_it_sends",
                "a_client_that_reads_no_answers_is_asked_for_no_more_calls",
                "who_does_not_read_what_he_wanted_to_be_told_is_dropped_and_told",
                "a_lack_of_descriptors_makes_no_busy_loop_and_is_got_over",
            ),
        ),
        Claim(
            "What he writes to the journal under the name of enrolld is not shown as its own by `enrollctl`.",
            at("cli/test_journalled", "only_what_root_enrolld_or_whoever_asks_has_written_is_read_as_enrolld_s"),
        ),
        Claim(
            "What he leaves in the directory of the figures is neither written to nor waited for.",
            at(
                "supervisor/test_metrics",
                "what_others_leave_in_the_directory_is_neither_waited_for_nor_written_to",
            ),
        ),
    ),
    "He sees that enrolld runs, and what certificates say. Root and whoever is `enrolld` have everything.",
)

A_CONSUMER: Final = Attacker(
    "As a consumer that was taken over",
    "He is the IKE daemon or web server, or in its group: he reads the credential that is delivered to it, writes into "
    "its directory, and answers on its socket.",
    (
        Claim(
            "What he leaves in his directory is not waited for, and not read whole; a folder that he makes a link is "
            "not followed, nor is a directory that becomes one while it is removed.",
            at(
                "deploy/test_directory",
                "what_a_consumer_leaves_in_the_place_of_a_file_is_replaced",
                "a_bundle_of_pkcs12_that_grew_without_end_is_not_read",
                "a_folder_that_a_consumer_made_a_link_is_refused_and_one_of_roots_is_followed",
            )
            + at("store/test_atomic", "a_directory_that_becomes_a_link_while_it_is_removed_leads_nowhere"),
        ),
        Claim(
            "What he says on the socket costs neither much memory nor much time, and rubbish is not taken for a "
            "confirmation.",
            at(
                "deploy/test_charon",
                "a_message_that_does_not_end_is_given_up_in_time",
                "a_message_that_comes_in_drips_has_no_more_time_than_another",
                "a_socket_that_answers_rubbish_is_no_charon",
                "whatever_charon_logs_is_kept_short",
            ),
        ),
        Claim(
            "A point that a peer sends for a shared secret reaches a token only if it is on the curve of the key.",
            _file("hsm/test_store", "a_point_on_another_curve_of_the_same_size_never_reaches_the_token"),
        ),
    ),
    "He has the key that was delivered to him, or the use of it where it is on a token and he has its PIN. He can say "
    "that he uses a certificate when he does not. Where enrolld runs as root, which it does not under the unit, a "
    "directory that others may write to is a danger to all of the machine.",
)

STOLEN: Final = Attacker(
    "With the stolen box",
    "He has the whole device, its disk, and any amount of time.",
    (
        Claim(
            "A key on a token is made there and does not leave it, not even on deployment; one that a token would give "
            "out, against what it was told, is destroyed before it is used.",
            at("deploy/test_directory", "the_key_of_a_token_does_not_become_a_file")
            + _file(
                "hsm/test_store",
                "the_private_half_cannot_be_read_by_anybody",
                "a_key_that_the_token_would_give_out_is_not_used",
            ),
        ),
        Claim(
            "A wrong PIN is tried once, so the token is not locked by us, and none of it is kept but one octet.",
            _file(
                "hsm/test_store",
                "a_wrong_pin_reaches_the_token_once_however_often_it_is_asked",
                "a_pin_is_not_tried_where_its_refusal_could_not_be_written_down",
                "of_processes_that_try_a_wrong_pin_at_once_one_does",
                "of_a_refused_pin_one_octet_is_kept",
            )
            + _file(
                "hsm/test_enrolld",
                "ten_scheduled_attempts_with_a_wrong_pin_bring_the_token_one",
                "reloads_bring_the_token_no_pin_that_it_refused",
            ),
        ),
        Claim(
            "The one-time secret is in no file that enrolld writes: neither in an open request nor in a credential. Of "
            "one that was refused two octets of a salted hash are kept, and it is not sent again by itself.",
            at("cli/test_secrecy", "an_enrollment_shows_neither_secret_nor_key")
            + at(
                "worker/test_enrollment",
                "which_secret_was_refused_is_remembered_until_another_one_is_sent_and_is_not_to_be_read",
            )
            + at(
                "supervisor/test_daemon",
                "a_refused_secret_is_not_sent_again_after_a_restart_a_reload_or_a_look_but_when_a_person_says_so",
            )
            + at("cmp/test_memory", "a_snapshot_has_no_field_for_secrets")
            + at("cmp/test_pitfalls", "pitfall_23_neither_secret_nor_private_key_is_in_anything_that_is_written"),
        ),
        Claim(
            "Once the operator revoked the certificate it renews nothing, and who learns of it leaves it alone.",
            _file("interop/test_bouncycastle", "a_revoked_certificate_renews_nothing")
            + at("worker/test_crls", "our_own_certificate_found_revoked_is_marked_told_and_left_alone"),
        ),
    ),
    "With a key in software he has the key: he is this device until the operator revokes its certificate, and can "
    "renew it until then. Revoke at once ([operations.md](operations.md)); keep keys on a token or encrypt the disk.",
)

NEIGHBOUR: Final = Attacker(
    "Holding another site's certificate",
    "He has a genuine key and certificate under the same operator's root.",
    (
        Claim(
            "He cannot pose as the CA: a certificate under the root does not make an authority.",
            at(
                "cmp/test_answer_checks",
                "check_8_another_base_station_of_the_same_operator_is_refused",
                "check_8_a_signer_certified_by_another_device_is_refused",
            )
            + _file(
                "interop/test_openssl_server",
                "a_neighbour_with_a_certificate_under_the_same_root_may_not_answer",
            ),
        ),
        Claim(
            "Nor can another RA of the operator, where a sender or a key is pinned.",
            at("cmp/test_authorisation", "where_a_sender_is_configured_another_ra_may_not_answer")
            + at("worker/test_first_trust", "a_pin_of_another_key_keeps_even_an_ra_of_the_operator_out"),
        ),
        Claim(
            "He cannot make the device install a certificate for his key, for other names, or issued by him.",
            at(
                "cmp/test_certificate_checks",
                "check_14_a_certificate_for_another_key_is_refused_by_certconf",
                "check_18_a_certificate_issued_by_another_device_is_refused_by_certconf",
            )
            + at("cmp/test_acceptance", "another_subject_is_rejected_with_both_names"),
        ),
        Claim(
            "A revoked RA or issuing CA is not believed, and a forged CRL is not either.",
            at(
                "worker/test_crls",
                "answers_of_a_revoked_ra_are_refused",
                "an_issuing_ca_that_the_root_revoked_is_refused",
                "a_forged_crl_marks_nothing",
            ),
        ),
    ),
    "He can talk to the gateway as the site he is. What he may reach there is the operator's to decide.",
)

A_BUNDLE: Final = Attacker(
    "Reading a support bundle, or holding a stick",
    "He gets what a technician sends away or brings along.",
    (
        Claim(
            "A bundle holds neither secrets nor keys, nor a MAC from which a secret could be guessed.",
            at(
                "cli/test_capture",
                "secrets_planted_everywhere_are_nowhere_in_the_bundle",
                "no_message_in_the_bundle_lets_a_secret_be_guessed",
            )
            + at("cmp/test_redaction", "the_mac_goes_and_everything_else_stays"),
        ),
        Claim(
            "A sealed stick opens with its secret only, and is refused at a device with another serial number.",
            at("cli/test_turn_up", "a_sealed_file_opens_with_its_secret_only")
            + at("cli/test_turn_up", "a_stick_for_another_device_is_refused"),
        ),
    ),
    "Names, addresses, times and certificates are in a bundle: that is what it is for.",
)

PROCESSES: Final = (
    Claim(
        "The supervisor (`enrolld`) lives for years and loads no cryptography, no parser of ASN.1, no HTTP and no "
        "vendor's library; it has no socket to a CA and no key.",
        at("supervisor/test_lightness", "the_supervisor_loads_nothing_heavy")
        + at("test_layout", "imports_point_down_only"),
    ),
    Claim(
        "A worker lives for one job in a process of its own: it has the descriptors its job names, and no others; one "
        "that was forked, because many jobs wait, also the pipe its exit status comes through.",
        at("supervisor/test_children", "no_descriptor_but_the_named_ones_reaches_the_worker")
        + at(
            "supervisor/test_forks",
            "it_has_the_descriptors_its_job_names_and_the_pipe_of_its_status_and_no_others",
        )
        + at("supervisor/test_early", "it_keeps_no_pipe_that_its_job_does_not_need"),
    ),
    Claim(
        "What workers are forked from reads no job, no secret and no key; nothing that is random is the same in two "
        "workers, and one that loads a vendor's library is a program of its own.",
        at(
            "supervisor/test_forks",
            "what_forks_reads_neither_job_nor_secret",
            "what_is_random_differs_from_one_to_the_next",
            "a_worker_that_loads_the_module_of_a_token_is_a_program_of_its_own",
        ),
    ),
    Claim(
        "Under systemd both can reach hardly anything beyond the state directory and the network; every right that is "
        "left is explained in the unit.",
        at("test_systemd", "the_service_can_reach_hardly_anything")
        + at("test_systemd", "every_right_that_is_left_is_explained"),
    ),
    Claim(
        "A hook gets the documented environment, no shell, no descriptor of ours, and an end.",
        at(
            "deploy/test_hook",
            "it_gets_the_documented_environment_and_nothing_else",
            "it_inherits_no_descriptor_no_input_and_no_directory",
            "there_is_no_shell",
            "one_that_takes_too_long_is_ended_with_all_it_started",
        ),
    ),
    Claim(
        "Protocol and policies have no socket, file, clock, randomness or log of their own.",
        at("test_layout", "imports_point_down_only")
        + at("policy/test_purity", "a_policy_has_no_clock_no_randomness_and_no_files_of_its_own"),
    ),
)

SUPPLY: Final = (
    Claim(
        "Everything that runs is pinned with the hash of each of its files, at the versions that are tested: "
        "`pip install --require-hashes -r .ci/requirements.lock`.",
        at("test_supply_chain", "everything_that_runs_is_locked_by_hash_at_the_version_that_is_tested"),
    ),
    Claim(
        "`make sbom` writes what is in it, with licences and hashes (CycloneDX 1.6).",
        at("test_supply_chain", "the_bill_of_materials_names_each_package_with_licence_and_hashes"),
    ),
    Claim(
        "The same sources give the same wheel, octet by octet.",
        at("test_supply_chain", "a_wheel_that_is_built_twice_has_the_same_octets"),
    ),
)

ATTACKERS: Final = (ON_THE_PATH, ANOTHER_USER, A_CONSUMER, STOLEN, NEIGHBOUR, A_BUNDLE)
EVERY: Final = (*PROCESSES, *(claim for one in ATTACKERS for claim in one.claims), *SUPPLY)
