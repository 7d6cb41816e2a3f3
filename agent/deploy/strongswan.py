"""strongSwan over vici: load, confirm that it is listed, authenticate a tunnel with it, and go back where that fails.

The order, and why it is so:

1. Roots, chain and certificate are loaded, then the key; charon's name of the key must be that of the certificate's.
2. The old keys leave charon *before* a tunnel is authenticated anew. A tunnel that is up does not need them. While an
   old key is there, charon may take the old certificate again (it looks into its cache first), and a new tunnel would
   prove nothing. If the new one fails, the old key is put back at once: it stays on disk until long after.
3. One tunnel of each connection is re-authenticated, make-before-break. Only an ``ike-updown`` event of a new SA
   counts: charon's commands succeed when authentication fails later. The other tunnels follow one by one. Of one that
   was made twice, because both ends had authenticated it at the same moment, one remains.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from agent.deploy.charon import TROUBLE, Charon, Connection
from agent.deploy.material import key_id_of, names_of
from agent.deploy.target import RESTORED
from agent.errors import AgentError, ConsumerRefused, ConsumerUnproven, DeployError
from hsm.errors import KeyStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agent.deploy.material import Material
    from agent.deploy.target import Change, Hands
    from agent.deploy.watch import Watch
    from agent.settings import StrongswanTarget

_NO_ANSWER: Final = ("not responding", "giving up after", "retransmit")
"""What charon logs when nobody answered; that says nothing about the certificate."""
_REASONS: Final = (
    "received AUTHENTICATION_FAILED",
    "no private key found",
    "no trusted",
    "no issuer certificate found",
    "constraint check failed",
    "certificate was revoked",
    "failed",
    "unable to reauthenticate",
    "not responding",
    "giving up after",
    "notify error",
)
"""Words of the line that says why, most telling first."""
_LAST_WORDS: Final = 0.5
"""Seconds for charon to log the reason, which it does after the event that the attempt failed."""
_OLD_ONES_GO: Final = 2.0
"""Seconds for charon to delete what was replaced."""
_CANARIES: Final = 3
"""Tunnels that are tried before a connection counts as refused: the peer of one may just be switched off."""


class Strongswan:
    """One charon."""

    def __init__(self, settings: StrongswanTarget, hands: Hands) -> None:
        """Keep what is wanted; charon is not spoken to yet."""
        self._settings = settings
        self._hands = hands
        self._charon = Charon(settings.vici)

    def live(self, material: Material) -> bool:
        """Tell whether charon lists the certificate with its key, and before others of that key."""
        with self._charon.connected():
            return self._holds(material) and self._with_key(material.key_id)[:1] == [material.certificate]

    def deploy(self, change: Change) -> str:
        """Bring ``change.new`` into use. See :class:`agent.deploy.target.Target`."""
        with self._charon.connected():
            connections = self._chosen()
            self._load(change.new)
            if not self._holds(change.new):
                raise ConsumerRefused(
                    "charon took the certificate and its key but does not list them together",
                    remedy="See charon's log for what it did not like: journalctl -u strongswan.",
                )
            try:
                self._retire(change, keep=change.new)
                self._demand_first(change.new)
                self._demand_alone(change)
                proofs = [self._prove(one, restored=change.reason == RESTORED) for one in connections]
            except BaseException:
                self._put_back(change, connections)
                raise
            several = len(self._with_key(change.new.key_id)) > 1
        doubt = ["charon has earlier certificates of this key, which it offers to a peer that trusts only their issuer"]
        return "; ".join(["charon lists certificate and key", *filter(None, proofs), *(doubt if several else ())])

    def _chosen(self) -> list[Connection]:
        known = self._charon.connections()
        missing = [name for name in self._settings.connections if name not in known]
        if missing:
            raise ConsumerUnproven(
                f"charon knows no connection {', '.join(missing)}; it knows {', '.join(sorted(known)) or 'none'}",
                remedy="Load it (swanctl --load-conns), or correct `connections` in the configuration.",
            )
        return [known[name] for name in self._settings.connections]

    def _load(self, material: Material) -> None:
        for anchor in material.trust_anchors:
            self._charon.load_certificate(anchor, authority=True)
        for one in material.chain:
            self._charon.load_certificate(one, authority=True)
        self._charon.load_certificate(material.certificate, authority=False)
        identifier = self._load_key(material)
        if identifier != material.key_id:
            with suppress(*TROUBLE):
                self._charon.unload_key(identifier)
            raise ConsumerRefused(
                f"the key that charon loaded ({identifier}) is not that of the certificate ({material.key_id})",
                remedy="Key and certificate do not belong together: "
                f"run 'enrollctl enroll {self._hands.identity} --again'.",
            )

    def _load_key(self, material: Material) -> str:
        if material.private_key is not None:
            return self._charon.load_key(material.private_key)
        if self._settings.module is None or not material.token_handle:
            raise ConsumerRefused(
                "the key is on a token, and charon has not been told which module reaches it",
                remedy="Set `module` of the strongswan target: as strongswan.conf calls it (plugins.pkcs11.modules).",
            )
        pin = self._hands.read_pin(material.key_reference).decode()
        return self._charon.load_token(material.token_handle, self._settings.module, pin)

    def _holds(self, material: Material) -> bool:
        keys = self._charon.keys()
        return material.key_id in keys and any(
            one.has_key and one.certificate == material.certificate for one in self._charon.certificates()
        )

    def _retire(self, change: Change, *, keep: Material) -> None:
        """Take every other key of this identity from charon, and what it remembers of certificates."""
        held = self._charon.keys()
        others = [one for one in (change.new, change.previous, *change.retired) if one is not None]
        for identifier in sorted({one.key_id for one in others} - {keep.key_id}):
            if identifier in held:
                self._charon.unload_key(identifier)
        self._charon.forget_chains()

    def _with_key(self, identifier: str) -> list[bytes]:
        """Return the certificates of one key, that first which charon offers to its peers: the one loaded last."""
        held = (one.certificate for one in self._charon.certificates() if one.has_key)
        return [one for one in held if key_id_of(one) == identifier]

    def _demand_first(self, material: Material) -> None:
        """Refuse to go on behind another certificate of the same key: it was loaded later, and charon forgets none."""
        if self._with_key(material.key_id)[:1] != [material.certificate]:
            raise ConsumerUnproven(
                "charon goes on with the certificate that was loaded last, because both have the same key",
                remedy="Run 'swanctl --load-creds --clear': what belongs there is loaded again by itself. With "
                "`renewal.key: new` nothing of the kind is needed.",
            )

    def _demand_alone(self, change: Change) -> None:
        """Refuse to go on beside somebody else's key for the same name: charon might take that one."""
        ours = {one.key_id for one in (change.new, change.previous, *change.retired) if one is not None}
        for one in self._charon.certificates():
            if one.has_key and key_id_of(one.certificate) not in ours and names_of(one.certificate) & change.new.names:
                raise ConsumerRefused(
                    "charon holds another key and certificate for the same name, which did not come from enrolld",
                    remedy="Remove them from x509/ and private/ of swanctl, then run 'swanctl --load-creds --clear'.",
                )

    # ---- proof

    def _prove(self, connection: Connection, *, restored: bool) -> str:
        """Have a tunnel of ``connection`` authenticated with what charon holds now; say what was seen.

        ``restored``: it had this credential before, and lost it; the tunnels that are up need no other proof.
        """
        with self._charon.watching(connection.name) as watching:
            watch = next(watching)
            end = time.monotonic() + self._settings.timeout
            unique = ""
            if not watch.before:
                return self._start(connection, watching, end)
            if restored:
                return f"{connection.name} is up"
            peers = self._charon.peers(connection.name)
            newest = {peers[one]: one for one in sorted(peers, key=_age)}
            waiting = sorted(newest.values(), key=_age)
            for unique in waiting[:_CANARIES]:
                failed = len(watch.failed)
                self._charon.reauthenticate(connection.name, unique)
                _wait(watching, lambda failed=failed: bool(watch.up) or len(watch.failed) > failed, end)  # type: ignore[misc]
                if watch.up:
                    break
            if not watch.up:
                raise _refusal(watch, watching)
            self._follow_up(watch, watching, [one for one in waiting if one != unique], end)
            _wait(watching, lambda: watch.lost.issuperset(waiting), min(end, time.monotonic() + _OLD_ONES_GO))
            for double in peers.keys() - set(waiting) - watch.lost:
                if newest[peers[double]] in watch.lost:
                    self._charon.close(connection.name, double)
            return self._summary(connection, watch, len(waiting))

    def _start(self, connection: Connection, watching: Iterator[Watch], end: float) -> str:
        if not (self._settings.initiate and connection.dialable and connection.children):
            return f"no tunnel of {connection.name} is up that could prove it"
        watch = next(watching)
        self._charon.initiate(connection.name, connection.children[0])
        _wait(watching, lambda: bool(watch.up or watch.failed), end)
        if not watch.up:
            raise _refusal(watch, watching)
        for child in connection.children[1:]:
            self._charon.initiate(connection.name, child)
        return f"{connection.name} came up with it"

    def _follow_up(self, watch: Watch, watching: Iterator[Watch], others: Iterable[str], end: float) -> None:
        """Have the other tunnels follow, one by one; what does not within the time follows when charon rekeys it."""
        for unique in others:
            if time.monotonic() >= end:
                return
            if unique in watch.lost:  # its peer has done it
                continue
            done = len(watch.up) + len(watch.failed)
            self._charon.reauthenticate(watch.connection, unique)
            _wait(watching, lambda done=done: len(watch.up) + len(watch.failed) > done, end)  # type: ignore[misc]

    def _summary(self, connection: Connection, watch: Watch, wanted: int) -> str:
        if watch.broke_first:
            self._hands.say(
                f"charon took down {connection.name} before the new tunnel was up: set `make_before_break = yes` in "
                "strongswan.conf, so that no packet is lost"
            )
        done = min(len(watch.up), wanted)
        more = f", {wanted - done} tunnels follow at their next re-authentication" if done < wanted else ""
        return f"{connection.name} was authenticated anew ({done} of {wanted}{more})"

    def _put_back(self, change: Change, connections: list[Connection]) -> None:
        """Give charon back what it had, and see that the tunnels are up again; its own errors come second."""
        previous = change.previous
        if previous is None:
            return
        with self._second(previous):
            self._load(previous)
            self._retire(change, keep=previous)
            if self._with_key(previous.key_id)[:1] != [previous.certificate]:
                self._hands.say(
                    "charon offers the refused certificate from now on, as it has the key of the previous one: run "
                    "'swanctl --load-creds --clear', and the previous one is loaded alone"
                )
            for one in connections:
                # Without make_before_break a failed re-authentication has taken the tunnel down.
                if self._settings.initiate and one.dialable and one.children and not self._charon.tunnels(one.name):
                    for child in one.children:
                        self._charon.initiate(one.name, child)

    @contextmanager
    def _second(self, previous: Material) -> Iterator[None]:
        """Report what goes wrong on the way back beside the error that led to it, which is what counts."""
        try:
            yield
        except (*TROUBLE, AgentError, KeyStoreError) as error:
            self._hands.say(f"charon may lack the previous certificate ({previous.serial}) and its key: {error}")


def _age(unique: str) -> int:
    return int(unique) if unique.isdigit() else 0


def _wait(watching: Iterator[Watch], condition: Callable[[], bool], end: float) -> None:
    """Let events come in until ``condition`` holds or the time is over."""
    while not condition() and time.monotonic() < end:
        next(watching)


def _refusal(watch: Watch, watching: Iterator[Watch]) -> DeployError:
    """Return why no tunnel came up with the new certificate, in charon's words, and what to do about it."""
    _wait(watching, lambda: bool(_reason(watch)), time.monotonic() + _LAST_WORDS)
    line = _reason(watch)
    reason = f": {line}" if line else ""
    if not watch.failed or any(word in line for word in _NO_ANSWER):
        return ConsumerUnproven(
            f"no tunnel of {watch.connection} came up with the new certificate{reason}",
            remedy="See whether the peer can be reached; the old certificate stays in use meanwhile.",
        )
    return ConsumerRefused(
        f"{watch.connection} was not authenticated with the new certificate{reason}",
        remedy=next((remedy for word, remedy in _REMEDIES.items() if word in line), _OTHER_REMEDY),
    )


def _reason(watch: Watch) -> str:
    """Return the line that says most about why a tunnel failed; empty before there is one."""
    lines = (line.strip() for word in _REASONS for line in reversed(watch.lines) if word in line)
    return next(lines, "")[:300]


_REMEDIES: Final = {
    "received AUTHENTICATION_FAILED": (
        "Ask the operator of the peer whether it trusts the issuer of the new certificate (its root must be among the "
        "peer's CA certificates) and accepts its names."
    ),
    "no private key found": "Compare the connection's `local.id` with the names in the certificate.",
    "no trusted": "The peer's certificate is not trusted here: its root is missing among the trust anchors.",
    "no issuer certificate": "The peer's certificate is not trusted here: its root is missing among the trust anchors.",
}
_OTHER_REMEDY: Final = "See charon's log for the reason: journalctl -u strongswan."
