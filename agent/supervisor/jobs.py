"""What a worker is given to do: one identity's part of the configuration, with the tokens it may need."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from agent import structure, units
from agent.contract import Action, Job
from agent.errors import StateError
from agent.overview import look
from agent.settings import SOFTWARE, HookTarget, RenewalMethod, StrongswanTarget
from agent.store.deployment import DeploymentFile, labels
from agent.store.generations import IdentityStore
from agent.store.token_keys import TokenKeys
from agent.supervisor.clocks import calendar_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from agent.settings import AuthoritySettings, DirectoryTarget, IdentitySettings, Settings, TokenSettings
    from agent.supervisor.clocks import Calendar

_REQUESTS: Final = frozenset({Action.ENROLL, Action.RENEW, Action.TEMPLATE})
_DELIVERING: Final = frozenset({Action.ENROLL, Action.RENEW, Action.DEPLOY})
"""Jobs that bring credentials to consumers."""
_LOST: Final = frozenset({"expired", "damaged"})
"""States in which there was a certificate, and the way of the first one may be spent."""
_SLACK: Final = 120.0
"""Seconds for keys, disks and tokens on a slow machine."""
_EXCHANGES: Final = 4
"""Messages between two waits: an answer to a poll, the confirmation, and as many again for servers that hesitate."""
_CONSUMER_SLACK: Final = 30.0
"""Seconds for what a consumer needs beside its own time."""
_SCHEME: Final = "pkcs11:"


def job_for(settings: Settings, name: str, action: Action, *, calendar: Calendar | None = None, **details: Any) -> Job:
    """Return the job ``action`` for the identity ``name``; ``details`` are further fields of :class:`Job`.

    ``calendar`` knows what the clock of this machine is worth; without one, what the daemon remembered on disk does.

    Raises:
        StateError: the state directory cannot be read.
    """
    identity = settings.identities[name]
    calendar = calendar or calendar_of(settings.state_directory)
    known = calendar.known_time
    if identity.recovery is not None and _lost(settings.state_directory, name, calendar.now()):
        identity = replace(identity, bootstrap=identity.recovery)
    return Job(
        action=action,
        name=name,
        identity=identity,
        authority=settings.authorities[identity.authority],
        state_directory=settings.state_directory,
        recording=settings.recording,
        tokens=tokens_for(identity, settings.tokens, settings.state_directory, name, action)
        | tokens_of_consumers(identity, settings.tokens, settings.state_directory, name, action),
        known_time=None if known is None else known.isoformat(),
        **details,
    )


def basis(settings: Settings, name: str) -> dict[str, Any]:
    """Return what every job of ``name`` rests on, as JSON: two programs that agree on it would do the same."""
    identity = settings.identities[name]
    whole = Job(
        action=Action.ENROLL,
        name=name,
        identity=identity,
        authority=settings.authorities[identity.authority],
        state_directory=settings.state_directory,
        recording=settings.recording,
        tokens=settings.tokens,
    )
    return structure.to_json(whole)


def _lost(state_directory: Path, name: str, now: datetime) -> bool:
    """Tell whether a certificate was had and is lost; the request that makes up for it may be open."""
    seen = look(state_directory, name, now=now)
    if seen.state in _LOST:
        return True
    ended = seen.not_after is not None and datetime.fromisoformat(seen.not_after) <= now
    return ended and not seen.usable and seen.open_request == Action.ENROLL


def deployment_work(identity: IdentitySettings) -> float:
    """Return the seconds that a worker may be busy with the consumers of an identity."""
    return sum(_consumer_work(target.chosen) for target in identity.deploy)


def _consumer_work(target: StrongswanTarget | DirectoryTarget | HookTarget) -> float:
    own = 0.0
    if isinstance(target, StrongswanTarget):
        own = target.timeout * len(target.connections)
    elif isinstance(target, HookTarget):
        own = units.seconds(target.timeout)
    # It may be needed twice: for the new credential, and for the way back.
    return 2 * own + _CONSUMER_SLACK


def tokens_for(
    identity: IdentitySettings, tokens: Mapping[str, TokenSettings], state_directory: Path, name: str, action: Action
) -> dict[str, TokenSettings]:
    """Return the tokens on which a job of the identity ``name`` may find or make a key, by name.

    A new key is made on the token that is the identity's store. One that exists is named by a ``pkcs11:`` URI (RFC
    7512), in the configuration or on disk; a URI that names no label may mean every token.
    """
    if not tokens:
        return {}
    found = {identity.key.store} - {SOFTWARE} if action is not Action.RETIRE else set()
    found |= _named(_references(identity, state_directory, name, action), tokens)
    return {one: token for one, token in tokens.items() if one in found}


def tokens_of_consumers(
    identity: IdentitySettings, tokens: Mapping[str, TokenSettings], state_directory: Path, name: str, action: Action
) -> dict[str, TokenSettings]:
    """Return the tokens with the keys that IKE daemons use now: they get them back where they refuse the next one.

    A job can do without the PINs of these; then there is no way back.
    """
    charons = [label for label, one in zip(labels(identity.deploy), identity.deploy, strict=True) if one.strongswan]
    if not tokens or not charons or action not in _DELIVERING:
        return {}
    store = IdentityStore(state_directory, name)
    try:
        record = DeploymentFile(store.directory).load()
        used = {record.of(label).generation for label in charons}
        found = _named((one.key_reference for one in store.generations if one.number in used), tokens)
    except StateError:
        return {}  # the worker meets the same trouble and reports it
    return {one: token for one, token in tokens.items() if one in found}


def _named(references: Iterable[str], tokens: Mapping[str, TokenSettings]) -> set[str]:
    """Return the names of the tokens on which the keys ``references`` may be."""
    wanted = {label_of(one) for one in references if one.startswith(_SCHEME)}
    return {one for one, token in tokens.items() if wanted & {None, token.label}}


def demand_state_directory(directory: Path) -> None:
    """Refuse to make it ourselves: it may belong to a disk that is not mounted, with the credentials on it.

    Raises:
        StateError: when it is not there.
    """
    if not os.path.lexists(directory):
        raise StateError(
            f"there is no state directory {directory}",
            remedy="Mount the disk that it is on; on a new machine make it with "
            f"'install -d -m 700 {shlex.quote(str(directory))}'.",
        )


def needs_secret(job: Job) -> bool:
    """Tell whether the worker will need the one-time secret: it is read, or a person asked, only then."""
    if job.identity.bootstrap.shared_secret is None or job.action not in _REQUESTS:
        return False
    seen = look(job.state_directory, job.name)
    if job.action is Action.TEMPLATE:
        return not seen.usable
    if seen.open_request is not None and not job.abandon:
        return _by_bootstrap(Action(seen.open_request), job) and seen.open_state != "installing"
    return _by_bootstrap(job.action, job) and (job.action is Action.RENEW or job.again or not seen.usable)


def _by_bootstrap(action: Action, job: Job) -> bool:
    """Tell whether the bootstrap credential vouches for a request: the first one, and renewals that are made alike."""
    return action is Action.ENROLL or job.identity.renewal.method is RenewalMethod.ENROLL


def longest_work(authority: AuthoritySettings) -> float:
    """Return the seconds that a worker may be busy, waiting apart, before it counts as hanging."""
    an_exchange = (authority.http.connect_timeout + authority.http.response_timeout) * len(authority.urls)
    return _SLACK + _EXCHANGES * an_exchange


def label_of(uri: str) -> str | None:
    """Return the label of the token that a ``pkcs11:`` URI names (RFC 7512 section 2.3); None when it names none."""
    path = uri.removeprefix(_SCHEME).partition("?")[0]
    value = next((one.partition("=")[2] for one in path.split(";") if one.startswith("token=")), None)
    return None if value is None else _decoded(value)


def _references(identity: IdentitySettings, state_directory: Path, name: str, action: Action) -> Iterator[str]:
    if action is Action.RETIRE:
        yield from TokenKeys(IdentityStore(state_directory, name).directory).load()
        return
    if identity.key.existing is not None:
        yield identity.key.existing
    vendor = identity.bootstrap.vendor_certificate
    if vendor is not None and (
        action in {Action.ENROLL, Action.TEMPLATE} or identity.renewal.method is RenewalMethod.ENROLL
    ):
        yield vendor.key
    store = IdentityStore(state_directory, name)
    try:
        if identity.renewal.signer is not None:
            signer = IdentityStore(state_directory, identity.renewal.signer).current
            if signer is not None:
                yield signer.key_reference
        current = store.current
        if current is not None:
            yield current.key_reference
        opened = store.transaction.key_reference
        if opened is not None:
            yield opened
    except StateError:
        return  # the worker meets the same trouble and reports it


def _decoded(text: str) -> str:
    """Undo percent-encoding (RFC 3986 section 2.1)."""
    octets = re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes.fromhex(found[1].decode()), text.encode())
    return octets.decode(errors="replace")
