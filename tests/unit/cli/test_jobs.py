"""What ``enroll`` and ``renew`` decide before a worker is started."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.cli import choosing, jobs
from agent.config import load
from agent.contract import Action, Job
from agent.errors import ConfigurationError
from agent.overview import Overview
from agent.settings import HttpSettings, Settings
from agent.supervisor.jobs import longest_work, needs_secret
from tests.station import Station


def job(settings: Settings, action: Action, **changes: Any) -> Job:
    identity = settings.identities["ike"]
    return Job(
        action=action,
        name="ike",
        identity=identity,
        authority=settings.authorities[identity.authority],
        state_directory=settings.state_directory,
        **changes,
    )


USABLE = {"state": "valid", "usable": True}
PENDING = {"state": "pending", "open_request": "enroll", "open_state": "pending"}
RENEWING = {**USABLE, "open_request": "renew", "open_state": "pending"}


@pytest.mark.parametrize(
    ("seen", "action", "changes", "needed"),
    [
        ({"state": "unenrolled"}, Action.ENROLL, {}, True),
        (USABLE, Action.ENROLL, {}, False),
        (USABLE, Action.ENROLL, {"again": True}, True),
        (USABLE, Action.RENEW, {}, False),
        (USABLE, Action.REVOKE, {"again": True}, False),
        (PENDING, Action.ENROLL, {}, True),
        (PENDING, Action.RENEW, {}, True),  # what was begun is finished first
        (PENDING | {"open_state": "confirming"}, Action.ENROLL, {}, True),
        (PENDING | {"open_state": "installing"}, Action.ENROLL, {}, False),
        (RENEWING, Action.ENROLL, {}, False),
        (RENEWING, Action.ENROLL, {"again": True}, False),
        (RENEWING, Action.ENROLL, {"again": True, "abandon": True}, True),
        ({"state": "expired"}, Action.ENROLL, {}, True),
        ({"state": "damaged"}, Action.ENROLL, {}, True),
        ({"state": "revoked"}, Action.ENROLL, {}, True),
    ],
)
def test_a_person_is_asked_for_the_secret_only_when_the_worker_needs_it(
    station: Station,
    monkeypatch: pytest.MonkeyPatch,
    seen: dict[str, Any],
    action: Action,
    changes: dict[str, Any],
    *,
    needed: bool,
) -> None:
    monkeypatch.setattr("agent.supervisor.jobs.look", lambda *_: Overview(name="ike", **seen))
    assert needs_secret(job(load(station.config), action, **changes)) is needed


def test_without_a_shared_secret_nobody_is_asked(station: Station) -> None:
    bootstrap = {"vendor-certificate": {"certificate": "vendor.pem", "key": "vendor.key"}}
    station.identity["bootstrap"] = bootstrap
    station.configure()
    assert not needs_secret(job(load(station.config), Action.ENROLL))


def settings_with(station: Station, *names: str) -> Settings:
    document = yaml.safe_load(station.config.read_text())
    document["identities"] = {name: deepcopy(station.identity) for name in names}  # YAML would write references
    station.config.write_text(yaml.safe_dump(document))
    return load(station.config)


def test_the_only_identity_need_not_be_named(station: Station) -> None:
    assert choosing.chosen(settings_with(station, "ike"), None) == "ike"
    assert choosing.chosen(settings_with(station, "ike", "om"), "om") == "om"


@pytest.mark.parametrize(
    ("names", "name", "what", "remedy"),
    [
        ((), None, "no identity is configured", "Add one under `identities` in the configuration."),
        (("ike", "om"), None, "several identities are configured", "Name one of: ike, om."),
        (("ike", "om"), "iek", "there is no identity 'iek'", "Name one of: ike, om; perhaps ike is meant."),
        (("ike",), "x", "there is no identity 'x'", "The only one is ike."),
    ],
)
def test_an_identity_that_is_not_there_is_told_with_those_that_are(
    station: Station, names: tuple[str, ...], name: str | None, what: str, remedy: str
) -> None:
    with pytest.raises(ConfigurationError, match=what) as caught:
        choosing.chosen(settings_with(station, *names), name)
    assert caught.value.remedy == remedy


def test_a_slow_server_that_is_allowed_to_be_slow_is_no_hanging_worker(station: Station) -> None:
    authority = load(station.config).authorities["operator"]
    usual = longest_work(authority)
    slow = replace(authority, http=HttpSettings(response_timeout=600))
    assert longest_work(slow) > usual + 600
    assert longest_work(replace(slow, urls=slow.urls * 2)) > longest_work(slow) + 600


# --- findings ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def two(station: Station) -> Settings:
    """Give the settings of a station with another identity, whose vendor certificate is not there yet."""
    other = station.identity | {"bootstrap": {"vendor-certificate": {"certificate": "vendor.pem", "key": "vendor.key"}}}
    document = yaml.safe_load(station.config.read_text())
    document["identities"]["om"] = other
    station.config.write_text(yaml.safe_dump(document))
    return load(station.config)


def test_a_file_that_another_identity_lacks_is_a_warning(two: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    jobs.report_findings(two, "ike")
    told = capsys.readouterr().err
    assert told.count("enrollctl: warning: identities.om.bootstrap.vendor-certificate") == 2
    with pytest.raises(ConfigurationError) as caught:
        jobs.report_findings(two, "om")
    assert len(caught.value.mistakes) == 2


def test_a_renewal_does_not_need_what_the_first_certificate_came_by(
    two: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs.report_findings(two, "om", Action.RENEW)
    assert "vendor.pem" in capsys.readouterr().err


def test_a_missing_trust_anchor_stops_every_job(station: Station) -> None:
    station.configure(trust_anchors=[str(Path("/nowhere/root.pem"))])
    for action in Action:
        with pytest.raises(ConfigurationError):
            jobs.report_findings(load(station.config), "ike", action)
