"""``enrollctl renew``: update key and certificate now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from agent.cli import jobs
from agent.cli.choosing import chosen, json_option, wait_option
from agent.cli.status import span
from agent.config import load
from agent.contract import Action, Outcome, Verdict
from agent.overview import look

if TYPE_CHECKING:
    from agent.cli.main import Context


@click.command("renew")
@click.argument("name", required=False)
@click.option("--if-due", is_flag=True, help="Only when the renewal is due or a request is open; for timers.")
@wait_option
@json_option
@click.pass_obj
def command(context: Context, name: str | None, *, if_due: bool, wait: float, as_json: bool) -> int:
    """Update key and certificate of the identity NAME now (key update request, signed with the present key).

    The present credential stays in use until the new one is confirmed and complete on disk.
    """
    if if_due and (outcome := _not_due(context, name)):
        jobs.show(outcome.fields["IDENTITY"], outcome, as_json=as_json)
        return 0
    return jobs.run(context, name, Action.RENEW, again=True, abandon=False, wait=wait, as_json=as_json)


def _not_due(context: Context, name: str | None) -> Outcome | None:
    """Return why there is nothing to renew now; None when there is."""
    settings = load(context.config)
    name = chosen(settings, name)
    seen = look(settings.state_directory, name, settings.identities[name])
    if seen.state != "valid" or seen.open_request is not None:
        return None
    now = datetime.now(UTC)
    return Outcome(
        verdict=Verdict.UNCHANGED,
        text=f"not due: expires {span(seen.not_after, now)}, renewal is due {span(seen.next_action_at, now)}",
        fields={"IDENTITY": name},
    )
