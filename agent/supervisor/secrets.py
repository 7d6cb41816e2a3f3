"""Where secrets come from: a systemd credential, a file, or a person. Never argv, never the environment."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.contract import Action
from agent.errors import MachineError, PinError, SecretError
from agent.frozen import frozen
from agent.supervisor.jobs import needs_secret, tokens_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.contract import Job

MAXIMUM: Final = 4096
"""Octets of a secret; a longer one is a wrong file."""
_OTHERS: Final = 0o007
_FAILING: Final = {
    errno.EMFILE: "Raise the limit of open files (LimitNOFILE= of the unit, ulimit -n), and report it: few are needed.",
    errno.ENFILE: "Find out which program has so many files open ('cat /proc/sys/fs/file-nr'), or raise fs.file-max.",
    errno.ENOMEM: "Free memory, or raise the limit (MemoryMax= of the unit).",
    errno.EIO: "See 'journalctl -k' for what the disk reports, and replace it.",
}
"""What a person does where the machine keeps us from looking: that says nothing about the secret, and may pass."""


@frozen
class Secrets:
    """Everything secret that one worker inherits; none of it shows where this object is printed."""

    shared: bytes | None = field(default=None, repr=False)
    """The one-time secret."""
    pins: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The PINs of tokens, by the tokens' names in the configuration."""
    passwords: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Passwords for consumers, by where they come from in the configuration."""

    @property
    def number(self) -> int:
        """How many these are."""
        return (self.shared is not None) + len(self.pins) + len(self.passwords)


@frozen
class Wanted:
    """One thing that is secret, in the words of messages."""

    noun: str
    """``secret`` or ``PIN``."""
    long: str
    """``the one-time secret of ike (reference enb-4711)``."""
    giver: str
    """How to get another one: a sentence without its full stop."""
    error: type[SecretError] = SecretError
    by_hand: str = ""
    """What a person does who runs a command to which systemd gives no credential; the daemon needs its unit mended."""


_PASSWORD: Final = Wanted("password", "the password of the PKCS#12 file", "Choose a password")
ONE_TIME_SECRET: Final = Wanted("secret", "the one-time secret", "Ask the operator for the one-time secret")


def gather(job: Job, *, ask: Callable[[str], str] | None, by_hand: str = "") -> Secrets:
    """Return what the worker for ``job`` has to inherit, read from where the configuration says.

    ``ask`` asks a person for what its argument names; None where nobody can be asked. ``by_hand`` is as in ``Wanted``.

    Raises:
        PinError: the PIN of a token is not to be had.
        SecretError: the one-time secret is needed and not to be had.
        MachineError: nobody can tell whether they are to be had.
    """
    shared = None
    configured = job.identity.bootstrap.shared_secret
    if configured is not None and needs_secret(job):
        name = f"the one-time secret of {job.name} (reference {configured.reference})"
        wanted = Wanted("secret", name, ONE_TIME_SECRET.giver, by_hand=by_hand)
        shared = read_secret(configured.secret, ask=ask, wanted=wanted)
    return Secrets(shared, _pins(job, ask, by_hand), _passwords(job))


def _pins(job: Job, ask: Callable[[str], str] | None, by_hand: str) -> dict[str, bytes]:
    """Read the PINs. For old keys, and keys that a consumer may get back, nobody is asked, and nothing held up."""
    pins = {}
    retiring = job.action is Action.RETIRE
    needed = set() if retiring else set(tokens_for(job.identity, job.tokens, job.state_directory, job.name, job.action))
    for name, token in job.tokens.items():
        wanted = Wanted("PIN", f"the PIN of the token {name}", f"Find out the user PIN of {name}", PinError, by_hand)
        with nullcontext() if name in needed else suppress(PinError):
            pins[name] = read_secret(token.pin, ask=ask if name in needed else None, wanted=wanted)
    return pins


def _passwords(job: Job) -> dict[str, bytes]:
    """Read the passwords for consumers. One that is not to be had holds up nothing but that consumer, who tells."""
    found = {}
    for target in job.identity.deploy:
        source = target.directory.password if target.directory else None
        if source is not None:
            with suppress(SecretError):
                found[source] = read_secret(source, ask=None, wanted=_PASSWORD)
    return found


def read_secret(source: str, *, ask: Callable[[str], str] | None, wanted: Wanted = ONE_TIME_SECRET) -> bytes:
    """Return the secret named by ``source`` (``credential:NAME``, ``file:PATH`` or ``prompt``), without line end.

    Raises:
        SecretError: ``wanted.error``, when it is not there, empty, too long or open to others.
        MachineError: the machine does not let us look.
    """
    kind, _, value = source.partition(":")
    match kind:
        case "prompt":
            return _asked(ask, wanted)
        case "credential":
            return _from_file(_credential(value, wanted), wanted)
        case _:
            return _from_file(Path(value), wanted)


def _asked(ask: Callable[[str], str] | None, wanted: Wanted) -> bytes:
    if ask is None:
        raise wanted.error(
            f"{wanted.long} has to be typed in, and nobody can be asked here",
            remedy=f"Run the command on a terminal, or let the {wanted.noun} come from file:PATH or credential:NAME.",
        )
    return _checked(ask(wanted.long.removeprefix("the ")).encode(), "the answer", wanted)


def _credential(name: str, wanted: Wanted) -> Path:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory and wanted.by_hand:
        raise wanted.error(
            f"the {wanted.noun} is the systemd credential {name!r}, which systemd gives to the unit of enrolld alone",
            remedy=wanted.by_hand,
        )
    if not directory:
        raise wanted.error(
            f"the {wanted.noun} is the systemd credential {name!r}, but this program was not started by systemd with "
            "one",
            remedy=f"Put LoadCredential={name}:/path/of/the/{wanted.noun} into the unit, or use file:PATH by hand.",
        )
    return Path(directory) / name


def _from_file(path: Path, wanted: Wanted) -> bytes:
    try:
        # O_NONBLOCK: opening a pipe must not wait for whoever writes into it.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise wanted.error(
                    f"{path} is not a file", remedy=f"Name a file that holds nothing but the {wanted.noun}."
                )
            if mode & _OTHERS:
                raise wanted.error(
                    f"the {wanted.noun} file {path} is open to every user of this machine",
                    remedy=f"Run 'chmod 600 {shlex.quote(str(path))}'; if others use this machine, have it changed.",
                )
            octets = stream.read(MAXIMUM + 1)
    except OSError as error:
        what = f"the {wanted.noun} file {path} cannot be read: {error.strerror}"
        if error.errno in _FAILING:
            raise MachineError(what, remedy=_FAILING[error.errno]) from error
        remedy = f"Put the {wanted.noun} there, or correct where the configuration says it is."
        if isinstance(error, PermissionError):
            remedy = (
                f"Run the command with sudo; if enrolld itself says this (user {os.geteuid()}), give it the file: "
                f"'chown {os.geteuid()} {shlex.quote(str(path))}'."
            )
        raise wanted.error(what, remedy=remedy) from error
    return _checked(octets, f"the file {path}", wanted)


def _checked(octets: bytes, where: str, wanted: Wanted) -> bytes:
    secret = octets.rstrip(b"\r\n")
    if not secret:
        raise wanted.error(f"there is no {wanted.noun}: {where} is empty", remedy=f"{wanted.giver}, and give that.")
    if len(octets) > MAXIMUM:
        raise wanted.error(
            f"{where} is longer than {MAXIMUM} octets, too long for a {wanted.noun}",
            remedy="This is probably another file: correct its name in the configuration.",
        )
    return secret
