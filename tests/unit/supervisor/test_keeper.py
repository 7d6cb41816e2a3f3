"""Whose turn it is, and what follows from each verdict."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.contract import Action, Job, Outcome, Verdict
from agent.errors import StateError
from agent.events import Event
from agent.overview import Overview, look
from agent.policy.clock import SLICE
from agent.settings import BootstrapSettings, RenewalMethod, RenewalSettings, Settings, VendorCertificateSettings
from agent.store import atomic
from agent.store.generations import IdentityStore
from agent.store.token_keys import TokenKeys
from agent.structure import StructureError
from agent.supervisor import keeper, room, roster, sequel
from agent.supervisor.jobs import job_for
from agent.supervisor.schedule import LOOK_AGAIN, PERSON, RETRY
from tests.unit.supervisor.post import DAY, HOUR, ISSUED, START, Post, ends, install

VENDOR = BootstrapSettings(vendor_certificate=VendorCertificateSettings(certificate=Path("v.pem"), key="v.key"))


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


# --- whose turn it is -------------------------------------------------------------------------------------------------


def test_no_more_workers_run_at_a_time_than_configured_and_everybody_gets_his_turn(tmp_path: Path) -> None:
    names = [f"i{number:02}" for number in range(20)]
    post = Post(tmp_path, *names, workers=3)
    most = 0
    for _ in range(100):
        post.pass_(0.25)
        most = max(most, post.keeper.running)
    assert most == 3
    assert sorted(post.jobs) == [(name, "enroll") for name in names]


def test_those_who_do_the_work_are_told_how_many_wait_before_the_first_job_begins(tmp_path: Path) -> None:
    post = Post(tmp_path, "a", "b", "c", workers=2)
    post.staff.ready = False
    post.pass_(0.5)
    waiting, then = post.staff.prepared
    assert (waiting, post.jobs) == (3, [])
    post.staff.ready = True
    then()
    assert post.staff.running == ["a", "b"]
    post.pass_(5)
    assert sorted(post.jobs) == [(name, "enroll") for name in "abc"]


def test_who_has_nothing_comes_first_and_then_who_ends_first(tmp_path: Path) -> None:
    post = Post(tmp_path)
    install(post.state, "late", START - timedelta(days=80), 90 * DAY)
    install(post.state, "soon", START - timedelta(days=89), 90 * DAY)
    post.configure("first", "late", "soon", "nothing", workers=1)
    post.pass_(10)
    assert [name for name, _ in post.jobs] == ["first", "nothing", "soon", "late"]


def test_a_token_has_one_job_at_a_time_and_others_pass_by(tmp_path: Path) -> None:
    post = Post(tmp_path, "a", "b", "c", workers=3, tokens={"a": "hsm", "b": "hsm"})
    post.pass_(0.5)
    assert post.staff.running == ["a", "c"]
    post.pass_(1)
    assert post.staff.running == ["b"]
    assert post.staff.log[2].secrets.pins == {"hsm": b"geheim"}


def test_many_who_wait_for_one_token_are_not_all_looked_at_whenever_somebody_else_wants_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def look(settings: Settings, name: str, *of: Any, **more: Any) -> Job:
        looked.append(name)
        return job_for(settings, name, *of, **more)

    monkeypatch.setattr(roster, "job_for", look)
    names = [f"cell-{number:03d}" for number in range(60)]
    post = Post(tmp_path, *names, workers=2, tokens=dict.fromkeys(names, "hsm"))
    post.pass_(200)
    assert [name for name, _ in post.jobs][:60] == names
    assert len(looked) <= 3 * len(post.jobs), "for each job the one that gets it, and each once when it comes"


def test_a_worker_that_cannot_be_started_gives_its_place_on_and_is_no_defect(tmp_path: Path) -> None:
    post = Post(tmp_path, "a", "b", "c", workers=1)
    post.staff.fails_to_start = 2
    post.pass_(60)
    assert post.count(Event.DEFECT) == 0
    assert {name for name, verdict in post.settled if verdict is Verdict.ISSUED} == {"a", "b", "c"}


def test_hundreds_that_cannot_be_started_are_no_defect(tmp_path: Path) -> None:
    post = Post(tmp_path, *(f"i{number:03}" for number in range(200)), workers=2)
    post.staff.fails_to_start = 200
    post.staff.ready = False
    post.pass_(0.5)
    post.staff.ready = True
    post.staff.prepared[1]()
    assert post.count(Event.DEFECT) == 0
    assert sum(verdict is Verdict.CRASHED for _, verdict in post.settled) == 200


def test_nobody_is_told_that_many_wait_while_no_job_may_begin(tmp_path: Path) -> None:
    post = Post(tmp_path, *"abcdef", workers=1)
    post.pass_(0.5)
    post.staff.prepared = 0, lambda: None
    post.keeper.order("f", Action.ENROLL, again=False)
    assert post.staff.prepared[0] == 0


def test_who_waits_for_a_token_does_not_count_among_those_who_may_be_forked(tmp_path: Path) -> None:
    post = Post(tmp_path, *"abcdef", workers=3, tokens=dict.fromkeys("abcde", "hsm"))
    post.pass_(0.5)
    assert post.staff.running == ["a", "f"]
    post.pass_(1)
    assert post.staff.running == ["b"]
    assert post.staff.prepared[0] == 0


def test_a_job_gets_no_more_time_than_leaves_enough_for_another(tmp_path: Path) -> None:
    post = Post(tmp_path)
    install(post.state, "ike", START - timedelta(seconds=900), 1000)
    post.configure("ike")
    post.pass_(0)
    assert post.staff.log[0].deadline == 30


# --- what follows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", sorted(one for one in RETRY if RETRY[one].failed and RETRY[one].waits))
def test_a_failure_leads_to_the_next_attempt_that_its_rule_says_and_that_is_on_disk(
    tmp_path: Path, verdict: Verdict
) -> None:
    post = Post(tmp_path, "ike", tokens={"ike": "hsm"} if verdict is Verdict.NEEDS_PIN else None)
    post.answer["ike"] = ends(verdict)
    post.pass_(1)
    state = post.on_disk()
    assert state.next_action == RETRY[verdict].next_action
    assert state.next_action_at is not None
    wait = (state.next_action_at - post.wall).total_seconds()
    assert wait == pytest.approx(post.next_in(), abs=1)
    assert 1 <= wait <= PERSON.cap
    assert post.count(Event.PLANNED) == 1
    assert (verdict is Verdict.BUSY) == (state.last_error is None)
    # and it is done then, neither before nor never
    post.pass_(wait - 1)
    assert len(post.jobs) == 1
    post.pass_(2)
    assert len(post.jobs) == (1 if verdict in {Verdict.NEEDS_PIN, Verdict.NEEDS_SECRET} else 2)


@pytest.mark.parametrize("verdict", sorted(one for one in RETRY if not RETRY[one].failed))
def test_what_is_no_failure_is_followed_up_and_nothing_counts_against_it(tmp_path: Path, verdict: Verdict) -> None:
    post = Post(tmp_path)
    install(post.state, "ike", START - timedelta(days=80), 90 * DAY)
    post.configure("ike")
    post.answer["ike"] = ends(verdict)
    post.pass_(1)
    post.answer["ike"] = ISSUED
    assert post.on_disk().attempts == 0
    assert post.count(Event.PLANNED) == 0
    post.pass_(120)
    assert post.next_in() <= LOOK_AGAIN


@pytest.mark.parametrize("verdict", [Verdict.CRASHED, Verdict.TIMED_OUT])
def test_what_no_worker_could_write_down_is_counted_and_told_here(tmp_path: Path, verdict: Verdict) -> None:
    post = Post(tmp_path, "ike")
    post.answer["ike"] = ends(verdict)
    post.pass_(1)
    error = post.on_disk().last_error
    assert error is not None
    assert (error.verdict, error.remedy, post.on_disk().attempts) == (verdict.value, "Mend it.", 1)
    assert post.count(Event.WORKER_DIED) + post.count(Event.WORKER_HUNG) == 1


def test_an_undecided_ca_is_asked_when_it_said(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike")
    post.answer["ike"] = ends(Verdict.WAITING, retry_after=300.0)
    post.pass_(250)
    assert len(post.jobs) == 1
    post.pass_(150)
    assert len(post.jobs) == 2


def test_a_refresh_that_is_due_is_started_and_again_at_its_next_time(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike")
    post.pass_(2)
    file = post.on_disk()
    assert post.jobs == [("ike", "enroll")]
    IdentityStore(post.state, "ike").state.save(replace(file, refresh_at=post.wall + timedelta(minutes=30)))
    post.answer["ike"] = ends(Verdict.DONE)
    post.pass_(HOUR)
    assert post.jobs == [("ike", "enroll"), ("ike", "refresh")]
    post.pass_(11 * HOUR)
    assert post.jobs == [("ike", "enroll"), ("ike", "refresh")]
    post.pass_(2 * HOUR)
    assert post.jobs.count(("ike", "refresh")) == 2


OLD_KEY = "pkcs11:token=hsm;id=%01;object=enrolld:ike:00000001;type=private"


def with_an_old_key(directory: Path) -> Post:
    """An identity in software, with a key left on the token ``hsm``, whose time comes in half an hour."""
    post = Post(directory, "ike", "gw", tokens={"gw": "hsm"})
    post.pass_(2)
    ledger = TokenKeys(IdentityStore(post.state, "ike").directory)
    ledger.add(OLD_KEY)
    ledger.plan(post.wall + timedelta(minutes=30))
    return post


def test_an_old_key_is_destroyed_at_its_time_by_a_job_that_has_its_token_alone(tmp_path: Path) -> None:
    post = with_an_old_key(tmp_path)
    post.answer["ike"] = ends(Verdict.DONE)
    post.pass_(3 * HOUR)
    (job,) = [one.job for one in post.staff.log if one.job.action is Action.RETIRE]
    assert (job.name, set(job.tokens)) == ("ike", {"hsm"})
    assert [one.job.tokens for one in post.staff.log if one.job.name == "ike" and one.job is not job] == [{}]
    assert post.on_disk().attempts == 0


def test_a_token_whose_module_crashes_holds_up_no_renewal(tmp_path: Path) -> None:
    post = with_an_old_key(tmp_path)
    post.staff.answers = lambda job: ends(Verdict.CRASHED) if job.action is Action.RETIRE else ISSUED
    install(post.state, "ike", post.wall, 9 * HOUR)
    post.keeper.wake("ike")
    post.pass_(7 * HOUR)
    assert ("ike", "renew") in post.jobs
    assert 1 < post.jobs.count(("ike", "retire")) < 20
    assert post.on_disk().attempts == 0


# --- expired ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "way", "remedy"),
    [
        ({"recovery": VENDOR}, "vendor's certificate", "Nothing, if that succeeds"),
        ({}, "a fresh one-time secret is needed", "for enb"),
    ],
    ids=["vendor", "secret"],
)
def test_the_end_is_told_once_before_and_once_after_and_has_a_way_back(
    tmp_path: Path, identity: dict[str, Any], way: str, remedy: str
) -> None:
    post = Post(tmp_path)
    install(post.state, "ike", START - timedelta(days=8), 8.5 * DAY)
    post.answer["ike"] = ends(Verdict.UNREACHABLE)
    post.configure("ike", identity=identity)
    post.pass_(0.6 * DAY)
    assert [event for _, event, _, _ in post.told if event in {Event.EXPIRING, Event.EXPIRED}] == [
        Event.EXPIRING,
        Event.EXPIRED,
    ]
    fields, text = next((fields, text) for _, event, fields, text in post.told if event is Event.EXPIRED)
    assert way in text
    assert remedy in fields["REMEDY"]
    last = post.staff.log[-1]
    assert last.job.action is Action.ENROLL
    assert last.job.identity.bootstrap == (identity.get("recovery") or last.job.identity.bootstrap)
    assert (last.secrets.shared is None) == bool(identity)
    post.answer["ike"] = ISSUED
    post.pass_(HOUR)
    assert post.keeper.identities["ike"].usable


def test_an_end_during_a_job_is_told_too(tmp_path: Path) -> None:
    post = Post(tmp_path)
    install(post.state, "ike", START - timedelta(seconds=990), 1000)
    post.answer["ike"] = ends(Verdict.UNREACHABLE)
    post.staff.takes = 20
    post.configure("ike")
    post.pass_(25)
    assert (post.count(Event.EXPIRING), post.count(Event.EXPIRED)) == (1, 1)


def test_an_end_while_all_workers_are_busy_is_told_in_time_and_changes_what_is_done(tmp_path: Path) -> None:
    post = Post(tmp_path)
    post.staff.takes = 1000
    install(post.state, "ike", START - timedelta(seconds=700), 1000)  # due, with 300 s left
    post.configure("busy", "ike", workers=1, identity={"recovery": VENDOR})
    post.pass_(100)
    assert (post.count(Event.EXPIRING), post.count(Event.EXPIRED)) == (0, 0)
    post.pass_(100)
    assert (post.count(Event.EXPIRING), post.count(Event.EXPIRED)) == (1, 0)
    post.pass_(110)
    assert (post.count(Event.EXPIRING), post.count(Event.EXPIRED)) == (1, 1)
    assert post.jobs == [("busy", "enroll")]
    post.pass_(700)
    assert post.jobs == [("busy", "enroll"), ("ike", "enroll")]
    assert post.staff.log[-1].job.identity.bootstrap == VENDOR


def test_who_got_a_certificate_by_other_means_while_he_waited_for_a_worker_needs_none(tmp_path: Path) -> None:
    post = Post(tmp_path)
    post.staff.takes = 1000
    install(post.state, "ike", START - timedelta(seconds=700), 1000)
    post.configure("busy", "ike", workers=1)
    post.pass_(10)
    install(post.state, "ike", START, 90 * DAY)  # enrollctl renew
    post.pass_(1100)
    assert post.jobs == [("busy", "enroll")]


# --- secrets and people -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restarted", [False, True])
def test_a_secret_that_was_refused_is_not_sent_again_before_it_changes(tmp_path: Path, *, restarted: bool) -> None:
    post = Post(tmp_path, "ike")
    post.answer["ike"] = ends(Verdict.NEEDS_SECRET)
    post.pass_(3 * DAY)
    if restarted:
        post.restart("ike")
        post.pass_(DAY)
        assert post.keeper.identities["ike"].by_person
    post.configure("ike")
    post.keeper.wake("ike")
    post.set_clock(post.wall + timedelta(days=1))
    post.pass_(DAY)
    assert len(post.jobs) == 1
    post.write_secret("neu")
    post.answer["ike"] = ISSUED
    post.keeper.wake("ike")
    post.pass_(1)
    assert [one.secrets.shared for one in post.staff.log] == [b"geheim", b"neu"]


def test_a_refused_pin_is_not_given_to_the_token_by_reloads_that_change_something_else(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike", tokens={"ike": "hsm"}, identity={"bootstrap": VENDOR})
    post.answer["ike"] = ends(Verdict.NEEDS_PIN)
    for _ in range(5):
        post.pass_(10)
        post.configure("ike", tokens={"ike": "hsm"}, identity={"bootstrap": VENDOR})
    assert len(post.jobs) == 1


def test_the_same_secret_is_tried_when_its_reference_was_corrected(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike")
    post.answer["ike"] = ends(Verdict.NEEDS_SECRET)
    post.pass_(10)
    post.configure("ike", identity={"subject": "CN=right"})
    post.pass_(10)
    assert len(post.jobs) == 2


def test_a_person_may_send_a_refused_secret_again_by_an_order(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike")
    post.answer["ike"] = ends(Verdict.NEEDS_SECRET)
    post.pass_(10)
    post.keeper.order("ike", Action.ENROLL, again=False)
    assert len(post.jobs) == 2


def test_a_job_that_needs_no_secret_does_not_make_a_refused_one_good(tmp_path: Path) -> None:
    post = Post(tmp_path)
    install(post.state, "ike", START - timedelta(days=80), 90 * DAY)
    identity = {"renewal": replace(RenewalSettings(), method=RenewalMethod.ENROLL)}
    post.answer["ike"] = ends(Verdict.NEEDS_SECRET)
    post.configure("ike", identity=identity)
    post.pass_(2)
    post.answer["ike"] = ends(Verdict.DONE)
    post.keeper.order("ike", Action.REFRESH, again=False)
    post.pass_(2)
    post.answer["ike"] = ends(Verdict.NEEDS_SECRET)
    post.pass_(DAY)
    assert post.jobs == [("ike", "renew"), ("ike", "refresh")]


def test_who_orders_a_job_that_a_refused_pin_would_hold_back_is_told_how_it_ends(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike", tokens={"ike": "hsm"}, identity={"bootstrap": VENDOR})
    post.answer["ike"] = ends(Verdict.NEEDS_PIN)
    post.pass_(10)
    post.keeper.order("ike", Action.REFRESH, again=True)
    post.pass_(2)
    assert post.settled == [("ike", Verdict.NEEDS_PIN)] * 2
    assert post.jobs == [("ike", "enroll"), ("ike", "refresh")]


@pytest.mark.parametrize("verdict", [Verdict.NEEDS_TOKEN, Verdict.MISCONFIGURED])
@pytest.mark.parametrize("how", ["token", "reload"])
def test_what_a_person_does_while_the_job_runs_that_lacks_it_is_not_lost(
    tmp_path: Path, verdict: Verdict, how: str
) -> None:
    post = Post(tmp_path, "ike")
    post.staff.takes = 20
    post.answer["ike"] = ends(verdict)
    post.pass_(10)
    if how == "token":
        post.keeper.wake("ike")
    else:
        post.configure("ike", identity={"subject": "CN=right"})
    post.pass_(11)
    assert [one.job.identity.subject for one in post.staff.log] == [
        "CN=ike",
        "CN=ike" if how == "token" else "CN=right",
    ]
    post.pass_(HOUR / 2)
    assert len(post.jobs) == 2, "it is tried once for that"


def test_a_refused_secret_is_not_sent_again_for_a_reload_while_its_job_runs(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike")
    post.staff.takes = 20
    post.answer["ike"] = ends(Verdict.NEEDS_SECRET)
    post.pass_(10)
    post.configure("ike")
    post.pass_(DAY)
    assert len(post.jobs) == 1


@pytest.mark.parametrize("verdict", [Verdict.REJECTED, Verdict.MISCONFIGURED, Verdict.NEEDS_TOKEN, Verdict.UNREACHABLE])
def test_a_certificate_that_ends_while_it_is_renewed_is_enrolled_anew_without_the_patience_of_a_renewal(
    tmp_path: Path, verdict: Verdict
) -> None:
    post = Post(tmp_path)
    install(post.state, "ike", START - timedelta(seconds=990), 1000)
    state = IdentityStore(post.state, "ike").state
    state.save(replace(state.load(), attempts=20))
    post.answer["ike"] = ends(verdict)
    post.staff.takes = 15
    post.configure("ike", identity={"recovery": VENDOR})
    post.pass_(16)
    assert post.jobs == [("ike", "renew")]
    assert post.on_disk().next_action == "enroll anew"
    assert not post.keeper.identities["ike"].by_person
    post.answer["ike"] = ISSUED
    post.pass_(30)
    assert post.jobs == [("ike", "renew"), ("ike", "enroll")]
    assert post.staff.log[-1].job.identity.bootstrap == VENDOR


def test_a_missing_secret_is_told_with_its_remedy_without_a_worker(tmp_path: Path) -> None:
    post = Post(tmp_path)
    post.secret.unlink()
    post.configure("ike")
    post.pass_(1)
    assert post.jobs == []
    assert post.on_disk().next_action == "look for a new secret"
    assert post.count(Event.NEEDS_PERSON) == 1


def test_a_machine_that_lacks_open_files_is_tried_again_and_nobody_is_sent_for_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(tmp_path)
    open_ = os.open

    def refuse(path: Any, *of: Any, **more: Any) -> int:
        if path == post.secret:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return open_(path, *of, **more)

    with monkeypatch.context() as exhausted:
        exhausted.setattr(os, "open", refuse)
        post.configure("ike")
        post.pass_(1)
        error = post.on_disk().last_error
        assert error is not None
        assert (error.verdict, post.on_disk().attempts) == (Verdict.FAILED, 1)
        assert "LimitNOFILE=" in error.remedy
        assert post.count(Event.NEEDS_PERSON) == 0
        post.pass_(HOUR)
        assert post.count(Event.FAILED) > 5
        assert post.jobs == []
    post.pass_(900)
    assert post.keeper.identities["ike"].usable


@pytest.mark.parametrize("restarted", [False, True])
def test_who_waits_for_a_token_is_tried_at_once_when_it_comes_after_a_restart_too(
    tmp_path: Path, *, restarted: bool
) -> None:
    post = Post(tmp_path, "ike")
    post.answer["ike"] = ends(Verdict.NEEDS_TOKEN)
    post.pass_(10)
    if restarted:
        post.restart("ike")
        post.pass_(10)
    assert len(post.jobs) == 1
    post.keeper.wake("ike")
    post.pass_(0.5)
    assert len(post.jobs) == 2


def test_a_reload_tries_at_once_what_was_misconfigured_but_not_what_is_unreachable(tmp_path: Path) -> None:
    post = Post(tmp_path, "bad", "far")
    post.answer |= {"bad": ends(Verdict.MISCONFIGURED), "far": ends(Verdict.UNREACHABLE)}
    post.pass_(1.5)
    post.configure("bad", "far")
    post.pass_(0.5)
    assert post.jobs == [("bad", "enroll"), ("far", "enroll"), ("bad", "enroll")]


def test_a_start_tries_at_once_what_a_person_may_have_mended_by_it(tmp_path: Path) -> None:
    """systemd hands a new secret over at a start only; so nobody waits for hours after it, nor needs a command."""
    post = Post(tmp_path, "ike", "bad", "far")
    post.answer |= {"ike": ends(Verdict.NEEDS_SECRET), "bad": ends(Verdict.MISCONFIGURED)}
    post.answer["far"] = ends(Verdict.UNREACHABLE)
    post.pass_(1.5)
    post.write_secret("neu")
    post.restart("ike", "bad", "far")
    post.pass_(0.5)
    assert sorted(post.jobs[3:]) == [("bad", "enroll"), ("ike", "enroll")]


# --- reload, orders and the end ---------------------------------------------------------------------------------------


def test_a_reload_lets_running_jobs_end_and_drops_who_is_gone(tmp_path: Path) -> None:
    post = Post(tmp_path, "a", "b", "c")
    post.pass_(0.5)
    assert post.staff.running == ["a", "b"]
    post.configure("b", "d")
    post.pass_(DAY)
    assert ("a", Verdict.ISSUED) in post.settled
    assert post.keeper.identities.keys() == {"b", "d"}
    assert sorted(post.jobs) == [("a", "enroll"), ("b", "enroll"), ("d", "enroll")]


def test_a_reload_with_another_state_directory_starts_there_at_once(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike")
    post.answer["ike"] = ends(Verdict.UNREACHABLE)
    post.pass_(6 * HOUR)
    assert post.next_in() > 60
    post.answer["ike"] = ISSUED
    post.state = tmp_path / "other"
    post.state.mkdir(mode=0o700)
    post.configure("ike")
    post.pass_(2)
    assert post.staff.log[-1].job.state_directory == post.state
    assert post.keeper.identities["ike"].usable


def test_a_job_that_ends_after_a_reload_has_moved_its_identity_holds_up_nothing_there(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike")
    post.answer["ike"] = ends(Verdict.REJECTED)
    post.pass_(0.5)
    before, post.state = post.state, tmp_path / "other"
    post.state.mkdir(mode=0o700)
    post.configure("ike")
    post.pass_(1)
    post.answer["ike"] = ISSUED
    post.pass_(2)
    assert [one.job.state_directory for one in post.staff.log] == [before, post.state]
    assert post.keeper.identities["ike"].usable


def test_a_defect_in_looking_at_an_identity_in_trouble_takes_nobody_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(tmp_path, "ike")
    post.pass_(0.5)

    def fail(*_: object, **__: object) -> None:
        raise TypeError("a defect")

    with monkeypatch.context() as full:
        fill_the_disk(full)
        full.setattr(keeper, "look", fail)
        post.pass_(HOUR)
        assert post.keeper.identities["ike"].state == "unreadable"
    post.pass_(75)
    assert post.keeper.identities["ike"].usable


def test_what_could_not_be_written_into_a_state_directory_is_not_owed_to_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(tmp_path, "ike")
    full, write = post.state, atomic._write_new

    def refuse(path: Path, *of: Any) -> None:
        if path.is_relative_to(full):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, *of)

    post.pass_(0.5)
    monkeypatch.setattr(atomic, "_write_new", refuse)
    post.pass_(2)
    assert post.keeper.identities["ike"].owed is not None
    post.state = tmp_path / "other"
    post.state.mkdir(mode=0o700)
    post.configure("ike")
    post.pass_(2)
    assert post.keeper.identities["ike"].usable


def test_a_storm_of_reloads_is_one_look_at_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def see(state: Path, name: str, *of: Any, **more: Any) -> Overview:
        looked.append(name)
        return look(state, name, *of, **more)

    names = [f"cell-{number:02d}" for number in range(40)]
    post = Post(tmp_path)
    for name in names:
        install(post.state, name, START, 90 * DAY)
    monkeypatch.setattr(keeper, "look", see)
    for _ in range(30):
        post.configure(*names)
    post.loop.serve_until(0)
    assert looked == names


def test_who_is_dropped_and_taken_again_while_his_job_runs_has_one_job(tmp_path: Path) -> None:
    post = Post(tmp_path, "a")
    post.pass_(0.5)
    post.configure("b")
    post.configure("a", "b")
    post.pass_(HOUR)
    assert post.jobs.count(("a", "enroll")) == 1
    assert post.keeper.identities["a"].usable


def test_an_order_that_waits_for_a_worker_is_carried_out_and_not_replaced_by_the_plan(tmp_path: Path) -> None:
    post = Post(tmp_path, "a", "b", workers=1)
    post.pass_(3)
    post.staff.takes = 20
    post.keeper.order("a", Action.RENEW, again=True)
    post.keeper.order("b", Action.RENEW, again=True)
    post.set_clock(post.wall + timedelta(days=400))
    post.pass_(19)
    assert post.jobs[-1] == ("a", "renew")
    post.pass_(2)
    assert post.jobs[-1] == ("b", "renew")
    assert post.staff.log[-1].job.again


def test_whoever_ordered_a_job_of_an_identity_that_is_dropped_is_told(tmp_path: Path) -> None:
    post = Post(tmp_path, "a", "b", workers=1)
    post.pass_(0.5)
    post.keeper.order("b", Action.ENROLL, again=False)
    post.configure("a", workers=1)
    assert post.settled == [("b", Verdict.FAILED)]


def test_after_stop_nothing_is_started_and_workers_are_asked_to_end(tmp_path: Path) -> None:
    post = Post(tmp_path, "a", "b", "c")
    post.pass_(0.5)
    post.keeper.stop()
    post.keeper.order("c", Action.ENROLL, again=False)
    post.configure("a", "b", "c", "d")
    post.keeper.wake_all()
    post.set_clock(post.wall + timedelta(days=400))
    post.pass_(DAY)
    assert post.staff.ended_early == ["a", "b"]
    assert len(post.jobs) == 2


def test_whoever_ordered_a_job_that_has_not_begun_at_the_end_is_told(tmp_path: Path) -> None:
    post = Post(tmp_path, "a", "b", workers=1)
    post.pass_(0.5)
    post.keeper.order("b", Action.ENROLL, again=False)
    post.keeper.stop()
    assert post.settled == [("b", Verdict.FAILED)]


def test_whoever_ordered_a_job_that_cannot_be_given_to_a_worker_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(tmp_path, "ike")
    post.pass_(10)
    post.settled.clear()

    def refuse(*_: Any, **__: Any) -> None:
        raise StructureError("identity.subject", "is no document")

    with monkeypatch.context() as defective:
        defective.setattr(post.staff, "start", refuse)
        post.keeper.order("ike", Action.RENEW, again=True)
    assert post.settled == [("ike", Verdict.FAILED)]
    assert post.count(Event.STATE_TROUBLE) == 1
    post.keeper.order("ike", Action.RENEW, again=True)
    post.pass_(2)
    assert post.settled[1:] == [("ike", Verdict.ISSUED)]


def test_whoever_stays_while_the_ca_is_undecided_is_told_when_nothing_more_can_be_done(tmp_path: Path) -> None:
    post = Post(tmp_path, "a", "b")
    told: list[tuple[str, Action | None, Verdict]] = []
    post.keeper.on_settled.append(lambda name, action, outcome: told.append((name, action, outcome.verdict)))
    post.answer["a"] = post.answer["b"] = ends(Verdict.WAITING, retry_after=HOUR)
    post.pass_(10)
    told.clear()
    post.configure("b")
    assert told == [("a", None, Verdict.FAILED)], "it is no longer configured"
    post.state.rename(tmp_path / "elsewhere")
    post.keeper.wake("b")
    post.pass_(0)
    assert told[1:] == [("b", None, Verdict.FAILED)], "its disk is gone"


def test_one_directory_that_cannot_be_read_hides_nothing_of_the_others(tmp_path: Path) -> None:
    post = Post(tmp_path, "a", "b")
    post.pass_(10)
    directory = post.state / "identities" / "a"
    directory.rename(tmp_path / "elsewhere")
    directory.write_text("no directory")
    post.keeper.wake_all()
    post.pass_(10)
    assert [one.state for one in post.keeper.look_at_all()] == ["unreadable", "valid"]
    assert [(name, event) for name, event, _, _ in post.told if event is Event.STATE_TROUBLE] == [
        ("a", Event.STATE_TROUBLE)
    ]
    assert post.keeper.identities["b"].state == "valid"
    directory.unlink()
    (tmp_path / "elsewhere").rename(directory)
    post.pass_(62)
    assert post.keeper.identities["a"].usable


def test_a_disk_that_cannot_be_read_is_told_once_and_looked_at_again(tmp_path: Path) -> None:
    post = Post(tmp_path)
    moved = post.state.rename(tmp_path / "elsewhere")
    post.configure("ike")
    post.pass_(HOUR)
    assert post.count(Event.STATE_TROUBLE) == 1
    assert post.keeper.identities["ike"].state == "unreadable"
    moved.rename(post.state)
    post.pass_(62)
    assert post.keeper.identities["ike"].usable


def test_a_disk_that_is_full_is_told_once_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post(tmp_path, "ike")
    post.staff.life = DAY
    post.pass_(10)
    with monkeypatch.context() as full:

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        full.setattr(atomic, "_write_new", refuse)
        post.pass_(18 * HOUR)
        assert post.keeper.look_at("ike").state == "due"
        assert post.count(Event.STATE_TROUBLE) == 1
    post.pass_(62)
    assert post.keeper.identities["ike"].state == "valid", "it is renewed at once"


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, "_write_new", refuse)


def test_a_job_that_meets_a_full_disk_is_told_once_and_none_follows_before_its_failure_can_be_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(tmp_path, "ike")
    post.staff.life = DAY
    post.answer["ike"] = ends(Verdict.UNREACHABLE)
    post.pass_(0.5)
    with monkeypatch.context() as full:
        fill_the_disk(full)
        post.pass_(18 * HOUR)
        assert post.jobs == [("ike", "enroll")]
        assert post.count(Event.STATE_TROUBLE) == post.count(Event.FAILED) == 1
        assert post.keeper.identities["ike"].state == "unenrolled", "it can be read"
        assert post.settled[0] == ("ike", Verdict.FAILED)
    post.answer["ike"] = ISSUED
    post.pass_(75)
    assert post.jobs == [("ike", "enroll")] * 2
    assert post.keeper.identities["ike"].usable


def test_what_a_full_disk_keeps_from_being_written_down_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(tmp_path, "ike")
    post.pass_(0.5)
    with monkeypatch.context() as full:
        fill_the_disk(full)
        post.pass_(HOUR / 2)
    with monkeypatch.context() as nearly_full:

        def refuse(*_: object) -> None:
            raise StateError("cannot write the plan", remedy="Free space.")

        nearly_full.setattr(sequel, "note_plan", refuse)
        post.pass_(HOUR / 2)
    post.staff.takes = DAY
    post.pass_(60)
    state = post.on_disk()
    assert (state.attempts, state.next_action) == (1, RETRY[Verdict.FAILED].next_action)
    assert state.last_error is not None
    assert "ENOSPC" in state.last_error.text
    assert post.count(Event.FAILED) == post.count(Event.PLANNED) == 1


def test_a_defect_in_what_follows_a_job_does_not_keep_the_next_one_from_being_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(tmp_path, "ike")
    post.answer["ike"] = ends(Verdict.UNREACHABLE)

    def fail(*_: object) -> None:
        raise TypeError("a defect")

    monkeypatch.setattr(sequel, "note_plan", fail)
    post.pass_(3 * HOUR)
    assert len(post.jobs) >= 2
    assert post.count(Event.DEFECT) >= 2


def test_who_has_made_room_may_have_the_job_tried_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post(tmp_path, "ike")
    post.pass_(0.5)
    with monkeypatch.context() as full:
        fill_the_disk(full)
        post.pass_(HOUR)
    post.keeper.wake("ike")
    post.pass_(0.1)
    assert post.jobs == [("ike", "enroll")] * 2


def test_a_certificate_stays_valid_for_people_while_a_failure_cannot_be_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(tmp_path, "ike")
    post.pass_(10)
    with monkeypatch.context() as full:
        fill_the_disk(full)
        post.keeper.order("ike", Action.RENEW, again=True)
        post.pass_(HOUR)
        kept = post.keeper.identities["ike"]
        assert (kept.state, kept.usable) == ("valid", True)
        assert "ENOSPC" in kept.trouble
        elsewhere = post.state.rename(tmp_path / "elsewhere")
        post.pass_(61)
        assert kept.state == "unreadable"
        elsewhere.rename(post.state)
    post.pass_(61)
    assert (kept.state, kept.trouble) == ("valid", "")


def test_a_person_may_have_a_job_done_while_the_failure_of_the_last_one_cannot_be_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(tmp_path, "ike")
    post.pass_(0.5)
    with monkeypatch.context() as full:
        fill_the_disk(full)
        post.pass_(HOUR)
    post.keeper.order("ike", Action.ENROLL, again=False)
    post.pass_(2)
    assert post.keeper.identities["ike"].usable
    assert post.on_disk().attempts == 0
    assert post.next_in() > HOUR / 2


def test_a_refresh_that_cannot_write_down_its_next_time_is_tried_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(tmp_path, "ike")
    post.pass_(2)
    IdentityStore(post.state, "ike").state.save(replace(post.on_disk(), refresh_at=post.wall + timedelta(minutes=1)))
    with monkeypatch.context() as full:
        fill_the_disk(full)
        post.pass_(DAY)
    assert 5 < post.jobs.count(("ike", "refresh")) < 20


def test_who_failed_for_want_of_room_is_tried_again_within_a_slice_once_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(tmp_path, "ike", "gw")
    post.answer["ike"], post.answer["gw"] = ends(Verdict.FAILED), ends(Verdict.UNREACHABLE)
    with monkeypatch.context() as full:
        full.setattr(room, "lacking", lambda _: True)
        post.pass_(6 * HOUR)
        assert post.next_in("ike") > 2 * SLICE
        assert post.next_in("gw") > 2 * SLICE
        before = list(post.jobs)
    post.answer["ike"] = ISSUED
    post.pass_(SLICE + 2)
    assert post.jobs == [*before, ("ike", "enroll")], "what the network kept from succeeding waits on"
    assert post.keeper.identities["ike"].usable


def test_a_description_that_somebody_has_edited_is_damage_and_is_enrolled_anew(tmp_path: Path) -> None:
    post = Post(tmp_path)
    install(post.state, "ike", START, 90 * DAY)
    (document,) = post.state.glob("identities/ike/generations/*/credential.json")
    begins = START.isoformat()
    document.write_text(document.read_text().replace(begins, begins.removesuffix("+00:00")))
    post.configure("ike")
    assert post.keeper.look_at("ike").state == "damaged"
    post.pass_(10)
    assert post.keeper.look_at("ike").state == "valid"
    assert post.count(Event.DEFECT) == 0


def test_a_history_of_a_newer_version_is_kept_told_once_and_begun_anew(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike")
    post.pass_(10)
    path, newer = IdentityStore(post.state, "ike").state.path, '{"version": 2}'
    path.write_text(newer)
    seen = post.keeper.look_at("ike")
    assert "has version 2" in str(seen.last_error)
    assert "state.json.version-2" in str(seen.remedy)
    assert path.read_text() == newer, "looking changes nothing"
    post.restart("ike")
    post.pass_(DAY)
    ((_, _, fields, text),) = [one for one in post.told if one[1] is Event.NOTE]
    assert "has version 2" in text
    assert "state.json.version-2" in fields["REMEDY"]
    assert path.with_name("state.json.version-2").read_text() == newer
    assert (post.on_disk().situation, post.on_disk().damage) == ("valid", "")
    assert post.keeper.look_at("ike").last_error is None


def test_a_credential_of_a_newer_version_is_left_alone_and_taken_up_again_by_that_version(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike")
    post.pass_(10)
    (document,) = post.state.glob("identities/ike/generations/*/credential.json")
    ours = document.read_text()
    document.write_text(ours.replace('"version": 1', '"version": 2'))
    post.restart("ike")
    post.pass_(DAY)
    post.set_clock(post.wall + timedelta(days=100))
    post.pass_(HOUR)
    assert post.jobs == [("ike", "enroll")]
    assert post.count(Event.STATE_TROUBLE) == 1
    (fields,) = [fields for _, event, fields, _ in post.told if event is Event.STATE_TROUBLE]
    assert fields["REMEDY"].startswith("Install the enrolld that wrote it")
    document.write_text(ours)
    post.pass_(70)
    assert post.jobs[1:] == [("ike", "enroll")], "it has expired meanwhile"


def test_whoever_asks_hears_of_the_others_whatever_is_wrong_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(tmp_path, "a", "b")
    post.pass_(10)

    def see(state: Path, name: str, *of: Any, **more: Any) -> Overview:
        if name == "a":
            raise TypeError("a defect")
        return look(state, name, *of, **more)

    monkeypatch.setattr(keeper, "look", see)
    a, b = post.keeper.look_at_all()
    assert (a.state, a.last_error, b.state) == ("unreadable", "a defect", "valid")


def test_what_a_caller_sees_of_an_outcome_is_the_outcome(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike")
    found: list[Outcome] = []
    post.keeper.on_settled.append(lambda _, __, outcome: found.append(outcome))
    post.pass_(2)
    assert found == [ISSUED]
