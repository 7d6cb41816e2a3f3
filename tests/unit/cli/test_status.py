"""What ``status`` says of an identity, and what is to be done about it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.cli import status
from agent.cli.main import main
from agent.errors import StateNewer
from agent.overview import Overview, look
from agent.store.credential import CONFIRMED, REVOKED
from agent.store.generations import Credential, IdentityStore
from agent.store.state import IdentityState, LastError
from tests.station import Station

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> IdentityStore:
    return IdentityStore(tmp_path, "ike")


def install(store: IdentityStore, start: datetime, end: datetime) -> None:
    description: dict[str, Any] = {
        "subject": "CN=enb-4711,O=Operator",
        "serial": "4711",
        "not_before": start.isoformat(),
        "not_after": end.isoformat(),
    }
    with store.lock():
        credential = Credential(certificate=b"c", key_reference="file:///key", description=description)
        generation = store.add(credential)
        store.mark(generation, CONFIRMED, value=True)
        store.switch(generation)


def open_request(
    store: IdentityStore, action: str, state: str, *, check_at: datetime | None = None, generation: int | None = None
) -> None:
    transaction: dict[str, Any] = {"state": state, "check_at": check_at.isoformat() if check_at else None}
    store.transaction.save_snapshot({"action": action, "generation": generation, "transaction": transaction})


def failed(store: IdentityStore, text: str = "no address answered", verdict: str = "unreachable") -> None:
    error = LastError(text=text, remedy="Check the cable.", verdict=verdict, at=NOW - timedelta(hours=3))
    store.state.save(IdentityState(attempts=2, last_error=error))


def seen(store: IdentityStore) -> Overview:
    return look(store.state_directory, "ike", now=NOW)


def line(store: IdentityStore) -> list[str]:
    """The row of the table, cell by cell."""
    _, row = status.overview_table([seen(store)], NOW).split("\n")
    return [cell for cell in row.split("  ") if cell]


def test_nothing_there_yet(store: IdentityStore) -> None:
    assert [cell.strip() for cell in line(store)] == ["ike", "unenrolled", "-", "-", "enrollctl enroll ike"]
    assert seen(store).remedy is None


@pytest.mark.parametrize(
    ("start", "end", "state", "expires", "what_next"),
    [
        (-10, 80, "valid", "in 80 days", "renew in "),
        (-65, 25, "due", "in 25 days", "enrollctl renew ike"),
        (-89, 1, "expiring", "in 24 hours", "enrollctl renew ike"),
        (-90, -1, "expired", "24 hours ago", "enrollctl enroll ike"),
    ],
)
def test_a_certificate_through_its_life(
    store: IdentityStore, start: int, end: int, state: str, expires: str, what_next: str
) -> None:
    install(store, NOW + start * DAY, NOW + end * DAY)
    name, shown, subject, until, following = (cell.strip() for cell in line(store))
    assert (name, shown, subject, until) == ("ike", state, "CN=enb-4711,O=Operator", expires)
    assert following.startswith(what_next)
    assert seen(store).usable == (state != "expired")


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("waiting", "pending"),
        ("polling", "pending"),
        ("issued", "confirming"),
        ("confirming", "confirming"),
        ("refusal-sent", "refusing"),
        ("confirmed", "installing"),
        ("requested", "unenrolled"),
        ("rejected", "unenrolled"),
    ],
)
def test_an_open_request(store: IdentityStore, state: str, shown: str) -> None:
    with store.lock():
        open_request(store, "enroll", state, check_at=NOW + timedelta(minutes=5))
    assert seen(store).state == shown
    assert (seen(store).open_request == "enroll") == (shown != "unenrolled")


def test_an_open_request_whose_generation_is_confirmed_is_being_installed(store: IdentityStore) -> None:
    """Nobody needs a secret for that, nor the CA."""
    install(store, NOW - DAY, NOW + 80 * DAY)
    with store.lock():
        made = store.add(Credential(certificate=b"new", key_reference="file:///key"))
        open_request(store, "renew", "confirming", generation=made.number)
        assert seen(store).open_state == "confirming"
        store.mark(made, CONFIRMED, value=True)
        assert seen(store).open_state == "installing"


def test_when_the_ca_is_asked_again(store: IdentityStore) -> None:
    with store.lock():
        open_request(store, "enroll", "waiting", check_at=NOW + timedelta(minutes=5))
    assert line(store)[-1].strip() == "ask the CA again in 5 minutes"
    with store.lock():
        open_request(store, "enroll", "waiting", check_at=NOW - timedelta(minutes=5))
    assert line(store)[-1].strip() == "enrollctl enroll ike"


def test_an_open_renewal_does_not_hide_that_the_certificate_is_valid(store: IdentityStore) -> None:
    install(store, NOW - DAY, NOW + 80 * DAY)
    with store.lock():
        open_request(store, "renew", "waiting", check_at=NOW - timedelta(minutes=5))
    assert seen(store).state == "valid"
    assert line(store)[-1].strip() == "enrollctl renew ike"
    assert "open request: renew, pending" in status.details(seen(store), NOW)


def test_a_failed_attempt_is_told_with_its_remedy(store: IdentityStore) -> None:
    with store.lock():
        failed(store)
    assert seen(store).state == "unreachable"
    text = status.details(seen(store), NOW)
    assert "attempts:     2 failed one after another\n" in text
    assert "last error:   3 hours ago: no address answered\n" in text
    assert "what to do:   Check the cable.\n" in text


def test_what_enrolld_does_by_itself_is_what_is_next_where_it_runs(store: IdentityStore) -> None:
    with store.lock():
        failed(store)
        history = store.state.load()
        store.state.save(replace(history, next_action="try again", next_action_at=NOW + timedelta(minutes=5)))
    for kept, following in ((True, "try again in 5 minutes"), (False, "enrollctl enroll ike")):
        assert status.details(seen(store), NOW, kept=kept).endswith(f"\nnext:         {following}")
        assert status.overview_table([seen(store)], NOW, kept=kept).endswith(f"  {following}")


@pytest.mark.parametrize(
    ("facts", "following"),
    [
        ({"state": "due", "next_action": "renew", "next_action_at": NOW - DAY}, "renew in 0 seconds"),
        (
            {
                "state": "misconfigured",
                "next_action": "try again, or at once after a reload",
                "next_action_at": NOW + DAY,
            },
            "try again in 24 hours",
        ),
        ({"state": "revoked", "next_action": "renew", "next_action_at": NOW + DAY}, "enrollctl enroll ike"),
        ({"state": "unenrolled"}, "enrollctl enroll ike"),
    ],
)
def test_what_is_next_while_enrolld_runs(facts: dict[str, Any], following: str) -> None:
    moment = facts.get("next_action_at")
    one = Overview(name="ike", **facts | {"next_action_at": moment and moment.isoformat()})
    assert status.overview_table([one], NOW, kept=True).endswith(f"  {following}")


def test_a_failed_renewal_does_not_hide_that_the_certificate_is_valid(store: IdentityStore) -> None:
    install(store, NOW - DAY, NOW + 80 * DAY)
    with store.lock():
        failed(store)
    assert seen(store).state == "valid"
    assert seen(store).remedy == "Check the cable."


def test_a_damaged_credential_comes_before_older_errors(store: IdentityStore) -> None:
    install(store, NOW - DAY, NOW + 80 * DAY)
    with store.lock():
        failed(store)
    (store.directory / "current/certificate.pem").write_bytes(b"")
    one = seen(store)
    assert one.state == "damaged"
    assert one.last_error is not None
    assert "is empty" in one.last_error
    assert one.remedy is not None
    assert "enrollctl enroll ike" in one.remedy
    assert not one.usable


NEWER = '{"version": 2}'


@pytest.mark.parametrize("name", ["state.json", "transaction/snapshot.json", "token-keys.json", "deployment.json"])
def test_what_a_newer_version_wrote_beside_a_credential_hides_nothing_of_it_and_is_not_touched(
    store: IdentityStore, name: str
) -> None:
    install(store, NOW - DAY, NOW + 80 * DAY)
    path = store.directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(NEWER)
    before = sorted(store.directory.rglob("*"))
    one = seen(store)
    assert (one.state, one.usable) == ("valid", True)
    assert (path.read_text(), sorted(store.directory.rglob("*"))) == (NEWER, before)
    if name in {"state.json", "transaction/snapshot.json"}:
        assert one.last_error is not None
        assert "version 2" in one.last_error
        assert one.remedy


def test_a_credential_that_a_newer_version_wrote_is_an_error_and_no_damage(store: IdentityStore) -> None:
    install(store, NOW - DAY, NOW + 80 * DAY)
    (store.directory / "current" / "credential.json").write_text(NEWER)
    with pytest.raises(StateNewer, match="a newer one wrote it"):
        seen(store)


def test_a_revoked_certificate_is_not_usable(store: IdentityStore) -> None:
    install(store, NOW - DAY, NOW + 80 * DAY)
    with store.lock():
        current = store.current
        assert current is not None
        store.mark(current, REVOKED, NOW.isoformat())
    assert (seen(store).state, seen(store).usable) == ("revoked", False)
    assert line(store)[-1].strip() == "enrollctl enroll ike"


def test_a_clock_that_lost_its_time_does_not_make_a_certificate_useless(store: IdentityStore) -> None:
    install(store, NOW - DAY, NOW + 80 * DAY)
    one = look(store.state_directory, "ike", now=datetime(1970, 1, 1, tzinfo=UTC))
    assert (one.state, one.usable, one.remedy) == ("not-yet-valid", True, "Set the clock.")


def test_a_certificate_from_the_future_by_a_good_clock_is_not_usable(store: IdentityStore) -> None:
    install(store, NOW + DAY, NOW + 80 * DAY)
    assert (seen(store).state, seen(store).usable) == ("not-yet-valid", False)


def test_a_credential_that_was_not_acknowledged_says_so(store: IdentityStore) -> None:
    install(store, NOW - DAY, NOW + 80 * DAY)
    with store.lock():
        current = store.current
        assert current is not None
        store.mark(current, CONFIRMED, value=False)
    assert "confirmed:    no, the CA did not acknowledge it\n" in status.details(seen(store), NOW)


def test_who_waits_for_the_ca_is_told_the_command_that_names_the_transaction() -> None:
    told = status.details(Overview(name="ike", state="pending", open_request="enroll", open_state="pending"), NOW)
    assert "ask the CA's operator about the transaction that 'journalctl -x IDENTITY=ike' names." in told


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "in 0 seconds"), (1, "in 1 second"), (119, "in 119 seconds"), (120, "in 2 minutes"), (7200, "in 2 hours"),
        (172_799, "in 47 hours"), (172_800, "in 2 days"), (-1, "1 second ago"), (-864_000, "10 days ago"),
    ],
)  # fmt: skip
def test_spans_of_time_in_words(seconds: int, words: str) -> None:
    assert status.span((NOW + timedelta(seconds=seconds)).isoformat(), NOW) == words


# --- the command ------------------------------------------------------------------------------------------------------


def run(station: Station, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(station.config), "status", *arguments])
    assert ended.value.code == 0


def test_the_table_and_the_troubles_go_to_standard_output(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    with station.store.lock():
        failed(station.store)
    run(station)
    told = capsys.readouterr()
    assert "enrolld does not run, and without it nobody renews: systemctl start enrolld" in told.err
    heading, row, empty, error, remedy = told.out.splitlines()
    assert heading.split() == ["NAME", "STATE", "SUBJECT", "EXPIRES", "NEXT"]
    assert row.split()[:3] == ["ike", "unreachable", "CN=enb-4711,O=Operator"]
    assert empty == ""
    assert error.startswith("ike: ")
    assert error.endswith(": no address answered")
    assert remedy == "    what to do: Check the cable."


def test_where_nothing_is_wrong_no_remedy_is_shown(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    run(station)
    assert "what to do" not in capsys.readouterr().out


def test_json_has_every_identity_in_the_keys_of_the_configuration(
    station: Station, capsys: pytest.CaptureFixture[str]
) -> None:
    run(station, "--json")
    assert json.loads(capsys.readouterr().out) == [
        {
            "name": "ike",
            "state": "unenrolled",
            "subject": "CN=enb-4711,O=Operator",
            "attempts": 0,
            "usable": False,
            "consumers": [],
            "running": False,
        }
    ]


def test_nothing_is_written(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    run(station)
    run(station, "ike")
    assert capsys.readouterr().out
    assert list(station.state.iterdir()) == []


def test_who_uses_the_certificate_is_shown_and_who_does_not_yet_with_the_reason(
    station: Station, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (files := tmp_path / "files").mkdir()
    station.identity["deploy"] = [{"directory": {"path": str(files)}}, {"hook": {"command": ["/bin/false"]}}]
    station.configure()
    assert station.run("enroll").code == 1
    run(station, "ike")
    shown = " ".join(capsys.readouterr().out.split())
    assert "state: deploying" in shown
    assert f"directory {files}: since " in shown
    assert "hook /bin/false: not yet: the command /bin/false ended with status 1" in shown
    assert "what to do: Try it by hand: /bin/false" in shown
    run(station)
    assert "deploying" in capsys.readouterr().out
