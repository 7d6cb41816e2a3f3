"""Where a one-time secret comes from: a systemd credential, a file, or a person. Never argv, never the environment."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Callable

MAXIMUM: Final = 4096
"""Octets of a secret; a longer one is a wrong file."""
_OTHERS: Final = 0o007


def read_secret(source: str, *, prompt: Callable[[], str] | None) -> bytes:
    """Return the secret named by ``source`` (``credential:NAME``, ``file:PATH`` or ``prompt``), without line end.

    ``prompt`` asks a person; None where nobody can be asked.

    Raises:
        SecretError: when it is not there, empty, too long or open to others.
    """
    kind, _, value = source.partition(":")
    match kind:
        case "prompt":
            return _asked(prompt)
        case "credential":
            return _from_file(_credential(value))
        case _:
            return _from_file(Path(value))


def _asked(prompt: Callable[[], str] | None) -> bytes:
    if prompt is None:
        raise SecretError(
            "the one-time secret has to be typed in, and nobody can be asked here",
            remedy="Run the command on a terminal, or name file:PATH or credential:NAME as the secret's source.",
        )
    return _checked(prompt().encode(), "the answer")


def _credential(name: str) -> Path:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise SecretError(
            f"the secret is the systemd credential {name!r}, but this program was not started by systemd with one",
            remedy=f"Put LoadCredential={name}:/path/of/the/secret into the unit, or use file:PATH by hand.",
        )
    return Path(directory) / name


def _from_file(path: Path) -> bytes:
    try:
        # O_NONBLOCK: opening a pipe must not wait for whoever writes into it.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise SecretError(f"{path} is not a file", remedy="Name a file that holds nothing but the secret.")
            if mode & _OTHERS:
                raise SecretError(
                    f"the secret file {path} is open to every user of this machine",
                    remedy=f"Run 'chmod 600 {shlex.quote(str(path))}'; if others use this machine, ask the operator "
                    "for a new secret.",
                )
            octets = stream.read(MAXIMUM + 1)
    except OSError as error:
        raise SecretError(
            f"the secret file {path} cannot be read: {error.strerror}",
            remedy="Put the secret the operator gave there, or correct `secret` in the configuration.",
        ) from error
    return _checked(octets, f"the file {path}")


def _checked(octets: bytes, where: str) -> bytes:
    secret = octets.rstrip(b"\r\n")
    if not secret:
        raise SecretError(
            f"there is no secret: {where} is empty", remedy="Ask the operator for the one-time secret, and give that."
        )
    if len(octets) > MAXIMUM:
        raise SecretError(
            f"{where} is longer than {MAXIMUM} octets, too long for a secret",
            remedy="This is probably another file: correct `secret` in the configuration.",
        )
    return secret
