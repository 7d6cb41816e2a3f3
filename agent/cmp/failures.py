"""PKIStatus and PKIFailureInfo (RFC 9810 section 5.2.3) in plain words: meaning, remedy, whether to try again.

Two tables carry everything; the functions below only combine their rows. A peer may set several bits, and bits nobody
has defined yet: those are shown as "bit N" and decide nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final

from agent.cmp.errors import MalformedMessage
from agent.frozen import frozen

TEXT_LIMIT: Final = 200
"""Characters of a peer's own words that we show."""

BITS_LIMIT: Final = 256
"""Bits of a failInfo that are looked at; 27 are defined, and a hostile string must not become a million numbers."""


class PKIStatus(IntEnum):
    """How the CA answered (RFC 9810 5.2.3)."""

    ACCEPTED = 0
    GRANTED_WITH_MODS = 1
    REJECTION = 2
    WAITING = 3
    REVOCATION_WARNING = 4
    REVOCATION_NOTIFICATION = 5
    KEY_UPDATE_WARNING = 6

    @property
    def label(self) -> str:
        """The name as the RFC spells it."""
        return _camel(self.name)


class PKIFailureInfo(IntEnum):
    """Why the CA said no; the number is the bit (RFC 9810 5.2.3)."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4
    BAD_DATA_FORMAT = 5
    WRONG_AUTHORITY = 6
    INCORRECT_DATA = 7
    MISSING_TIME_STAMP = 8
    BAD_POP = 9
    CERT_REVOKED = 10
    CERT_CONFIRMED = 11
    WRONG_INTEGRITY = 12
    BAD_RECIPIENT_NONCE = 13
    TIME_NOT_AVAILABLE = 14
    UNACCEPTED_POLICY = 15
    UNACCEPTED_EXTENSION = 16
    ADD_INFO_NOT_AVAILABLE = 17
    BAD_SENDER_NONCE = 18
    BAD_CERT_TEMPLATE = 19
    SIGNER_NOT_TRUSTED = 20
    TRANSACTION_ID_IN_USE = 21
    UNSUPPORTED_VERSION = 22
    NOT_AUTHORIZED = 23
    SYSTEM_UNAVAIL = 24
    SYSTEM_FAILURE = 25
    DUPLICATE_CERT_REQ = 26

    @property
    def label(self) -> str:
        """The name as the RFC spells it."""
        return "badPOP" if self is PKIFailureInfo.BAD_POP else _camel(self.name)


class RetryClass(StrEnum):
    """What trying again is worth after a "no".

    ``final``: nothing changes by itself; a person must act (a slow background attempt does no harm).
    ``retry-later``: a new transaction after a delay. ``new-transaction``: a new transaction at once, but only once.
    ``fix-clock-then-retry``: once, after the clock was set. ``other-ca``: the next configured address or CA.
    ``new-key``: a new key pair in a new transaction.
    ``success-if-same``: done already, if what the CA has is what we meant (compare before believing it).
    """

    FINAL = "final"
    RETRY_LATER = "retry-later"
    NEW_TRANSACTION = "new-transaction"
    FIX_CLOCK_THEN_RETRY = "fix-clock-then-retry"
    OTHER_CA = "other-ca"
    NEW_KEY = "new-key"
    SUCCESS_IF_SAME = "success-if-same"


@frozen
class FailureRule:
    """One bit: ``meaning`` in plain words, ``remedy`` for whoever stands in front of the device, and ``retry``."""

    meaning: str
    remedy: str
    retry: RetryClass = RetryClass.FINAL


STATUSES: Final[Mapping[PKIStatus, str]] = MappingProxyType({
    PKIStatus.ACCEPTED: "the CA did what was asked for",
    PKIStatus.GRANTED_WITH_MODS: "the CA did it, with changes",
    PKIStatus.REJECTION: "the CA refused",
    PKIStatus.WAITING: "the CA has not decided yet",
    PKIStatus.REVOCATION_WARNING: "the CA announces that the certificate will be revoked",
    PKIStatus.REVOCATION_NOTIFICATION: "the CA has revoked the certificate",
    PKIStatus.KEY_UPDATE_WARNING: "the CA says that this certificate was renewed already",
})  # fmt: skip

FAILURES: Final[Mapping[PKIFailureInfo, FailureRule]] = MappingProxyType({
    PKIFailureInfo.BAD_ALG: FailureRule(
        "the CA does not know or not accept an algorithm we used",
        "Ask the CA's operator which algorithms it takes, and set `key` of the identity or `mac` of the authority so.",
    ),
    PKIFailureInfo.BAD_MESSAGE_CHECK: FailureRule(
        "the protection of our message did not verify",
        "Check the one-time secret, its reference and the `mac` settings with the CA's operator, letter by letter.",
    ),
    PKIFailureInfo.BAD_REQUEST: FailureRule(
        "the CA does not permit or support this kind of request",
        "Ask the CA's operator which requests it takes (ir, cr, p10cr, kur), and set `request` and `profile` so.",
    ),
    PKIFailureInfo.BAD_TIME: FailureRule(
        "the time in our message is too far from the CA's",
        "Set this machine's clock; the request is then repeated once.",
        RetryClass.FIX_CLOCK_THEN_RETRY,
    ),
    PKIFailureInfo.BAD_CERT_ID: FailureRule(
        "the CA knows no certificate that matches the one we named",
        "The certificate cannot be renewed at this CA; have the operator permit a new enrollment.",
    ),
    PKIFailureInfo.BAD_DATA_FORMAT: FailureRule(
        "the CA could not read our message",
        "Check that the URL of the authority is its CMP address; if it is, give its operator a support capture.",
    ),
    PKIFailureInfo.WRONG_AUTHORITY: FailureRule(
        "the request went to a CA that is not responsible for it",
        "Check `urls` and `recipient` of the authority; the next configured address is tried.",
        RetryClass.OTHER_CA,
    ),
    PKIFailureInfo.INCORRECT_DATA: FailureRule(
        "the CA finds the data of the request wrong",
        "Compare subject and alternative names of the identity with what the CA's operator has registered.",
    ),
    PKIFailureInfo.MISSING_TIME_STAMP: FailureRule(
        "the CA's policy wants a time stamp that is missing",
        "Ask the CA's operator to drop this demand for certificate enrollment, or to name what it expects.",
    ),
    PKIFailureInfo.BAD_POP: FailureRule(
        "the proof that we hold the private key did not convince the CA",
        "Check that the key belongs to this identity and that the CA accepts its kind of proof; then ask its operator.",
    ),
    PKIFailureInfo.CERT_REVOKED: FailureRule(
        "the certificate is revoked already",
        "If you asked for revocation, nothing is left to do; otherwise have the operator permit a new enrollment.",
    ),
    PKIFailureInfo.CERT_CONFIRMED: FailureRule(
        "the certificate was confirmed already",
        "Nothing is left to do if it is the certificate installed here; otherwise ask the CA's operator who has it.",
        RetryClass.SUCCESS_IF_SAME,
    ),
    PKIFailureInfo.WRONG_INTEGRITY: FailureRule(
        "the CA wants the other kind of protection (shared secret or signature)",
        "Ask the CA's operator which it expects, and set `bootstrap` of the identity so.",
    ),
    PKIFailureInfo.BAD_RECIPIENT_NONCE: FailureRule(
        "the CA lost the thread of this transaction",
        "Nothing to do at first: a new transaction is started once; if it fails too, give the operator a capture.",
        RetryClass.NEW_TRANSACTION,
    ),
    PKIFailureInfo.TIME_NOT_AVAILABLE: FailureRule(
        "the CA's source of time is not available",
        "Nothing to do here: it is tried again later; tell the CA's operator if it lasts.",
        RetryClass.RETRY_LATER,
    ),
    PKIFailureInfo.UNACCEPTED_POLICY: FailureRule(
        "the CA does not support the policy asked for",
        "Check `certificate-profile` of the authority with the CA's operator.",
    ),
    PKIFailureInfo.UNACCEPTED_EXTENSION: FailureRule(
        "the CA refuses a certificate extension we asked for",
        "Check alternative names and key usages of the identity with what the CA's operator allows.",
    ),
    PKIFailureInfo.ADD_INFO_NOT_AVAILABLE: FailureRule(
        "the CA does not understand or have additional information",
        "Give the CA's operator a support capture and ask what is missing.",
    ),
    PKIFailureInfo.BAD_SENDER_NONCE: FailureRule(
        "the CA finds our nonce missing or of the wrong size",
        "Give the CA's operator and us a support capture: one of the two programs is wrong.",
    ),
    PKIFailureInfo.BAD_CERT_TEMPLATE: FailureRule(
        "the CA refuses the requested contents, or the key is in use already",
        "Compare subject, names and key algorithm with the CA's rules; if they agree, enroll with a new key.",
    ),
    PKIFailureInfo.SIGNER_NOT_TRUSTED: FailureRule(
        "the CA does not trust the certificate that signed our request",
        "Have the CA's operator load the vendor's root certificate (or the old CA's), and send its chain with us.",
    ),
    PKIFailureInfo.TRANSACTION_ID_IN_USE: FailureRule(
        "the CA thinks this transaction is running already",
        "Nothing to do at first: a new transaction is started once; if it fails too, ask the operator to end the old.",
        RetryClass.NEW_TRANSACTION,
    ),
    PKIFailureInfo.UNSUPPORTED_VERSION: FailureRule(
        "the CA does not speak this version of CMP",
        "For a key that does not sign choose profile `backhaul`; with any other, the CA is too old for this agent.",
    ),
    PKIFailureInfo.NOT_AUTHORIZED: FailureRule(
        "we are not allowed to ask for this",
        "Have the CA's operator register or release this device (secret used up, device unknown, renewal not allowed).",
    ),
    PKIFailureInfo.SYSTEM_UNAVAIL: FailureRule(
        "the CA is busy or switched off for now",
        "Nothing to do here: it is tried again later; tell the CA's operator if it lasts.",
        RetryClass.RETRY_LATER,
    ),
    PKIFailureInfo.SYSTEM_FAILURE: FailureRule(
        "the CA has an internal failure",
        "Nothing to do here: it is tried again later; tell the CA's operator if it lasts.",
        RetryClass.RETRY_LATER,
    ),
    PKIFailureInfo.DUPLICATE_CERT_REQ: FailureRule(
        "the CA has seen the same request before",
        "A new key is made for the next attempt; if the key must stay, ask the CA's operator to clear the old request.",
        RetryClass.NEW_KEY,
    ),
})  # fmt: skip

_PRECEDENCE: Final = (
    RetryClass.SUCCESS_IF_SAME,  # the caller compares before it believes
    RetryClass.FINAL,
    RetryClass.NEW_KEY,
    RetryClass.OTHER_CA,
    RetryClass.FIX_CLOCK_THEN_RETRY,
    RetryClass.RETRY_LATER,
    RetryClass.NEW_TRANSACTION,
)

_NO_REASON: Final = "Ask the CA's operator why the request was refused, and give the transaction's ID from the journal."


def describe(status: int, failures: Iterable[int] = (), text: str | tuple[str, ...] = ()) -> str:
    """Return one line: what the CA answered, why, and its own words in quotes, escaped and cut.

    ``status`` is a PKIStatus number (unknown ones are shown as such), ``failures`` the bit numbers, ``text`` the
    PKIFreeText, whole or in parts.
    """
    known = status in STATUSES
    parts = [f"{STATUSES[PKIStatus(status)]} ({PKIStatus(status).label})" if known else f"unknown status {status}"]
    if reasons := [_with_meaning(bit) for bit in sorted(failures)]:
        parts.append(": " + "; ".join(reasons))
    # Its quotation marks become single ones: only ours say where its words end.
    words = clean_text((text if isinstance(text, str) else " / ".join(text)).replace('"', "'"))
    if words:
        parts.append(f'; it says: "{words}"')
    return "".join(parts)


def remedy(failures: Iterable[int]) -> str:
    """Return what to do next: one sentence a known bit, without repeats; a general one when no bit is known."""
    sentences = dict.fromkeys(FAILURES[bit].remedy for bit in known_failures(failures))
    return " ".join(sentences) or _NO_REASON


def retry_class(failures: Iterable[int]) -> RetryClass:
    """Return what trying again is worth; of several bits the one that promises least wins. No known bit: final.

    certRevoked is final here; whoever asked for the revocation takes it as success after checking that it was this
    certificate (RFC 9483 4.2).
    """
    classes = {FAILURES[bit].retry for bit in known_failures(failures)}
    return next((candidate for candidate in _PRECEDENCE if candidate in classes), RetryClass.FINAL)


def known_failures(failures: Iterable[int]) -> tuple[PKIFailureInfo, ...]:
    """Return the defined ones among the bit numbers, in their order."""
    return tuple(PKIFailureInfo(bit) for bit in sorted(set(failures)) if bit in FAILURES)


def failure_name(bit: int) -> str:
    """Return the RFC's name of a bit, or "bit N"."""
    return PKIFailureInfo(bit).label if bit in FAILURES else f"bit {bit}"


def failure_names(failures: Iterable[int]) -> tuple[str, ...]:
    """Return the names of all bits, in their order (what ``Rejected.failures`` carries)."""
    return tuple(failure_name(bit) for bit in sorted(set(failures)))


def decode_failures(contents: bytes) -> frozenset[int]:
    """Return the bit numbers set in the contents octets of a BIT STRING (the count of unused bits comes first).

    A NamedBitList that was not trimmed is taken (some CAs send 27 bits always); bits past ``BITS_LIMIT`` are dropped.

    Raises:
        MalformedMessage: when the octets are no BIT STRING (X.690 8.6.2).
    """
    unused = contents[0] if contents else 8
    if unused > 7 or (unused and len(contents) == 1) or (unused and contents[-1] & ((1 << unused) - 1)):  # noqa: PLR2004
        raise MalformedMessage(
            "the failInfo in the CA's answer is not a bit string",
            remedy="Give the CA's operator a support capture of this answer.",
        )
    bits = int.from_bytes(contents[1 : 1 + BITS_LIMIT // 8], "big")
    width = 8 * min(len(contents) - 1, BITS_LIMIT // 8)
    return frozenset(number for number in range(width) if bits >> (width - 1 - number) & 1)


def encode_failures(failures: Iterable[int]) -> bytes:
    """Return the contents octets of the BIT STRING, trailing zero bits removed as DER wants (X.690 11.2.2).

    Raises:
        ValueError: for a number outside 0 .. ``BITS_LIMIT`` - 1, which is a mistake of the caller.
    """
    bits = frozenset(failures)
    if not bits:
        return b"\x00"
    if min(bits) < 0 or max(bits) >= BITS_LIMIT:
        raise ValueError(f"failInfo has bits 0 to {BITS_LIMIT - 1}, not {sorted(bits)}")
    octets = bytearray(max(bits) // 8 + 1)
    for bit in bits:
        octets[bit // 8] |= 0x80 >> bit % 8
    return bytes((7 - max(bits) % 8,)) + octets


def clean_text(text: str, limit: int = TEXT_LIMIT) -> str:
    r"""Return a peer's text safe to print: one line, no control or direction characters, ``limit`` characters at most.

    Everything that is invisible, moves the cursor, turns the direction of writing or has no glyph is written as
    ``\n``, ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN`` (Unicode categories Cc, Cf, Cn, Co, Cs, Zl, Zp). Text that was cut
    ends in an ellipsis.
    """
    # No character gets shorter, so what lies past the limit can never be shown: a megabyte costs no more than a line.
    parts = [_escape(character) for character in text.strip(" \t\r\n")[: limit + 1]]
    if sum(map(len, parts)) <= limit:
        return "".join(parts)
    room = limit - 1
    kept: list[str] = []
    for part in parts:
        room -= len(part)
        if room < 0:
            break
        kept.append(part)
    return "".join(kept) + "…"


def _escape(character: str) -> str:
    if unicodedata.category(character) in _UNSAFE:
        return character.encode("unicode_escape").decode("ascii")
    return character


_UNSAFE: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


def _with_meaning(bit: int) -> str:
    return f"{failure_name(bit)} ({FAILURES[PKIFailureInfo(bit)].meaning})" if bit in FAILURES else failure_name(bit)


def _camel(name: str) -> str:
    head, *tail = name.lower().split("_")
    return head + "".join(word.capitalize() for word in tail)
