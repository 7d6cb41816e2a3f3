"""Whom to believe: a path from a certificate to a trust anchor (RFC 5280 section 6), and who may speak for the CA.

A valid path alone proves little: every base station of the operator has one. :func:`build_path` says whether a
certificate belongs to the PKI, :func:`authorise` whether its holder may answer us (RFC 9483 3.4, RFC 9810 4.5). What
speaks against a path that was found is a table in :mod:`agent.cmp.objections`.

Beyond RFC 5280, on purpose: an anchor's own validity, path length and name constraints hold too, and a self-issued
anchor must verify with its own key (a damaged file is found here and not in the field). Not done: policy processing
(with any policy acceptable it decides nothing unless a certificate demands it; a critical demand is refused as an
extension we do not process) and revocation, which needs the network and belongs to the caller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from agent.cmp.certificates import MODERN, AlgorithmRules, Facts, read, signature_verifies
from agent.cmp.errors import DEFECT, MalformedMessage, UntrustedPeer
from agent.cmp.name_keys import name_key, quoted
from agent.cmp.objections import OBJECTIONS, Cause, Path, Terms, UntrustedPath, may_issue
from agent.digest import sha256, sha256_hex
from agent.frozen import frozen

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, Name

__all__ = ["MODERN", "AlgorithmRules", "Authorisation", "Cause", "Role", "UntrustedPath", "authorise", "build_path"]

MAXIMUM_DEPTH: Final = 8
"""Certificates in a path, leaf and anchor included."""

MAXIMUM_CHECKS: Final = 64
"""Signature verifications for one path: extraCerts are unprotected, anybody may fill them."""

MAXIMUM_CHECKS_IN_ALL: Final = 512
"""The same for one answer, whose signature may fit many certificates: enough for as many forged ones as it can bring,
each of which names an authority that any of the others may be."""

_CMC_CA: Final = "1.3.6.1.5.5.7.3.27"
_CMC_RA: Final = "1.3.6.1.5.5.7.3.28"


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


class Checks:
    """The signature verifications that are left for one answer, whatever is searched in it."""

    def __init__(self) -> None:
        """Begin with all of them."""
        self.left = MAXIMUM_CHECKS_IN_ALL


def build_path(
    leaf: Certificate,
    *,
    intermediates: Sequence[Certificate],
    anchors: Sequence[Certificate],
    at: datetime,
    rules: AlgorithmRules,
    clock_trusted: bool = True,
    skew: timedelta = timedelta(0),
    checks: Checks | None = None,
) -> tuple[Certificate, ...]:
    """Return a valid path, leaf first, anchor last (RFC 5280 6.1).

    ``intermediates`` are untrusted and may be anything. ``at`` is an aware time; ``skew`` lets a certificate begin that
    much later. With ``clock_trusted`` False, ``at`` is only the earliest time it can be (build date, last good time):
    then the certificates must have a moment in common at which all are valid, at or after ``at``. ``checks`` are those
    left for several paths together.

    A leaf that *is* an anchor is trusted directly: the path is that one certificate. A leaf with the name and the key
    of an anchor but other contents (cross-certified, renewed) is represented by the anchor, whose contents we know.

    Raises:
        UntrustedPath: there is none; the text says why the nearest attempt fails.
    """
    terms = Terms(at=at.astimezone(UTC), clock_trusted=clock_trusted, skew=skew, rules=rules)
    try:
        start = read(leaf)
    except MalformedMessage as error:
        raise UntrustedPath(str(error), cause=Cause.MALFORMED) from error
    search = _Search(_readable(anchors), _readable(intermediates), terms, checks or Checks())
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
            remedy=DEFECT,
        )
    issuers = None if issued_path is None else {read(one).identity for one in issued_path[1:]}
    is_anchor = len(path) == 1
    is_ca = may_issue(judged, anchor=is_anchor)
    configured = expected_sender is not None or bool(pins)
    rights = (
        # An anchor that cannot issue was put there for no other purpose than being believed itself.
        (Role.PINNED, sha256(judged.spki).digest() in pins or (is_anchor and not is_ca)),
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
        reason += f", and its key is not pinned ({sha256_hex(signer.spki)})"
    else:
        reason += ", and its extended key usage names neither cmcRA nor cmcCA"
    return UntrustedPeer(
        f"{signer.who} belongs to the operator's PKI, but may not answer for the CA: {reason}",
        remedy="If this is the operator's RA, set `sender` of the authority to its name; if not, tell the operator's "
        "security staff that it answers in the CA's place.",
    )


@frozen
class _Failure:
    """``reached``: how many links held before this; the highest one is what people want to read."""

    reached: int
    cause: Cause
    text: str


class _Exhausted(Exception):
    """The signature checks of this search are used up."""


class _Search:
    """Depth first from the leaf; every link is verified before the next is looked for, so work is bounded."""

    def __init__(
        self, anchors: tuple[Facts, ...], intermediates: tuple[Facts, ...], terms: Terms, checks: Checks
    ) -> None:
        self._anchors = {facts.octets: facts for facts in anchors}
        self._pool = tuple(({facts.octets: facts for facts in intermediates} | self._anchors).values())
        self._terms = terms
        self._checks_left = MAXIMUM_CHECKS
        self._checks = checks
        self.failure = _Failure(-1, Cause.NO_ANCHORS, "no trust anchor is configured that could be read")

    def run(self, leaf: Facts) -> Path | None:
        """Return the first complete path that is valid; None: ``failure`` says why."""
        if not self._anchors:
            return None
        try:
            return next((chain for chain in self._chains(leaf) if self._holds(chain)), None)
        except _Exhausted:
            made, of_what = (
                (MAXIMUM_CHECKS, "for it") if self._checks.left else (MAXIMUM_CHECKS_IN_ALL, "for the answer")
            )
            self.failure = _Failure(
                0, Cause.LIMIT, f"no path was found within {made} signature checks {of_what}: too many certificates"
            )
            return None

    def _chains(self, leaf: Facts) -> Iterator[Path]:
        twins = [facts for facts in self._anchors.values() if facts.identity == leaf.identity]
        yield from ((twin,) for twin in sorted(twins, key=lambda facts: facts.octets != leaf.octets))
        yield from self._grow((leaf,))

    def _grow(self, chain: Path) -> Iterator[Path]:
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
            elif problem := self._terms.rules.signature_problem(last):
                # Nobody tampered: an algorithm that is new, or too old for the library, verifies with no key.
                self._note(chain, Cause.WEAK, f"{last.who} has {problem}")
            else:
                self._note(
                    chain, Cause.SIGNATURE, f"{last.who} is not signed with the key of {issuer.who} that we know"
                )

    def _issuers(self, chain: Path) -> list[Facts]:
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

    def _holds(self, chain: Path) -> bool:
        """Tell whether a complete chain is valid; note the first objection."""
        for position in range(len(chain)):
            for cause, objection in OBJECTIONS:
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
        if self._checks_left == 0 or self._checks.left == 0:
            raise _Exhausted
        self._checks_left -= 1
        self._checks.left -= 1
        return signature_verifies(facts, issuer)

    def _note(self, chain: Path, cause: Cause, text: str, *, complete: bool = False) -> None:
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
