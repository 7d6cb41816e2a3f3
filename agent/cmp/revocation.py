"""Whether a certificate was revoked, by CRLs that are at hand (RFC 5280 section 6.3). Nothing is fetched here.

A CRL counts only if its issuer's key verifies it, it is in force, and it covers the certificate. Not done, and so such
a CRL answers nothing: indirect CRLs, delta CRLs, and CRLs for some reasons only. "Unknown" is a finding of its own:
what becomes of it is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cryptography import x509

from agent.cmp import der
from agent.cmp.certificates import AlgorithmRules, Facts, list_verifies, quiet, read, when
from agent.cmp.errors import MalformedMessage, StandingUnknown, UntrustedPeer
from agent.cmp.failures import clean_text
from agent.cmp.name_keys import NameKey, general_name_key, name_key, quoted
from agent.cmp.sizes import MAXIMUM_LIST, SMALLER_LISTS
from agent.frozen import frozen

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAXIMUM_PLACES: Final = 4
"""Addresses taken from one certificate: each may cost a time-out."""
_LONGEST_URL: Final = 2048
_SKEW: Final = timedelta(minutes=5)
_REMEMBERED: Final = 16
_DISTRIBUTION_POINT, _ISSUER = 0xA0, 0xA1
_UTC_TIME, _GENERALIZED_TIME, _GENERALIZED_FROM = 0x17, 0x18, 2050

_UNDERSTOOD: Final = frozenset({
    "2.5.29.20",  # cRLNumber
    "2.5.29.28",  # issuingDistributionPoint
    "2.5.29.35",  # authorityKeyIdentifier: the signature says the same
})  # fmt: skip


class Standing(StrEnum):
    """What the CRLs say of a certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    ON_HOLD = "on-hold"
    """certificateHold: not valid now, and perhaps again later."""
    UNKNOWN = "unknown"


class Mode(StrEnum):
    """Whether CRLs are asked, and what it means if they say nothing."""

    OFF = "off"
    REPORT = "report"
    """Who was revoked is refused; what cannot be told is remarked."""
    REQUIRE = "require"
    """Whoever is not shown to be good is refused."""


@frozen(kw_only=True)
class Checking:
    """How the signers of answers are checked. ``lists`` are at hand; ``complete``: there are no more to be had."""

    mode: Mode = Mode.OFF
    lists: tuple[RevocationList, ...] = ()
    complete: bool = False


@frozen(kw_only=True)
class Finding:
    """The standing of one certificate. ``text`` says it in words; ``reason`` is the CRLReason's name if revoked."""

    certificate: Certificate
    standing: Standing
    text: str
    reason: str = ""
    since: datetime | None = None
    """When it was revoked."""
    next_update: datetime | None = None
    """Until when the CRL that says so is in force."""
    unpublished: bool = False
    """Whether it is unknown because the certificate names no CRL, and none is at hand: nobody offers to tell."""


@frozen(kw_only=True, eq=False)
class RevocationList:
    """A CRL as it was read; nothing of it is verified."""

    crl: x509.CertificateRevocationList
    octets: bytes
    issuer: x509.Name
    issuer_key: NameKey
    this_update: datetime
    next_update: datetime | None
    scope: x509.IssuingDistributionPoint | None
    critical: frozenset[str]

    @property
    def place(self) -> tuple[NameKey, bytes]:
        """What stays equal from one issue of a CRL to the next: issuer and scope."""
        return self.issuer_key, self.scope.public_bytes() if self.scope else b""

    @property
    def who(self) -> str:
        """The issuer for people."""
        return quoted(self.issuer)


@lru_cache(maxsize=_REMEMBERED)
def load(octets: bytes) -> RevocationList:
    """Read a CRL in DER; the strict gate is left to the library, which reads a hundred thousand entries at once.

    Raises:
        MalformedMessage: when it is none, is too large, or anything but an entry cannot be read.
    """
    if len(octets) > MAXIMUM_LIST:
        raise MalformedMessage(
            f"a CRL has {len(octets)} octets, more than the cap of {MAXIMUM_LIST}", remedy=SMALLER_LISTS
        )
    try:
        with quiet():
            crl = x509.load_der_x509_crl(octets)
            found = RevocationList(
                crl=crl,
                octets=octets,
                issuer=crl.issuer,
                issuer_key=name_key(crl.issuer),
                this_update=crl.last_update_utc,
                next_update=crl.next_update_utc,
                scope=_scope(crl),
                critical=frozenset(one.oid.dotted_string for one in crl.extensions if one.critical),
            )
    except Exception as error:
        raise _unreadable(clean_text(str(error))) from error
    return found


def load_all(lists: Iterable[bytes]) -> tuple[RevocationList, ...]:
    """Read what can be read."""
    found = []
    for octets in lists:
        with suppress(MalformedMessage):
            found.append(load(octets))
    return tuple(found)


def problem(
    crl: RevocationList, issuer: Facts, *, at: datetime, rules: AlgorithmRules, clock_trusted: bool = True
) -> str | None:
    """Say why ``crl`` proves nothing at ``at`` under the key of ``issuer``; None when it does.

    With ``clock_trusted`` False, ``at`` is only the earliest time it can be.
    """
    weak, unknown = rules.signature_problem(crl.crl), sorted(crl.critical - _UNDERSTOOD)
    end = crl.next_update
    checks = (
        (crl.issuer_key == issuer.subject_key, f"it was issued by {crl.who}"),
        (issuer.key_usage is None or "cRLSign" in issuer.key_usage, f"{issuer.who} may not sign CRLs"),
        (not weak, f"it has {weak}"),
        (list_verifies(crl.crl, issuer), f"it is not signed with the key of {issuer.who}"),
        (not unknown, f"it has the unknown critical extension {', '.join(unknown)}"),
        (end is not None, "it does not say until when it is in force"),
        (end is None or at <= end + _SKEW, f"it was in force until {when(end) if end else '?'}"),
        (not clock_trusted or crl.this_update <= at + _SKEW, f"it begins only on {when(crl.this_update)}"),
    )
    return next((text for holds, text in checks if not holds), None)


def standing(
    facts: Facts,
    issuer: Facts,
    lists: Iterable[RevocationList],
    *,
    at: datetime,
    rules: AlgorithmRules,
    clock_trusted: bool = True,
) -> Finding:
    """Return what ``lists`` say of the certificate ``facts``, which ``issuer`` issued; both are on a verified path."""
    why = ""
    candidates = [one for one in lists if one.issuer_key == issuer.subject_key]
    for crl in sorted(candidates, key=lambda one: one.this_update, reverse=True):
        objection = problem(crl, issuer, at=at, rules=rules, clock_trusted=clock_trusted) or _not_covered(crl, facts)
        if objection is None:
            return _looked_up(facts, crl)
        why = why or f"the CRL of {crl.who} does not help: {objection}"
    if not why:
        why = "no CRL is at hand" if _points(facts) else "it names no place where its CRL is"
    return Finding(
        certificate=facts.certificate,
        standing=Standing.UNKNOWN,
        unpublished=not candidates and not _points(facts),
        text=f"whether {facts.who} was revoked is unknown: {why}",
    )


def standings(
    path: Sequence[Certificate],
    lists: Iterable[RevocationList],
    *,
    at: datetime,
    rules: AlgorithmRules,
    clock_trusted: bool = True,
) -> tuple[Finding, ...]:
    """Return the standing of each certificate of a verified path but the anchor, leaf first."""
    facts, known = [read(one) for one in path], tuple(lists)
    return tuple(
        standing(one, issuer, known, at=at, rules=rules, clock_trusted=clock_trusted) for one, issuer in pairwise(facts)
    )


def demand_standing(
    path: tuple[Certificate, ...],
    checking: Checking,
    *,
    at: datetime,
    rules: AlgorithmRules,
    clock_trusted: bool = True,
) -> tuple[str, ...]:
    """Pass if nobody on the verified ``path`` of a signer was revoked; return remarks about what cannot be told.

    Raises:
        UntrustedPeer: somebody was revoked or is on hold; or, where that is required, it cannot be told.
        StandingUnknown: it cannot be told from the CRLs at hand, and more may be had.
    """
    if checking.mode is Mode.OFF:
        return ()
    findings = standings(path, checking.lists, at=at, rules=rules, clock_trusted=clock_trusted)
    for one in findings:
        if one.standing in {Standing.REVOKED, Standing.ON_HOLD}:
            raise UntrustedPeer(
                f"the answer was signed under a certificate that does not count any more: {one.text}",
                remedy="Do not trust this CA or RA until its operator has told you its new certificate; he revoked the "
                "old one himself.",
            )
    unknown = [one for one in findings if one.standing is Standing.UNKNOWN]
    if unknown and not checking.complete:
        raise StandingUnknown(unknown[0].text, path=path)
    if unknown and checking.mode is Mode.REQUIRE:
        raise UntrustedPeer(
            f"the answer cannot be trusted: {unknown[0].text}",
            remedy="See that the CRL can be reached from here; `crls.signer: report` does without it.",
        )
    return tuple(one.text for one in unknown if not one.unpublished)


def places(facts: Facts) -> tuple[str, ...]:
    """Return the http and https addresses of the certificate's CRL (RFC 5280 4.2.1.13), bounded.

    Left out: what another authority issues (cRLIssuer) and what is about some reasons only.
    """
    found = []
    for point in _points(facts):
        if point.crl_issuer or point.reasons is not None:
            continue
        found += [one.value for one in point.full_name or () if isinstance(one, x509.UniformResourceIdentifier)]
    fitting = (one for one in found if one.lower().startswith(("http://", "https://")) and len(one) <= _LONGEST_URL)
    return tuple(dict.fromkeys(fitting))[:MAXIMUM_PLACES]


def crl_status(facts: Facts, known: RevocationList | None) -> bytes:
    """Return the DER of CRLStatus to ask for the CRL of a certificate, if newer than ``known`` (RFC 9483 4.3.4)."""
    full_name = next((one.full_name for one in _points(facts) if one.full_name and not one.crl_issuer), None)
    if full_name is not None:
        names = der.unwrap(x509.SubjectAlternativeName(full_name).public_bytes())
        source = der.wrap(_DISTRIBUTION_POINT, der.wrap(_DISTRIBUTION_POINT, names))
    else:
        issuer = x509.SubjectAlternativeName([x509.DirectoryName(facts.issuer)]).public_bytes()
        source = der.wrap(_ISSUER, issuer)
    return der.wrap(der.SEQUENCE, source, _time(known.this_update) if known else b"")


def _time(moment: datetime) -> bytes:
    """Return Time: UTCTime to 2049, GeneralizedTime from then on (RFC 5280 4.1.2.5)."""
    if moment.year < _GENERALIZED_FROM:
        return der.wrap(_UTC_TIME, f"{moment:%y%m%d%H%M%SZ}".encode("ascii"))
    return der.wrap(_GENERALIZED_TIME, f"{moment:%Y%m%d%H%M%SZ}".encode("ascii"))


def _points(facts: Facts) -> tuple[x509.DistributionPoint, ...]:
    try:
        return tuple(facts.certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value)
    except x509.ExtensionNotFound:
        return ()


def _scope(crl: x509.CertificateRevocationList) -> x509.IssuingDistributionPoint | None:
    try:
        return crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return None


def _not_covered(crl: RevocationList, facts: Facts) -> str | None:
    """Say why the scope of ``crl`` leaves the certificate out (RFC 5280 6.3.3 b); None when it does not."""
    scope = crl.scope
    if scope is None:
        return None
    partial = (
        (scope.indirect_crl, "it is an indirect CRL"),
        (scope.only_some_reasons is not None, "it is for some reasons only"),
        (scope.only_contains_attribute_certs, "it is for attribute certificates"),
        (scope.only_contains_user_certs and facts.is_ca, "it is for certificates of users only"),
        (scope.only_contains_ca_certs and not facts.is_ca, "it is for certificates of CAs only"),
        (scope.relative_name is not None, "it names its place in a form that is not read here"),
        (
            scope.full_name is not None
            and not {general_name_key(one) for one in scope.full_name} & _point_names(facts),
            "it is for another distribution point",
        ),
    )
    return next((text for holds, text in partial if holds), None)


def _point_names(facts: Facts) -> set[object]:
    return {general_name_key(one) for point in _points(facts) for one in point.full_name or ()}


def _looked_up(facts: Facts, crl: RevocationList) -> Finding:
    entry = crl.crl.get_revoked_certificate_by_serial_number(facts.certificate.serial_number)
    if entry is None:
        return Finding(
            certificate=facts.certificate,
            standing=Standing.GOOD,
            text=f"{facts.who} is not revoked",
            next_update=crl.next_update,
        )
    since, reason = entry.revocation_date_utc.astimezone(UTC), _reason(entry)
    held = reason == x509.ReasonFlags.certificate_hold.value
    said = "is on hold" if held else "was revoked"
    return Finding(
        certificate=facts.certificate,
        standing=Standing.ON_HOLD if held else Standing.REVOKED,
        text=f"{facts.who} {said} on {when(since)} ({reason})",
        reason=reason,
        since=since,
        next_update=crl.next_update,
    )


def _reason(entry: x509.RevokedCertificate) -> str:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        return x509.ReasonFlags.unspecified.value
    except Exception:  # noqa: BLE001 - an entry that cannot be read still says that it is revoked
        return x509.ReasonFlags.unspecified.value


def _unreadable(why: str) -> MalformedMessage:
    return MalformedMessage(
        f"a CRL cannot be read: {why}", remedy="Ask the CA's operator for a CRL that follows RFC 5280."
    )
