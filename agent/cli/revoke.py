"""``enrollctl revoke``: have the CA revoke the certificate in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli import jobs, output
from agent.cli.choosing import json_option, wait_option
from agent.cmp.reasons import REVOCATION_REASONS
from agent.contract import Action

if TYPE_CHECKING:
    from agent.cli.main import Context


@click.command("revoke")
@click.argument("name")
@click.option(
    "--reason",
    type=click.Choice(tuple(REVOCATION_REASONS)),
    default="unspecified",
    show_default=True,
    help="Why (CRLReason).",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@wait_option
@json_option
@click.pass_obj
def command(context: Context, name: str, *, reason: str, yes: bool, wait: float, as_json: bool) -> int:
    """Have the CA revoke the certificate of the identity NAME (rr, signed with its key).

    This cannot be undone: the device needs its vendor's certificate or a new secret to enroll again.
    """
    if not yes:
        output.confirm(f"revoke the certificate of {name}? this cannot be undone", option="--yes")
    return jobs.run(context, name, Action.REVOKE, again=True, abandon=False, wait=wait, as_json=as_json, reason=reason)
