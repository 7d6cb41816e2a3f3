from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.contract import Action, Verdict
from agent.overview import Overview
from agent.supervisor.schedule import Next, decide, pause

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
        (Overview(name="ike", state="expired", refresh_at=at(-1)), Next(Action.ENROLL, 0)),
        (Overview(name="ike", state="revoked", refresh_at=at(-1)), Next(None, 3600)),
    ],
    ids=lambda value: value.state if isinstance(value, Overview) else None,
)
def test_what_is_next_follows_from_what_is_on_disk(seen: Overview, expected: Next) -> None:
    assert decide(seen, NOW) == expected


def test_a_failed_renewal_is_hurried_as_the_end_nears() -> None:
    far = Overview(name="ike", state="due", usable=True, attempts=20, not_after=at(10**7))
    near = Overview(name="ike", state="expiring", usable=True, attempts=20, not_after=at(600))
    waits = [pause(one, Verdict.UNREACHABLE, NOW, uniform=0.9, asked=None) for one in (far, near)]
    assert waits[0] > 3600
    assert waits[1] < 600


def test_what_only_a_person_can_mend_is_tried_seldom() -> None:
    seen = Overview(name="ike", state="needs-secret", attempts=1)
    assert pause(seen, Verdict.NEEDS_SECRET, NOW, uniform=0.9, asked=None) > 200
    assert pause(seen, Verdict.UNREACHABLE, NOW, uniform=0.9, asked=None) < 10


def test_an_undecided_ca_is_asked_when_it_said() -> None:
    seen = Overview(name="ike", state="pending")
    assert pause(seen, Verdict.WAITING, NOW, uniform=0.5, asked=30) == 30
