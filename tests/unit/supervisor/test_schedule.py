from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.contract import Action, Verdict
from agent.overview import Overview
from agent.supervisor.schedule import Next, decide, pause, poll

DAY = 86_400.0
NOW = datetime(2026, 12, 1, tzinfo=UTC)


REFRESH = Next(Action.REFRESH, 0)


def at(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Overview(name="ike", state="unenrolled"), Next(Action.ENROLL, 0)),
        (Overview(name="ike", state="expired"), Next(Action.ENROLL, 0)),
        (Overview(name="ike", state="rejected"), Next(Action.ENROLL, 0)),
        (Overview(name="ike", state="due", usable=True), Next(Action.RENEW, 0)),
        (Overview(name="ike", state="valid", usable=True, next_action_at=at(90)), Next(None, 90)),
        (Overview(name="ike", state="valid", usable=True, next_action_at=at(10**6)), Next(None, 3600)),
        (Overview(name="ike", state="pending", open_request="enroll", next_action_at=at(7)), Next(Action.ENROLL, 7)),
        (Overview(name="ike", state="valid", usable=True, open_request="renew"), Next(Action.RENEW, 0)),
        (Overview(name="ike", state="revoked"), Next(None, 3600)),
        (Overview(name="ike", state="valid", usable=True, next_action_at=at(90), refresh_at=at(-1)), REFRESH),
        (Overview(name="ike", state="valid", usable=True, next_action_at=at(90), refresh_at=at(30)), Next(None, 30)),
        (Overview(name="ike", state="due", usable=True, refresh_at=at(-1)), Next(Action.RENEW, 0)),
        (Overview(name="ike", state="on-hold", usable=True, refresh_at=at(-1)), REFRESH),
        (
            Overview(name="ike", state="valid", usable=True, next_action_at=at(90), retire_at=at(-1)),
            Next(Action.RETIRE, 0),
        ),
        (Overview(name="ike", state="valid", usable=True, next_action_at=at(90), retire_at=at(30)), Next(None, 30)),
        (Overview(name="ike", state="valid", usable=True, refresh_at=at(-1), retire_at=at(-1)), REFRESH),
        (Overview(name="ike", state="due", usable=True, retire_at=at(-1)), Next(Action.RENEW, 0)),
        (Overview(name="ike", state="expired", retire_at=at(-1)), Next(Action.ENROLL, 0)),
        (Overview(name="ike", state="expired", refresh_at=at(-1)), Next(Action.ENROLL, 0)),
        (Overview(name="ike", state="revoked", refresh_at=at(-1)), Next(None, 3600)),
    ],
    ids=lambda value: value.state if isinstance(value, Overview) else None,
)
def test_what_is_next_follows_from_what_is_on_disk(seen: Overview, expected: Next) -> None:
    assert decide(seen, NOW) == expected


def test_what_is_held_back_does_not_hide_what_is_next() -> None:
    seen = Overview(name="ike", state="valid", usable=True, next_action_at=at(90), retire_at=at(-1))
    assert decide(seen, NOW, may_retire=False) == Next(None, 90)


def test_a_failed_renewal_is_hurried_as_the_end_nears() -> None:
    far = Overview(name="ike", state="due", usable=True, attempts=20, not_after=at(10**7))
    near = Overview(name="ike", state="expiring", usable=True, attempts=20, not_after=at(600))
    waits = [pause(one, Verdict.UNREACHABLE, NOW, times=1, uniform=0.9, asked=None) for one in (far, near)]
    assert waits[0] > 3600
    assert waits[1] < 600


def test_what_only_a_person_can_mend_is_tried_seldom() -> None:
    seen = Overview(name="ike", state="needs-secret", attempts=1)
    assert pause(seen, Verdict.NEEDS_SECRET, NOW, times=1, uniform=0.9, asked=None) > 200
    assert pause(seen, Verdict.UNREACHABLE, NOW, times=1, uniform=0.9, asked=None) < 10


def test_a_first_refusal_after_many_other_failures_is_followed_up_like_a_first_refusal() -> None:
    seen = Overview(name="ike", state="rejected", attempts=50)
    first = pause(seen, Verdict.REJECTED, NOW, times=1, uniform=0.999, asked=None)
    tenth = pause(seen, Verdict.REJECTED, NOW, times=10, uniform=0.999, asked=None)
    assert first <= 300
    assert tenth > 3600


def test_an_undecided_ca_is_asked_when_it_said() -> None:
    assert poll(1, uniform=0.0, asked=30, longest=DAY) == 30
    assert 300 <= poll(50, uniform=0.9, asked=300, longest=DAY) <= 375


@pytest.mark.parametrize("asked", [None, 0.0, 1.0])
def test_a_ca_that_is_always_to_be_asked_at_once_is_asked_about_once_a_minute_in_the_long_run(
    asked: float | None,
) -> None:
    waits = [poll(times, uniform=0.5, asked=asked, longest=DAY) for times in range(1, 60)]
    assert sum(waits[:10]) < 60
    assert waits[-1] == 30
    assert all(1 <= wait <= 5 for wait in (poll(n, uniform=0.999, asked=asked, longest=5) for n in range(1, 60)))
