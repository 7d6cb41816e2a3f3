"""``enrollctl rollback``: bring the previous credential back, as one."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from agent import structure
from agent.cli import output
from agent.cli.choosing import chosen, json_option
from agent.cli.jobs import run_job
from agent.cli.ownership import acting_as_owner
from agent.config import load
from agent.contract import VERDICTS, Action, Outcome, Verdict
from agent.errors import StateCorrupt, StateError, StateNewer
from agent.frozen import frozen
from agent.store.deployment import DeploymentFile
from agent.store.generations import Generation, IdentityStore
from agent.store.token_keys import KEY_DESTROYED
from hsm import uri

if TYPE_CHECKING:
    from agent.cli.main import Context


@frozen(kw_only=True)
class RolledBack:
    """The credential that is in use again. Times are ISO 8601 in UTC."""

    identity: str
    generation: int
    subject: str
    serial: str
    not_before: str
    not_after: str
    deployment: Outcome | None = None
    """How bringing it to the consumers went; left out where there are none."""


@click.command("rollback")
@click.argument("name", required=False)
@json_option
@click.pass_obj
def command(context: Context, name: str | None, *, as_json: bool) -> int:
    """Go back to the newest older credential of NAME that is still valid: key, certificate, chain and anchors.

    Every consumer is brought it as well. The present one stays on disk.
    """
    settings = load(context.config)
    name = chosen(settings, name)
    store = IdentityStore(settings.state_directory, name)
    with acting_as_owner(settings.state_directory), store.lock():
        generation = previous(store, datetime.now(UTC))
        store.switch(generation)
        _let_go(store)
    description = generation.description
    consumers = settings.identities[name].deploy
    deployment = None
    if consumers or uri.is_token_key(generation.key_reference):  # beside which the certificate stands
        outcome = run_job(settings, name, Action.DEPLOY, again=True, wait=0)
        deployment = outcome if consumers or outcome.verdict is not Verdict.DONE else None
    if as_json:
        facts: Any = {key: str(description[key]) for key in ("subject", "serial", "not_before", "not_after")}
        told = RolledBack(identity=name, generation=generation.number, deployment=deployment, **facts)
        output.say_json(structure.to_json(told))
    else:
        until = datetime.fromisoformat(str(description["not_after"]))
        line = (
            f'{name}: now using "{description["subject"]}", serial {description["serial"]}, '
            f"valid until {until:%Y-%m-%d %H:%M} UTC"
        )
        output.say(output.folded(line, sys.stdout))
    if deployment is None or deployment.verdict is Verdict.DONE:
        return 0
    output.problem(f"{name}: {deployment.text}", deployment.remedy)
    return VERDICTS[deployment.verdict].command


def _let_go(store: IdentityStore) -> None:
    """Try no refused generation again: whoever goes back by hand wants to stay there."""
    file = DeploymentFile(store.directory)
    record = file.load()
    if record.held_back is not None:
        file.save(record.released())


def previous(store: IdentityStore, now: datetime) -> Generation:
    """Return the newest generation older than the present one that is whole, confirmed and valid at ``now``.

    Raises:
        StateError: when there is none.
    """
    try:
        current = store.current
        limit = current.number if current else None
    except (StateCorrupt, StateNewer):
        limit = None  # the present one cannot be read: any that can be is better
    for generation in reversed(store.generations):
        if (limit is None or generation.number < limit) and _good(generation, now):
            return generation
    raise StateError(
        f"{store.name} has no older credential that is still valid",
        remedy=f"The present one stays in use; to replace it run 'enrollctl renew {store.name}'.",
    )


def _good(generation: Generation, now: datetime) -> bool:
    try:
        generation.check()
        description = generation.description
        start = datetime.fromisoformat(str(description["not_before"]))
        end = datetime.fromisoformat(str(description["not_after"]))
    except (StateCorrupt, StateNewer, KeyError, ValueError):
        return False
    return generation.confirmed and KEY_DESTROYED not in generation.marks and start <= now < end
