"""Whom to believe: a path from a certificate to a trust anchor (RFC 5280 section 6), and who may speak for the CA.

A valid path alone proves little: every base station of the operator has one. :func:`build_path` says whether a
certificate belongs to the PKI, :func:`authorise` whether its holder may answer us (RFC 9483 3.4, RFC 9810 4.5).

Beyond RFC 5280, on purpose: an anchor's own validity, path length and name constraints hold too, and a self-issued
anchor must verify with its own key (a damaged file is found here and not in the field). Not done: policy processing
(with any policy acceptable it decides nothing unless a certificate demands it; a critical demand is refused as an
extension we do not process) and revocation, which needs the network and belongs to the caller.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryptography.x509 import Version

from agent.cmp.certificates import (
    MODERN,
    AlgorithmRules,
    Facts,
    name_key,
    quoted,
    read,
    signature_verifies,
    when,
)
from agent.cmp.errors import MalformedMessage, UntrustedPeer
from agent.cmp.name_constraints import violation
from agent.frozen import frozen

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, Name

__all__ = ["MODERN", "AlgorithmRules", "Authorisation", "Cause", "Role", "UntrustedPath", "authorise", "build_path"]

MAXIMUM_DEPTH: Final = 8
"""Certificates in a path, leaf and anchor included."""

MAXIMUM_CHECKS: Final = 64
"""Signature verifications for one path: extraCerts are unprotected, anybody may fill them."""

_UNDERSTOOD: Final = frozenset({
    "2.5.29.15",  # keyUsage
    "2.5.29.17",  # subjectAltName
    "2.5.29.19",  # basicConstraints
    "2.5.29.30",  # nameConstraints
    "2.5.29.31",  # cRLDistributionPoints: where a CRL is, no demand on the path
    "2.5.29.32",  # certificatePolicies: any policy is acceptable
    "2.5.29.37",  # extKeyUsage
})  # fmt: skip

_CMC_CA: Final = "1.3.6.1.5.5.7.3.27"
_CMC_RA: Final = "1.3.6.1.5.5.7.3.28"


class Cause(StrEnum):
    """Why there is no path."""

    MALFORMED = "malformed"
    NO_ANCHORS = "no-anchors"
    NO_ISSUER = "no-issuer"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    SIGNATURE = "signature"
    NOT_A_CA = "not-a-ca"
    PATH_LENGTH = "path-length"
    NAME_CONSTRAINT = "name-constraint"
    CRITICAL_EXTENSION = "critical-extension"
    WEAK = "weak"
    LIMIT = "limit"


_REMEDIES: Final = {
    Cause.MALFORMED: "Ask the CA's operator for a certificate that follows RFC 5280.",
    Cause.NO_ANCHORS: "Put the operator's root certificate into `trust-anchors` of the authority.",
    Cause.NO_ISSUER: "Compare `trust-anchors` of the authority with the operator's current root certificate, and have "
    "the CA send its intermediate certificates along.",
    Cause.EXPIRED: "Check this machine's clock; if it is right, the named certificate must be renewed by its owner.",
    Cause.NOT_YET_VALID: "Check this machine's clock; if it is right, the CA's operator must correct the CA's clock.",
    Cause.SIGNATURE: "Compare `trust-anchors` of the authority with the operator's current root certificate (a new one "
    "may carry the old name); if they agree, somebody tampers with the connection.",
    Cause.NOT_A_CA: "Do not trust this answer: tell the operator's security staff who issued the named certificate.",
    Cause.PATH_LENGTH: "The operator's PKI breaks its own rules: give its operator this message.",
    Cause.NAME_CONSTRAINT: "The operator's PKI breaks its own rules: give its operator this message.",
    Cause.CRITICAL_EXTENSION: "Ask the CA's operator for certificates without this critical extension.",
    Cause.WEAK: "Ask the CA's operator for certificates with current algorithms; only the profile `backhaul` accepts "
    "older ones.",
    Cause.LIMIT: "Have the CA send only the certificates of its own chain along.",
}


class UntrustedPath(UntrustedPeer):
    """No path leads to an anchor; ``cause`` is why the nearest one fails."""

    def __init__(self, what: str, *, cause: Cause) -> None:
        """Keep the cause; the remedy follows from it."""
        super().__init__(what, remedy=_REMEDIES[cause])
        self.cause = cause


class Role(StrEnum):
    """By what right a signer speaks for the CA."""

    ISSUING_CA = "issuing-ca"
    CMC_CA = "cmc-ca"
    CMC_RA = "cmc-ra"
    CONFIGURED_NAME = "configured-name"
    PINNED = "pinned"


@frozen(kw_only=True)
class Authorisation:
    """``role`` of the signer; ``key_usage_ignored`` when only the quirk ``ignore-key-usage`` let it pass (log it)."""

    role: Role
    key_usage_ignored: bool = False


def build_path(
    leaf: Certificate,
    *,
    intermediates: Sequence[Certificate],
    anchors: Sequence[Certificate],
    at: datetime,
    rules: AlgorithmRules,
    clock_trusted: bool = True,
    skew: timedelta = timedelta(0),
) -> tuple[Certificate, ...]:
    """Return a valid path, leaf first, anchor last (RFC 5280 6.1).

    ``intermediates`` are untrusted and may be anything. ``at`` is an aware time; ``skew`` lets a certificate begin that
    much later. With ``clock_trusted`` False, ``at`` is only the earliest time it can be (build date, last good time):
    then the certificates must have a moment in common at which all are valid, at or after ``at``.

    A leaf that *is* an anchor is trusted directly: the path is that one certificate. A leaf with the name and the key
    of an anchor but other contents (cross-certified, renewed) is represented by the anchor, whose contents we know.

    Raises:
        UntrustedPath: there is none; the text says why the nearest attempt fails.
    """
    terms = _Terms(at=at.astimezone(UTC), clock_trusted=clock_trusted, skew=skew, rules=rules)
    try:
        start = read(leaf)
    except MalformedMessage as error:
        raise UntrustedPath(str(error), cause=Cause.MALFORMED) from error
    search = _Search(_readable(anchors), _readable(intermediates), terms)
    path = search.run(start)
    if path is None:
        raise UntrustedPath(f"{start.who} is not trusted: {search.failure.text}", cause=search.failure.cause)
    return tuple(facts.certificate for facts in path)


def authorise(
    signer: Certificate,
    path: Sequence[Certificate],
    *,
    issued_path: Sequence[Certificate] | None = None,
    expected_sender: Name | None = None,
    pins: frozenset[bytes] = frozenset(),
    ignore_key_usage: bool = False,
) -> Authorisation:
    """Decide whether the holder of ``signer`` may answer for the CA (RFC 9483 3.4, RFC 9810 4.5).

    ``path`` is what :func:`build_path` returned for the signer. ``issued_path`` is the path of the new certificate as
    acceptance found it: then an "issuing CA" must be one of the CAs on it. Before there is one (waiting, error, body
    not read yet) any CA on a valid path counts, because all it can do is make us wait or stop; ask again with the
    path before anything is installed.

    ``pins`` are SHA-256 digests of SubjectPublicKeyInfo. Where ``expected_sender`` or ``pins`` are configured, the
    extended key usages cmcCA and cmcRA are not enough: the operator said who answers. The issuing CA itself
    always may: it could certify anybody under that name.

    Raises:
        UntrustedPeer: the signer has no such right, or its key usage forbids signatures (RFC 9483 3.3).
        MalformedMessage: a certificate cannot be read.
    """
    facts, judged = read(signer), read(path[0])
    if facts.identity != judged.identity:
        raise UntrustedPeer(
            f"the path shown for {facts.who} is that of {judged.who}",
            remedy="This is a defect of this program: report it with a support capture.",
        )
    issuers = None if issued_path is None else {read(one).identity for one in issued_path[1:]}
    is_anchor = len(path) == 1
    is_ca = _may_issue(judged, anchor=is_anchor)
    configured = expected_sender is not None or bool(pins)
    rights = (
        # An anchor that cannot issue was put there for no other purpose than being believed itself.
        (Role.PINNED, hashlib.sha256(judged.spki).digest() in pins or (is_anchor and not is_ca)),
        (Role.CONFIGURED_NAME, expected_sender is not None and judged.subject_key == name_key(expected_sender)),
        (Role.ISSUING_CA, is_ca and (issuers is None or judged.identity in issuers)),
        (Role.CMC_CA, not configured and _CMC_CA in (judged.extended_key_usage or ())),
        (Role.CMC_RA, not configured and _CMC_RA in (judged.extended_key_usage or ())),
    )
    role = next((role for role, holds in rights if holds), None)
    if role is None:
        raise _not_authorised(judged, expected_sender, is_ca=is_ca, configured=configured)
    unsuitable = judged.key_usage is not None and "digitalSignature" not in judged.key_usage
    if unsuitable and not ignore_key_usage:
        raise UntrustedPeer(
            f"{judged.who} signed the answer, but its key usage does not include digitalSignature",
            remedy="Ask the CA's operator for a correct certificate; until then, the quirk `ignore-key-usage` of the "
            "authority accepts this one.",
        )
    return Authorisation(role=role, key_usage_ignored=unsuitable)


def _not_authorised(signer: Facts, expected: Name | None, *, is_ca: bool, configured: bool) -> UntrustedPeer:
    reason = "it is a CA, but not the one that issued our certificate" if is_ca else "it is not the issuing CA"
    if expected is not None:
        reason += f", and `sender` expects {quoted(expected)}"
        if Counter(name_key(expected)) == Counter(signer.subject_key):
            reason += " (the same parts in another order)"
    elif configured:
        reason += f", and its key is not pinned ({hashlib.sha256(signer.spki).hexdigest()})"
    else:
        reason += ", and its extended key usage names neither cmcRA nor cmcCA"
    return UntrustedPeer(
        f"{signer.who} belongs to the operator's PKI, but may not answer for the CA: {reason}",
        remedy="If this is the operator's RA, set `sender` of the authority to its name; if not, tell the operator's "
        "security staff that it answers in the CA's place.",
    )


@frozen(kw_only=True)
class _Terms:
    at: datetime
    clock_trusted: bool
    skew: timedelta
    rules: AlgorithmRules


@frozen
class _Failure:
    """``reached``: how many links held before this; the highest one is what people want to read."""

    reached: int
    cause: Cause
    text: str


_Path = tuple[Facts, ...]


class _Exhausted(Exception):
    """The signature checks of this search are used up."""


class _Search:
    """Depth first from the leaf; every link is verified before the next is looked for, so work is bounded."""

    def __init__(self, anchors: tuple[Facts, ...], intermediates: tuple[Facts, ...], terms: _Terms) -> None:
        self._anchors = {facts.octets: facts for facts in anchors}
        self._pool = tuple(({facts.octets: facts for facts in intermediates} | self._anchors).values())
        self._terms = terms
        self._checks_left = MAXIMUM_CHECKS
        self.failure = _Failure(-1, Cause.NO_ANCHORS, "no trust anchor is configured that could be read")

    def run(self, leaf: Facts) -> _Path | None:
        """Return the first complete path that is valid; None: ``failure`` says why."""
        if not self._anchors:
            return None
        try:
            return next((chain for chain in self._chains(leaf) if self._holds(chain)), None)
        except _Exhausted:
            self.failure = _Failure(
                0, Cause.LIMIT, f"no path was found within {MAXIMUM_CHECKS} signature checks: too many certificates"
            )
            return None

    def _chains(self, leaf: Facts) -> Iterator[_Path]:
        twins = [facts for facts in self._anchors.values() if facts.identity == leaf.identity]
        yield from ((twin,) for twin in sorted(twins, key=lambda facts: facts.octets != leaf.octets))
        yield from self._grow((leaf,))

    def _grow(self, chain: _Path) -> Iterator[_Path]:
        last = chain[-1]
        if len(chain) > 1 and last.octets in self._anchors:
            yield chain
            return
        if len(chain) == MAXIMUM_DEPTH:
            self._note(chain, Cause.LIMIT, f"the path has more than {MAXIMUM_DEPTH} certificates")
            return
        candidates = self._issuers(chain)
        if not candidates:
            self._note(chain, Cause.NO_ISSUER, self._lonely(last))
        for issuer in candidates:
            if self._verifies(last, issuer):
                yield from self._grow((*chain, issuer))
            else:
                self._note(
                    chain, Cause.SIGNATURE, f"{last.who} is not signed with the key of {issuer.who} that we know"
                )

    def _issuers(self, chain: _Path) -> list[Facts]:
        """Return the certificates that could have issued the last one, the likely ones first."""
        last, seen = chain[-1], {facts.identity for facts in chain}
        found = [one for one in self._pool if one.subject_key == last.issuer_key and one.identity not in seen]
        wanted, now = last.authority_key_identifier, self._terms.at
        return sorted(
            found,
            key=lambda one: (
                wanted is not None and one.subject_key_identifier not in {wanted, None},
                one.octets not in self._anchors,
                not one.not_before <= now <= one.not_after,
                -one.not_before.timestamp(),
            ),
        )

    def _lonely(self, last: Facts) -> str:
        known = ", ".join(sorted(facts.who for facts in self._anchors.values())[:3])
        if last.self_issued:
            return f"the root certificate {last.who} was sent along but is not among the trust anchors ({known})"
        issuer = quoted(last.issuer)
        return f"{issuer}, who issued {last.who}, is neither among the trust anchors ({known}) nor sent along"

    def _holds(self, chain: _Path) -> bool:
        """Tell whether a complete chain is valid; note the first objection."""
        for position in range(len(chain)):
            for cause, objection in _OBJECTIONS:
                if text := objection(chain, position, self._terms):
                    self._note(chain, cause, text, complete=True)
                    return False
        anchor = chain[-1]
        # An anchor that signed itself with something weak or unknown is still an anchor: there is nothing to check.
        own = anchor.self_issued or anchor.authority_key_identifier == (anchor.subject_key_identifier or b"")
        if own and self._terms.rules.signature_problem(anchor) is None and not self._verifies(anchor, anchor):
            self._note(
                chain,
                Cause.SIGNATURE,
                f"the trust anchor {anchor.who} is damaged: it does not verify with its own key",
                complete=True,
            )
            return False
        return True

    def _verifies(self, facts: Facts, issuer: Facts) -> bool:
        if self._checks_left == 0:
            raise _Exhausted
        self._checks_left -= 1
        return signature_verifies(facts, issuer)

    def _note(self, chain: _Path, cause: Cause, text: str, *, complete: bool = False) -> None:
        reached = len(chain) + (MAXIMUM_DEPTH if complete else 0)
        if reached > self.failure.reached:
            self.failure = _Failure(reached, cause, text)


def _readable(certificates: Iterable[Certificate]) -> tuple[Facts, ...]:
    """Read what can be read: a damaged certificate sent along must not hide a good path."""
    found = []
    for certificate in certificates:
        try:
            found.append(read(certificate))
        except MalformedMessage:
            continue
    return tuple(found)


def _may_issue(facts: Facts, *, anchor: bool) -> bool:
    """Tell whether a certificate makes a CA; an anchor of version 1 cannot say so and is believed (RFC 5280 6.1)."""
    if anchor and facts.version is Version.v1:
        return True
    return facts.is_ca and (facts.key_usage is None or "keyCertSign" in facts.key_usage)


def _title(chain: _Path, position: int) -> str:
    kind = "the certificate" if position == 0 else "the CA certificate"
    return f"{'the trust anchor' if position == len(chain) - 1 else kind} {chain[position].who}"


def _expired(chain: _Path, position: int, terms: _Terms) -> str | None:
    end = chain[position].not_after
    if terms.at <= end:
        return None
    now = "it is" if terms.clock_trusted else "it is at least"
    return f"{_title(chain, position)} expired on {when(end)}, and {now} {when(terms.at)} now"


def _not_yet_valid(chain: _Path, position: int, terms: _Terms) -> str | None:
    start = chain[position].not_before
    if terms.clock_trusted:
        late = start > terms.at + terms.skew
        return f"{_title(chain, position)} begins on {when(start)}, and it is {when(terms.at)} now" if late else None
    first = min(chain, key=lambda facts: facts.not_after)
    if start <= first.not_after:
        return None
    return f"{_title(chain, position)} begins on {when(start)}, when {first.who} has expired on {when(first.not_after)}"


def _weak_key(chain: _Path, position: int, terms: _Terms) -> str | None:
    problem = terms.rules.key_problem(chain[position])
    return f"{_title(chain, position)} has {problem}" if problem else None


def _weak_signature(chain: _Path, position: int, terms: _Terms) -> str | None:
    if position == len(chain) - 1:
        return None
    problem = terms.rules.signature_problem(chain[position])
    return f"{_title(chain, position)} has {problem}" if problem else None


def _critical_extension(chain: _Path, position: int, _: _Terms) -> str | None:
    unknown = sorted(chain[position].critical - _UNDERSTOOD)
    return f"{_title(chain, position)} has the unknown critical extension {', '.join(unknown)}" if unknown else None


def _not_a_ca(chain: _Path, position: int, _: _Terms) -> str | None:
    if position == 0 or _may_issue(chain[position], anchor=position == len(chain) - 1):
        return None
    return f"{_title(chain, position)} is not a CA, yet it issued {chain[position - 1].who}"


def _path_length(chain: _Path, position: int, _: _Terms) -> str | None:
    limit = chain[position].path_length
    between = sum(not facts.self_issued for facts in chain[1:position])
    if limit is None or between <= limit:
        return None
    return f"{_title(chain, position)} allows {limit} CAs below it, and there are {between}"


def _name_constraint(chain: _Path, position: int, _: _Terms) -> str | None:
    below = (facts for place, facts in enumerate(chain[:position]) if place == 0 or not facts.self_issued)
    return next((text for facts in below if (text := violation(chain[position], facts))), None)


_OBJECTIONS: Final[tuple[tuple[Cause, Callable[[_Path, int, _Terms], str | None]], ...]] = (
    (Cause.EXPIRED, _expired),
    (Cause.NOT_YET_VALID, _not_yet_valid),
    (Cause.WEAK, _weak_key),
    (Cause.WEAK, _weak_signature),
    (Cause.CRITICAL_EXTENSION, _critical_extension),
    (Cause.NOT_A_CA, _not_a_ca),
    (Cause.PATH_LENGTH, _path_length),
    (Cause.NAME_CONSTRAINT, _name_constraint),
)
