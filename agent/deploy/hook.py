"""A command that a consumer is told with: no shell, a clean environment, bounded in time and in what it may say.

What it is given, and all it is given:

==========================  ==================================================================
``ENROLLD_IDENTITY``        name of the identity
``ENROLLD_REASON``          ``renewed``, ``restored`` or ``rolled-back``
``ENROLLD_GENERATION``      number of the generation
``ENROLLD_SERIAL``          serial number of the certificate, hexadecimal
``ENROLLD_NOT_AFTER``       its end, ISO 8601 in UTC
``ENROLLD_DIRECTORY``       directory of the generation, with certificate.pem, chain.pem ...
``ENROLLD_KEY``             where the key is: a ``file:`` or ``pkcs11:`` URI
``PATH``, ``LC_ALL``        ``/usr/sbin:/usr/bin:/sbin:/bin``, ``C.UTF-8``
==========================  ==================================================================

It starts in ``/`` with nothing on standard input and no other descriptor open, in a session of its own. Exit status 0
is its confirmation. What it says goes to the journal, line by line.
"""

from __future__ import annotations

import os
import pwd
import selectors
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final

from agent import units
from agent.errors import ConsumerRefused, ConsumerUnavailable

if TYPE_CHECKING:
    from agent.deploy.material import Material
    from agent.deploy.target import Change, Hands
    from agent.settings import HookTarget

PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
_GRACE: Final = 2.0
"""Seconds between SIGTERM and SIGKILL."""
_MOST_OUTPUT: Final = 16_384
_MOST_LINES: Final = 100
_LONGEST_LINE: Final = 400


class Hook:
    """A command."""

    def __init__(self, settings: HookTarget, hands: Hands) -> None:
        """Keep the command."""
        self._settings = settings
        self._hands = hands
        self._timeout = units.seconds(settings.timeout)

    def live(self, material: Material) -> bool:
        """Tell True: a command cannot be asked whether it was obeyed, so the record of its success stands."""
        del material
        return True

    def deploy(self, change: Change) -> str:
        """Run the command. See :class:`agent.deploy.target.Target`."""
        said, status, timed_out = self._run(environment_of(change, self._hands.identity))
        lines = _lines(said)
        for line in lines:
            self._hands.say(f"{self._settings.command[0]}: {line}")
        if status == 0 and not timed_out:
            return f"{self._settings.command[0]} ended with status 0"
        last = f"; its last line: {lines[-1]}" if lines else ""
        how = f"did not end within {self._settings.timeout} and was killed" if timed_out else _ended(status)
        raise ConsumerRefused(
            f"the command {self._settings.command[0]} {how}{last}",
            remedy=f"Try it by hand: {shlex.join(self._settings.command)}. Its output is in the journal.",
        )

    def _run(self, environment: dict[str, str]) -> tuple[bytes, int, bool]:
        command = self._settings.command
        try:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
                **_as_user(self._settings.user),
            )
        except (OSError, KeyError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConsumerUnavailable(
                f"the command {command[0]} cannot be started: {reason}",
                remedy=f"See 'ls -l {shlex.quote(command[0])}': user {os.geteuid()} must be able to execute it.",
            ) from error
        assert process.stdout is not None  # noqa: S101 - we asked for a pipe
        try:
            said, timed_out = _hear(process, process.stdout, self._timeout)
        finally:
            _end(process)
            process.stdout.close()
        return said, process.returncode if process.returncode is not None else -signal.SIGKILL, timed_out


def _as_user(name: str | None) -> dict[str, Any]:
    """Return what makes it another user: with that user's own group, and none of ours."""
    if name is None:
        return {}
    user = pwd.getpwnam(name)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}


def environment_of(change: Change, identity: str) -> dict[str, str]:
    """Return the whole environment of the command."""
    new = change.new
    return {
        "PATH": PATH,
        "LC_ALL": "C.UTF-8",
        "ENROLLD_IDENTITY": identity,
        "ENROLLD_REASON": change.reason,
        "ENROLLD_GENERATION": str(new.number),
        "ENROLLD_SERIAL": new.serial,
        "ENROLLD_NOT_AFTER": new.not_after,
        "ENROLLD_DIRECTORY": str(new.path),
        "ENROLLD_KEY": new.key_reference,
    }


def _hear(process: subprocess.Popen[bytes], output: IO[bytes], timeout: float) -> tuple[bytes, bool]:
    """Read what the command says until it has ended; tell whether it took too long.

    A child it left in the background may hold the pipe open: its end is what counts, not that of its output.
    """
    said = bytearray()
    end = time.monotonic() + timeout
    os.set_blocking(output.fileno(), False)
    exited = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            selector.register(exited, selectors.EVENT_READ)
            while process.poll() is None:
                left = end - time.monotonic()
                if left <= 0:
                    return bytes(said), True
                selector.select(left)
                if not _drain(output, said):
                    with suppress(KeyError):
                        selector.unregister(output)
        _drain(output, said)
        return bytes(said), False
    finally:
        os.close(exited)


def _drain(output: IO[bytes], said: bytearray) -> bool:
    """Take what there is to read, keep the end of it; tell whether more may come."""
    while True:
        try:
            octets = os.read(output.fileno(), 65_536)
        except BlockingIOError:
            return True
        if not octets:
            return False
        said += octets
        del said[:-_MOST_OUTPUT]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command that has not ended by itself, and everything it started in its session."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)


def _ended(status: int) -> str:
    return f"ended with status {status}" if status > 0 else f"was killed by signal {-status}"


def _lines(said: bytes) -> list[str]:
    """Return what was said as lines that a terminal and the journal can show, the last ones, shortened."""
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return [
        "".join(letter if letter.isprintable() else "?" for letter in line[:_LONGEST_LINE]).rstrip()
        for line in lines[-_MOST_LINES:]
    ]
