"""What speaks against a path of certificates (RFC 5280 section 6): one table, a cause and the function that finds it.

Each function is asked about every position of a complete path, leaf first, and answers with a sentence for people or
with None. Finding paths and checking signatures is :mod:`agent.cmp.trust`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography.x509 import Version

from agent.cmp.certificates import AlgorithmRules, Facts, when
from agent.cmp.errors import UntrustedPeer
from agent.cmp.name_constraints import violation
from agent.frozen import frozen

_UNDERSTOOD: Final = frozenset({
    "2.5.29.15",  # keyUsage
    "2.5.29.17",  # subjectAltName
    "2.5.29.19",  # basicConstraints
    "2.5.29.30",  # nameConstraints
    "2.5.29.31",  # cRLDistributionPoints: where a CRL is, no demand on the path
    "2.5.29.32",  # certificatePolicies: any policy is acceptable
    "2.5.29.37",  # extKeyUsage
})  # fmt: skip


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
    Cause.LIMIT: "Have the CA send only the certificates of its own chain along; if it does, see what lies between "
    "here and the CA and adds others.",
}


class UntrustedPath(UntrustedPeer):
    """No path leads to an anchor; ``cause`` is why the nearest one fails."""

    def __init__(self, what: str, *, cause: Cause) -> None:
        """Keep the cause; the remedy follows from it."""
        super().__init__(what, remedy=_REMEDIES[cause])
        self.cause = cause


Path = tuple[Facts, ...]
"""Certificates that were read, leaf first."""


@frozen(kw_only=True)
class Terms:
    """By what a path is judged; what each means is said at :func:`agent.cmp.trust.build_path`."""

    at: datetime
    clock_trusted: bool
    skew: timedelta
    rules: AlgorithmRules


def may_issue(facts: Facts, *, anchor: bool) -> bool:
    """Tell whether a certificate makes a CA; an anchor of version 1 cannot say so and is believed (RFC 5280 6.1)."""
    if anchor and facts.version is Version.v1:
        return True
    return facts.is_ca and (facts.key_usage is None or "keyCertSign" in facts.key_usage)


def _title(chain: Path, position: int) -> str:
    kind = "the certificate" if position == 0 else "the CA certificate"
    return f"{'the trust anchor' if position == len(chain) - 1 else kind} {chain[position].who}"


def _expired(chain: Path, position: int, terms: Terms) -> str | None:
    end = chain[position].not_after
    if terms.at <= end:
        return None
    now = "it is" if terms.clock_trusted else "it is at least"
    return f"{_title(chain, position)} expired on {when(end)}, and {now} {when(terms.at)} now"


def _not_yet_valid(chain: Path, position: int, terms: Terms) -> str | None:
    start = chain[position].not_before
    if terms.clock_trusted:
        late = start > terms.at + terms.skew
        return f"{_title(chain, position)} begins on {when(start)}, and it is {when(terms.at)} now" if late else None
    first = min(chain, key=lambda facts: facts.not_after)
    if start <= first.not_after:
        return None
    return f"{_title(chain, position)} begins on {when(start)}, when {first.who} has expired on {when(first.not_after)}"


def _weak_key(chain: Path, position: int, terms: Terms) -> str | None:
    problem = terms.rules.key_problem(chain[position])
    return f"{_title(chain, position)} has {problem}" if problem else None


def _weak_signature(chain: Path, position: int, terms: Terms) -> str | None:
    if position == len(chain) - 1:
        return None
    problem = terms.rules.signature_problem(chain[position])
    return f"{_title(chain, position)} has {problem}" if problem else None


def _critical_extension(chain: Path, position: int, _: Terms) -> str | None:
    unknown = sorted(chain[position].critical - _UNDERSTOOD)
    return f"{_title(chain, position)} has the unknown critical extension {', '.join(unknown)}" if unknown else None


def _not_a_ca(chain: Path, position: int, _: Terms) -> str | None:
    if position == 0 or may_issue(chain[position], anchor=position == len(chain) - 1):
        return None
    return f"{_title(chain, position)} is not a CA, yet it issued {chain[position - 1].who}"


def _path_length(chain: Path, position: int, _: Terms) -> str | None:
    limit = chain[position].path_length
    between = sum(not facts.self_issued for facts in chain[1:position])
    if limit is None or between <= limit:
        return None
    return f"{_title(chain, position)} allows {limit} CAs below it, and there are {between}"


def _name_constraint(chain: Path, position: int, _: Terms) -> str | None:
    below = (facts for place, facts in enumerate(chain[:position]) if place == 0 or not facts.self_issued)
    return next((text for facts in below if (text := violation(chain[position], facts))), None)


OBJECTIONS: Final[tuple[tuple[Cause, Callable[[Path, int, Terms], str | None]], ...]] = (
    (Cause.EXPIRED, _expired),
    (Cause.NOT_YET_VALID, _not_yet_valid),
    (Cause.WEAK, _weak_key),
    (Cause.WEAK, _weak_signature),
    (Cause.CRITICAL_EXTENSION, _critical_extension),
    (Cause.NOT_A_CA, _not_a_ca),
    (Cause.PATH_LENGTH, _path_length),
    (Cause.NAME_CONSTRAINT, _name_constraint),
)
