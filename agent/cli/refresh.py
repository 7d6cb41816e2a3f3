"""``enrollctl refresh``: ask the authority for new CA certificates and a new root."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli import jobs
from agent.contract import Action

if TYPE_CHECKING:
    from agent.cli.main import Context


@click.command("refresh")
@click.argument("name", required=False)
@jobs.wait_option
@jobs.json_option
@click.pass_obj
def command(context: Context, name: str | None, *, wait: float, as_json: bool) -> int:
    """Ask the authority of the identity NAME for its CA certificates and for a new root (genm).

    A new root is accepted only if the root trusted now vouches for it; then both are trusted.
    """
    return jobs.run(context.config, name, Action.REFRESH, again=True, abandon=False, wait=wait, as_json=as_json)
