"""``enrollctl deploy``: bring the credential to its consumers now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli import jobs
from agent.cli.choosing import json_option
from agent.contract import Action

if TYPE_CHECKING:
    from agent.cli.main import Context


@click.command("deploy")
@click.argument("name", required=False)
@json_option
@click.pass_obj
def command(context: Context, name: str | None, *, as_json: bool) -> int:
    """Bring the credential of NAME to its consumers now, and ask each whether it uses it.

    A consumer that has it is not disturbed. A newer credential that was refused, and for which the previous one was
    brought back, is tried again.
    """
    return jobs.run(context, name, Action.DEPLOY, again=True, abandon=False, wait=0, as_json=as_json)
