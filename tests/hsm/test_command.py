"""``enrollctl token``: tokens, what they can do, and keys that nobody uses."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent.cli import desk
from agent.cli.main import cli as commands
from agent.store.token_keys import LEDGER
from tests.hsm.conftest import TokenStation
from tests.hsm.daemon import PATIENT, enrolld
from tests.hsm.tokens import Token
from tests.printed import valid
from tests.station import Finished, asked, until


def test_tokens_are_listed_with_their_keys_and_who_uses_them(station: TokenStation) -> None:
    assert station.run("enroll").code == 0
    done = station.run("token", "list")
    assert done.code == 0, done.err
    assert "hsm: enb, serial " in done.out
    assert "ec-p256" in done.out
    (seen,) = valid("token", station.run("token", "list", "--json").out)
    assert [(one["identity"], one["certificate"]) for one in seen["keys"]] == [("ike", True)]
    assert seen["orphans"] == []


def test_orphans_are_shown_and_removed_only_when_asked(station: TokenStation, token: Token) -> None:
    assert station.run("enroll").code == 0
    ids = [token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", f"{who}", "--id", number)
           for who, number in (("enrolld:ike:lost", "77"), ("factory", "78"))]  # fmt: skip
    assert len(ids) == 2
    (seen,) = json.loads(station.run("token", "list", "--json").out)
    assert len(seen["keys"]) == 3
    assert len(seen["orphans"]) == 1
    unsure = station.run("token", "list", "--remove-orphans")
    assert unsure.code == 2  # nobody is there to be asked
    assert unsure.err.startswith("enrollctl: hsm: nobody here uses the key enrolld:ike:lost\nenrollctl: error: ")
    (left,) = json.loads(station.run("token", "list", "--remove-orphans", "--yes", "--json").out)
    assert left["orphans"] == []
    assert {one["ours"] for one in left["keys"]} == {True, False}
    assert station.run("renew").code == 0


def test_a_person_gets_past_a_pin_that_was_refused(station: TokenStation, token: Token) -> None:
    station.write_pin(b"0000")
    assert station.run("enroll").code == 4
    assert station.run("enroll").code == 4
    assert token.logins == ["0xa0"]
    done = station.run("token", "probe", "hsm")
    assert (done.code, token.logins) == (4, ["0xa0", "0xa0"])
    (trouble,) = valid("token", station.run("token", "probe", "hsm", "--json").out)
    assert trouble["verdict"] == "needs-pin"
    station.write_pin(b"1234")
    (seen,) = valid("token", station.run("token", "probe", "hsm", "--json").out)
    assert seen["algorithms"]
    assert station.run("enroll").code == 0


def test_a_module_that_crashes_takes_the_command_along_in_words_only(station: TokenStation, token: Token) -> None:
    token.order("C_Login segv")
    done = station.run("token", "probe", "hsm")
    assert done.code == 1
    assert "crashed" in done.problem


@pytest.fixture
def enrolling_meanwhile(station: TokenStation, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the key of the station made after the command has begun, and before it asks the token."""
    ask = desk.ask
    done: list[Finished] = []

    def late(*arguments: Any, **details: Any) -> dict[str, Any]:
        if not done:
            done.append(station.run("enroll"))
            assert done[0].code == 0, done[0].err
        return ask(*arguments, **details)

    monkeypatch.setattr(desk, "ask", late)
    yield
    assert done


@pytest.mark.usefixtures("enrolling_meanwhile")
def test_a_key_that_is_made_while_the_command_runs_is_no_orphan(station: TokenStation) -> None:
    done = CliRunner().invoke(
        commands, ["--config", str(station.config), "token", "list", "--remove-orphans", "--yes", "--json"]
    )
    (seen,) = json.loads(done.stdout)
    assert [one["identity"] for one in seen["keys"]] == ["ike"]
    assert station.run("renew").code == 0


def test_the_key_of_an_open_request_is_no_orphan_where_the_list_of_keys_was_removed(
    station: TokenStation,
) -> None:
    station.write_secret("wrong")
    assert station.run("enroll").code == 4
    (station.store.directory / LEDGER).unlink()
    (left,) = json.loads(station.run("token", "list", "--remove-orphans", "--yes", "--json").out)
    assert [one["identity"] for one in left["keys"]] == ["ike"]


def test_no_orphan_is_removed_while_not_every_credential_can_be_read(station: TokenStation, token: Token) -> None:
    assert station.run("enroll").code == 0
    (station.store.directory / LEDGER).unlink()
    (station.current.path / "credential.json").write_text("{")
    done = station.run("token", "list", "--remove-orphans", "--yes")
    assert done.code == 1
    assert "nothing is removed" in done.problem
    assert token.tool("--list-objects", "--type", "privkey").count("enrolld:ike:") == 1


def test_neither_the_right_pin_nor_a_wrong_one_is_shown_or_written_anywhere(
    station: TokenStation, token: Token
) -> None:
    right, wrong = b"right-harmonica-81", b"wrong-kazoo-75"
    token.tool("--change-pin", "--new-pin", right.decode())
    shown, codes = b"", []
    for pin in (wrong, right):
        station.write_pin(pin)
        for command in ("enroll", "token list", "token probe hsm", "doctor", "status", "renew"):
            done = station.run(*command.split())
            codes.append(done.code)
            shown += done.out.encode() + done.err.encode()
    assert codes[0] == 4
    assert codes[-1] == 0
    written = {path: path.read_bytes() for path in station.state.rglob("*") if path.is_file()}
    assert any(path.name == "credential.json" for path in written)
    with enrolld(station) as daemon:
        station.write_pin(wrong)
        assert daemon.enroll()["verdict"] == "unchanged"
        station.identity["key"]["algorithm"] = "ec-p384"
        station.configure()
        daemon.reload(1)
        asked(daemon.control, "io.enrolld.control.Renew", more=True, name="ike")
        until(lambda: "needs-pin" in daemon.said() or "refuses the PIN" in daemon.said(), seconds=PATIENT)
        written[station.directory / "said"] = daemon.said().encode()
        for entry in Path("/proc").glob("[0-9]*"):
            if str(station.config).encode() in (line := _read(entry / "cmdline")):
                written[entry] = line + _read(entry / "environ")
    for secret in (right, wrong):
        for form in (secret, secret.hex().encode(), b64encode(secret).rstrip(b"=")):
            assert form not in shown
            assert [str(path) for path, octets in written.items() if form in octets] == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""
