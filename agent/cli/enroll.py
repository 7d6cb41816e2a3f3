"""``enrollctl enroll``: get a certificate now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli import jobs
from agent.cli.choosing import json_option, wait_option
from agent.contract import Action

if TYPE_CHECKING:
    from agent.cli.main import Context


@click.command("enroll")
@click.argument("name", required=False)
@click.option("--again", is_flag=True, help="Enroll although a valid certificate is installed.")
@click.option(
    "--start-over",
    is_flag=True,
    help="Begin anew with a new key: give up an open request, and enroll although a valid certificate is installed.",
)
@wait_option
@json_option
@click.pass_obj
def command(context: Context, name: str | None, *, again: bool, start_over: bool, wait: float, as_json: bool) -> int:
    """Get a certificate for the identity NAME, or go on with its open request.

    Where enrolld runs it does the job, and its steps are shown; otherwise this command does it by itself, as it does
    with --start-over, or when a secret has to be typed in.

    NAME may be left out when only one identity is configured. What is shown on the way goes to standard error, the
    result to standard output. Interrupting is safe: the request stays open and the same command goes on with it.
    """
    return jobs.run(
        context, name, Action.ENROLL, again=again or start_over, abandon=start_over, wait=wait, as_json=as_json
    )
