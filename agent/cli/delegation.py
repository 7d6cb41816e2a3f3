"""Having the daemon do a job, where one runs that would do the same as a worker of our own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.cli import output
from agent.cli.steps import Steps
from agent.contract import Action, Outcome, Verdict
from agent.control_client import METHODS, Client, connect
from agent.errors import NotPermitted
from agent.events import Event
from agent.supervisor.jobs import basis, deployment_work, job_for, longest_work, needs_secret

if TYPE_CHECKING:
    from agent.contract import Job, Progress
    from agent.settings import Settings

TOLD_BY_THE_RESULT = frozenset({Event.FAILED, Event.UNCHANGED, Event.NEEDS_PERSON})
"""Steps that say what the outcome says again."""
_PROMPT = "prompt"
_PLACE = "state-directory"


def ask_daemon(settings: Settings, name: str, action: Action, *, again: bool, wait: float) -> Outcome | None:
    """Have the daemon do a job, showing its steps; return how it ended. None when it has to be done without it.

    That is so when none runs, when it has other settings for this identity, and when a person has to type something.

    Raises:
        NotPermitted: there is a daemon, and it does not serve this user, to whom the state directory is closed too.
        ControlError: it does not answer as it should.
    """
    if action not in METHODS:
        return None
    try:
        client = connect(settings.runtime_directory)
        if client is None:
            return None
        with client:
            return _asked(client, settings, name, action, again=again, wait=wait)
    except NotPermitted:
        # A configuration of one's own, on a machine where a daemon runs for another one.
        if os.access(settings.state_directory, os.R_OK | os.W_OK | os.X_OK):
            return None
        raise


def _asked(
    client: Client, settings: Settings, name: str, action: Action, *, again: bool, wait: float
) -> Outcome | None:
    theirs, ours = client.settings_of(name), basis(settings, name)
    if theirs != ours:
        if theirs is not None and theirs.get(_PLACE) == ours[_PLACE]:
            output.note(
                f"note: enrolld has other settings for {name} than the file, so this is done without it; "
                "'systemctl reload enrolld' makes it read the file"
            )
        return None
    job = job_for(settings, name, action, again=again)
    if _asks_a_person(job):
        return None
    deadline = wait + longest_work(job.authority) + deployment_work(job.identity)
    try:
        with Steps(name) as steps:

            def heard(progress: Progress) -> None:
                if progress.event not in TOLD_BY_THE_RESULT:
                    steps.step(progress.text)

            return client.run(name, action, heard, again=again, wait=wait, deadline=deadline)
    except KeyboardInterrupt:
        return Outcome(
            verdict=Verdict.WAITING,
            text="interrupted here; enrolld goes on with the job",
            remedy=f"See what becomes of it with 'enrollctl watch {name}'.",
        )


def _asks_a_person(job: Job) -> bool:
    """Tell whether something has to be typed in, which the daemon cannot ask for."""
    shared = job.identity.bootstrap.shared_secret
    if shared is not None and shared.secret == _PROMPT and needs_secret(job):
        return True
    return any(token.pin == _PROMPT for token in job.tokens.values())
