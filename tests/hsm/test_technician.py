"""A site with a token: turned up by a technician who types PIN and secret; what he reads when the token sits badly."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.hsm.conftest import TokenStation
from tests.hsm.tokens import Token
from tests.screen import screen
from tests.station import ENROLLCTL, ENVIRONMENT, SECRET

ANSWERS = 10
SECONDS = 60


def test_a_turn_up_with_a_token_takes_two_answers_and_less_than_a_minute(station: TokenStation, token: Token) -> None:
    station.identity["bootstrap"]["shared-secret"]["secret"] = "prompt"
    station.more["tokens"]["hsm"]["pin"] = "prompt"
    station.configure()
    begun = time.monotonic()
    command: list[str | Path] = [ENROLLCTL, "--config", station.config, "turn-up"]
    with screen(station.directory, command, environment=ENVIRONMENT | {"TERM": "screen-256color"}) as terminal:
        terminal.wait_for("one-time secret of ike (reference enb-4711):")
        terminal.type(SECRET)
        terminal.wait_for("PIN of the token hsm:")
        terminal.type("1234")
        terminal.wait_for("result: done: the certificate is installed and valid")
        terminal.wait_for("finished:")
        assert terminal.ended() == 0
        shown = terminal.scrolled()
        assert terminal.answers <= ANSWERS
    assert time.monotonic() - begun < SECONDS
    assert SECRET not in shown
    assert station.current.key_reference.startswith("pkcs11:")
    assert token.logins == ["0x0"] * len(token.logins)


HALF_INSERTED = {
    "no card in the reader": ("C_OpenSession return:0xe0", 4),
    "a card upside down": ("C_OpenSession return:0xe1", 4),
    "a contact that comes and goes": ("C_OpenSession return:0x30", 1),
    "pulled out on the way": ("C_GenerateKeyPair return:0x32", 4),
}


@pytest.mark.parametrize(("order", "code"), HALF_INSERTED.values(), ids=HALF_INSERTED)
def test_a_token_that_is_half_inserted_is_named_with_what_to_do(
    station: TokenStation, token: Token, order: str, code: int
) -> None:
    token.order(order)
    done = station.run("enroll")
    assert done.code == code, done.err
    assert "hsm" in done.problem
    assert re.search("insert|[Pp]lug", done.remedy), done.remedy
    token.order()
    assert station.run("enroll").code == 0
