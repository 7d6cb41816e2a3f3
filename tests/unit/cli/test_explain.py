"""``explain`` knows every word that the program can show, and helps with a mistyped one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agent import overview
from agent.cli import explain, token_codes
from agent.cli.glossary import RETRIES, entries
from agent.cli.main import EXITS, cli
from agent.cli.state_words import STATES
from agent.cmp.failures import FAILURES, PKIFailureInfo, PKIStatus, RetryClass
from agent.contract import Verdict
from agent.events import EVENTS
from agent.policy.renewal import CertificateState
from agent.settings import Quirk
from hsm.ckr import MEANINGS
from tests.station import Station

HEADER = "/usr/include/p11-kit-1/p11-kit/pkcs11.h"
KNOWN = tuple(entries())


def kinds(term: str) -> set[str]:
    return {one.kind for one in explain.look_up(term, KNOWN)}


@pytest.mark.parametrize("bit", PKIFailureInfo)
def test_a_failure_is_known_by_name_and_by_bit(bit: PKIFailureInfo) -> None:
    (found,) = explain.look_up(bit.label, KNOWN)
    assert FAILURES[bit].meaning in found.meaning
    assert found.remedy == FAILURES[bit].remedy
    assert found in explain.look_up(str(bit.value), KNOWN)
    assert explain.look_up(bit.label.upper(), KNOWN) == (found,)


def test_states_verdicts_statuses_and_quirks_are_all_known() -> None:
    states = {
        *map(str, CertificateState),
        *overview._OPEN.values(),
        "unenrolled",
        "revoked",
        "on-hold",
        "damaged",
        overview.DEPLOYING,
    }
    assert states == set(STATES)
    for term in (*states, *Verdict, *Quirk, *(status.label for status in PKIStatus)):
        assert explain.look_up(str(term), KNOWN), term


def test_events_are_known_by_name_and_message_id() -> None:
    for event, rule in EVENTS.items():
        assert "event in the journal" in kinds(event.value)
        (found,) = explain.look_up(rule.message_id.upper(), KNOWN)
        assert found.meaning == rule.help
        assert explain.look_up(f"MESSAGE_ID={rule.message_id}", KNOWN) == (found,)


@pytest.mark.parametrize("code", ["CKR_PIN_LOCKED", "PIN_LOCKED", "PinLocked", "ckr_pin_locked", "0xA4", "0x000000a4"])
def test_a_code_of_a_token_is_known_as_the_standard_the_library_and_a_log_spell_it(code: str) -> None:
    (found,) = explain.look_up(code, KNOWN)
    assert "locked its PIN" in found.meaning
    assert found.remedy


def test_codes_of_tokens_have_the_numbers_of_the_standard_header() -> None:
    defined = re.findall(r"#define CKR_(\w+)\s+\((0x[0-9a-f]+|[0-9]+)UL\)", Path(HEADER).read_text())
    assert token_codes.CODES.items() <= {name: int(number, 0) for name, number in defined}.items()
    named = {token_codes._squeezed(kind.__name__) for kinds_, _ in MEANINGS for kind in kinds_}
    unknown = named - set(map(token_codes._squeezed, token_codes.CODES))
    assert unknown == {"nosuchtoken", "pintooweak", "publickeyinvalid"}, (
        "the library's own, and those that headers disagree on"
    )


def test_exit_codes_are_those_of_the_help() -> None:
    help_ = " ".join((cli.help or "").split())
    for number in EXITS:
        assert f" {number} " in help_
        assert kinds(f"exit code {number}") == {"exit code of enrollctl"}
    assert kinds("3") == {"exit code of enrollctl", "PKIStatus 3", "PKIFailureInfo, bit 3"}


def test_settings_are_known_by_their_whole_path_and_by_their_last_part() -> None:
    (found,) = explain.look_up("authorities.NAME.http.connect-timeout", KNOWN)
    assert "how long to wait for a connection" in found.meaning
    assert explain.look_up("connect_timeout", KNOWN) == (found,)


def test_every_retry_class_has_words() -> None:
    assert set(RETRIES) == set(RetryClass)


def test_no_term_is_without_words_and_none_is_listed_twice() -> None:
    assert all(one.term and one.kind and one.meaning for one in KNOWN)
    assert len({(one.term, one.kind) for one in KNOWN}) == len(KNOWN)


def test_a_mistyped_word_leads_to_the_right_one(station: Station) -> None:
    done = station.run("explain", "badTmie")
    assert done.code == 2
    assert done.problem == "nothing is called 'badTmie' here"
    assert "Perhaps badTime" in done.remedy
    assert station.run("explain", "xyzzyplugh").remedy == "'enrollctl explain' lists every word that is explained."


def test_the_words_are_printed_for_people_and_programs(station: Station) -> None:
    done = station.run("explain", "badTime")
    assert done.code == 0
    assert done.out.startswith("badTime (PKIFailureInfo, bit 3)\n    ")
    assert "    what to do: " in done.out
    (found,) = json.loads(station.run("explain", "badTime", "--json").out)
    assert found["kind"] == "PKIFailureInfo, bit 3"
    assert len(station.run("explain").out.splitlines()) == len(KNOWN) + 1
