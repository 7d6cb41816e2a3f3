"""Clocks that are wrong, are set, or stand still: nobody is tried too often for it, and nobody is forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from agent.contract import Action, Outcome, Verdict
from agent.events import Event
from agent.overview import look
from agent.policy.clock import PATIENCE
from agent.settings import DeployTarget, HookTarget
from agent.store.generations import IdentityStore
from agent.supervisor.loop import LEISURE
from agent.supervisor.schedule import RETRY
from tests.unit.supervisor.post import DAY, HOUR, START, Post, ends, install

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FAR = START.replace(year=START.year + 5)
LONGEST = DAY
"""Seconds: no wait is longer, whoever asks for it."""


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.mark.parametrize("wall", [EPOCH, START.replace(year=2099)], ids=["1970", "2099"])
def test_a_clock_that_cannot_be_right_is_waited_for_but_not_for_ever(tmp_path: Path, wall: datetime) -> None:
    post = Post(tmp_path, "ike", wall=wall)
    post.pass_(PATIENCE - 1)
    assert (post.jobs, post.keeper.identities["ike"].state) == ([], "needs-clock")
    assert post.count(Event.CLOCK_DOUBTED) == 1
    post.pass_(2)
    assert post.jobs == [("ike", "enroll")]


@pytest.mark.parametrize(
    ("now", "usable"), [(EPOCH, True), (START, False), (START + 11 * 365 * timedelta(days=1), False)]
)
def test_a_certificate_that_is_not_valid_yet_may_be_used_only_where_the_clock_is_behind(
    tmp_path: Path, now: datetime, *, usable: bool
) -> None:
    # Ten years after its release the program does not doubt a clock that is right.
    install(tmp_path, "ike", now + timedelta(hours=1), DAY)
    seen = look(tmp_path, "ike", now=now)
    assert (seen.state, seen.usable) == ("not-yet-valid", usable)


def test_once_the_clock_is_set_nobody_waits_longer(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike", wall=EPOCH)
    post.pass_(20)
    assert post.jobs == []
    post.set_clock(START)
    assert post.jobs == [("ike", "enroll")]


def test_what_was_done_under_a_doubtful_clock_is_looked_at_again_when_it_is_set(tmp_path: Path) -> None:
    post = Post(tmp_path, wall=EPOCH)
    install(post.state, "ike", START - timedelta(days=40), 35 * DAY)  # good when this software was built
    post.configure("ike")
    post.pass_(PATIENCE + 2)
    assert post.jobs == []
    post.set_clock(START)
    assert post.count(Event.EXPIRED) == 1
    assert post.jobs == [("ike", "enroll")]


def test_a_worker_is_told_what_time_it_is_at_least_where_the_clock_cannot_be_right(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike", wall=EPOCH, last_good=START)
    post.pass_(PATIENCE + 1)
    assert [one.job.known_time for one in post.staff.log] == [START.isoformat()]
    post.set_clock(START)
    post.keeper.order("ike", Action.RENEW, again=True)
    assert post.staff.log[-1].job.known_time is None


def test_a_certificate_that_was_issued_just_now_tells_the_time_to_a_machine_without_a_clock(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike", wall=EPOCH)
    post.pass_(PATIENCE + 10)
    assert post.jobs == [("ike", "enroll")]
    kept = post.keeper.identities["ike"]
    assert (kept.state, kept.usable) == ("valid", True)
    post.keeper.order("ike", Action.RENEW, again=True)
    begins = IdentityStore(post.state, "ike").current
    assert begins is not None
    assert post.staff.log[-1].job.known_time == begins.description["not_before"]


def test_consumers_get_what_is_installed_whatever_the_clock_says(tmp_path: Path) -> None:
    post = Post(tmp_path, wall=EPOCH, last_good=START)
    install(post.state, "ike", START - timedelta(days=10), 90 * DAY)
    post.answer["ike"] = ends(Verdict.DEPLOYING)
    post.configure("ike", identity={"deploy": (DeployTarget(hook=HookTarget(command=("/bin/true",))),)})
    post.pass_(0.5)
    assert post.jobs == [("ike", "deploy")]


def test_a_step_forward_past_the_due_date_starts_the_renewal_at_once(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike")
    post.pass_(HOUR)
    post.set_clock(post.wall + timedelta(days=80))
    assert post.jobs == [("ike", "enroll"), ("ike", "renew")]
    assert post.count(Event.CLOCK_STEPPED) == 1


def test_sleep_past_the_due_date_starts_the_renewal_at_once(tmp_path: Path) -> None:
    post = Post(tmp_path, "ike")
    post.pass_(HOUR)
    post.sleep(80 * DAY)
    assert post.jobs == [("ike", "enroll"), ("ike", "renew")]


@pytest.mark.parametrize("verdict", [Verdict.UNREACHABLE, Verdict.WAITING])
def test_a_step_back_lengthens_no_wait(tmp_path: Path, verdict: Verdict) -> None:
    post = Post(tmp_path, "ike", wall=FAR)
    post.answer["ike"] = ends(verdict)
    post.pass_(1)
    before = post.next_in()
    post.set_clock(START)
    assert post.next_in() <= before
    post.pass_(before + 1)
    assert len(post.jobs) == 2


@pytest.mark.parametrize("usable", [True, False])
def test_a_moment_on_disk_that_is_years_ahead_is_waited_for_a_day_at_the_most(tmp_path: Path, *, usable: bool) -> None:
    post = Post(tmp_path)
    if usable:
        install(post.state, "ike", START - timedelta(days=80), 90 * DAY)
    post.answer["ike"] = ends(Verdict.UNREACHABLE)
    post.configure("ike")
    post.pass_(1)
    file = IdentityStore(post.state, "ike").state
    file.save(replace(file.load(), next_action_at=FAR))
    post.restart("ike")
    post.pass_(1)
    assert post.next_in() <= LONGEST
    post.pass_(LONGEST + LEISURE)
    assert len(post.jobs) > 1


def test_a_refresh_that_is_years_ahead_is_not_believed(tmp_path: Path) -> None:
    post = Post(tmp_path)
    install(post.state, "ike", START - timedelta(days=1), 90 * DAY)
    file = IdentityStore(post.state, "ike").state
    file.save(replace(file.load(), refresh_at=FAR))
    post.configure("ike")
    post.pass_(1)
    assert post.next_in() <= HOUR


# --- whatever happens -------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
OUTCOMES = st.builds(
    lambda verdict, retry_after: ends(verdict, retry_after=retry_after),
    st.sampled_from(sorted(RETRY)),
    st.none() | st.sampled_from([0.0, 1.0, 600.0, 1e9]),
)
STEPS = st.sampled_from([-5 * 365 * DAY, -90 * DAY, -HOUR, -30.0, 30.0, HOUR, 30 * DAY, 100 * DAY, 5 * 365 * DAY])
HAPPENINGS = st.one_of(
    st.tuples(st.just("time"), st.sampled_from([0.0, 1.0, 60.0, 601.0, HOUR])),
    st.tuples(st.just("time"), st.sampled_from([0.0, 1.0, 60.0, 601.0, HOUR])),
    st.tuples(st.just("clock"), STEPS),
    st.tuples(st.just("sleep"), st.sampled_from([HOUR, 40 * DAY])),
    st.tuples(st.just("wake"), st.sampled_from(NAMES)),
    st.tuples(st.just("order"), st.sampled_from(NAMES)),
    st.tuples(st.just("reload"), st.sampled_from(["ab", "abc", "c"])),
    st.tuples(st.just("restart"), st.just("abc")),
    st.tuples(st.just("answer"), st.tuples(st.sampled_from(NAMES), OUTCOMES)),
)
MOST_AN_HOUR = 75
"""Jobs of one identity in an hour: about one a minute while a CA has not decided, and a few before that is known."""


def happen(post: Post, what: str, how: object) -> None:
    match what, how:
        case "time", float(seconds):
            post.pass_(seconds)
        case "clock", float(seconds):
            post.set_clock(max(post.wall + timedelta(seconds=seconds), EPOCH))
        case "sleep", float(seconds):
            post.sleep(seconds)
        case "wake", str(name) if name in post.keeper.identities:
            post.keeper.wake(name)
        case "order", str(name) if name in post.keeper.configuration.identities:
            post.keeper.order(name, Action.RENEW, again=True)
        case "reload", str(names):
            post.configure(*names)
        case "restart", str(names) if not post.staff.running:
            post.restart(*names)
        case "answer", (str(name), Outcome() as outcome):
            post.answer[name] = outcome


def demand_next_moments(post: Post) -> None:
    post.loop.serve_until(post.loop.moment)
    for name in post.keeper.configuration.identities:
        kept = post.keeper.identities[name]
        if kept.work is None and not post.keeper._roster.waits(name):
            assert 0 <= post.next_in(name) <= LONGEST


# Without shrinking, which takes minutes: what failed is short enough to read.
@settings(max_examples=12, phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.target))
@given(happenings=st.lists(HAPPENINGS, max_size=8))
@example(happenings=[("answer", ("a", ends(Verdict.UNCHANGED)))])
@example(happenings=[("answer", ("a", ends(Verdict.DEPLOYING))), ("clock", -5 * 365 * DAY)])
@example(happenings=[("answer", ("a", ends(Verdict.WAITING))), ("sleep", 40 * DAY), ("sleep", 80 * DAY)])
@example(happenings=[("answer", ("a", ends(Verdict.WAITING, retry_after=1.0))), ("order", "a")])
@example(happenings=[("sleep", 80 * DAY), ("answer", ("c", ends(Verdict.BUSY)))])
@example(happenings=[("time", 60.0), ("clock", 5 * 365 * DAY)])
def test_whatever_happens_everybody_has_a_next_moment_and_nobody_runs_hot(happenings: list[tuple[str, object]]) -> None:
    with TemporaryDirectory() as directory:
        post = Post(Path(directory), *NAMES)
        for what, how in happenings:
            # That one identity never has two jobs at once, the staff demands whenever it starts one.
            happen(post, what, how)
            demand_next_moments(post)
            assert post.keeper.running <= 2
        assert post.count(Event.DEFECT) == 0
        # Left alone, with clocks and answers as they are now, it settles down.
        before = len(post.jobs)
        post.pass_(HOUR)
        demand_next_moments(post)
        after = [name for name, _ in post.jobs[before:]]
        assert all(after.count(name) <= MOST_AN_HOUR for name in NAMES)
