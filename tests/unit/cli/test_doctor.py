"""``doctor`` finds each fault, says what to do, and changes nothing."""

from __future__ import annotations

import os
import shutil
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import RELEASED
from agent.cli import doctor
from agent.cli.checks import machine, registry
from agent.cli.checks.kernel_clock import synchronisation
from agent.cli.checks.registry import Result, Scope, Site, Status
from agent.cli.checks.secret_files import fault_of
from agent.config import load
from agent.labca import LabCa
from agent.store import pem
from agent.store.credential import Credential
from agent.supervisor.room import ENOUGH
from hsm.algorithms import KeyAlgorithm
from hsm.software import SoftwareKeyStore
from tests.printed import valid
from tests.station import Finished, Station
from tests.unit.cli.test_ownership import AS_ROOT, OTHER

HERE = {"synchronisation", "journal", "service"}
"""What depends on the machine that the tests run on."""


def results(done: Finished) -> dict[str, dict[str, Any]]:
    return {one["check"]: one for one in valid("doctor", done.out)["checks"]}


def examined(station: Station, name: str, **site: Any) -> Result:
    """Run every check in this process, and return what ``name`` found."""
    found = {one.check: one for one in doctor.examine(Site(config=station.config, **site))}
    return found[name]


def failures(done: Finished) -> set[str]:
    return {name for name, one in results(done).items() if one["status"] == "failed"} - HERE


def test_before_the_first_enrollment_nothing_fails(station: Station) -> None:
    before = station.files()
    done = station.run("doctor", "ike", "--json")
    found = results(done)
    assert failures(done) == set()
    assert {name for name, one in found.items() if one["status"] == "skipped"} - HERE == {
        "tls", "certificate", "last-attempt", "key", "chain", "consumers",
    }  # fmt: skip
    assert found["cmp"]["reason"].endswith("declined an unprotected question: badMessageCheck)")
    assert station.files() == before


def test_an_enrolled_station_is_well_in_every_respect(station: Station) -> None:
    assert station.run("enroll").code == 0
    before, history = station.files(), (station.store.directory / "state.json").read_bytes()
    done = station.run("doctor", "--json")
    found = results(done)
    assert failures(done) == set()
    assert found["cmp"]["reason"].endswith("answered, and proved who it is")
    assert found["chain"]["status"] == found["key"]["status"] == found["certificate"]["status"] == "ok"
    assert station.files() == before, "a look changes nothing"
    assert (station.store.directory / "state.json").read_bytes() == history


def test_every_fault_has_a_remedy_and_ends_in_exit_code_1(station: Station) -> None:
    station.configure(urls=["http://127.0.0.1:9/.well-known/cmp"])
    (station.directory / "secret").unlink()
    station.state.chmod(0o755)
    done = station.run("doctor", "--json")
    assert done.code == 1
    assert failures(done) == {"port", "bootstrap", "state-directory"}
    assert all(one["remedy"] for one in results(done).values() if one["status"] in {"failed", "warning"})


def test_what_rests_on_a_failure_is_not_a_failure_of_its_own(station: Station) -> None:
    station.configure(urls=["http://127.0.0.1:9/.well-known/cmp"])
    found = results(station.run("doctor", "--json"))
    assert found["port"]["status"] == "failed"
    assert found["tls"] | {"about": ""} == {
        "check": "tls", "about": "", "status": "skipped", "reason": "rests on port", "remedy": "",
    }  # fmt: skip
    assert found["cmp"]["reason"] == "rests on port"


def test_a_wrong_configuration_is_named_first_and_the_rest_rests_on_it(station: Station) -> None:
    station.config.write_text(station.config.read_text().replace("subject:", "sujbect:"))
    done = station.run("doctor")
    assert done.code == 2
    assert "configuration              failed" in done.out
    assert "unknown" in done.out
    assert "config check" in done.out
    assert "clock                      ok" in done.out


def test_an_identity_that_is_not_there_is_a_fault_of_the_command(station: Station) -> None:
    done = station.run("doctor", "ipsec")
    assert done.code == 2
    assert "there is no identity 'ipsec'" in done.out


def test_a_clock_of_1970_is_one_fault_with_the_command_that_mends_it(station: Station) -> None:
    found = examined(station, "clock", now=datetime(1970, 1, 1, 0, 5, tzinfo=UTC))
    assert found.status is Status.FAILED
    assert found.reason.startswith("it shows 1970-01-01 00:05 UTC, before this software was made")
    assert "date --utc --set" in found.remedy


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (RELEASED + timedelta(days=1), Status.OK),
        (RELEASED - timedelta(days=1), Status.FAILED),
        (RELEASED + timedelta(days=4000), Status.FAILED),
    ],
)
def test_a_date_that_cannot_be_right_is_found(now: datetime, status: Status) -> None:
    assert machine.wall_clock(Site(config=Path("none"), now=now), "").status is status


def test_the_kernel_says_whether_a_time_source_keeps_the_clock() -> None:
    found = synchronisation()
    assert found is not None
    assert found.maximum_error >= 0
    assert not (found.synchronised and found.maximum_error > 16)
    finding = machine.synchronised(Site(config=Path("none")), "")
    assert finding.status is (Status.OK if found.synchronised else Status.WARNING)


def test_a_certificate_that_expires_today_is_a_warning_with_the_command(station: Station) -> None:
    assert station.run("enroll").code == 0
    end = datetime.fromisoformat(str(station.current.description["not_after"]))
    found = examined(station, "certificate", now=end - timedelta(hours=5))
    assert found.status is Status.WARNING
    assert "it expires today" in found.reason
    assert found.remedy == "Run 'enrollctl renew ike' now."
    found = examined(station, "certificate", now=end + timedelta(hours=1))
    assert found.status is Status.FAILED
    assert "expired on" in found.reason


def test_a_root_near_its_end_is_a_warning_and_an_expired_one_a_failure(station: Station) -> None:
    in_nine_years = datetime.now(UTC) + timedelta(days=3620)
    assert examined(station, "trust-anchors", now=in_nine_years).status is Status.WARNING
    found = examined(station, "trust-anchors", now=in_nine_years + timedelta(days=365))
    assert found.status is Status.FAILED
    assert "expired on" in found.reason


def test_an_anchor_that_is_no_certificate_is_found(station: Station, tmp_path: Path) -> None:
    rubbish = tmp_path / "root.pem"
    rubbish.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    station.configure(trust_anchors=[str(rubbish)])
    found = examined(station, "trust-anchors")
    assert found.status is Status.FAILED
    assert found.remedy


def test_a_damaged_credential_is_found_and_an_older_one_offered(station: Station) -> None:
    assert station.run("enroll").code == 0
    certificate = station.current.path / "certificate.pem"
    certificate.write_text(certificate.read_text()[:200])
    found = examined(station, "certificate")
    assert found.status is Status.FAILED
    assert "rollback ike" in found.remedy
    assert examined(station, "chain").status is Status.SKIPPED


def replace_credential(station: Station, **changes: Any) -> None:
    """Switch to a generation that is whole on disk, but made of parts that do not belong together."""
    current = station.current
    parts = {
        "certificate": current.certificate, "chain": current.chain, "trust_anchors": current.trust_anchors,
        "private_key": current.private_key, "description": current.description,
    }  # fmt: skip
    store = station.store
    with store.lock():
        store.switch(store.add(Credential(**(parts | changes))))


def test_a_certificate_that_leads_to_no_anchor_is_found(station: Station, slow_lab: LabCa) -> None:
    assert station.run("enroll").code == 0
    assert slow_lab.settings.directory is not None
    (foreign,) = pem.decode((slow_lab.settings.directory / "root.pem").read_bytes())
    replace_credential(station, trust_anchors=(foreign,))
    found = examined(station, "chain")
    assert found.status is Status.FAILED
    assert "is not trusted" in found.reason
    assert examined(station, "key").status is Status.OK


def test_a_key_of_another_certificate_is_found(station: Station, tmp_path: Path) -> None:
    assert station.run("enroll").code == 0
    SoftwareKeyStore(tmp_path).generate(KeyAlgorithm.EC_P256, tmp_path / "other.pem")
    replace_credential(station, private_key=tmp_path / "other.pem")
    found = examined(station, "key")
    assert found.status is Status.FAILED
    assert found.reason == "key and certificate do not belong together"
    assert examined(station, "chain").status is Status.OK


def test_another_service_on_the_port_is_no_cmp_server(station: Station, lab: Any) -> None:
    lab.misbehave("html@genm")
    found = examined(station, "cmp")
    assert found.status is Status.FAILED
    assert "a web page answered" in found.reason


def test_an_open_request_and_a_failed_attempt_are_told(slow_station: Station) -> None:
    assert slow_station.run("enroll", "--wait", "0s").code == 3
    found = examined(slow_station, "last-attempt")
    assert found.status is Status.WARNING
    assert "a request is open (pending)" in found.reason
    slow_station.configure(urls=["http://127.0.0.1:9/.well-known/cmp"])
    assert slow_station.run("enroll", "--start-over", "--wait", "0s").code == 1
    assert examined(slow_station, "last-attempt").status is Status.FAILED


def test_no_error_is_told_twice(station: Station, lab: LabCa) -> None:
    """What the last attempt failed of is told by that check; the certificate has its own."""
    lab.misbehave("reject=badPOP@ir")
    assert station.run("enroll").code == 1
    found = {one.check: one for one in doctor.examine(Site(config=station.config))}
    assert (found["certificate"].status, found["certificate"].reason) == (Status.SKIPPED, "none is installed yet")
    assert found["last-attempt"].status is Status.FAILED
    lab.behave()
    assert station.run("enroll", "--start-over").code == 0
    assert station.run("revoke", "ike", "--yes").code == 0
    lab.misbehave("reject=badPOP@ir")
    assert station.run("enroll").code == 1
    found = {one.check: one for one in doctor.examine(Site(config=station.config))}
    assert (found["certificate"].status, found["certificate"].reason) == (Status.FAILED, "it was revoked")
    assert "badPOP" in found["last-attempt"].reason


@AS_ROOT
def test_what_is_hidden_from_whoever_looks_is_no_fault(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is in the group of enrolld may not read its secret, and need not."""
    site = Site(config=station.config, settings=load(station.config))
    secret = station.directory / "secret"

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    finding = fault_of(site, f"file:{secret}")
    assert finding is not None
    assert (finding.status, finding.reason) == (
        Status.SKIPPED, f"whether enrolld may read {secret} is hidden from this user; use sudo",
    )  # fmt: skip
    os.chown(station.state, OTHER, OTHER)
    finding = fault_of(site, f"file:{secret}")
    assert finding is not None
    assert finding.status is Status.FAILED, "it is closed to enrolld itself"


def test_an_unknown_name_is_told_with_its_remedy(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    found = examined(station, "name-resolution")
    assert found.status is Status.FAILED
    assert found.reason == "127.0.0.1: the name is unknown"
    assert "DNS" in found.remedy


def test_one_address_of_two_is_enough_but_told(station: Station, lab: Any) -> None:
    station.configure(urls=["http://127.0.0.1:9/.well-known/cmp", lab.url])
    found = examined(station, "port")
    assert found.status is Status.WARNING
    assert "refused the connection" in found.reason
    assert examined(station, "cmp").status is Status.OK


GOOD = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "NRestarts": "0",
}


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({}, Status.OK, "is enabled and runs"),
        ({"LoadState": "not-found"}, Status.WARNING, "is not installed"),
        ({"LoadState": "masked"}, Status.FAILED, "is masked"),
        ({"ActiveState": "inactive"}, Status.FAILED, "does not run (inactive)"),
        ({"ActiveState": "failed", "Result": "exit-code"}, Status.FAILED, "does not stay up (exit-code)"),
        ({"ActiveState": "activating", "SubState": "auto-restart", "Result": "watchdog"}, Status.FAILED, "watchdog"),
        ({"UnitFileState": "disabled"}, Status.WARNING, "will not start at boot"),
        ({"NRestarts": "7"}, Status.WARNING, "was restarted 7 times"),
    ],
)
def test_what_systemd_says_of_the_service_is_judged(change: dict[str, str], status: Status, words: str) -> None:
    found = machine.judge_service(GOOD | change)
    assert found.status is status
    assert words in found.reason
    assert bool(found.remedy) is (status is not Status.OK)


def test_a_full_disk_is_found(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(station.state)
    for free, status in (
        (0, Status.FAILED),
        (ENOUGH - 1, Status.FAILED),
        (5_000_000, Status.WARNING),
        (500_000_000, Status.OK),
    ):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        assert examined(station, "free-space").status is status


def test_files_that_the_service_could_not_write_are_found(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_stray", lambda path, _: path / "identities")
    found = examined(station, "state-directory")
    assert found.status is Status.FAILED
    assert "chown -R --reference=" in found.remedy


@AS_ROOT
def test_a_secret_that_only_root_may_read_is_of_no_use_to_the_service(station: Station) -> None:
    os.chown(station.state, OTHER, OTHER)
    found = examined(station, "bootstrap")
    assert found.status is Status.WARNING
    assert "enrolld may not read it" in found.reason
    assert found.remedy == f"Give it the file: 'chown --reference={station.state} {station.directory / 'secret'}'."


def test_a_defect_of_one_check_does_not_hide_the_others(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setitem(
        registry.CHECKS, "port", registry.Check("port", Scope.AUTHORITY, "", ("configuration",), defect)
    )
    found = {one.check: one for one in doctor.examine(Site(config=station.config))}
    assert found["port"].status is Status.FAILED
    assert "ZeroDivisionError" in found["port"].reason
    assert found["bootstrap"].status is Status.OK


def test_a_consumer_that_does_not_use_the_certificate_is_found(station: Station) -> None:
    files = station.directory / "ike"
    station.identity["deploy"] = [{"directory": {"path": str(files)}}]
    station.configure()
    assert station.run("enroll").code == 1, "the certificate is there, but the directory is not"
    found = examined(station, "consumers")
    assert found.status is Status.FAILED
    assert "there is no directory" in found.reason
    assert found.remedy
    files.mkdir(mode=0o750)
    assert station.run("deploy").code == 0
    found = examined(station, "consumers")
    assert found.status is Status.OK
    assert " since " in found.reason


def test_a_check_cannot_rest_on_a_later_one() -> None:
    with pytest.raises(ValueError, match="comes later or not at all"):
        registry.check("early", Scope.MACHINE, needs=("late",))(lambda *_: registry.ok(""))


def test_every_check_says_in_its_first_line_what_it_looks_at() -> None:
    assert len({one.doc for one in registry.CHECKS.values()}) == len(registry.CHECKS)
    assert all(one.doc.endswith(".") for one in registry.CHECKS.values())
