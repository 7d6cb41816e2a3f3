"""Running one job, by the daemon or in the foreground: what ``enroll`` and ``renew`` share."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from agent import structure
from agent.cli import output
from agent.cli.choosing import chosen
from agent.cli.delegation import TOLD_BY_THE_RESULT, ask_daemon
from agent.cli.ownership import acting_as_owner
from agent.cli.steps import Steps
from agent.config import check_files, load, unsupported, warnings
from agent.contract import VERDICTS, Action, Outcome, Progress
from agent.control_client import METHODS
from agent.errors import AgentError, ConfigurationError
from agent.overview import look
from agent.supervisor import children, secrets
from agent.supervisor.jobs import demand_state_directory, deployment_work, job_for, longest_work

if TYPE_CHECKING:
    from agent.cli.ahead import Ahead
    from agent.cli.main import Context
    from agent.config import Notice
    from agent.settings import Settings


def run(
    context: Context,
    name: str | None,
    action: Action,
    *,
    again: bool,
    abandon: bool,
    wait: float,
    as_json: bool,
    reason: str = "unspecified",
) -> int:
    """Run a job for the identity ``name`` and print its result; return the exit code of the command.

    The daemon runs it where one does the same; otherwise a worker of our own, which may be there already.

    Raises:
        ControlError: the daemon is there, and does not serve us.
        ConfigurationError: the file is wrong, or no such identity.
        SecretError: the one-time secret or a PIN is needed and not to be had.
    """
    settings = load(context.config)
    name = chosen(settings, name)
    report_findings(settings, name, action)
    outcome = None if abandon else ask_daemon(settings, name, action, again=again, wait=wait)
    if outcome is None:
        options: Any = {"again": again, "abandon": abandon, "wait": wait, "reason": reason}
        outcome = run_job(settings, name, action, ahead=context.ahead, **options)
        show(name, outcome, as_json=as_json)
        _retire(settings, name)
    else:
        show(name, outcome, as_json=as_json)
    return VERDICTS[outcome.verdict].command


def show(name: str, outcome: Outcome, *, as_json: bool) -> None:
    """Print the result, or the error, and what to do next."""
    code = VERDICTS[outcome.verdict].command
    if as_json:
        output.say_json({"identity": name} | structure.to_json(outcome))
    elif code in _NO_ERROR:
        output.say(output.folded(f"{name}: {outcome.text}", sys.stdout))
    if code not in _NO_ERROR:
        output.problem(f"{name}: {outcome.text}", outcome.remedy)
    elif outcome.remedy:
        output.advise(outcome.remedy)


def _retire(settings: Settings, name: str) -> None:
    """Destroy old keys on tokens when their time has come: no daemon does it here. The result is there already."""
    try:
        retiring = look(settings.state_directory, name).retire_at
        if retiring is not None and datetime.fromisoformat(retiring) <= datetime.now(UTC):
            run_job(settings, name, Action.RETIRE)
    except AgentError as error:
        output.note(f"note: old keys stay on their token for now: {error}")


_NO_ERROR = frozenset({0, 3})


def run_job(
    settings: Settings,
    name: str,
    action: Action,
    *,
    again: bool = False,
    abandon: bool = False,
    wait: float = 600,
    reason: str = "unspecified",
    ahead: Ahead | None = None,
) -> Outcome:
    """Run a worker for one identity, showing its steps; return how it ended.

    It runs as the user that owns the state directory, secrets having been read as who we are.
    """
    demand_state_directory(settings.state_directory)
    job = job_for(settings, name, action, patience=wait, again=again, abandon=abandon, reason=reason)
    inherited = secrets.gather(job, ask=_ask if sys.stdin.isatty() else None, by_hand=_by_hand(action, abandon=abandon))
    deadline = wait + longest_work(job.authority) + deployment_work(job.identity)
    early = None if ahead is None else ahead.for_owner_of(settings.state_directory)
    with Steps(name) as steps:

        def heard(progress: Progress) -> None:
            if progress.event not in TOLD_BY_THE_RESULT:
                steps.step(progress.text)

        with acting_as_owner(settings.state_directory):
            return children.run_worker(job, inherited, heard, deadline=deadline, early=early)


def _by_hand(action: Action, *, abandon: bool) -> str:
    """Return what to do where only enrolld is given a secret, and this is done without it."""
    typed = "write `prompt` in its place in the configuration for as long, and type it in"
    if abandon:
        return f"Leave out --start-over where enrolld runs, which does the rest; or {typed}."
    if action in METHODS:
        return f"Start enrolld, which does it: 'systemctl start enrolld'; or {typed}."
    return f"{typed[0].upper()}{typed[1:]}."


def _ask(question: str) -> str:
    answer: Any = click.prompt(question, hide_input=True, err=True)
    return str(answer)


def report_findings(settings: Settings, name: str, action: Action = Action.ENROLL) -> None:
    """Stop for what is missing for this job; mention what is wrong elsewhere, and what works but should be known.

    Raises:
        ConfigurationError: a file that the job needs cannot be used, or it wants what this version does not do.
    """
    decisive = []
    for one in check_files(settings):
        if _concerns(one, settings, name, action):
            decisive.append(str(one))
        else:
            output.note(f"warning: {one}")
    if decisive:
        raise ConfigurationError(
            "the configuration names files that cannot be used",
            remedy="Put the files there, or correct the paths.",
            mistakes=tuple(decisive),
        )
    for one in warnings(settings):
        if _relates(one, settings, name):
            output.note(f"warning: {one}")
    _stop_for_missing_features(settings, name)


def _relates(one: Notice, settings: Settings, name: str) -> bool:
    """Tell whether something odd has to do with this identity; 'enrollctl config check' shows the rest."""
    mine = (("identities", name), ("authorities", settings.identities[name].authority))
    return one.path[:2] in mine or one.path[:1] not in {("identities",), ("authorities",), ("tokens",)}


def _concerns(one: Notice, settings: Settings, name: str, action: Action) -> bool:
    """Tell whether a file is needed for this job: a certificate is renewed without what the first one came by."""
    if one.path[:2] == ("authorities", settings.identities[name].authority):
        return True
    return one.path[:2] == ("identities", name) and (action is Action.ENROLL or "bootstrap" not in one.path)


def _stop_for_missing_features(settings: Settings, name: str) -> None:
    """Refuse what would be done otherwise than written (a key in software instead of on a token); mention the rest."""
    decisive = []
    for one in unsupported(settings):
        if one.path[:2] == ("identities", name) and "deploy" not in one.path:
            decisive.append(str(one))
        elif _relates(one, settings, name):
            output.note(f"note: {one}")
    if decisive:
        raise ConfigurationError(
            "the configuration asks for what this version does not do yet",
            remedy="Change what is listed, or wait for a version that does it.",
            mistakes=tuple(decisive),
        )
