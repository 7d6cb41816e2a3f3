"""What an identity's state means, in plain words: for ``status``, ``watch``, ``explain`` and the manual."""

from __future__ import annotations

from typing import Final

from agent.frozen import frozen


@frozen
class StateWords:
    """``meaning``: what it is; ``remedy``: what to do, with NAME for the identity."""

    meaning: str
    remedy: str


NOTHING: Final = "Nothing needs to be done."

STATES: Final[dict[str, StateWords]] = {
    "unenrolled": StateWords(
        "no certificate was ever installed", "Run 'enrollctl turn-up', or 'enrollctl enroll NAME'."
    ),
    "valid": StateWords("the certificate is valid and its renewal is not due", NOTHING),
    "deploying": StateWords(
        "the certificate is valid, but a consumer does not use it yet",
        "See 'enrollctl status NAME' for who and why; by hand: 'enrollctl deploy NAME'.",
    ),
    "due": StateWords(
        "the certificate is valid, and the time for its renewal has come",
        "enrolld renews it; by hand: 'enrollctl renew NAME'.",
    ),
    "expiring": StateWords(
        "the certificate is still valid but should have been renewed by now",
        "See 'enrollctl status NAME' for why it was not, and run 'enrollctl renew NAME'.",
    ),
    "expired": StateWords(
        "the certificate is no longer valid, by the clock of this machine",
        "Check the clock; if it is right, enroll again: 'enrollctl enroll NAME' (a new one-time secret may be needed).",
    ),
    "not-yet-valid": StateWords(
        "by the clock of this machine the certificate is not valid yet: the clock is behind", "Set the clock."
    ),
    "revoked": StateWords(
        "the certificate was revoked, on our request or by a CRL that the CA signed",
        "If the device stays in use, get a new one-time secret and run 'enrollctl enroll NAME'.",
    ),
    "on-hold": StateWords(
        "a CRL that the CA signed says that the certificate does not count for now (certificateHold)",
        "Ask the operator why, and wait: the hold ends with a later CRL, or becomes a revocation.",
    ),
    "damaged": StateWords(
        "files of the credential in use are missing or were changed",
        "Run 'enrollctl rollback NAME'; without an older credential 'enrollctl enroll NAME --again'.",
    ),
    "pending": StateWords(
        "the CA has the request and has not decided yet; it is asked again, after a restart too",
        "Wait; if it lasts, ask the CA's operator about the transaction that 'journalctl -x IDENTITY=NAME' names.",
    ),
    "confirming": StateWords(
        "the certificate is here and accepted; the CA is being told so",
        "Nothing needs to be done: it goes on by itself.",
    ),
    "refusing": StateWords(
        "the certificate that came was not acceptable; the CA is being told so",
        "Nothing at first; then see 'enrollctl status NAME' for what was wrong with it.",
    ),
    "installing": StateWords(
        "the CA knows that the certificate is accepted; it is being put in its place",
        "Nothing needs to be done: it goes on by itself.",
    ),
}
"""Every state but the verdicts of a failed attempt, which take its place where no certificate can be used."""
