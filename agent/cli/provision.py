"""``enrollctl provision``: make the file that an operator puts on a technician's USB stick."""

from __future__ import annotations

import os
from pathlib import Path

import click

from agent.cli import asking, first_configuration, output, provisioning
from agent.cli.provisioning import Provisioning
from agent.store import atomic


@click.command("provision")
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--url", "urls", multiple=True, required=True, help="Address of the CA or RA; may be given several times."
)
@click.option("--reference", required=True, help="The reference of the one-time secret.")
@click.option("--subject", help="Distinguished name that the device asks for.")
@click.option("--serial-number", help="The device that the file is for; no other one takes it.")
@click.option(
    "--trust-anchors",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the operator's root certificate.",
)
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that holds the one-time secret; without it the secret is asked for, and not shown.",
)
def command(
    target: Path,
    urls: tuple[str, ...],
    reference: str,
    subject: str | None,
    serial_number: str | None,
    trust_anchors: Path | None,
    secret_file: Path | None,
) -> int:
    """Write a provisioning file to TARGET, for the operator: where the CA is, sealed with the one-time secret.

    The secret is not in it and has to reach the technician by another way. Put the file on a USB stick as
    enrolld-provisioning.txt; 'enrollctl turn-up' finds it there.
    """
    content = Provisioning(
        urls=urls,
        reference=reference,
        subject=subject,
        serial_number=serial_number,
        trust_anchors=first_configuration.read_anchors(trust_anchors) if trust_anchors else (),
    )
    if secret_file is not None:
        from agent.supervisor.secrets import read_secret  # noqa: PLC0415 - seldom needed

        secret = read_secret(f"file:{secret_file}", ask=None)
    else:
        secret = asking.ask(f"one-time secret of reference {reference}", option="--secret-file", hidden=True).encode()
    octets = provisioning.write_file(content, secret, os.urandom)
    provisioning.read_file(octets)  # what it would not read itself it does not hand out
    atomic.write_file(target.absolute(), octets, 0o644)
    output.say(f"wrote {target}; the secret is not in it")
    return 0
