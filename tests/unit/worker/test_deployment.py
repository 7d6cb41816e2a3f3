"""A generation on its way to its consumers: confirmed, tried again, brought back, rolled back as one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract import Action, Verdict
from agent.overview import Overview, look
from agent.policy import deployment as policy
from agent.settings import DeployTarget, DirectoryTarget, HookTarget, OnFailure
from agent.store.deployment import DeploymentFile, DeploymentRecord, TargetRecord, labels
from agent.supervisor import schedule
from tests.unit.worker.desk import Desk


class Consumer:
    """A command that does what the file beside it says, and writes down each time that it was called."""

    def __init__(self, place: Path, name: str) -> None:
        self.path = place / name
        self.calls = place / f"{name}.calls"
        self.broken = place / f"{name}.broken"
        self.path.write_text(
            f'#!/bin/sh\necho "$ENROLLD_GENERATION $ENROLLD_REASON" >>{self.calls}\n'
            f"if test -e {self.broken}; then cat {self.broken}; exit 1; fi\n"
        )
        self.path.chmod(0o755)

    def target(self, on_failure: OnFailure = OnFailure.KEEP) -> DeployTarget:
        return DeployTarget(hook=HookTarget(command=(str(self.path),), on_failure=on_failure))

    def breaks(self, reason: str = "no luck") -> None:
        self.broken.write_text(reason)

    def heals(self) -> None:
        self.broken.unlink()

    @property
    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


def deploying(desk: Desk, *targets: DeployTarget) -> None:
    desk.configure(identity={"deploy": targets})


def seen(desk: Desk) -> Overview:
    now = desk.clock() + timedelta(seconds=desk.late)
    return look(desk.job.state_directory, "ike", desk.job.identity, now=now)


def record(desk: Desk) -> DeploymentRecord:
    return DeploymentFile(desk.store.directory).load()


def ends_at(desk: Desk, moment: datetime) -> None:
    """Let the description of the credential in use say that it ends then."""
    assert desk.current is not None
    path = desk.current.path / "credential.json"
    document = json.loads(path.read_text())
    document["description"]["not_after"] = moment.isoformat()
    path.write_text(json.dumps(document))


def number(desk: Desk) -> int:
    assert desk.current is not None
    return desk.current.number


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    return tmp_path


def test_a_new_certificate_goes_to_every_consumer_in_the_same_job(desk: Desk, place: Path) -> None:
    hook = Consumer(place, "reload")
    deploying(desk, DeployTarget(directory=DirectoryTarget(path=place / "files")), hook.target())
    assert desk.do().verdict is Verdict.ISSUED
    assert desk.events.count("deployed") == 2
    assert (place / "files/certificate.pem").exists()
    assert hook.called == ["1 renewed"]
    assert seen(desk).state == "valid"
    assert [one.generation for one in seen(desk).consumers] == [1, 1]


def test_a_hook_that_fails_twice_is_tried_again_and_shown_with_its_reason(desk: Desk, place: Path) -> None:
    at = desk.clock() + timedelta(hours=1)
    desk.clock = lambda: at  # the next attempt is due in a second or two, and a job may take longer
    hook = Consumer(place, "reload")
    hook.breaks("ipsec: not running")
    deploying(desk, hook.target())
    outcome = desk.do()
    assert outcome.verdict is Verdict.DEPLOYING
    assert "ipsec: not running" in outcome.text
    assert "by hand" in outcome.remedy
    now = seen(desk)
    assert now.state == "deploying"
    assert now.usable
    assert now.attempts == 0, "the request for the certificate did not fail"
    assert "ipsec: not running" in (now.last_error or "")

    # Asking at once changes nothing: it is not due.
    assert desk.do(Action.DEPLOY).verdict is Verdict.DEPLOYING
    assert len(hook.called) == 1
    waits = []
    for _ in range(2):
        assert desk.do(Action.DEPLOY).retry_after is not None
        waits.append(desk.do(Action.DEPLOY).retry_after)
        desk.late += policy.LONGEST
        if len(hook.called) == 2:
            hook.heals()
        outcome = desk.do(Action.DEPLOY)
    assert outcome.verdict is Verdict.DONE
    assert hook.called == ["1 renewed"] * 3
    assert seen(desk).state == "valid"
    assert record(desk).targets[f"hook {hook.path}"].attempts == 0


def test_enrolling_again_by_a_timer_tries_the_consumer_again_too(desk: Desk, place: Path) -> None:
    """Where nothing is resident, a timer runs `enrollctl enroll`, which finds a valid certificate."""
    hook = Consumer(place, "reload")
    hook.breaks()
    deploying(desk, hook.target())
    desk.do()
    hook.heals()
    desk.late += policy.LONGEST
    assert desk.do().verdict is Verdict.UNCHANGED
    assert len(hook.called) == 2


def test_a_command_waits_for_the_consumers_before_it_and_runs_when_one_of_them_changed(desk: Desk, place: Path) -> None:
    hook = Consumer(place, "reload")
    deploying(desk, DeployTarget(directory=DirectoryTarget(path=place / "later")), hook.target())
    assert "no directory" in desk.do().text
    assert not hook.called
    (place / "later").mkdir()
    assert desk.do(Action.DEPLOY, again=True).verdict is Verdict.DONE
    assert hook.called == ["1 renewed"]
    (place / "later/certificate.pem").unlink()
    assert desk.do(Action.DEPLOY, again=True).verdict is Verdict.DONE
    assert len(hook.called) == 2
    assert desk.do(Action.DEPLOY, again=True).verdict is Verdict.DONE
    assert len(hook.called) == 2, "nothing had changed"


def test_a_refusal_brings_the_previous_credential_back_to_everybody(desk: Desk, place: Path) -> None:
    before, after = Consumer(place, "before"), Consumer(place, "after")
    deploying(desk, before.target(), DeployTarget(directory=DirectoryTarget(path=place / "files")),
              after.target(OnFailure.ROLLBACK))  # fmt: skip
    desk.do()
    first = (place / "files/certificate.pem").read_bytes()
    after.breaks("peer says no")
    outcome = desk.do(Action.RENEW)
    assert outcome.verdict is Verdict.DEPLOYING
    assert "peer says no" in outcome.text
    assert "rolled-back" in desk.events
    assert number(desk) == 1
    assert (place / "files/certificate.pem").read_bytes() == first
    assert before.called == ["1 renewed", "2 renewed", "1 rolled-back"]
    now = seen(desk)
    assert (now.state, now.held_back) == ("deploying", 2)
    assert "peer says no" in (now.last_error or "")


def test_a_certificate_that_was_refused_is_tried_again_and_no_other_one_is_asked_for(desk: Desk, place: Path) -> None:
    """The old certificate is due, but one more new one would be refused as well."""
    hook = Consumer(place, "reload")
    deploying(desk, hook.target(OnFailure.ROLLBACK))
    desk.do()
    hook.breaks()
    desk.do(Action.RENEW)
    hook.heals()
    desk.late += 61 * 86_400  # the lab's certificates live 90 days; the new one is as old
    desk.late -= 10 * 86_400
    now = desk.clock() + timedelta(seconds=desk.late)
    assert schedule.decide(seen(desk), now).action is Action.DEPLOY
    assert desk.do(Action.DEPLOY).verdict is Verdict.DONE
    assert number(desk) == 2
    assert seen(desk).held_back is None


def test_nothing_is_brought_back_that_has_expired(desk: Desk, place: Path) -> None:
    hook = Consumer(place, "reload")
    deploying(desk, hook.target(OnFailure.ROLLBACK))
    desk.do()
    hook.breaks()
    assert desk.do(Action.RENEW).verdict is Verdict.DEPLOYING
    assert number(desk) == 1
    ends_at(desk, datetime.now(UTC) + timedelta(days=1))
    desk.late += 2 * 86_400
    assert desk.do(Action.DEPLOY, again=True).verdict is Verdict.DEPLOYING
    assert number(desk) == 2, "the old certificate has expired: the new one is better, refused or not"


def test_the_first_certificate_stays_although_it_was_refused(desk: Desk, place: Path) -> None:
    hook = Consumer(place, "reload")
    hook.breaks()
    deploying(desk, hook.target(OnFailure.ROLLBACK))
    assert desk.do().verdict is Verdict.DEPLOYING
    assert number(desk) == 1
    assert seen(desk).held_back is None


def test_the_key_a_consumer_uses_stays_however_many_certificates_came_after_it(desk: Desk, place: Path) -> None:
    hook = Consumer(place, "reload")
    deploying(desk, hook.target())
    desk.do()
    hook.breaks()
    for _ in range(4):
        desk.late += policy.LONGEST
        desk.do(Action.RENEW)
    assert [one.number for one in desk.store.generations] == [1, 2, 3, 4, 5]
    hook.heals()
    desk.late += policy.LONGEST
    desk.do(Action.DEPLOY)
    desk.do(Action.RENEW)
    assert [one.number for one in desk.store.generations] == [4, 5, 6]


def test_an_attempt_that_kills_the_worker_counts_and_is_not_repeated_at_once(
    desk: Desk, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = Consumer(place, "reload")
    deploying(desk, hook.target())

    class Killed(BaseException):
        pass

    def kill(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr("agent.deploy.hook.Hook.deploy", kill)
    with pytest.raises(Killed):
        desk.do()
    monkeypatch.undo()
    (one,) = record(desk).targets.values()
    assert (one.attempts, one.trying, one.generation) == (1, 1, None)
    now = desk.clock() + timedelta(seconds=desk.late)
    assert one.next_at is not None
    assert datetime.fromisoformat(one.next_at) >= now.replace(microsecond=0)
    assert seen(desk).state == "deploying"
    assert desk.do(Action.DEPLOY, again=True).verdict is Verdict.DONE


@pytest.mark.parametrize("damage", [b"", b"{}", None], ids=["empty", "without its end", "gone"])
def test_a_damaged_credential_that_a_consumer_still_uses_does_not_keep_the_next_one_from_it(
    desk: Desk, place: Path, damage: bytes | None
) -> None:
    deploying(desk, DeployTarget(directory=DirectoryTarget(path=place / "files")))
    desk.do()
    assert desk.current is not None
    path = desk.current.path / "credential.json"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    outcome = desk.do(Action.ENROLL)
    assert outcome.verdict is Verdict.ISSUED, outcome
    assert number(desk) == 2
    assert record(desk).targets[f"directory {place / 'files'}"].generation == 2


@pytest.mark.parametrize("damage", ["", "{", '{"version": 1, "deployment": {"targets": 4}}',
                                    '{"version": 1, "deployment": {"held-until": "2026-01-01T00:00:00"}}'])  # fmt: skip
def test_a_damaged_record_means_that_everybody_gets_it_again(desk: Desk, place: Path, damage: str) -> None:
    hook = Consumer(place, "reload")
    deploying(desk, hook.target())
    desk.do()
    (desk.store.directory / "deployment.json").write_text(damage)
    assert desk.do(Action.DEPLOY).verdict is Verdict.DONE
    assert len(hook.called) == 2
    assert json.loads((desk.store.directory / "deployment.json").read_text())["version"] == 1


def test_a_record_of_a_newer_version_is_kept_and_everybody_gets_it_again(desk: Desk, place: Path) -> None:
    hook = Consumer(place, "reload")
    deploying(desk, hook.target())
    desk.do()
    path, newer = desk.store.directory / "deployment.json", '{"version": 2}'
    path.write_text(newer)
    assert record(desk) == DeploymentRecord()
    assert path.read_text() == newer, "reading changes nothing"
    assert desk.do(Action.DEPLOY).verdict is Verdict.DONE
    assert len(hook.called) == 2
    assert path.with_name("deployment.json.version-2").read_text() == newer


def test_a_moment_written_by_a_clock_that_was_wrong_holds_nothing_up(desk: Desk, place: Path) -> None:
    hook = Consumer(place, "reload")
    hook.breaks()
    deploying(desk, hook.target())
    desk.do()
    hook.heals()
    in_a_year = (datetime.now(UTC) + timedelta(days=365)).isoformat()
    DeploymentFile(desk.store.directory).save(record(desk).having(f"hook {hook.path}", next_at=in_a_year))
    assert seen(desk).deploy_at is not None
    assert schedule.decide(seen(desk), datetime.now(UTC)).action is Action.DEPLOY
    assert desk.do(Action.DEPLOY).verdict is Verdict.DONE


def test_consumers_that_left_the_configuration_leave_the_record(desk: Desk, place: Path) -> None:
    one, other = Consumer(place, "one"), Consumer(place, "other")
    deploying(desk, one.target(), other.target())
    desk.do()
    deploying(desk, other.target())
    desk.do(Action.DEPLOY, again=True)
    assert list(record(desk).targets) == [f"hook {other.path}"]


def test_two_consumers_of_one_name_have_a_record_each() -> None:
    one = DeployTarget(hook=HookTarget(command=("/bin/true", "a")))
    assert labels([one, one]) == ("hook /bin/true", "hook /bin/true (2)")


NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
STATES = st.sampled_from(["valid", "due", "expiring", "deploying", "unenrolled", "revoked", "pending"])
MOMENTS = st.none() | st.integers(-100_000, 100_000).map(lambda one: (NOW + timedelta(seconds=one)).isoformat())


@given(STATES, MOMENTS, MOMENTS, st.none() | st.sampled_from(["enroll", "renew"]))
def test_a_consumer_never_waits_longer_than_its_time_whatever_else_is_going_on(
    state: str, deploy_at: str | None, next_at: str | None, request: str | None
) -> None:
    overview = Overview(
        name="ike", state=state, deploy_at=deploy_at, next_action_at=next_at, open_request=request,
        usable=state in {"valid", "due", "expiring", "deploying"},
    )  # fmt: skip
    following = schedule.decide(overview, NOW)
    if deploy_at is not None:
        left = max((datetime.fromisoformat(deploy_at) - NOW).total_seconds(), 0.0)
        assert following.wait <= left
        assert left > 0 or following.action is Action.DEPLOY
    else:
        assert following.action is not Action.DEPLOY


@given(st.integers(1, 1000), st.booleans(), st.floats(0, 1, exclude_max=True), st.none() | st.floats(1, 1e9))
def test_waits_for_a_consumer_are_bounded_and_leave_time_before_the_end(
    attempts: int, refused: bool, uniform: float, life: float | None
) -> None:
    wait = policy.next_try(attempts, refused=refused, uniform=uniform, remaining_life=life)
    assert 1 <= wait <= policy.LONGEST
    if life is not None and life > 8:
        assert wait <= life / 8
    if not refused:
        assert wait <= 300


@given(
    st.builds(
        DeploymentRecord,
        targets=st.dictionaries(
            st.text(min_size=1, max_size=20),
            st.builds(TargetRecord, generation=st.none() | st.integers(1, 10**6), attempts=st.integers(0, 99)),
            max_size=3,
        ),
        held_back=st.none() | st.integers(1, 99),
    )
)
def test_a_record_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, written: DeploymentRecord
) -> None:
    file = DeploymentFile(tmp_path_factory.mktemp("record"))
    file.save(written)
    assert file.load() == written
