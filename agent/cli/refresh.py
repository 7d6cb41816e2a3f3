"""``enrollctl refresh``: ask the authority what changed: CA certificates, a new root, CRLs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli import jobs
from agent.cli.choosing import json_option, wait_option
from agent.contract import Action

if TYPE_CHECKING:
    from agent.cli.main import Context


@click.command("refresh")
@click.argument("name", required=False)
@wait_option
@json_option
@click.pass_obj
def command(context: Context, name: str | None, *, wait: float, as_json: bool) -> int:
    """Ask the authority of the identity NAME what changed: CA certificates, a new root, CRLs (genm).

    A new root is accepted only if the root trusted now vouches for it; then both are trusted. CRLs, fetched from the
    addresses in certificates too, say whether our own certificate was revoked. enrolld does this on a schedule.
    """
    return jobs.run(context, name, Action.REFRESH, again=True, abandon=False, wait=wait, as_json=as_json)
