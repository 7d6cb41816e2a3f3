"""``enrollctl capture``: one file for the support case, without secrets."""

from __future__ import annotations

import io
import os
import platform
import re
import shlex
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from agent import structure
from agent.cli import bundle, doctor, output
from agent.cli.checks.registry import Site
from agent.cli.choosing import json_option
from agent.config import load
from agent.errors import ConfigurationError, StateError
from agent.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.cli.main import Context

_MODE: Final = 0o600


@frozen(kw_only=True)
class Bundle:
    """What was written."""

    file: Path
    members: tuple[str, ...]
    """Names of the files in it, below its folder."""


@click.command("capture")
@click.option(
    "--output",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; by default a new one in this directory, named after this machine and the time.",
)
@click.option("--offline", is_flag=True, help="Leave out the doctor, which asks the CA.")
@json_option
@click.pass_obj
def command(context: Context, target: Path | None, *, offline: bool, as_json: bool) -> int:
    """Write a support bundle: what somebody else needs to find a fault, in one file, without secrets.

    It holds the configuration, states and certificates, recorded transactions (setting `recording`) with their
    reading, the journal, versions, and what the doctor finds. Secrets, PINs, private keys and what a secret made (the
    MACs of messages) are left out. It is readable for you alone; look at it before you send it.
    """
    now = datetime.now(UTC)
    try:
        settings = load(context.config)
    except ConfigurationError as error:
        settings = None  # a wrong configuration is what many bundles are about
        output.note(f"warning: {error}; the state is left out")
    if settings is not None and bundle.closed(settings):
        output.note(f"warning: {settings.state_directory} is closed to this user; with sudo the state is captured, too")
    diagnosis = None if offline else _diagnosis(context.config)
    parts = list(bundle.parts(context.config, settings, now, diagnosis))
    name = f"enrolld-{re.sub('[^A-Za-z0-9-]', '-', platform.node())}-{now:%Y%m%dT%H%M%SZ}"
    target = target or Path(f"{name}.tar.gz")
    write(target, name, parts, now)
    if as_json:
        output.say_json(structure.to_json(Bundle(file=target, members=tuple(part for part, _ in parts))))
    else:
        output.say(f"wrote {target}: {len(parts)} files, without secrets")
    output.advise(f"look at it with 'tar tzf {shlex.quote(str(target))}' before you send it")
    return 0


def _diagnosis(config: Path) -> dict[str, Any]:
    output.note("asking the doctor")
    return doctor.document(tuple(doctor.examine(Site(config=config))))


def write(target: Path, name: str, parts: Iterable[bundle.Part], now: datetime) -> None:
    """Write the bundle; ``target`` must not exist, and is readable for its owner only.

    Raises:
        StateError: it cannot be written.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for member, contents in parts:
            info = tarfile.TarInfo(f"{name}/{member}")
            info.size, info.mode, info.mtime = len(contents), _MODE, int(now.timestamp())
            archive.addfile(info, io.BytesIO(contents))
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(packed.getvalue())
    except FileExistsError as error:
        raise StateError(f"{target} exists already", remedy="Name another file with --output.") from error
    except OSError as error:
        raise StateError(
            f"{target} cannot be written: {error.strerror}", remedy="Name a file elsewhere with --output."
        ) from error
