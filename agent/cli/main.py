"""The command ``enrollctl``. Commands are imported when they are used: ``--help`` and ``status`` must be quick."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from agent import __version__
from agent.cli import output
from agent.cli.ahead import CONFIG, INTERRUPTIONS, Ahead
from agent.errors import AgentError, ConfigurationError, SecretError
from agent.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem

DEFAULT_CONFIG: Final = Path(CONFIG)

COMMANDS: Final = {
    "turn-up": ("agent.cli.turn_up", "turn up a site, step by step, to a page for the work order"),
    "enroll": ("agent.cli.enroll", "get a certificate, or go on with an open request"),
    "renew": ("agent.cli.renew", "update key and certificate now (key update request)"),
    "status": ("agent.cli.status", "show every identity: state, expiry, what happens next"),
    "doctor": ("agent.cli.doctor", "check everything an enrollment rests on"),
    "explain": ("agent.cli.explain", "say what a word on the screen or in the journal means"),
    "capture": ("agent.cli.capture", "write a support bundle without secrets"),
    "refresh": ("agent.cli.refresh", "ask the CA what changed: its certificates, a new root, CRLs"),
    "template": ("agent.cli.template", "ask the CA what it wants in a request"),
    "watch": ("agent.cli.watch", "show every identity live"),
    "retry": ("agent.cli.retry", "do now what is next, instead of when its time comes"),
    "revoke": ("agent.cli.revoke", "have the CA revoke the certificate in use"),
    "deploy": ("agent.cli.deploy", "bring the credential to its consumers now"),
    "token": ("agent.cli.token", "see the tokens, what they can do, and the keys on them"),
    "rollback": ("agent.cli.rollback", "go back to the previous credential that is still valid"),
    "decode": ("agent.cli.decode", "show any CMP message in words"),
    "provision": ("agent.cli.provision", "make a provisioning file for a technician's USB stick"),
    "config": ("agent.cli.config_check", "check the configuration"),
    "lab-ca": ("agent.cli.lab_ca", "run a CMP CA for tests on this machine"),
    "demo": ("agent.cli.demo", "see an enrollment, a wait and a renewal in a minute"),
}
"""Name -> (module with ``command``, one line of help)."""


@frozen
class Context:
    """What every command gets: the configuration file, not yet read, and a worker that may wait for a job."""

    config: Path
    ahead: Ahead = field(default_factory=Ahead)


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command, only now."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of commands without importing them, and options as ever."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only while somebody types

        names = [CompletionItem(name, help=line) for name, (_, line) in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config",
    type=click.Path(path_type=Path, readable=False),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The configuration file.",
)
@click.version_option(__version__, prog_name=output.PROGRAM)
@click.pass_context
def cli(ctx: click.Context, config: Path) -> None:
    """Get and keep certificates for base stations, security gateways and network functions.

    Exit codes: 0 done or nothing to do, 1 failed, 2 usage or configuration, 3 pending (ask again later), 4 needs a
    person (secret, PIN, token).
    """
    ctx.obj = Context(config, ctx.obj or Ahead())


EXITS: Final = {
    0: "done, or nothing to do",
    1: "failed",
    2: "the command line or the configuration is wrong",
    3: "pending: the CA has not decided yet; ask again later",
    4: "a person is needed, for a secret, a PIN or a token",
}
"""What the exit codes mean."""

EXIT_CODES: Final[tuple[tuple[type[AgentError], int], ...]] = (
    (ConfigurationError, 2),
    (SecretError, 4),
    (AgentError, 1),
)
"""What an error that reaches the top means for the exit code; the first that fits counts."""


def main(arguments: Sequence[str] | None = None, ahead: Ahead | None = None) -> NoReturn:
    """Run ``enrollctl``; every error ends in two lines, the second of which says what to do.

    ``ahead`` is the worker that was started before it was clear what to do.
    """
    output.prepare()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTIONS)
        given = None if arguments is None else list(arguments)
        code: Any = cli.main(given, prog_name=output.PROGRAM, standalone_mode=False, obj=ahead)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = 2
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else output.PROGRAM
        output.problem(error.format_message(), f"See '{where} --help'.")
        code = 2
    except SystemExit as end:  # output.stop has told why
        code = end.code
    except (click.Abort, KeyboardInterrupt):
        output.end_line()
        output.problem("interrupted", "Run the command again to go on: nothing on disk was lost.")
        code = 1
    except AgentError as error:
        for mistake in getattr(error, "mistakes", ()):
            output.note(mistake)
        output.problem(str(error), error.remedy)
        code = next(code for kind, code in EXIT_CODES if isinstance(error, kind))
    except Exception as error:  # noqa: BLE001 - the last line of defence: a defect must still be reported in words
        code = output.defect(error)
    sys.exit(output.finish(code if isinstance(code, int) else 0))


def run(ahead: Ahead | None = None) -> NoReturn:
    """Run ``enrollctl`` as a process, which ends at once: to take apart what was imported is a tenth of its time."""
    try:
        with ahead or Ahead():
            main(ahead=ahead)
    except SystemExit as end:  # everything is flushed (output.finish)
        os._exit(end.code if isinstance(end.code, int) else 0)


if __name__ == "__main__":
    run()
