"""CRLs for a certificate's path: those on disk, and where they do not help, those of the addresses in certificates.

What was fetched is verified before it is kept, and never replaced by an older one. Addresses are asked only for paths
that end in a trusted root: nobody else can make this machine open a connection.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from agent.cmp import profiles, revocation
from agent.cmp.certificates import Facts, read
from agent.cmp.errors import MalformedMessage
from agent.cmp.revocation import RevocationList, Standing
from agent.cmp.sizes import MAXIMUM_LIST, SMALLER_LISTS
from agent.errors import NotFetched, StateError
from agent.events import Event
from agent.net.fetching import fetch
from agent.store.authorities import AuthorityStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography.x509 import Certificate

    from agent.contract import Job
    from agent.worker.environment import Environment
    from agent.worker.reporting import Reporter


_PATIENCE: Final = 2
"""How many time-outs one path may cost in all."""


class Lists:
    """The CRLs of one authority."""

    def __init__(self, job: Job, environment: Environment, reporter: Reporter) -> None:
        """Touch nothing yet."""
        self._until = 0.0
        self._job = job
        self._environment = environment
        self._tell = reporter.tell
        self._store = AuthorityStore(job.state_directory, job.identity.authority)
        self._rules = profiles.PROFILES[job.authority.profile.value].algorithms

    @property
    def at_hand(self) -> tuple[RevocationList, ...]:
        """The CRLs on disk; not verified."""
        return revocation.load_all(self._store.lists)

    def look_up(self, path: Sequence[Certificate]) -> tuple[RevocationList, ...]:
        """Return what can be had for a verified ``path``, signer first, anchor last; what is new goes to disk."""
        found = {one.octets: one for one in self.at_hand}
        self._until = self._environment.monotonic() + _PATIENCE * self._job.authority.crls.timeout
        for facts, issuer in pairwise(map(read, path)):
            if self.standing(facts, issuer, found.values()).standing is not Standing.UNKNOWN:
                continue
            fresh = self._fetch(facts, issuer)
            if fresh is not None and fresh.octets not in found:
                found[fresh.octets] = fresh
                self.keep(fresh)
        return tuple(found.values())

    def standing(self, facts: Facts, issuer: Facts, lists: Iterable[RevocationList]) -> revocation.Finding:
        """Return what ``lists`` say of a certificate now."""
        return revocation.standing(
            facts,
            issuer,
            lists,
            at=self._environment.judging_time,
            rules=self._rules,
            clock_trusted=self._environment.clock_trusted,
        )

    def accept(self, octets: bytes, issuer: Facts) -> RevocationList | None:
        """Return the CRL in ``octets`` if it proves something now under the key of ``issuer``; tell why if not."""
        try:
            crl = revocation.load(octets)
        except MalformedMessage as error:
            self._tell(Event.NOTE, {"REMEDY": error.remedy}, note=str(error))
            return None
        objection = revocation.problem(
            crl,
            issuer,
            at=self._environment.judging_time,
            rules=self._rules,
            clock_trusted=self._environment.clock_trusted,
        )
        if objection is not None:
            self._tell(Event.NOTE, note=f"a CRL of {crl.who} is not used: {objection}")
            return None
        return crl

    def _fetch(self, facts: Facts, issuer: Facts) -> RevocationList | None:
        for url in revocation.places(facts):
            if self._environment.monotonic() > self._until:
                break  # the CA awaits our next message
            try:
                octets = fetch(
                    url,
                    self._job.authority.http,
                    timeout=self._job.authority.crls.timeout,
                    maximum=MAXIMUM_LIST,
                    too_much=SMALLER_LISTS,
                )
            except NotFetched as error:
                self._tell(Event.NOTE, {"REMEDY": error.remedy}, note=str(error))
                continue
            crl = self.accept(octets, issuer)
            if crl is not None:
                return crl
        return None

    def keep(self, crl: RevocationList) -> None:
        """Keep a verified CRL for the next job, unless the one on disk is newer; if that fails, it is fetched again."""
        try:
            with self._store.lock():
                same = [one for one in self.at_hand if one.place == crl.place]
                if all(one.this_update < crl.this_update for one in same):
                    self._store.save_list(repr(crl.place).encode(), crl.octets)
        except StateError as error:
            self._tell(Event.NOTE, {"REMEDY": error.remedy}, note=f"a CRL could not be kept: {error}")
