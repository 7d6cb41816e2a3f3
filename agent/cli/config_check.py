"""``enrollctl config``: look at the configuration without doing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent.cli import output
from agent.config import check_files, load, unsupported, warnings
from agent.config.consumers import check_consumers
from agent.errors import ConfigurationError

if TYPE_CHECKING:
    from agent.cli.main import Context


@click.group("config")
def command() -> None:
    """Check the configuration."""


@command.command("check")
@click.pass_obj
def check(context: Context) -> int:
    """Name every mistake in the configuration: file, line, key, and what to write instead.

    Exit code 2 when there is one, 0 otherwise; warnings do not count.
    """
    settings = load(context.config)
    for warning in warnings(settings):
        output.note(f"warning: {warning}")
    for warning in check_consumers(settings):
        output.note(f"warning: {warning}")
    for notice in unsupported(settings):
        output.note(f"note: {notice}")
    mistakes = check_files(settings)
    if mistakes:
        raise ConfigurationError(
            "the configuration names files that cannot be used",
            remedy="Put the files there, or correct the paths.",
            mistakes=tuple(str(one) for one in mistakes),
        )
    output.say(f"{context.config} is good; it has the identities {', '.join(settings.identities) or '(none)'}")
    return 0
