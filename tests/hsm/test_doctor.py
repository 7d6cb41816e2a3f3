"""``enrollctl doctor`` about tokens and their PINs: it finds what is wrong, and never logs in to find it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agent.cli import desk, doctor
from agent.cli.checks import registry
from agent.cli.checks.registry import Finding, Site, Status
from agent.config import load
from tests.hsm.conftest import TokenStation
from tests.hsm.tokens import PIN, Token
from tests.unit.cli.test_ownership import AS_ROOT, OTHER

FINAL_TRY, LOCKED, WRITE_PROTECTED = 0x0002_0000, 0x0004_0000, 0x0000_0002
"""CK_TOKEN_INFO flags (PKCS#11 2.40 section 3.2)."""


def found(station: TokenStation) -> dict[str, dict[str, Any]]:
    """What the doctor says about the token ``hsm``, by check."""
    rows = json.loads(station.run("doctor", "--json").out)["checks"]
    about = {one["check"]: one for one in rows if one["about"] == "hsm"}
    assert all(one["remedy"] for one in about.values() if one["status"] in {"failed", "warning"})
    return about


def pin_of(site: Site) -> Finding:
    """What this process finds about the PIN alone."""
    doctor.examine(site)  # the table of checks is there now
    return registry.CHECKS["pin"].examine(site, "hsm")


def test_a_token_that_is_well_is_shown_with_its_serial_number(station: TokenStation, token: Token) -> None:
    rows = found(station)
    assert (rows["token"]["status"], rows["pin"]["status"]) == ("ok", "ok")
    assert rows["token"]["reason"].startswith("enb, serial ")
    assert token.logins == []


def test_a_token_that_is_not_there_is_one_fault(station: TokenStation, token: Token) -> None:
    token.unplug()
    rows = found(station)
    assert (rows["token"]["status"], rows["pin"]["status"]) == ("failed", "skipped")
    assert "there is no token labelled enb" in rows["token"]["reason"]


@pytest.mark.parametrize(
    ("flags", "check", "status", "words"),
    [
        (LOCKED, "pin", "failed", "has locked its PIN"),
        (FINAL_TRY, "pin", "failed", "one more wrong PIN locks the token"),
        (WRITE_PROTECTED, "token", "warning", "write-protected"),
    ],
)
def test_what_the_token_tells_of_itself_is_told(
    station: TokenStation, token: Token, flags: int, check: str, status: str, words: str
) -> None:
    token.order(f"C_GetTokenInfo flags:{flags:#x}")
    row = found(station)[check]
    assert row["status"] == status
    assert words in row["reason"]
    assert token.logins == []


def test_a_pin_that_was_refused_is_named_until_it_is_corrected(station: TokenStation, token: Token) -> None:
    station.write_pin(b"0000")
    assert station.run("enroll").code == 4
    row = found(station)["pin"]
    assert row["status"] == "failed"
    assert "is the one that the token refused" in row["reason"]
    station.write_pin(PIN)
    row = found(station)["pin"]
    assert row["status"] == "warning"
    assert "a wrong PIN since the last login that went well" in row["reason"]
    assert token.logins == ["0xa0"]
    assert station.run("token", "probe", "hsm").code == 0
    assert found(station)["pin"]["status"] == "ok"


def test_a_pin_that_is_not_at_hand_is_told(station: TokenStation, token: Token) -> None:
    (station.directory / "pin").unlink()
    row = found(station)["pin"]
    assert row["status"] == "failed"
    assert "cannot be read" in row["reason"]
    token.order("C_GetTokenInfo segv")
    row = found(station)["token"]
    assert row["status"] == "failed"
    assert "crashed" in row["reason"]


@AS_ROOT
def test_a_pin_that_only_root_may_read_is_of_no_use_to_the_service(
    station: TokenStation, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(station.config)
    looked = desk.ask(settings, "hsm", look=True)
    monkeypatch.setattr(desk, "ask", lambda *_, **__: looked)  # he may not run the Python of these tests
    os.chown(station.state, OTHER, OTHER)
    pin = station.directory / "pin"
    row = pin_of(Site(config=station.config, settings=settings))
    assert (row.status, row.reason) == (Status.WARNING, f"a PIN is in {pin}, and enrolld may not read it")
    assert row.remedy == f"Give it the file: 'chown --reference={station.state} {pin}'."


def test_whoever_may_not_look_for_a_refused_pin_does_not_say_that_it_was_refused(
    station: TokenStation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state directory is closed to the group of enrolld."""
    exists = Path.exists

    def closed(path: Path, **options: Any) -> bool:
        if station.state in path.parents:
            raise PermissionError(13, "Permission denied")
        return exists(path, **options)

    memory = station.state / "tokens"
    memory.mkdir(mode=0o700)
    (memory / "hsm.json").write_text("what nobody may read says nothing")
    site = Site(config=station.config, settings=load(station.config))
    assert pin_of(site).status is Status.FAILED
    monkeypatch.setattr(Path, "exists", closed)
    assert pin_of(site).status is Status.OK
