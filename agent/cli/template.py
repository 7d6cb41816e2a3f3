"""``enrollctl template``: ask the CA what it wants in a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli import jobs
from agent.cli.choosing import json_option, wait_option
from agent.contract import Action

if TYPE_CHECKING:
    from agent.cli.main import Context


@click.command("template")
@click.argument("name", required=False)
@wait_option
@json_option
@click.pass_obj
def command(context: Context, name: str | None, *, wait: float, as_json: bool) -> int:
    """Ask the CA of the identity NAME what it wants in a request (certReqTemplate), and whether ours would do.

    Keys it allows, names and extensions it wants. Asked with the certificate in use; before there is one, with the
    one-time secret or the vendor's certificate. Exit code 2 when our settings do not fit.
    """
    return jobs.run(context, name, Action.TEMPLATE, again=True, abandon=False, wait=wait, as_json=as_json)
