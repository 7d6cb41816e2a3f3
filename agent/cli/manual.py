"""The help of every command as Markdown, for the README: ``python -m agent.cli.manual`` writes it there.

Runtime never imports this module. A test holds the README to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from agent.cli import output
from agent.cli.main import cli

README: Final = Path(__file__).parents[2] / "README.md"
BEGIN: Final = "<!-- help: begin, written by python -m agent.cli.manual -->"
END: Final = "<!-- help: end -->"
_WIDTH: Final = 100


def helps() -> str:
    """Return one block with the help of ``enrollctl`` and of every command, as ``--help`` prints it."""
    names = cli.context_settings["help_option_names"]
    with click.Context(
        cli, info_name=output.PROGRAM, terminal_width=_WIDTH, max_content_width=_WIDTH, help_option_names=names
    ) as context:
        blocks = [cli.get_help(context), *_below(cli, context)]
    return "\n".join(f"```\n{block}\n```" for block in blocks)


def updated(readme: str) -> str:
    """Return ``readme`` with the text between the markers made anew.

    Raises:
        ValueError: when a marker is missing.
    """
    before, rest = readme[: readme.index(BEGIN) + len(BEGIN)], readme[readme.index(END) :]
    return f"{before}\n{helps()}\n{rest}"


def main() -> None:
    """Write the README, and with it what else is made from the commands: manual pages, completion, schemas."""
    from agent.cli import man, schemas  # noqa: PLC0415 - the test of the README does without

    README.write_text(updated(README.read_text()))
    man.main()
    schemas.main()


def _below(group: click.Group, context: click.Context) -> list[str]:
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        inner = click.Context(command, info_name=name, parent=context, terminal_width=_WIDTH, max_content_width=_WIDTH)
        found.append(command.get_help(inner))
        if isinstance(command, click.Group):
            found += _below(command, inner)
    return found


if __name__ == "__main__":
    main()
