"""The daemon ``enrolld``: keeps every identity of the configuration alive, one job at a time, until told to end.

Everything it knows is on disk, so it may be killed and started at any time. Waiting costs nothing: it sleeps until the
next identity needs something, at most a minute, so that a clock that was set is noticed.
"""

from __future__ import annotations

import argparse
import random
import select
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent import __version__
from agent.config import check_files, load, unsupported
from agent.contract import Outcome, Progress, Verdict
from agent.errors import AgentError, ConfigurationError, PinError, SecretError
from agent.overview import look
from agent.supervisor import children, keeping, secrets
from agent.supervisor.jobs import job_for
from agent.supervisor.signals import HEARD, caught

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.contract import Job
    from agent.settings import Settings

_SLICE: Final = 60.0
_DEADLINE: Final = 300.0
"""Seconds a job may take; it never sits out a wait of the CA's, the schedule does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; return 0 after SIGTERM or SIGINT, 2 for a configuration that cannot be used."""
    parser = argparse.ArgumentParser(prog="enrolld", description="Keep certificates alive, unattended.")
    parser.add_argument("--config", type=Path, default=Path("/etc/enrolld/enrolld.yaml"), help="the configuration file")
    parser.add_argument("--version", action="version", version=f"enrolld {__version__}")
    options = parser.parse_args(arguments)
    try:
        settings = load(options.config)
        refuse_what_cannot_work(settings)
    except AgentError as error:
        for mistake in getattr(error, "mistakes", ()):
            _tell(mistake)
        _tell(f"error: {error}")
        _tell(f"what to do: {error.remedy}")
        return 2
    keep(settings)
    return 0


def refuse_what_cannot_work(settings: Settings) -> None:
    """Stop before the first job for files that are missing and keys that this version would make elsewhere.

    Raises:
        ConfigurationError: with every mistake.
    """
    missing = [one for one in unsupported(settings) if one.path[:1] == ("identities",) and "deploy" not in one.path]
    mistakes = tuple(str(one) for one in (*check_files(settings), *missing))
    if mistakes:
        raise ConfigurationError(
            "the configuration cannot be used as it is", remedy="Correct what is listed.", mistakes=mistakes
        )


def keep(settings: Settings) -> None:
    """Look after every identity until SIGTERM or SIGINT comes."""
    due = dict.fromkeys(settings.identities, 0.0)
    HEARD.clear()
    _tell(f"looking after {', '.join(due) or 'nothing'}")
    while True:
        name = min(due, key=lambda one: due[one], default=None)
        wait = _SLICE if name is None else min(max(due[name] - time.monotonic(), 0.0), _SLICE)
        with caught(signal.SIGTERM, signal.SIGINT) as told:
            ended = bool(select.select([told], [], [], wait)[0])
        if ended or HEARD:  # it may have come while a worker ran, who was told and has left its request on disk
            break
        if name is not None and due[name] <= time.monotonic():
            due[name] = time.monotonic() + _look_after(settings, name)
    _tell("ending; open requests stay on disk")


def _look_after(settings: Settings, name: str) -> float:
    """Do what ``name`` needs now; return the seconds until it is looked at again."""
    identity, now = settings.identities[name], datetime.now(UTC)
    seen = look(settings.state_directory, name, identity, now=now)
    following = keeping.decide(seen, now)
    if following.action is None or following.wait > 0:
        return following.wait
    job = job_for(settings, name, following.action, again=not seen.usable)
    outcome = _run(job)
    if outcome.verdict not in {Verdict.ISSUED, Verdict.WAITING}:
        _tell(f"{name}: {outcome.verdict}: {outcome.text}")
        _tell(f"{name}: what to do: {outcome.remedy}")
    after = look(settings.state_directory, name, identity)
    uniform = random.random()  # noqa: S311 - spreads attempts, keeps no secret
    return keeping.pause(after, outcome.verdict, datetime.now(UTC), uniform=uniform, asked=outcome.retry_after)


def _run(job: Job) -> Outcome:
    def heard(progress: Progress) -> None:
        _tell(f"{job.name}: {progress.text}")

    try:
        inherited = secrets.gather(job, ask=None)
    except SecretError as error:
        verdict = Verdict.NEEDS_PIN if isinstance(error, PinError) else Verdict.NEEDS_SECRET
        return Outcome(verdict=verdict, text=str(error), remedy=error.remedy)
    return children.run_worker(job, inherited, heard, deadline=_DEADLINE)


def _tell(text: str) -> None:
    sys.stderr.write(f"enrolld: {text}\n")
    sys.stderr.flush()


def run() -> None:
    """Be the program ``enrolld``."""
    sys.exit(main())


if __name__ == "__main__":
    run()
