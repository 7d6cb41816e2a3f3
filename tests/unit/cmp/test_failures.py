from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cmp import failures
from agent.cmp.errors import MalformedMessage
from agent.cmp.failures import PKIFailureInfo, PKIStatus, RetryClass

_BITS = st.frozensets(st.integers(0, failures.BITS_LIMIT - 1))


def test_every_status_and_every_bit_is_explained() -> None:
    assert set(failures.STATUSES) == set(PKIStatus)
    assert set(failures.FAILURES) == set(PKIFailureInfo)
    assert [int(bit) for bit in PKIFailureInfo] == list(range(27))


def test_names_are_spelled_as_in_the_rfc() -> None:
    assert [bit.label for bit in PKIFailureInfo] == [
        "badAlg", "badMessageCheck", "badRequest", "badTime", "badCertId", "badDataFormat", "wrongAuthority",
        "incorrectData", "missingTimeStamp", "badPOP", "certRevoked", "certConfirmed", "wrongIntegrity",
        "badRecipientNonce", "timeNotAvailable", "unacceptedPolicy", "unacceptedExtension", "addInfoNotAvailable",
        "badSenderNonce", "badCertTemplate", "signerNotTrusted", "transactionIdInUse", "unsupportedVersion",
        "notAuthorized", "systemUnavail", "systemFailure", "duplicateCertReq",
    ]  # fmt: skip
    assert [status.label for status in PKIStatus] == [
        "accepted", "grantedWithMods", "rejection", "waiting", "revocationWarning", "revocationNotification",
        "keyUpdateWarning",
    ]  # fmt: skip


def test_every_remedy_is_a_sentence_for_a_person() -> None:
    for rule in failures.FAILURES.values():
        assert rule.remedy[0].isupper()
        assert rule.remedy.endswith(".")
        assert len(rule.remedy) < 130


@pytest.mark.parametrize(
    ("bits", "contents"),
    [
        ({2}, "0520"),
        ({7}, "0001"),
        ({9}, "060040"),
        ({19}, "04000010"),
        ({25}, "0600000040"),
        ({1, 20}, "03400008"),
        ((), "00"),
    ],
)
def test_the_bit_string_is_trimmed_as_der_wants(bits: set[int], contents: str) -> None:
    assert failures.encode_failures(bits).hex() == contents
    assert failures.decode_failures(bytes.fromhex(contents)) == frozenset(bits)


@given(_BITS)
def test_every_set_of_bits_survives_the_way_there_and_back(bits: frozenset[int]) -> None:
    assert failures.decode_failures(failures.encode_failures(bits)) == bits


@given(_BITS, st.integers(0, 8))
def test_a_list_that_was_not_trimmed_is_taken(bits: frozenset[int], zeros: int) -> None:
    trimmed = failures.encode_failures(bits)
    padded = b"\x00" + trimmed[1:] + bytes(zeros)
    assert failures.decode_failures(padded) == bits


@pytest.mark.parametrize("contents", [b"", b"\x08\x00", b"\x01", b"\x03\x01", b"\xff\xff"])
def test_octets_that_are_no_bit_string_are_malformed(contents: bytes) -> None:
    with pytest.raises(MalformedMessage, match="failInfo"):
        failures.decode_failures(contents)


@given(st.binary(max_size=64))
def test_any_octets_give_bits_or_our_error(contents: bytes) -> None:
    try:
        bits = failures.decode_failures(contents)
    except MalformedMessage:
        return
    assert all(0 <= bit < failures.BITS_LIMIT for bit in bits)


def test_a_huge_bit_string_is_cut() -> None:
    assert failures.decode_failures(b"\x00" + b"\xff" * 1_000_000) == frozenset(range(failures.BITS_LIMIT))


@pytest.mark.parametrize("bit", [-1, failures.BITS_LIMIT])
def test_a_bit_that_cannot_be_sent_is_our_mistake(bit: int) -> None:
    with pytest.raises(ValueError, match="bits 0 to"):
        failures.encode_failures({bit})


def test_unknown_bits_are_shown_and_decide_nothing() -> None:
    assert failures.failure_names({31, 9, 27}) == ("badPOP", "bit 27", "bit 31")
    assert failures.known_failures({31, 9, 27}) == (PKIFailureInfo.BAD_POP,)
    assert failures.retry_class({24, 31}) is RetryClass.RETRY_LATER
    assert failures.retry_class({31}) is RetryClass.FINAL
    assert failures.remedy({31}) == failures.remedy(())


@pytest.mark.parametrize(
    ("bit", "expected"),
    [
        (3, RetryClass.FIX_CLOCK_THEN_RETRY),
        (6, RetryClass.OTHER_CA),
        (11, RetryClass.SUCCESS_IF_SAME),
        (13, RetryClass.NEW_TRANSACTION),
        (14, RetryClass.RETRY_LATER),
        (21, RetryClass.NEW_TRANSACTION),
        (24, RetryClass.RETRY_LATER),
        (25, RetryClass.RETRY_LATER),
        (26, RetryClass.NEW_KEY),
    ],
)
def test_bits_after_which_trying_again_is_worth_something(bit: int, expected: RetryClass) -> None:
    assert failures.retry_class({bit}) is expected


@pytest.mark.parametrize("bit", [0, 1, 2, 4, 5, 7, 8, 9, 10, 12, 15, 16, 17, 18, 19, 20, 22, 23])
def test_bits_after_which_a_person_must_act(bit: int) -> None:
    assert failures.retry_class({bit}) is RetryClass.FINAL


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ({2, 24}, RetryClass.FINAL),
        ({22, 24}, RetryClass.FINAL),
        ({11, 2}, RetryClass.SUCCESS_IF_SAME),
        ({21, 24}, RetryClass.RETRY_LATER),
        ({26, 6}, RetryClass.NEW_KEY),
        ({3, 13}, RetryClass.FIX_CLOCK_THEN_RETRY),
    ],
)
def test_of_several_bits_the_one_that_promises_least_decides(bits: set[int], expected: RetryClass) -> None:
    assert failures.retry_class(bits) is expected


@given(_BITS, _BITS)
def test_more_bits_never_turn_final_into_a_retry_but_for_confirmed(bits: frozenset[int], more: frozenset[int]) -> None:
    before, after = failures.retry_class(bits), failures.retry_class(bits | more)
    if before is RetryClass.FINAL and failures.known_failures(bits):
        assert after in {RetryClass.FINAL, RetryClass.SUCCESS_IF_SAME}


def test_describe_says_what_why_and_in_whose_words() -> None:
    line = failures.describe(2, {9, 30}, ("POP failed", "try\nagain"))
    assert line == (
        "the CA refused (rejection): badPOP (the proof that we hold the private key did not convince the CA); bit 30; "
        r'it says: "POP failed / try\nagain"'
    )


def test_describe_bears_an_unknown_status_and_silence() -> None:
    assert failures.describe(9) == "unknown status 9"
    assert failures.describe(3) == "the CA has not decided yet (waiting)"
    assert failures.describe(2, (), "no") == 'the CA refused (rejection); it says: "no"'


def test_a_ca_cannot_fake_the_end_of_its_words() -> None:
    assert failures.describe(2, (), 'no"; all is well').endswith("""; it says: "no'; all is well\"""")


def test_remedies_of_several_bits_are_joined_without_repeats() -> None:
    assert failures.remedy({24, 25}) == failures.FAILURES[PKIFailureInfo.SYSTEM_UNAVAIL].remedy
    both = failures.remedy({3, 9})
    assert both.startswith(failures.FAILURES[PKIFailureInfo.BAD_TIME].remedy)
    assert both.endswith(failures.FAILURES[PKIFailureInfo.BAD_POP].remedy)


def test_a_refusal_without_a_reason_still_says_what_to_do() -> None:
    assert "operator" in failures.remedy(())


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("plain text, äöü 東京", "plain text, äöü 東京"),
        ("a\x1b[31mred", r"a\x1b[31mred"),
        ("line\r\nforged: entry", r"line\r\nforged: entry"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("\x9b2J", r"\x9b2J"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("lone \ud800", r"lone \ud800"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("  trimmed\n", "trimmed"),
        (" " * 300 + "\x1cfar", r"\x1cfar"),
    ],
)
def test_peer_text_is_made_safe(dirty: str, clean: str) -> None:
    assert failures.clean_text(dirty) == clean


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert failures.clean_text("x" * 200) == "x" * 200
    assert failures.clean_text("x" * 201) == "x" * 199 + "…"
    assert failures.clean_text("\x00" * 100) == r"\x00" * 49 + "…"


@given(st.text(), st.integers(1, 300))
def test_clean_text_is_one_safe_line_within_its_limit(text: str, limit: int) -> None:
    clean = failures.clean_text(text, limit)
    assert len(clean) <= limit
    assert clean.splitlines() in ([], [clean])
    assert all(unicodedata.category(character)[0] != "C" for character in clean)
