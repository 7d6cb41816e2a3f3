"""CRLs through the whole worker: for whoever signs the CA's answers, and for our own certificate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.cmp import der, revocation
from agent.cmp.sizes import MAXIMUM_LIST, SMALLER_LISTS
from agent.contract import Action, Verdict
from agent.labca import LabCa, LabCaSettings, running
from agent.overview import look
from agent.settings import BootstrapSettings, CrlSettings, RevocationCheck, VendorCertificateSettings
from agent.store.authorities import MAXIMUM_LISTS, AuthorityStore
from agent.supervisor import schedule
from agent.worker.lists import Lists
from agent.worker.reporting import Reporter
from tests.ports import unused_port
from tests.unit.worker.desk import Desk, Died, desk_at

HOLD, COMPROMISED = 6, 1
REPORT, REQUIRE, OFF = RevocationCheck.REPORT, RevocationCheck.REQUIRE, RevocationCheck.OFF


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[LabCa]:
    """A CA whose certificates all say where their CRL is."""
    settings = LabCaSettings(
        directory=tmp_path / "ca", durable=False, crl_distribution_point=True, port=unused_port(), secrets={"enb": "a"}
    )
    lab = LabCa(settings)
    with running(lab):
        yield lab
    lab.close()


@pytest.fixture
def station(ca: LabCa, tmp_path: Path) -> Desk:
    desk = desk_at(ca, tmp_path / "ca" / "root.pem", tmp_path / "state")
    device = ca.make_device("enb-4711")
    (tmp_path / "vendor.pem").write_bytes(device.pem)
    (tmp_path / "vendor.key").write_bytes(device.key.pem())
    (tmp_path / "vendor.key").chmod(0o600)
    vendor = VendorCertificateSettings(certificate=tmp_path / "vendor.pem", key=str(tmp_path / "vendor.key"))
    desk.configure(identity={"bootstrap": BootstrapSettings(vendor_certificate=vendor)})
    return desk


def kept(desk: Desk) -> AuthorityStore:
    return AuthorityStore(desk.job.state_directory, "lab")


def refreshed(desk: Desk) -> Verdict:
    return desk.do(Action.REFRESH, secret=None).verdict


def test_the_crls_of_the_signer_are_fetched_verified_and_kept(ca: LabCa, station: Desk) -> None:
    station.configure(crls=CrlSettings(signer=REQUIRE))
    assert station.do(secret=None).verdict is Verdict.ISSUED
    assert set(kept(station).lists) == {ca.crl(), ca.crl(of_root=True)}
    assert "note" not in station.events


@pytest.mark.parametrize("mode", [REPORT, REQUIRE])
@pytest.mark.parametrize("reason", [COMPROMISED, HOLD])
def test_answers_of_a_revoked_ra_are_refused(ca: LabCa, station: Desk, mode: RevocationCheck, reason: int) -> None:
    ca.revoke(ca.pki.ra.certificate, reason)
    station.configure(crls=CrlSettings(signer=mode))
    outcome = station.do(secret=None)
    assert outcome.verdict is Verdict.REFUSED
    assert "does not count any more" in outcome.text
    assert not station.enrolled()


def test_an_issuing_ca_that_the_root_revoked_is_refused(ca: LabCa, station: Desk) -> None:
    ca.revoke(ca.pki.issuing.certificate, 2)
    outcome = station.do(secret=None)
    assert outcome.verdict is Verdict.REFUSED
    assert "Issuing CA" in outcome.text


def test_nothing_is_looked_up_where_that_is_off(ca: LabCa, station: Desk) -> None:
    ca.revoke(ca.pki.ra.certificate)
    station.configure(crls=CrlSettings(signer=OFF))
    assert station.do(secret=None).verdict is Verdict.ISSUED
    assert kept(station).lists == ()


@pytest.mark.parametrize(("mode", "verdict"), [(REPORT, Verdict.ISSUED), (REQUIRE, Verdict.REFUSED)])
def test_a_crl_that_cannot_be_had_is_remarked_or_refused(
    ca: LabCa, station: Desk, mode: RevocationCheck, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forged(now: datetime | None = None, *, of_root: bool = False) -> bytes:
        stranger = LabCa(LabCaSettings())
        octets = stranger.crl(now, of_root=of_root)
        stranger.close()
        return octets

    monkeypatch.setattr(ca, "crl", forged)
    station.configure(crls=CrlSettings(signer=mode))
    assert station.do(secret=None).verdict is verdict
    assert "is not used: it was issued by" in station.texts
    assert "was revoked is unknown" in station.texts
    assert kept(station).lists == ()


def test_a_crl_in_force_is_not_fetched_again_and_one_that_ended_counts_for_nothing(station: Desk) -> None:
    assert station.do(secret=None).verdict is Verdict.ISSUED
    before = set(kept(station).lists)
    assert station.do(Action.RENEW, secret=None).verdict is Verdict.ISSUED
    assert set(kept(station).lists) == before
    station.late = timedelta(days=8).total_seconds()
    station.configure(crls=CrlSettings(signer=REQUIRE))
    # The lab's own clock stands still: what it serves has expired too.
    assert station.do(Action.RENEW, secret=None).verdict is Verdict.REFUSED


def test_our_own_certificate_found_revoked_is_marked_told_and_left_alone(ca: LabCa, station: Desk) -> None:
    assert station.do(secret=None).verdict is Verdict.ISSUED
    current = station.current
    assert current is not None
    assert refreshed(station) is Verdict.DONE
    ca.revoke(current.certificate, COMPROMISED)
    drop_lists(station)
    outcome = station.do(Action.REFRESH, secret=None)
    assert outcome.verdict is Verdict.REJECTED
    assert "keyCompromise" in outcome.text
    assert "enrollctl enroll ike" in outcome.remedy
    assert "found-revoked" in station.events
    seen = look(station.job.state_directory, "ike")
    assert (seen.state, seen.usable) == ("revoked", False)
    assert schedule.decide(seen, datetime.now(UTC)).action is None
    # The way on is a new enrollment.
    assert station.do(secret=None).verdict is Verdict.ISSUED
    assert look(station.job.state_directory, "ike").state == "valid"


def drop_lists(desk: Desk) -> None:
    """Let the CRLs at hand be out of date."""
    for path in (kept(desk).directory / "crls").iterdir():
        path.unlink()


def test_a_hold_is_shown_and_ends(ca: LabCa, station: Desk) -> None:
    assert station.do(secret=None).verdict is Verdict.ISSUED
    current = station.current
    assert current is not None
    ca.revoke(current.certificate, HOLD)
    drop_lists(station)
    assert refreshed(station) is Verdict.REJECTED
    assert "found-on-hold" in station.events
    seen = look(station.job.state_directory, "ike")
    assert (seen.state, seen.usable) == ("on-hold", True)
    ca.revoke(current.certificate, None)
    drop_lists(station)
    assert refreshed(station) is Verdict.DONE
    assert "hold-ended" in station.events
    assert look(station.job.state_directory, "ike").state == "valid"


def test_a_forged_crl_marks_nothing(ca: LabCa, station: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert station.do(secret=None).verdict is Verdict.ISSUED
    drop_lists(station)
    current = station.current
    assert current is not None
    ca.revoke(current.certificate, COMPROMISED)
    good = ca.crl()
    monkeypatch.setattr(ca, "crl", lambda **_: good[:-1] + bytes([good[-1] ^ 1]))
    monkeypatch.setattr(ca._office.crl, "newer_than", lambda *_: None)
    assert refreshed(station) is Verdict.DONE
    assert "standing-unknown" in station.events
    assert look(station.job.state_directory, "ike").state == "valid"


def test_the_ca_itself_is_asked_where_no_address_helps(
    ca: LabCa, station: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """crlStatusList -> crls (RFC 9483 4.3.4)."""
    assert station.do(secret=None).verdict is Verdict.ISSUED
    current = station.current
    assert current is not None
    drop_lists(station)
    ca.revoke(current.certificate, COMPROMISED)
    octets = ca.crl()
    monkeypatch.setattr(ca, "crl", lambda **_: b"out of order")
    station.configure(crls=CrlSettings(signer=OFF))
    assert refreshed(station) is Verdict.REJECTED
    assert "found-revoked" in station.events
    assert octets in kept(station).lists


def without_addresses(ca: LabCa, station: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the CA be the only one that gives CRLs."""
    assert station.do(secret=None).verdict is Verdict.ISSUED
    drop_lists(station)
    monkeypatch.setattr(ca, "crl", lambda **_: b"out of order")
    station.configure(crls=CrlSettings(signer=OFF))


def test_a_crl_of_the_ca_itself_may_be_as_large_as_one_that_is_fetched(
    ca: LabCa, station: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_addresses(ca, station, monkeypatch)
    now = datetime.now(UTC)
    ca._office.crl._own.update({2**120 + number: (now, COMPROMISED) for number in range(60_000)})
    ca._office.crl.invalidate()
    assert refreshed(station) is Verdict.DONE
    assert max(map(len, kept(station).lists)) > 2_000_000
    assert "standing-unknown" not in station.events


@pytest.mark.parametrize("octets", [MAXIMUM_LIST + 1, 2 * MAXIMUM_LIST], ids=["understood", "unread"])
def test_a_crl_of_the_ca_itself_that_is_too_large_is_called_so(
    ca: LabCa, station: Desk, monkeypatch: pytest.MonkeyPatch, octets: int
) -> None:
    without_addresses(ca, station, monkeypatch)
    large = der.wrap(der.SEQUENCE, der.wrap(der.OCTET_STRING, bytes(octets)))
    monkeypatch.setattr(ca._office.crl, "newer_than", lambda *_: large)
    assert refreshed(station) is Verdict.DONE
    (note,) = [one for one in station.told if "in vain" in one["text"]]
    assert "more than the" in note["text"]
    assert note["fields"]["REMEDY"] == SMALLER_LISTS


@pytest.mark.parametrize(("mode", "verdict"), [(REPORT, Verdict.DONE), (REQUIRE, Verdict.REFUSED)])
def test_a_standing_that_cannot_be_told_is_reported_or_fails_the_refresh(
    ca: LabCa, station: Desk, mode: RevocationCheck, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert station.do(secret=None).verdict is Verdict.ISSUED
    drop_lists(station)
    monkeypatch.setattr(ca, "crl", lambda **_: b"")
    monkeypatch.setattr(ca._office.crl, "newer_than", lambda *_: None)
    station.configure(crls=CrlSettings(signer=OFF, own=mode))
    assert refreshed(station) is verdict
    assert "standing-unknown" in station.events
    assert look(station.job.state_directory, "ike").state == "valid"


def test_the_next_refresh_is_planned_when_the_certificate_comes_and_after_each(station: Desk) -> None:
    assert station.do(secret=None).verdict is Verdict.ISSUED
    planned = station.store.state.load().refresh_at
    now = datetime.now(UTC)
    assert planned is not None
    assert timedelta(days=5) < planned - now <= timedelta(days=7)
    assert refreshed(station) is Verdict.DONE
    after = station.store.state.load()
    assert after.refreshed_at is not None
    # The CRLs at hand end in seven days and bring nothing forward.
    assert after.refresh_at is not None
    assert timedelta(days=5) < after.refresh_at - now <= timedelta(days=7)
    seen = look(station.job.state_directory, "ike")
    assert schedule.decide(seen, now).action is None
    assert schedule.decide(seen, now + timedelta(days=8)).action is Action.REFRESH


def test_a_refresh_that_fails_is_tried_sooner_and_disturbs_nothing_else(station: Desk) -> None:
    assert station.do(secret=None).verdict is Verdict.ISSUED
    station.configure(urls=(f"http://127.0.0.1:{unused_port()}/",))
    assert refreshed(station) is Verdict.UNREACHABLE
    state = station.store.state.load()
    assert (state.attempts, state.last_error, state.next_action) == (0, None, "renew")
    assert state.refresh_failures == 1
    assert state.refresh_error is not None
    assert state.refresh_at is not None
    assert state.refresh_at - datetime.now(UTC) < timedelta(minutes=20)
    assert look(station.job.state_directory, "ike").refresh_error == state.refresh_error


def test_a_worker_that_dies_in_a_refresh_is_not_started_at_once_again(station: Desk) -> None:
    assert station.do(secret=None).verdict is Verdict.ISSUED
    state = station.store.state.load()
    station.store.state.save(replace(state, refresh_at=datetime.now(UTC)))
    station.on_event = die
    with pytest.raises(Died):
        refreshed(station)
    now = datetime.now(UTC)
    following = schedule.decide(look(station.job.state_directory, "ike"), now)
    assert following.action is None
    assert following.wait > 300


def die(event: str) -> None:
    if event == "sent":
        raise Died


def test_where_nobody_wants_it_nothing_is_planned(station: Desk) -> None:
    station.configure(refresh_every=None)
    assert station.do(secret=None).verdict is Verdict.ISSUED
    assert refreshed(station) is Verdict.DONE
    seen = look(station.job.state_directory, "ike")
    assert seen.refresh_at is None
    assert schedule.decide(seen, datetime.now(UTC) + timedelta(days=20)).action is not Action.REFRESH


def test_the_disk_holds_a_bounded_number_of_crls_the_newest_ones(tmp_path: Path) -> None:
    store = AuthorityStore(tmp_path, "lab")
    with store.lock():
        for number in range(MAXIMUM_LISTS + 3):
            store.save_list(b"%d" % number, b"CRL %d" % number)
            for path in (store.directory / "crls").iterdir():
                if path.read_bytes() == b"CRL %d" % number:
                    os.utime(path, (number, number))
    assert set(store.lists) == {b"CRL %d" % number for number in range(3, MAXIMUM_LISTS + 3)}


def test_an_older_crl_does_not_replace_a_newer_one(ca: LabCa, station: Desk) -> None:
    assert station.do(secret=None).verdict is Verdict.ISSUED
    first = set(kept(station).lists)
    current = station.current
    assert current is not None
    ca.revoke(current.certificate, COMPROMISED, datetime.now(UTC))
    newer = ca.crl(datetime.now(UTC) + timedelta(seconds=2))
    lists = Lists(station.job, station.environment(), Reporter(os.memfd_create("told"), {}))
    lists.keep(revocation.load(newer))
    assert newer in kept(station).lists
    for one in first:
        lists.keep(revocation.load(one))
    assert newer in kept(station).lists
