"""Asking an authority what changed: its CA certificates, a new root and its CRLs (genm, RFC 9483 4.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding

from agent.cmp import der, profiles, root_update
from agent.cmp.certificates import Facts, load, read
from agent.cmp.errors import MalformedMessage, RemoteError, UntrustedPeer
from agent.cmp.messages import Info
from agent.cmp.revocation import crl_status
from agent.cmp.sizes import MAXIMUM_CERTIFICATES
from agent.contract import Outcome, Verdict
from agent.errors import NoCertificate, TransportError
from agent.events import Event, sentence
from agent.store.authorities import AuthorityStore
from agent.worker.conversation import OutOfPatience
from agent.worker.inquiring import DeclinedQuestion, Inquirer
from agent.worker.originator import by_current
from agent.worker.own_standing import own_standing
from agent.worker.plan import peer_rules, recipient
from agent.worker.record import CRL_ENDS, note_beginning
from agent.worker.words import day

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509

    from agent.cmp.revocation import RevocationList
    from agent.contract import Job
    from agent.store.generations import IdentityStore
    from agent.worker.environment import Environment
    from agent.worker.keyring import Keyring
    from agent.worker.reporting import Reporter


_MOST_ROOTS: Final = 16
"""However many successors a CA offers: an operator has a root, its successor, and perhaps another algorithm's."""


def refresh(job: Job, store: IdentityStore, keys: Keyring, reporter: Reporter, environment: Environment) -> Outcome:
    """Ask the authority of ``job`` with the certificate in use; the lock of ``store`` is held.

    CA certificates are kept as they come and trusted for nothing. A new root is trusted beside the old one if the old
    one vouches for it; otherwise nothing changes and a person is told. CRLs are looked up whether the CA answers or
    not, and say what our own certificate is worth.

    Raises:
        NoCertificate: there is none to ask with.
        RemoteError, TransportError: no acceptable answer.
        StateError: the disk does not let us.
    """
    if store.current is None:
        raise NoCertificate(
            "there is no certificate yet to ask with", remedy=f"Run 'enrollctl enroll {job.name}' first."
        )
    note_beginning(store, job, environment.now())
    desk = _Desk(job, store, keys, reporter, environment)
    try:
        asked = _ask_the_authority(job, desk, reporter)
    except (RemoteError, TransportError):
        own_standing(job, store, reporter, environment, ask=None)
        raise
    standing = own_standing(job, store, reporter, environment, ask=desk.crl)
    if asked.verdict is not Verdict.DONE:
        return asked
    if standing.trouble is not None:
        return standing.trouble
    return asked if standing.ends is None else replace(asked, fields={CRL_ENDS: standing.ends.isoformat()})


def _ask_the_authority(job: Job, desk: _Desk, reporter: Reporter) -> Outcome:
    authority = AuthorityStore(job.state_directory, job.identity.authority)
    declined: list[DeclinedQuestion] = []
    try:
        certificates = _answered(desk.ca_certificates, declined)
        roots = _answered(desk.new_roots, declined)
    except OutOfPatience as wait:
        return wait.outcome("the CA has not answered yet")
    if certificates is None and roots is None:
        return Outcome(verdict=Verdict.REJECTED, text=str(declined[0]), remedy=declined[0].remedy)
    for one in declined:
        reporter.tell(Event.NOTE, {"REMEDY": one.remedy}, note=str(one))
    with authority.lock():
        if certificates is not None:
            authority.save_ca_certificates(certificates)
        for root in roots or ():
            authority.add_trust_anchor(root)
    found = {"certificates": certificates or (), "roots": roots or ()}
    words = {"authority": job.identity.authority} | {name: str(len(each)) for name, each in found.items()}
    reporter.tell(Event.REFRESHED, None, **words)
    return Outcome(verdict=Verdict.DONE, text=sentence(Event.REFRESHED, words))


def _answered(ask: Callable[[], tuple[bytes, ...]], declined: list[DeclinedQuestion]) -> tuple[bytes, ...] | None:
    """Return what ``ask`` finds; None, with the reason in ``declined``, where the CA does not offer it.

    RFC 9483 4.3 has each of these answers for itself: a CA that has one need not have the other.
    """
    try:
        return ask()
    except DeclinedQuestion as why:
        declined.append(why)
        return None


class _Desk:
    """Asks one question after another, each in a transaction of its own."""

    def __init__(
        self, job: Job, store: IdentityStore, keys: Keyring, reporter: Reporter, environment: Environment
    ) -> None:
        current = store.current
        assert current is not None  # noqa: S101 - refresh() looked
        self._reporter = reporter
        self._environment = environment
        self._algorithms = profiles.PROFILES[job.authority.profile.value].algorithms
        self._rules = peer_rules(job, current)
        originator = by_current(job, current, keys)
        whom = recipient(job, load(current.certificate))
        self._inquirer = Inquirer(job, originator, self._rules, whom, reporter, environment)
        self._ask = self._inquirer.ask

    def crl(self, facts: Facts, known: RevocationList | None) -> tuple[bytes, ...]:
        """Ask the CA for the CRL of a certificate, if newer than ``known`` (RFC 9483 4.3.4); () when it has none."""
        value = der.wrap(der.SEQUENCE, crl_status(facts, known))
        try:
            answer = self._ask(Info.CRL_STATUS_LIST, value, Info.CRLS)
        except OutOfPatience as wait:
            self._crl_in_vain(f"it has not answered yet ({wait})")
            return ()
        except (DeclinedQuestion, RemoteError, TransportError) as error:
            self._crl_in_vain(str(error), error.remedy)
            return ()
        return () if answer is None else tuple(_elements(answer))

    def _crl_in_vain(self, why: str, remedy: str = "") -> None:
        fields = {"REMEDY": remedy} if remedy else None
        self._reporter.tell(Event.NOTE, fields, note=f"the CA was asked for its CRL in vain: {why}")

    def ca_certificates(self) -> tuple[bytes, ...]:
        """Return the CA certificates the CA has; () for none. Damaged ones are left out."""
        answer = self._ask(Info.CA_CERTS, None, Info.CA_CERTS)
        if answer is None:
            return ()
        found = []
        for octets in _elements(answer):
            try:
                load(octets)
            except MalformedMessage:
                continue
            found.append(octets)
        return tuple(found)

    def new_roots(self) -> tuple[bytes, ...]:
        """Ask for the successor of every root we trust; return those their predecessor vouches for, DER."""
        added: list[bytes] = []
        known = {_der(one) for one in self._rules.anchors}
        for anchor in self._rules.anchors:
            facts = read(anchor)
            if not facts.self_issued or facts.not_after <= self._environment.judging_time:
                continue  # only a root in force can vouch for its successor
            if len(known) >= _MOST_ROOTS:
                self._reporter.tell(Event.NOTE, note=f"{len(known)} roots are trusted already; no more are asked for")
                break
            answer = self._ask(Info.ROOT_CA_CERT, _der(anchor), Info.ROOT_CA_KEY_UPDATE)
            if answer is None:
                continue
            new = self._judge(answer, facts)
            if new is not None and new not in known:
                known.add(new)
                added.append(new)
        return tuple(added)

    def _judge(self, answer: bytes, old: Facts) -> bytes | None:
        try:
            new = root_update.accept(
                root_update.decode(answer),
                old.certificate,
                now=self._environment.judging_time,
                rules=self._algorithms,
            )
        except UntrustedPeer as error:
            self._reporter.tell(Event.ROOT_REFUSED, {"REMEDY": error.remedy}, reason=str(error))
            return None
        facts = read(new)
        self._reporter.tell(Event.ROOT_ADDED, subject=facts.who, old=old.who, not_after=day(facts.not_after))
        return facts.octets


def _elements(answer: bytes) -> list[bytes]:
    elements = der.children(answer)
    if len(elements) > MAXIMUM_CERTIFICATES:
        raise der.malformed(f"it lists more than {MAXIMUM_CERTIFICATES} entries")
    return [answer[one.start : one.end] for one in elements]


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
