"""What commands have in common on the command line: options, and the identity that is meant. It imports little."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent import units
from agent.errors import ConfigurationError

if TYPE_CHECKING:
    from agent.settings import Settings


def _duration(_: click.Context, __: click.Parameter, value: str) -> float:
    try:
        return units.seconds(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no span of time; write it like 30s, 10m or 2h") from error


wait_option = click.option(
    "--wait",
    default="10m",
    show_default=True,
    callback=_duration,
    metavar="TIME",
    help="How long to wait here while the CA is undecided; after that the request stays open (exit code 3).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def chosen(settings: Settings, name: str | None) -> str:
    """Return the identity meant; the only one when none is named.

    Raises:
        ConfigurationError: there is no such identity, or several to choose from.
    """
    known = sorted(settings.identities)
    if name is None and len(known) == 1:
        return known[0]
    if name in settings.identities:
        return str(name)
    if not known:
        raise ConfigurationError("no identity is configured", remedy="Add one under `identities` in the configuration.")
    import difflib  # noqa: PLC0415 - only where there is a mistake to mend

    near = difflib.get_close_matches(name or "", known, n=1)
    what = f"there is no identity {name!r}" if name else "several identities are configured"
    remedy = f"Name one of: {', '.join(known)}" if len(known) > 1 else f"The only one is {known[0]}"
    raise ConfigurationError(what, remedy=remedy + (f"; perhaps {near[0]} is meant." if near and known[1:] else "."))
