"""charon as its vici socket shows it: what it holds, which tunnels are up, and what it reports while one comes up.

Only the commands that a deployment needs. Everything charon says is bounded by vici itself (512 KiB a message).
"""

from __future__ import annotations

import os
import pwd
import shlex
import socket
import struct
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import vici
from vici.exception import CommandException, DeserializationException, SessionException

from agent.errors import ConsumerRefused, ConsumerUnavailable, DeployError
from agent.frozen import frozen

_TIMEOUT: Final = 20.0
"""Seconds charon may take for one command: all of them are answered from memory."""
_KEPT_LINES: Final = 200
_SLICE: Final = 0.05
_UNANSWERED: Final = "establishing IKE_SA failed"
_EVENTS: Final = ("ike-updown", "log")
_CHILD_EVENTS: Final = ("child-updown", "child-rekey")

_RUBBISH: Final = (DeserializationException, struct.error, ValueError)
"""What the vici package raises for octets that are no message."""
TROUBLE: Final = (CommandException, SessionException, *_RUBBISH, OSError, DeployError)
"""Whatever can go wrong between us and charon, before and after it was put into words."""


@frozen(kw_only=True)
class Connection:
    """A connection that charon has loaded."""

    name: str
    children: tuple[str, ...]
    dialable: bool
    """Whether it names the address of its peer, so that it can be started from here."""


@frozen
class Holding:
    """A certificate that charon knows: DER, and whether it has the key to it."""

    certificate: bytes
    has_key: bool


@dataclass(frozen=True, slots=True)
class SpiChange:
    """CHILD SAs came or went, by the SPIs on which charon receives."""

    came: frozenset[int] = frozenset()
    went: frozenset[int] = frozenset()


@dataclass(slots=True)
class Watch:
    """What happened to the tunnels of one connection since the watch began."""

    connection: str
    before: frozenset[str]
    """Unique ids of the SAs that were there."""
    up: set[str] = field(default_factory=set)
    """New SAs that were authenticated by both sides."""
    failed: set[str] = field(default_factory=set)
    """New SAs that came to nothing."""
    lost: set[str] = field(default_factory=set)
    """SAs from before that ended."""
    broke_first: bool = False
    """An old SA ended before any new one was up: the tunnel was down in between."""
    lines: list[str] = field(default_factory=list)
    """What charon logged about it."""

    def note(self, event: str, message: dict[str, Any]) -> None:
        """Take one event of charon's."""
        if event == "log":
            self._note_line(message)
            return
        details = message.get(self.connection)
        if not isinstance(details, dict):
            return
        unique = _text(details.get("uniqueid"))
        if _text(message.get("up")) == "yes":
            self.up.add(unique)
        elif unique in self.before:
            self.lost.add(unique)
            self.broke_first = self.broke_first or not self.up
        elif unique not in self.up:
            self.failed.add(unique)

    def _note_line(self, message: dict[str, Any]) -> None:
        if _text(message.get("ikesa-name")) != self.connection:
            return
        line, unique = _text(message.get("msg")), _text(message.get("ikesa-uniqueid"))
        self.lines.append(line)
        del self.lines[:-_KEPT_LINES]
        if _UNANSWERED in line and unique not in self.before:  # there is no event of an SA that nobody answered
            self.failed.add(unique)


class Charon:
    """One charon, over its vici socket."""

    def __init__(self, path: str, *, timeout: float = _TIMEOUT) -> None:
        """Keep the path of the socket, and how many seconds one command may take."""
        self._path = path
        self._timeout = timeout
        self._session: Any = None

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Hold a connection during the block.

        Raises:
            ConsumerUnavailable: charon is not there, went away, or we may not speak to it.
            ConsumerRefused: charon said no to a command.
        """
        try:
            self._session = self._open()
            yield
        except (CommandException, SessionException) as error:
            raise ConsumerRefused(
                f"charon says no: {_one_line(str(error))}", remedy="See charon's log: journalctl -u strongswan."
            ) from error
        except _RUBBISH as error:
            raise ConsumerUnavailable(
                f"what answers at {self._path} does not speak vici: {_one_line(str(error)) or type(error).__name__}",
                remedy="Correct `vici`: it must be the socket of charon's vici plugin.",
            ) from error
        except OSError as error:
            raise ConsumerUnavailable(self._trouble(error), remedy=self._remedy(error)) from error
        finally:
            if self._session is not None:
                self._session.transport.socket.close()
                self._session = None

    def _open(self) -> Any:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connected.settimeout(self._timeout)
            connected.connect(self._path)
        except OSError:
            connected.close()
            raise
        return vici.Session(connected)

    def _trouble(self, error: OSError) -> str:
        reason = error.strerror or str(error)
        return f"charon cannot be spoken to over {self._path}: {reason}"

    def _remedy(self, error: OSError) -> str:
        path = shlex.quote(self._path)
        if isinstance(error, PermissionError):
            return (
                f"Let user {_user()} use the socket: set `charon-systemd.group` in strongswan.conf and make the user a "
                f"member of that group; see 'ls -l {path}' and docs/deployment.md."
            )
        return f"Start it (systemctl start strongswan) or correct `vici`; see 'ls -l {path}'. It is tried again."

    # ---- what it holds

    def connections(self) -> dict[str, Connection]:
        """Return the connections it has loaded, by name."""
        return {
            name: Connection(
                name=name,
                children=tuple(details.get("children", {})),
                dialable=any("%" not in _text(one) for one in details.get("remote_addrs", ())),
            )
            for listed in self._session.list_conns()
            for name, details in listed.items()
        }

    def keys(self) -> frozenset[str]:
        """Return the identifiers of the private keys that were loaded over vici (SHA-1, hexadecimal)."""
        return frozenset(_text(one) for one in self._session.get_keys().get("keys", ()))

    def certificates(self) -> tuple[Holding, ...]:
        """Return the X.509 certificates it knows."""
        listed = self._session.list_certs({"type": "X509", "flag": "ANY"})
        return tuple(Holding(one["data"], _text(one.get("has_privkey")) == "yes") for one in listed if "data" in one)

    def tunnels(self, connection: str) -> frozenset[str]:
        """Return the unique ids of the IKE SAs of a connection that are up."""
        return frozenset(
            _text(details.get("uniqueid"))
            for listed in self._session.list_sas({"ike": connection})
            for name, details in listed.items()
            if name == connection and _text(details.get("state")) == "ESTABLISHED"
        )

    # ---- changes

    def load_certificate(self, certificate: bytes, *, authority: bool) -> None:
        """Give it a certificate (DER); one of an authority is trusted, or helps to build chains."""
        self._session.load_cert({"type": "X509", "flag": "CA" if authority else "NONE", "data": certificate})

    def load_key(self, pkcs8: bytes) -> str:
        """Give it a private key; return the identifier it has there."""
        return _text(self._session.load_key({"type": "any", "data": pkcs8}).get("id"))

    def load_token(self, handle: str, module: str, pin: str) -> str:
        """Have it use the key with this CKA_ID (hexadecimal) on a token; return the identifier it has there."""
        return _text(self._session.load_token({"handle": handle, "module": module, "pin": pin}).get("id"))

    def unload_key(self, identifier: str) -> None:
        """Take a private key from it; one that is gone already is no error."""
        if identifier in self.keys():
            self._session.unload_key({"id": identifier})

    def forget_chains(self) -> None:
        """Flush its cache of certificates: it would offer an old certificate of ours before the new one."""
        self._session.flush_certs({"type": "X509"})

    def reauthenticate(self, unique: str) -> None:
        """Have one IKE SA authenticated anew; what comes of it shows in a :class:`Watch`."""
        self._session.rekey({"ike-id": unique, "reauth": "yes"})

    def initiate(self, connection: str, child: str) -> None:
        """Start a tunnel; what comes of it shows in a :class:`Watch`."""
        for _ in self._session.initiate({"ike": connection, "child": child, "timeout": "-1"}):
            pass

    # ---- events

    @contextmanager
    def inbound_spis(self, *, every: float) -> Iterator[Iterator[SpiChange]]:
        """Follow the CHILD SAs: the iterator gives at first all there are, and then each change as it happens.

        A change with nothing in it says that nothing has happened for ``every`` seconds.
        """
        session = self._open()
        try:
            with closing(_changes(session, self._session, every)) as changes:
                yield changes
        finally:
            session.transport.socket.close()

    @contextmanager
    def watching(self, connection: str) -> Iterator[Iterator[Watch]]:
        """Watch the tunnels of ``connection``: the iterator gives what is known so far, a few times a second."""
        session = self._open()
        watch = Watch(connection, self.tunnels(connection))
        try:
            with closing(_follow(session, watch)) as following:
                yield following
        finally:
            session.transport.socket.close()


def _follow(session: Any, watch: Watch) -> Generator[Watch, None, None]:
    """Yield ``watch`` after every event and every slice of time, for ever; at first when nothing can be missed."""
    with closing(session.listen(_EVENTS, timeout=_SLICE)) as events:
        for label, message in events:
            if label is not None:
                watch.note(label.decode("ascii", "replace"), message)
            yield watch


def _changes(session: Any, asking: Any, every: float) -> Generator[SpiChange, None, None]:
    """See :meth:`Charon.inbound_spis`. What is asked for is asked after the events were ordered, so none is missed."""
    with closing(session.listen(_CHILD_EVENTS, timeout=every)) as events:
        yield SpiChange(came=_spis(*asking.list_sas()))
        for label, message in events:
            if label is None:
                yield SpiChange()
            elif label == b"child-updown" and _text(message.get("up")) != "yes":
                yield SpiChange(went=_spis(message))
            else:
                yield SpiChange(came=_spis(message))


def _spis(*messages: Any) -> frozenset[int]:
    """Collect every ``spi-in`` of messages about CHILD SAs, whatever section it is in."""
    found: frozenset[int] = frozenset()
    for message in messages:
        for key, value in message.items():
            if isinstance(value, dict):
                found |= _spis(value)
            elif key == "spi-in":
                found |= {int(value, 16)}
    return found


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _one_line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:400]


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
