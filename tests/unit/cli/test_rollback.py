from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.cli.main import main
from agent.store.credential import CONFIRMED
from agent.store.generations import Credential, Generation, IdentityStore
from tests.station import Station

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def add(store: IdentityStore, *, start: int = -10, end: int = 80, confirmed: bool = True) -> Generation:
    description: dict[str, Any] = {
        "subject": "CN=enb-4711",
        "serial": "4711",
        "not_before": (NOW + start * DAY).isoformat(),
        "not_after": (NOW + end * DAY).isoformat(),
    }
    with store.lock():
        generation = store.add(Credential(certificate=b"c", key_reference="file:///key", description=description))
        if confirmed:
            store.mark(generation, CONFIRMED, value=True)
        store.switch(generation)
    return generation


def rollback(station: Station, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(station.config), "rollback", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_previous_credential_comes_back_whole(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    old = add(station.store)
    add(station.store)
    assert rollback(station) == 0
    assert station.store.current == old
    assert len(station.store.generations) == 2
    told = capsys.readouterr()
    assert told.out.startswith('ike: now using "CN=enb-4711", serial 4711, valid until ')
    assert told.err == ""


def test_what_cannot_be_used_is_passed_over(station: Station) -> None:
    good = add(station.store)
    add(station.store, end=-1)
    add(station.store, start=1)
    add(station.store, confirmed=False)
    damaged = add(station.store)
    add(station.store)
    (damaged.path / "chain.pem").unlink()
    assert rollback(station, "ike") == 0
    assert station.store.current == good


def test_a_damaged_credential_in_use_is_replaced_by_the_newest_good_one(station: Station) -> None:
    add(station.store)
    newest_good = add(station.store)
    damaged = add(station.store)
    (damaged.path / "certificate.pem").write_bytes(b"")
    assert rollback(station) == 0
    assert station.store.current == newest_good


def test_where_there_is_nothing_to_go_back_to_the_present_one_stays(
    station: Station, capsys: pytest.CaptureFixture[str]
) -> None:
    present = add(station.store)
    assert rollback(station) == 1
    assert station.store.current == present
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "enrollctl: error: ike has no older credential that is still valid",
        "enrollctl: what to do: The present one stays in use; to replace it run 'enrollctl renew ike'.",
    ]


def test_json(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    add(station.store)
    add(station.store)
    assert rollback(station, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["identity"], document["generation"], document["serial"]) == ("ike", 1, "4711")


def test_every_consumer_goes_back_too_and_one_that_does_not_is_told_of(station: Station, tmp_path: Path) -> None:
    (files := tmp_path / "files").mkdir()
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    station.identity["deploy"] = [{"directory": {"path": str(files)}}, {"hook": {"command": [str(hook)]}}]
    station.configure()
    assert station.run("enroll").code == 0
    first = (files / "certificate.pem").read_bytes()
    assert station.run("renew").code == 0
    hook.write_text("#!/bin/sh\necho busy\nexit 1\n")
    done = station.run("rollback", "--json")
    assert done.code == 1
    assert "busy" in done.problem
    assert (files / "certificate.pem").read_bytes() == first
    told = json.loads(done.out)
    assert told["generation"] == 1
    assert told["deployment"]["verdict"] == "deploying"
