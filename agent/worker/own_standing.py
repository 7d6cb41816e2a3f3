"""Whether our own certificate, or that of a CA above it, was revoked: looked up at every refresh.

Only a verified CRL changes what the disk says of the certificate: the mark ``revoked`` for good, the mark ``on-hold``
until a later CRL takes it back. Everything else is reported.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from agent.cmp.certificates import Facts, load, load_all, read
from agent.cmp.errors import UntrustedPeer
from agent.cmp.profiles import PROFILES
from agent.cmp.revocation import Finding, Standing
from agent.cmp.trust import build_path
from agent.contract import Outcome, Verdict
from agent.events import Event, sentence
from agent.frozen import frozen
from agent.settings import RevocationCheck
from agent.store.authorities import AuthorityStore
from agent.store.credential import ON_HOLD, REVOKED
from agent.worker.lists import Lists
from agent.worker.plan import peer_rules
from agent.worker.words import certificate_fields, certificate_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from agent.cmp.revocation import RevocationList
    from agent.contract import Job
    from agent.store.generations import Generation, IdentityStore
    from agent.worker.environment import Environment
    from agent.worker.reporting import Reporter

    Ask = Callable[[Facts, RevocationList | None], tuple[bytes, ...]]

_SAYS_NO = frozenset({Standing.REVOKED, Standing.ON_HOLD})


@frozen
class OwnStanding:
    """``trouble`` is how the refresh ends if not well; ``ends`` when the first CRL at hand does."""

    trouble: Outcome | None = None
    ends: datetime | None = None


def own_standing(
    job: Job, store: IdentityStore, reporter: Reporter, environment: Environment, *, ask: Ask | None
) -> OwnStanding:
    """Look up the certificate in use and the CAs above it, and write down what is certain.

    ``ask`` gets CRLs from the CA itself where no address helps; None where it does not answer.

    Raises:
        StateError: the disk does not let us.
    """
    current, mode = store.current, job.authority.crls.own
    if current is None or mode is RevocationCheck.OFF:
        return OwnStanding()
    try:
        findings = _findings(job, current, reporter, environment, ask)
    except UntrustedPeer as error:
        text = f"whether our certificate was revoked is unknown: {error}"
        return OwnStanding(Outcome(verdict=Verdict.REFUSED, text=text, remedy=error.remedy))
    ends = min((one.next_update for one in findings if one.next_update), default=None)
    return OwnStanding(_judged(store, current, findings, mode, reporter), ends)


def _judged(
    store: IdentityStore, current: Generation, findings: list[Finding], mode: RevocationCheck, reporter: Reporter
) -> Outcome | None:
    own, *above = findings
    if own.standing is Standing.GOOD and current.marks.get(ON_HOLD):
        store.mark(current, ON_HOLD, None)
        reporter.tell(Event.HOLD_ENDED, certificate_fields(read(own.certificate)), **_words(own))
    if own.standing in _SAYS_NO:
        return _said_no(store, current, own, reporter)
    for one in above:
        if one.standing in _SAYS_NO:
            return _issuer_said_no(one, reporter)
    unknown = next((one for one in findings if one.standing is Standing.UNKNOWN), None)
    return _unknown(unknown, mode, reporter) if unknown is not None else None


def _findings(
    job: Job, current: Generation, reporter: Reporter, environment: Environment, ask: Ask | None
) -> list[Finding]:
    rules = peer_rules(job, current)
    store = AuthorityStore(job.state_directory, job.identity.authority)
    path = build_path(
        load(current.certificate),
        intermediates=load_all((*current.chain, *store.ca_certificates)),
        anchors=rules.anchors,
        at=environment.judging_time,
        rules=PROFILES[job.authority.profile.value].algorithms,
        clock_trusted=environment.clock_trusted,
    )
    lists = Lists(job, environment, reporter)
    known = list(lists.look_up(path))
    pairs = list(pairwise(map(read, path)))
    for facts, issuer in pairs:
        finding = lists.standing(facts, issuer, known)
        # A PKI that names no CRLs is not asked for them, unless something depends on it.
        offered = not finding.unpublished or job.authority.crls.own is RevocationCheck.REQUIRE
        if ask is not None and finding.standing is Standing.UNKNOWN and offered:
            known += _asked_for(facts, issuer, known, lists, ask)
    return [lists.standing(facts, issuer, known) for facts, issuer in pairs]


def _asked_for(
    facts: Facts, issuer: Facts, known: Iterable[RevocationList], lists: Lists, ask: Ask
) -> list[RevocationList]:
    mine = [one for one in known if one.issuer_key == issuer.subject_key]
    newest = max(mine, key=lambda one: one.this_update, default=None)
    accepted = [crl for octets in ask(facts, newest) if (crl := lists.accept(octets, issuer)) is not None]
    for crl in accepted:
        lists.keep(crl)
    return accepted


def _said_no(store: IdentityStore, current: Generation, own: Finding, reporter: Reporter) -> Outcome:
    held = own.standing is Standing.ON_HOLD
    event = Event.FOUND_ON_HOLD if held else Event.FOUND_REVOKED
    since = own.since.isoformat() if own.since else "unknown"
    if not current.marks.get(ON_HOLD if held else REVOKED):
        store.mark(current, ON_HOLD if held else REVOKED, since)
    facts, words = read(own.certificate), _words(own)
    remedy = (
        "Ask the operator why, and wait: the hold ends with a later CRL, or becomes a revocation."
        if held
        else f"Ask the operator why. If the device stays in use, run 'enrollctl enroll {store.name}'; it may need a "
        "new secret, and a new key if the old one was compromised."
    )
    reporter.tell(event, {**certificate_fields(facts), "REMEDY": remedy}, **words)
    return Outcome(
        verdict=Verdict.REJECTED, text=sentence(event, words), remedy=remedy, fields=certificate_fields(facts)
    )


def _issuer_said_no(found: Finding, reporter: Reporter) -> Outcome:
    remedy = "Ask the operator which CA is to be used now: certificates of the old one count nowhere any more."
    words = {"text": found.text}
    reporter.tell(Event.ISSUER_REVOKED, {"REMEDY": remedy}, **words)
    return Outcome(verdict=Verdict.REJECTED, text=sentence(Event.ISSUER_REVOKED, words), remedy=remedy)


def _unknown(found: Finding, mode: RevocationCheck, reporter: Reporter) -> Outcome | None:
    remedy = "See that the CRL can be reached from here; a firewall may be in the way."
    fatal = mode is RevocationCheck.REQUIRE
    if fatal or not found.unpublished:  # a PKI without CRLs is no news each week
        reporter.tell(Event.STANDING_UNKNOWN, {"REMEDY": remedy}, text=found.text)
    return Outcome(verdict=Verdict.REFUSED, text=found.text, remedy=remedy) if fatal else None


def _words(own: Finding) -> dict[str, str]:
    since = f"{own.since:%Y-%m-%d %H:%M} UTC" if own.since else "-"
    return certificate_words(read(own.certificate)) | {"reason": own.reason or "-", "since": since}
