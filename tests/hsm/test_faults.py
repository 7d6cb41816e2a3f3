"""A module or token that fails at any step: the right state, the right remedy, and one certificate in the end."""

from __future__ import annotations

import json

import pytest

from agent.labca import LabCa
from tests.hsm.conftest import TokenStation
from tests.hsm.tokens import Token

FAULTS = [
    ("C_GenerateKeyPair return:0x31", "failed"),
    ("C_Sign segv", "crashed"),
    ("C_Sign abort", "crashed"),
    ("C_Login segv", "crashed"),
    ("load segv", "crashed"),
    ("C_Sign return:0x32", "needs-token"),
    ("C_Sign return:0x80000001", "failed"),
    ("C_Login return:0xA4", "needs-pin"),
]


@pytest.mark.parametrize(("order", "verdict"), FAULTS)
def test_each_fault_has_its_state_and_remedy_and_nothing_is_lost(
    station: TokenStation, token: Token, order: str, verdict: str
) -> None:
    station.identity["key"]["algorithm"] = "ec-p256"
    token.order(order)
    done = station.run("enroll", "--json")
    outcome = json.loads(done.out)
    assert outcome["verdict"] == verdict, outcome
    assert outcome["remedy"]
    token.order()
    assert station.run("enroll").code == 0
    assert token.tool("--list-objects", "--type", "privkey").count("enrolld:ike:") == 1


def test_what_a_module_prints_is_not_taken_for_our_words(station: TokenStation, token: Token) -> None:
    token.order("C_Login print", "C_Sign print")
    assert station.run("enroll").code == 0
    assert station.current.number == 1


STEPS = ["C_GetSlotList", "C_GenerateKeyPair", "C_FindObjectsInit", "C_SignInit", "C_Sign", "C_CreateObject"]


@pytest.mark.parametrize("step", STEPS)
def test_a_token_that_goes_at_any_step_and_comes_back_leaves_one_certificate(
    station: TokenStation, token: Token, lab: LabCa, step: str
) -> None:
    token.order(f"{step} return:0x32")
    first = json.loads(station.run("enroll", "--json").out)
    assert first["verdict"] == "needs-token", first
    token.order()
    assert station.run("enroll").code == 0
    assert station.current.number == 1
    assert token.tool("--list-objects", "--type", "cert").count("Certificate Object") == 1
    assert lab.settings.directory is not None
