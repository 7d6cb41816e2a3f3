"""``enrollctl decode``: any CMP message in words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

import click

from agent.cli import output
from agent.cmp.reading import SIZE, WIDTH, read


@click.command("decode")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Check MACs with the secret in this file.",
)
def command(file: BinaryIO, secret_file: Path | None, *, as_json: bool) -> int:
    """Show a CMP message in words: FILE, or standard input.

    DER, PEM, base64, hexadecimal or a dump of HTTP; several messages behind one another; also certificates, PKCS#10
    requests and CRLs. Nothing is sent, and nothing that is shown is thereby trusted.

    Exit code 0 when all was understood, 1 when reading stopped somewhere.
    """
    secret = _secret(secret_file)
    if file is sys.stdin.buffer and sys.stdin.isatty():
        output.note("reading standard input; end it with Ctrl-D")
    try:
        octets = file.read(SIZE + 1)
    except OSError as error:
        raise click.UsageError(f"{file.name} cannot be read: {error.strerror}") from error
    reading = read(octets, secret=secret)
    if as_json:
        output.say_json(reading.to_json())
    else:
        output.say("\n".join(reading.lines(output.width(sys.stdout) if sys.stdout.isatty() else WIDTH)))
    if reading.understood:
        return 0
    nothing = all(one.name in {"nothing", "not understood"} for one in reading.items)
    if nothing:
        output.problem(
            "there is no CMP message in the input",
            "Give the octets of a request or an answer themselves, as DER, PEM, base64, hexadecimal or a dump of HTTP.",
        )
        return 1
    stops = len(reading.stops)
    output.problem(
        f"reading stopped at {'one place' if stops == 1 else f'{stops} places'}, named in the result",
        "Check that the input is whole; if it is, give the result to whoever made the message.",
    )
    return 1


def _secret(path: Path | None) -> bytes | None:
    if path is None:
        return None
    from agent.supervisor.secrets import read_secret  # noqa: PLC0415 - seldom needed

    return read_secret(f"file:{path}", ask=None)
