"""Who sent this answer, and may he? Checks 6 to 8 of every response (RFC 9483 3.2 to 3.5).

The protection is verified over the received octets before anybody reads the body. A signature proves a key; that the
key may speak for the CA is a second question (:func:`agent.cmp.trust.authorise`): every base station has a certificate
under the same root.
"""

from __future__ import annotations

from dataclasses import field
from itertools import islice
from typing import TYPE_CHECKING, Final

from agent.cmp import algorithms, names, protection, trust
from agent.cmp.bodies import CertRepMessage, ErrorMessage, RevRep
from agent.cmp.certificates import Facts, load_all, read
from agent.cmp.errors import CmpError, ProtectionError, UntrustedPeer
from agent.cmp.failures import PKIStatus, clean_text, describe
from agent.cmp.name_keys import name_key
from agent.cmp.protection import Kind, ProtectionRules
from agent.cmp.revocation import Checking, demand_standing
from agent.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from cryptography import x509

    from agent.cmp.messages import Message

SIGNED_RESPONSE_TO_MAC: Final = "signed-response-to-mac"
IGNORE_KEY_USAGE: Final = "ignore-key-usage"
MISSING_SENDER_NONCE: Final = "missing-sender-nonce"
ERROR_WITH_PVNO_1: Final = "error-with-pvno-1"

_MAXIMUM_CANDIDATES: Final = 32
"""As many as one message can bring: each costs a signature check, and forged ones must not hide the real one."""
_NO_COMPLAINT: Final = frozenset({PKIStatus.ACCEPTED, PKIStatus.GRANTED_WITH_MODS, PKIStatus.WAITING})


@frozen(kw_only=True)
class PeerRules:
    """Who may answer, and how.

    ``expected_sender`` is a DER Name, ``pins`` are SHA-256 hashes of SubjectPublicKeyInfo.
    """

    anchors: tuple[x509.Certificate, ...]
    expected_sender: bytes | None = None
    pins: frozenset[bytes] = frozenset()
    protection: ProtectionRules = field(default_factory=ProtectionRules)
    algorithms: trust.AlgorithmRules = trust.MODERN
    quirks: frozenset[str] = frozenset()
    revocation: Checking = field(default_factory=Checking)
    intermediates: tuple[x509.Certificate, ...] = ()
    """Links for the signer's path beside those that come along; trusted for nothing."""


@frozen(kw_only=True)
class Proof:
    """How a message was shown to come from the CA. ``notes`` are weakenings that a person should read."""

    kind: Kind
    path: tuple[x509.Certificate, ...] = ()
    """The signer's path, signer first, anchor last; empty for a MAC."""
    notes: tuple[str, ...] = ()


def verify(  # noqa: PLR0913 - what the transaction knows, by name
    message: Message,
    *,
    ours: Kind,
    secret: bytes | None,
    rules: PeerRules,
    anchors: tuple[x509.Certificate, ...],
    known: Iterable[bytes],
    now: datetime,
    clock_trusted: bool,
    addressed: bytes = b"",
) -> Proof:
    """Pass if ``message`` is protected, in the kind we used (``ours``), by somebody who may speak for the CA.

    ``anchors`` are what paths may end in: those of ``rules`` and those the transaction learned. ``known`` are
    certificates of earlier messages of the transaction: servers leave out what they sent before. ``addressed`` is the
    recipient of our message: some servers repeat it as sender, whoever signed.

    Raises:
        ProtectionError: missing, other kind, refused algorithm, or it does not verify.
        UntrustedPeer: the signature verifies, but the signer has no path or no authority, or was revoked.
        StandingUnknown: whether he was revoked must be looked up first.
        MalformedMessage: what describes the protection cannot be read.
    """
    kind = protection.kind_of(message)
    if kind is None:
        raise ProtectionError(
            f"the answer ({message.type.label}) is not protected, so nothing in it can be trusted",
            remedy="If what it says names the cause, mend that; otherwise ask the CA's operator why it answers without "
            "protection.",
        )
    if kind is Kind.MAC and ours is Kind.MAC and secret is not None:
        protection.verify_mac(message, secret, rules.protection)
        return Proof(kind=kind)
    notes: tuple[str, ...] = ()
    if kind is not ours:
        if kind is Kind.SIGNATURE:
            # An algorithm nobody knows may be a MAC as well: then it is that, and not the kind, that is wrong.
            algorithms.signature_algorithm(message.header.protection_alg or b"")
        if kind is Kind.MAC or SIGNED_RESPONSE_TO_MAC not in rules.quirks:
            raise _wrong_kind(message, kind, ours)
        notes = (f"quirk {SIGNED_RESPONSE_TO_MAC}: the CA signed its answer to a MAC-protected request",)
    path, authorisation, remarks = _signed(
        message, rules, anchors, known, now, clock_trusted=clock_trusted, addressed=addressed
    )
    notes += remarks
    if authorisation.key_usage_ignored:
        notes = (*notes, f"quirk {IGNORE_KEY_USAGE}: the signer's key usage does not include digitalSignature")
    return Proof(kind=kind, path=path, notes=notes)


def authorise_issue(proof: Proof, issued_path: tuple[x509.Certificate, ...], rules: PeerRules) -> None:
    """Pass if whoever made ``proof`` may hand out the certificate whose path is ``issued_path``.

    Before the body was read any CA on a valid path could pass as "issuing CA"; now it is known which one issued.

    Raises:
        UntrustedPeer: it is a CA, but not one on that path, and has no other right.
    """
    if proof.path:
        _authorise(proof.path, rules, issued_path)


def _authorise(
    path: tuple[x509.Certificate, ...], rules: PeerRules, issued_path: tuple[x509.Certificate, ...] | None = None
) -> trust.Authorisation:
    return trust.authorise(
        path[0],
        path,
        issued_path=issued_path,
        expected_sender=names.parse_name(rules.expected_sender) if rules.expected_sender else None,
        pins=rules.pins,
        ignore_key_usage=IGNORE_KEY_USAGE in rules.quirks,
    )


@frozen
class Claim:
    """What an answer *says* without proof: words for people, and failure bits. It never changes a transaction."""

    text: str = ""
    failures: frozenset[int] = frozenset()


def claim(message: Message) -> Claim:
    """Read why an unacceptable answer claims that the CA said no, to show it beside the error.

    Empty when it says no such thing, or nothing readable.
    """
    try:
        body = message.body()
    except CmpError:
        return Claim()
    match body:
        case ErrorMessage(status=status, details=details):
            pass
        case CertRepMessage(responses=(response, *_)):
            status, details = response.status, ()
        case RevRep(statuses=(status, *_)):
            details = ()
        case _:
            return Claim()
    if status.status in _NO_COMPLAINT:
        return Claim()
    return Claim(describe(status.status, status.failures, (*status.text, *details)), status.failures)


def _wrong_kind(message: Message, kind: Kind, ours: Kind) -> ProtectionError:
    return ProtectionError(
        f"the request was protected by {ours}, the answer ({message.type.label}) by {kind}",
        remedy=f"If the CA's operator confirms that it answers so, add the quirk {SIGNED_RESPONSE_TO_MAC} to the "
        "authority; its certificate is then checked against trust-anchors."
        if kind is Kind.SIGNATURE
        else "Ask the CA's operator why it answers a signed request with a MAC.",
    )


def _signed(
    message: Message,
    rules: PeerRules,
    anchors: tuple[x509.Certificate, ...],
    known: Iterable[bytes],
    now: datetime,
    *,
    clock_trusted: bool,
    addressed: bytes,
) -> tuple[tuple[x509.Certificate, ...], trust.Authorisation, tuple[str, ...]]:
    """Return the signer's path and right, and remarks about what CRLs do not tell.

    Several certificates may fit: a renewed one beside the old, or forged ones with the signer's name and key, put among
    extraCerts by anybody. What counts is whether one of them is good; what was proven before is tried first.
    """
    pool = (*anchors, *load_all(known), *load_all(message.extra_certs), *rules.intermediates)
    checks = trust.Checks()
    wrong: ProtectionError | None = None
    untrusted: UntrustedPeer | None = None
    for signer in islice(_candidates(message, pool, addressed), _MAXIMUM_CANDIDATES):
        key = signer.public_key
        try:
            if key is None:
                raise algorithms.unsupported(f"the key of {signer.who}")
            protection.verify_signature(message, key, rules.protection)
        except ProtectionError as error:
            wrong = wrong or error
            continue
        try:
            path = trust.build_path(
                signer.certificate,
                intermediates=pool,
                anchors=anchors,
                at=now,
                rules=rules.algorithms,
                clock_trusted=clock_trusted,
                checks=checks,
            )
            authorisation = _authorise(path, rules)
            remarks = demand_standing(
                path, rules.revocation, at=now, rules=rules.algorithms, clock_trusted=clock_trusted
            )
        except UntrustedPeer as error:
            if not checks.left:
                raise  # the good one may be among those that are left: that, and no fault of the first, is to be told
            untrusted = untrusted or error
        else:
            return path, authorisation, (*_misnamed(message, signer), *remarks)
    raise untrusted or wrong or _nobody(message)


def _misnamed(message: Message, signer: Facts) -> tuple[str, ...]:
    sender = names.name_of(message.header.sender)
    if sender in {None, names.EMPTY} or name_key(names.parse_name(sender or b"")) == signer.subject_key:
        return ()
    return (f"the CA names whom we addressed as sender, and not {signer.who}, who signed",)


def _candidates(message: Message, pool: Iterable[x509.Certificate], addressed: bytes) -> Iterator[Facts]:
    """Give the certificates that header.sender and senderKID point at (RFC 9483 3.1), each once, best match first.

    A sender without a name is borne, with or without senderKID, and so is one that only repeats whom we addressed:
    who it is, the signature and its path prove.
    """
    kid, sender = message.header.sender_kid, names.name_of(message.header.sender)
    distinct = {facts.octets: facts for facts in map(read, pool)}.values()
    fitting = [facts for facts in distinct if kid is None or facts.subject_key_identifier in {kid, None}]
    fitting.sort(key=lambda facts: facts.subject_key_identifier is None)
    if sender is None or sender == names.EMPTY:
        yield from fitting if sender is not None else ()
        return
    others = []
    for facts in fitting:
        if facts.subject.public_bytes() == sender:
            yield facts
        else:
            others.append(facts)
    # The same name can be written with other string types; to find out takes a parser that is slow to load.
    if others:
        wanted = name_key(names.parse_name(sender))
        yield from (facts for facts in others if facts.subject_key == wanted)
        if message.header.sender == addressed:
            yield from (facts for facts in others if facts.subject_key != wanted)


def _nobody(message: Message) -> UntrustedPeer:
    sender = names.name_of(message.header.sender)
    who = names.text_of(sender) if sender is not None else "(no directory name)"
    return UntrustedPeer(
        f"the answer is signed, but no certificate at hand is that of its sender {clean_text(who)}",
        remedy="Add the CA's or RA's certificate to `trust-anchors` of the authority, or ask its operator to send it "
        "in extraCerts.",
    )
