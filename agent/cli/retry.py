"""``enrollctl retry``: do now what is next, instead of when its time comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli import jobs
from agent.cli.choosing import chosen, json_option, wait_option
from agent.config import load
from agent.contract import Action, Outcome, Verdict
from agent.overview import DEPLOYING, look

if TYPE_CHECKING:
    from agent.cli.main import Context
    from agent.overview import Overview


@click.command("retry")
@click.argument("name", required=False)
@wait_option
@json_option
@click.pass_obj
def command(context: Context, name: str | None, *, wait: float, as_json: bool) -> int:
    """Do now what is next for the identity NAME: go on with an open request, deploy, renew what is due, or enroll.

    For when the cause of a failure is mended and nobody wants to wait for the next attempt. A certificate that is valid
    and in use everywhere is left alone.
    """
    settings = load(context.config)
    name = chosen(settings, name)
    action = next_action(look(settings.state_directory, name, settings.identities[name]))
    if action is None:
        outcome = Outcome(
            verdict=Verdict.UNCHANGED,
            text="nothing is open, due or failed",
            remedy=f"To renew all the same run 'enrollctl renew {name}'.",
        )
        jobs.show(name, outcome, as_json=as_json)
        return 0
    return jobs.run(context, name, action, again=False, abandon=False, wait=wait, as_json=as_json)


def next_action(seen: Overview) -> Action | None:
    """Return what is next for an identity; None when nothing is open, due or failed, or somebody wanted it gone."""
    if seen.open_request is not None:
        return Action(seen.open_request)
    if seen.state == DEPLOYING:
        return Action.DEPLOY
    if seen.state in {"due", "expiring"}:
        return Action.RENEW
    if seen.usable or seen.state == "revoked":
        return None
    return Action.ENROLL
