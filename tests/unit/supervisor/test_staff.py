"""Workers on the loop: started, and reported once when they have ended."""

from __future__ import annotations

import select
import signal
from typing import Any

import pytest

from agent.contract import Outcome, Verdict
from agent.supervisor import staff
from agent.supervisor.children import Child
from agent.supervisor.loop import Loop
from agent.supervisor.secrets import Secrets
from agent.supervisor.staff import Staff
from tests.unit.supervisor.test_children import JOB, worker


class _KilledAtOnce(Child):
    """A worker that is gone before whoever starts it comes to anything else."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.process.signal(signal.SIGKILL)
        poll = select.poll()
        poll.register(self.process.exited, select.POLLIN)
        assert poll.poll(60_000)


def test_a_worker_that_dies_at_once_is_reported_after_whoever_started_it_knows_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Reported before, its end was forgotten again: the identity counted as being worked on for ever.
    monkeypatch.setattr(staff, "Child", _KilledAtOnce)
    loop = Loop()
    ended: list[Outcome] = []
    work = Staff(loop, command=worker("")).start(JOB, Secrets(), lambda _: None, ended.append, deadline=60)
    assert work is not None
    assert ended == []
    loop.turn()
    assert [one.verdict for one in ended] == [Verdict.CRASHED]
    work.ask_to_end()
    loop.close()
    assert len(ended) == 1
