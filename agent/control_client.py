"""Asking a running enrolld over its control socket (Varlink: JSON objects, each ended by a NUL octet).

Every wait has an end and every answer a bound: what listens there need not be ours.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Self

from agent import structure
from agent.contract import Action, Outcome, Progress, Verdict
from agent.errors import ControlError, NotPermitted
from agent.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

INTERFACE: Final = "io.enrolld.control"
SOCKET: Final = INTERFACE
"""Name of the socket in the runtime directory."""
METHODS: Final = {
    Action.ENROLL: "Enroll",
    Action.RENEW: "Renew",
    Action.REFRESH: "Refresh",
    Action.DEPLOY: "Deploy",
}
"""Jobs that the daemon does when asked."""
WISHES: Final = {
    Action.ENROLL: ("again", "stay"),
    Action.RENEW: ("stay",),
    Action.REFRESH: (),
    Action.DEPLOY: (),
}
"""What may be asked for with each: ``again`` though there is nothing to do, to ``stay`` while the CA is undecided."""
LONGEST_ANSWER: Final = 1_048_576
"""Octets of one answer."""
MOST_IDENTITIES: Final = 65_536
"""How many there may be in all answers together."""
PATIENCE: Final = 10.0
"""Seconds for an answer that needs no work; the daemon may be looking at many directories."""
_READ_SIZE: Final = 65_536
_REMEDY: Final = "Run the command as root (sudo), or as the user that enrolld runs as."
_RESTART: Final = "See 'systemctl status enrolld'; 'systemctl restart enrolld'."
_UNKNOWN: Final = frozenset({f"{INTERFACE}.NoSuchIdentity", "org.varlink.service.MethodNotFound"})
_AGAIN: Final = "run the command again: nothing on disk was lost."
_TOLD: Final = {
    f"{INTERFACE}.TooManyClients": ("enrolld has too many clients", f"End some of them, and {_AGAIN}"),
    f"{INTERFACE}.TooSlow": (
        "enrolld dropped this command, which did not read what it was told",
        f"Look at the load of this machine, and {_AGAIN}",
    ),
    f"{INTERFACE}.Ending": ("enrolld is ending and begins nothing more", f"Once it runs again, {_AGAIN}"),
}
"""What an error of the daemon means, and what to do."""


@frozen
class _Answer:
    """What came back of a call; ``continues``: it is not the last answer."""

    parameters: dict[str, Any]
    error: str | None
    continues: bool


class Client(AbstractContextManager["Client"]):
    """A connection to the daemon, for one call after another."""

    def __init__(self, connection: socket.socket) -> None:
        """Take a connection that was made."""
        self._connection = connection
        self._rest = b""

    def __enter__(self) -> Self:
        """Give the client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up. A job that was asked for goes on."""
        self._connection.close()

    def settings_of(self, name: str) -> dict[str, Any] | None:
        """Return what jobs of the identity ``name`` rest on there; None when the daemon does not know it.

        Raises:
            NotPermitted: we may not ask.
            ControlError: the daemon does not answer, or nonsense.
        """
        self._call("GetSettings", name=name)
        answer = self._next(time.monotonic() + PATIENCE)
        if answer.error in _UNKNOWN:
            return None
        settings = _understood(answer).get("settings")
        return settings if isinstance(settings, dict) else None

    def identities(self, *, patience: float = PATIENCE) -> list[dict[str, Any]]:
        """Return what the daemon says of each identity, as it came; each answer is waited for ``patience`` seconds.

        Raises:
            NotPermitted, ControlError: as for :meth:`settings_of`.
        """
        self._call("List", more=True)
        told: list[dict[str, Any]] = []
        while True:
            answer = self._next(time.monotonic() + patience)
            some = _understood(answer).get("identities")
            if not isinstance(some, list) or not all(isinstance(one, dict) for one in some):
                raise _nonsense()
            told += some
            if not answer.continues:
                return told
            if not some or len(told) > MOST_IDENTITIES:
                raise _nonsense()

    def subscribe(self) -> None:
        """Ask for every event from now on, for :meth:`heard`."""
        self._call("Subscribe", more=True)

    def fileno(self) -> int:
        """Return what to wait on for more."""
        return self._connection.fileno()

    def heard(self) -> list[Progress]:
        """Return the events that have come, without waiting; at least one octet must be there.

        Raises:
            NotPermitted, ControlError: as for :meth:`settings_of`; that it has hung up, too.
        """
        octets = self._connection.recv(_READ_SIZE)
        if not octets:
            raise _hung_up()
        *whole, self._rest = (self._rest + octets).split(b"\0")
        if len(self._rest) > LONGEST_ANSWER:
            raise _nonsense()
        try:
            told = (_understood(_parsed(one)).get("event") for one in whole)
            return [structure.from_json(Progress, one) for one in told]
        except structure.StructureError as error:
            raise _nonsense() from error

    def run(
        self, name: str, action: Action, heard: Callable[[Progress], None], *, again: bool, wait: float, deadline: float
    ) -> Outcome:
        """Have the daemon do ``action`` for the identity ``name``, or follow it; return how that ended.

        ``heard`` gets every step. While the CA is undecided the outcome is waited for up to ``wait`` seconds, and in
        all up to ``deadline``; then the outcome is ``waiting``, and the daemon goes on.

        Raises:
            NotPermitted, ControlError: as for :meth:`settings_of`.
        """
        begun = time.monotonic()
        end = begun + deadline
        last = Outcome(
            verdict=Verdict.WAITING,
            text="enrolld has not finished yet, and goes on",
            remedy=f"See what becomes of it with 'enrollctl watch {name}'.",
        )
        wishes = {"again": again, "stay": wait > 0}
        self._call(METHODS[action], more=True, name=name, **{one: wishes[one] for one in WISHES[action]})
        try:
            for answer in self._answers(end):
                if answer.error == f"{INTERFACE}.Busy":
                    return _busy(name, answer)
                told = _understood(answer)
                if "event" in told:
                    heard(structure.from_json(Progress, told["event"]))
                if "outcome" in told:
                    last = structure.from_json(Outcome, told["outcome"])
                    self._until(min(end, begun + wait))
        except TimeoutError:
            return last
        except structure.StructureError as error:
            raise _nonsense() from error
        return last

    def _answers(self, end: float) -> Iterator[_Answer]:
        """Give answers until the last one; :meth:`_until` changes when that is given up."""
        self._until(end)
        while True:
            answer = self._next(self._end, expected=False)
            yield answer
            if not answer.continues:
                return

    def _until(self, end: float) -> None:
        self._end = end

    def _call(self, method: str, *, more: bool = False, **parameters: Any) -> None:
        call = {"method": f"{INTERFACE}.{method}", "parameters": parameters, "more": more}
        self._connection.settimeout(PATIENCE)
        try:
            self._connection.sendall(json.dumps(call).encode("ascii") + b"\0")
        except OSError as error:
            raise _hung_up() from error

    def _next(self, end: float, *, expected: bool = True) -> _Answer:
        """Return the next answer; one that is not ``expected`` at once may stay out (:class:`TimeoutError`)."""
        while b"\0" not in self._rest:
            if len(self._rest) > LONGEST_ANSWER:
                raise _nonsense()
            try:
                octets = self._receive(end)
            except TimeoutError as error:
                if not expected:
                    raise
                raise ControlError("enrolld does not answer", remedy=_RESTART) from error
            except OSError as error:
                raise _hung_up() from error
            if not octets:
                raise _hung_up()
            self._rest += octets
        octets, _, self._rest = self._rest.partition(b"\0")
        return _parsed(octets)

    def _receive(self, end: float) -> bytes:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv(_READ_SIZE)


def connect(directory: Path) -> Client | None:
    """Return a connection to the daemon whose runtime directory this is; None when none listens there.

    Raises:
        NotPermitted: one may, but we may not ask it.
        ControlError: one does, and does not take calls.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(PATIENCE)
    try:
        connection.connect(os.fspath(directory / SOCKET))
    except PermissionError as error:
        connection.close()
        raise NotPermitted(f"{directory / SOCKET} may not be used by this user", remedy=_REMEDY) from error
    except BlockingIOError as error:
        connection.close()
        raise ControlError("enrolld does not answer", remedy=_RESTART) from error
    except OSError:
        connection.close()
        return None
    return Client(connection)


def listens(directory: Path) -> bool:
    """Tell whether a daemon listens in ``directory``; one that we may not ask, or that is too busy, counts."""
    try:
        client = connect(directory)
    except ControlError:
        return True
    if client is None:
        return False
    with client:
        return True


def _parsed(octets: bytes) -> _Answer:
    if len(octets) > LONGEST_ANSWER:
        raise _nonsense()
    try:
        document: Any = json.loads(octets)
    except (ValueError, RecursionError) as error:
        raise _nonsense() from error
    if not isinstance(document, dict) or not isinstance(document.get("parameters", {}), dict):
        raise _nonsense()
    refused = document.get("error")
    if not isinstance(refused, str | None):
        raise _nonsense()
    return _Answer(document.get("parameters", {}), refused, document.get("continues") is True)


def _understood(answer: _Answer) -> dict[str, Any]:
    if answer.error is None:
        return answer.parameters
    if answer.error == f"{INTERFACE}.NotPermitted":
        raise NotPermitted("enrolld does not do this for this user", remedy=_REMEDY)
    if answer.error in _TOLD:
        text, remedy = _TOLD[answer.error]
        raise ControlError(text, remedy=remedy)
    raise ControlError(
        f"enrolld refuses: {answer.error}", remedy="Restart enrolld if it was updated: 'systemctl restart enrolld'."
    )


def _busy(name: str, answer: _Answer) -> Outcome:
    job = str(answer.parameters.get("job", "job"))
    return Outcome(
        verdict=Verdict.BUSY,
        text=f"enrolld is at work on it ({job})",
        remedy=f"Run the command again when that is over; 'enrollctl watch {name}' shows it.",
    )


def _hung_up() -> ControlError:
    return ControlError(
        "enrolld ended, or has too many clients",
        remedy="See 'systemctl status enrolld', then run the command again: nothing on disk was lost.",
    )


def _nonsense() -> ControlError:
    return ControlError(
        f"what listens on {SOCKET} does not answer as enrolld does",
        remedy="See that `runtime-directory` is that of enrolld, and restart it if it was updated.",
    )
