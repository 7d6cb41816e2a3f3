"""charon as its vici socket shows it: what it holds, which tunnels are up, and what it reports while one comes up.

Only the commands that a deployment needs. What it says is bounded in size and time (:mod:`agent.deploy.transport`).
"""

from __future__ import annotations

import os
import pwd
import shlex
import socket
import struct
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import vici
from vici.exception import CommandException, DeserializationException, SessionException

from agent.deploy.transport import Bounded
from agent.deploy.watch import SpiChange, Watch, purpose, spis, text
from agent.errors import ConsumerRefused, ConsumerUnavailable, DeployError
from agent.frozen import frozen

_TIMEOUT: Final = 20.0
"""Seconds charon may take for one command: all of them are answered from memory."""
_SLICE: Final = 0.05
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
        session: Any = vici.Session(connected)
        session.transport = Bounded(connected)
        return session

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
                dialable=any("%" not in text(one) for one in details.get("remote_addrs", ())),
            )
            for listed in self._session.list_conns()
            for name, details in listed.items()
        }

    def keys(self) -> frozenset[str]:
        """Return the identifiers of the private keys that were loaded over vici (SHA-1, hexadecimal)."""
        return frozenset(text(one) for one in self._session.get_keys().get("keys", ()))

    def certificates(self) -> tuple[Holding, ...]:
        """Return the X.509 certificates it knows."""
        listed = self._session.list_certs({"type": "X509", "flag": "ANY"})
        return tuple(Holding(one["data"], text(one.get("has_privkey")) == "yes") for one in listed if "data" in one)

    def tunnels(self, connection: str) -> frozenset[str]:
        """Return the unique ids of the IKE SAs of a connection that are up."""
        return frozenset(self.peers(connection))

    def peers(self, connection: str) -> dict[str, tuple[str, ...]]:
        """Return with whom and for what each IKE SA of a connection that is up is, by unique ids.

        Two of the same are one tunnel made twice, as when both ends authenticate it anew at the same moment.
        """
        return {
            text(details.get("uniqueid")): purpose(details)
            for listed in self._session.list_sas({"ike": connection})
            for name, details in listed.items()
            if name == connection and text(details.get("state")) == "ESTABLISHED"
        }

    # ---- changes

    def load_certificate(self, certificate: bytes, *, authority: bool) -> None:
        """Give it a certificate (DER); one of an authority is trusted, or helps to build chains."""
        self._session.load_cert({"type": "X509", "flag": "CA" if authority else "NONE", "data": certificate})

    def load_key(self, pkcs8: bytes) -> str:
        """Give it a private key; return the identifier it has there."""
        return text(self._session.load_key({"type": "any", "data": pkcs8}).get("id"))

    def load_token(self, handle: str, module: str, pin: str) -> str:
        """Have it use the key with this CKA_ID (hexadecimal) on a token; return the identifier it has there."""
        return text(self._session.load_token({"handle": handle, "module": module, "pin": pin}).get("id"))

    def unload_key(self, identifier: str) -> None:
        """Take a private key from it; one that is gone already is no error."""
        if identifier in self.keys():
            self._session.unload_key({"id": identifier})

    def forget_chains(self) -> None:
        """Flush its cache of certificates: it would offer an old certificate of ours before the new one."""
        self._session.flush_certs({"type": "X509"})

    def reauthenticate(self, connection: str, unique: str) -> None:
        """Have one IKE SA authenticated anew; what comes of it shows in a :class:`Watch`."""
        with self._unless_gone(connection, unique):
            self._session.rekey({"ike-id": unique, "reauth": "yes"})

    def close(self, connection: str, unique: str) -> None:
        """Have one IKE SA deleted, with what it carries; this does not wait for it."""
        with self._unless_gone(connection, unique):
            for _ in self._session.terminate({"ike-id": unique, "timeout": "-1"}):
                pass

    @contextmanager
    def _unless_gone(self, connection: str, unique: str) -> Iterator[None]:
        """Let charon say no for the one reason that the IKE SA is not there any more: its peer has replaced it."""
        try:
            yield
        except CommandException:
            if unique in self.tunnels(connection):
                raise

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
        yield SpiChange(came=spis(*asking.list_sas()))
        for label, message in events:
            if label is None:
                yield SpiChange()
            elif label == b"child-updown" and text(message.get("up")) != "yes":
                yield SpiChange(went=spis(message))
            else:
                yield SpiChange(came=spis(message))


def _one_line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:400]


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
