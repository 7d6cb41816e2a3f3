"""docs/soak.md from what a run of ten minutes saw."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.soak.plan import AVAILABLE, TOLD_WITHIN, Plan, Report

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "soak.md"
_PLAN: Final = Plan(seconds=600)

ABOUT: Final = f"""\
# Soak

`make soak` runs `enrolld` for {_PLAN.seconds / 60:.0f} minutes with up to {_PLAN.identities} identities, whose \
certificates live {_PLAN.life.seconds} seconds, and writes
what it saw here; do not edit. `make test` has a minute of it. Meanwhile

- a worker is killed every {_PLAN.worker_kill_every:.0f} seconds, the daemon {_PLAN.daemon_kills} times, both by \
SIGKILL, and the CA is restarted once;
- {_PLAN.fault_share:.0%} of the exchanges with the CA go wrong: reset, answer lost, cut short or late, 502.

Then nothing fails any more, the CA issues certificates that live long, and once everybody has one of those, both sides
are compared. The soak fails when

- a certificate was in use that the CA does not count as confirmed, or one is in force at the CA that the agent neither
  used nor reported, or what is in use is not the newest one;
- a certificate had ended for {TOLD_WITHIN:.0f} seconds and the daemon had not said so;
- memory of the daemon grew in its last life, or more descriptors were open in the end than its workers explain.

## How many identities

A certificate of 20 s is renewed after 12 to 13 s. {_PLAN.identities} of them come to {_PLAN.pace:.1f} renewals a \
second, and each starts a worker
of its own, which makes a key and signs and verifies each message. So it is measured first how many certificates a
second the machine gets while nothing fails. Renewals may need {AVAILABLE:.0%} of that: what is killed is done again.
A machine that is slow, or busy with other things, gets fewer identities, and the first line below says so. With
certificates of a year, {_PLAN.identities} identities are renewed within four and a half days, all together.

Where other work takes the machine away after that was measured, certificates end before their turn comes. Such gaps are
counted; the daemon must have told of each, and everybody must be well in the end.
"""


def document(report: Report) -> str:
    """Return the text of the file."""
    return f"{ABOUT}\n## The last run\n\n```\n{report}\n```\n"
