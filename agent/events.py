"""Every event the agent reports, in one table: its MESSAGE_ID, priority, the sentence, and help for ``journalctl -x``.

The sentence is the same on a terminal, in the journal and on standard error. ``{fields}`` in it are given by whoever
reports. Journal fields are upper case; the names of RFC 9810 and RFC 5280 are used wherever they fit:
IDENTITY, AUTHORITY, CMP_TRANSACTION_ID, CMP_MESSAGE, CMP_STATUS, CMP_FAIL_INFO, CERTIFICATE_SERIAL,
CERTIFICATE_NOT_AFTER, NEXT_ACTION, NEXT_ACTION_AT, REMEDY.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final


class Priority(IntEnum):
    """Priorities of syslog (RFC 5424 6.2.1)."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7


class Event(StrEnum):
    """What can be reported."""

    KEY_MADE = "key-made"
    STARTED = "started"
    RESUMED = "resumed"
    SNAPSHOT_LOST = "snapshot-lost"
    SENT = "sent"
    PENDING = "pending"
    BUSY = "busy"
    VERIFIED = "verified"
    NOTE = "note"
    UNACCEPTABLE = "unacceptable"
    UNCONFIRMED = "unconfirmed"
    INSTALLED = "installed"
    REVOKED = "revoked"
    REFRESHED = "refreshed"
    ROOT_LEARNED = "root-learned"
    ROOT_TAKEN_ON_TRUST = "root-taken-on-trust"
    ROOT_ADDED = "root-added"
    ROOT_REFUSED = "root-refused"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class EventRule:
    """``message_id`` never changes once published; ``text`` is one sentence, ``help`` what a colleague would add."""

    message_id: str
    priority: Priority
    text: str
    help: str


EVENTS: Final[dict[Event, EventRule]] = {
    Event.KEY_MADE: EventRule(
        "ea9dc247f4a949939992d8086ffe5c3f",
        Priority.INFO,
        "made a new key: {algorithm}, {place}",
        "A new private key was made and is on disk (or on the token). It is used for this request and, if it is "
        "interrupted, for the next attempt.",
    ),
    Event.STARTED: EventRule(
        "e5fd507fd51f4fedafd4f1b9a57d3ca0",
        Priority.NOTICE,
        "asking {authority} for a certificate ({message}) for {subject}",
        "A certificate is being asked for. Every message of this request carries the transactionID in "
        "CMP_TRANSACTION_ID; the CA's operator can find it in his logs by it.",
    ),
    Event.RESUMED: EventRule(
        "19e65ec8e0df4daea6d7e0380f03cb50",
        Priority.NOTICE,
        "going on with the request of {started} ({state})",
        "A request was interrupted (restart, power cut) and goes on where it stood. Nothing was lost.",
    ),
    Event.SNAPSHOT_LOST: EventRule(
        "a1dba8c8fe7f413ea561f5a969580a03",
        Priority.WARNING,
        "the earlier request cannot go on, a new one is started: {reason}",
        "An open request could not be gone on with. A new one is made with the same key, so that the CA can "
        "recognise it.",
    ),
    Event.SENT: EventRule(
        "34fa190595e843fa9429df6d414b7c61",
        Priority.INFO,
        "sending {message}",
        "A CMP message leaves. The open request was saved before, so it survives whatever happens now.",
    ),
    Event.PENDING: EventRule(
        "7ad164cad0ed45cbbf02fdb4ca59e364",
        Priority.NOTICE,
        "the CA has not decided yet{reason}; asking again in {wait}",
        "The CA needs time, often because a person there must approve. The request stays open, over restarts too. "
        "If it lasts longer than the operator promised, ask him about the transactionID in CMP_TRANSACTION_ID.",
    ),
    Event.BUSY: EventRule(
        "c1427e995fca4189b59c3c09045afc06",
        Priority.NOTICE,
        "the CA's server is busy; trying again in {wait}",
        "The server answered 503. It is asked again when it said; nothing needs to be done here.",
    ),
    Event.VERIFIED: EventRule(
        "0c19fbfdc0e340398eba7c9b0291cb5f",
        Priority.INFO,
        "the certificate passed every check: serial {serial}, valid until {not_after}",
        "The certificate came from the CA, belongs to our key, carries the names asked for and leads to a trust "
        "anchor of the operator. It is on disk.",
    ),
    Event.NOTE: EventRule(
        "2b0ba93041cd4159b7af78dbc326f377",
        Priority.WARNING,
        "note: {note}",
        "Something is not as it should be but does no harm by itself. A quirk named here weakens one check because "
        "the configuration says so.",
    ),
    Event.UNACCEPTABLE: EventRule(
        "10d0e7bd21e345babe9368a1f0241b3b",
        Priority.ERROR,
        "the certificate is refused: {objection}",
        "The CA issued a certificate that must not be used. The CA is told so. The previous certificate, if there is "
        "one, stays in use.",
    ),
    Event.UNCONFIRMED: EventRule(
        "596af71fd2284da28d97630b8fecec65",
        Priority.WARNING,
        "the CA did not acknowledge the confirmation of certificate {serial}: {reason}",
        "The certificate passed every check, but the CA may not count it as accepted. It is kept. Ask the CA's "
        "operator whether the serial in CERTIFICATE_SERIAL is active.",
    ),
    Event.INSTALLED: EventRule(
        "edea9fb275534b4d9b92fa6eb508fd6d",
        Priority.NOTICE,
        "installed: {subject}, serial {serial}, valid until {not_after}",
        "Key, certificate, chain and trust anchors were switched to the new generation in one step. Older "
        "generations are kept for a rollback.",
    ),
    Event.REVOKED: EventRule(
        "bd69abb55ffd4818afbb7c7558b23870",
        Priority.WARNING,
        "revoked: {subject}, serial {serial} ({reason})",
        "The CA revoked the certificate because it was asked to. It stays on disk, but nobody will accept it for long: "
        "enroll again, with the vendor's certificate or a new secret, if the device stays in use.",
    ),
    Event.REFRESHED: EventRule(
        "b38819bb6ca0443382f586e728c7801d",
        Priority.INFO,
        "asked {authority} what changed: CA certificates {certificates}, new roots {roots}",
        "The authority was asked for its CA certificates and for a successor of each root that is trusted.",
    ),
    Event.ROOT_LEARNED: EventRule(
        "8764a3c957374fd8ae9f8dbe806140b2",
        Priority.NOTICE,
        "the root {subject} is trusted from now on: it came {how} (SHA-256 of its key {pin})",
        "No trust anchor was configured, so the operator's root was learned from the first answer, as trust-anchors "
        "says. It is kept with the certificate, and no other one is accepted this way again.",
    ),
    Event.ROOT_TAKEN_ON_TRUST: EventRule(
        "41d294be5bb9488fb2ff90dd1072ccb2",
        Priority.WARNING,
        "the root {subject} is trusted from now on although nothing proves that it is the operator's: compare the "
        "SHA-256 of its key, {pin}",
        "No trust anchor was configured, and enrollment-anchors says to take the root that comes along with the first "
        "answer. Whoever was on the way to the CA at that moment could have put in his own. Compare the hash with the "
        "operator's; if it is another, take the device off the net and remove its state. No other root is accepted "
        "this way again.",
    ),
    Event.ROOT_ADDED: EventRule(
        "57f6f73fb3ee47ddb5be0bd68afe8dc0",
        Priority.NOTICE,
        "a new root is trusted: {subject}, valid until {not_after}; {old} vouches for it",
        "The operator changes his root certificate. The new one was certified by the old one, which is trusted "
        "already; both are trusted from now on, so nothing breaks whichever is used.",
    ),
    Event.ROOT_REFUSED: EventRule(
        "25b711b10be042e7a5964bde0459c1e4",
        Priority.ERROR,
        "a new root is refused: {reason}",
        "The CA offered a new root certificate that no root trusted here vouches for. Somebody may be trying to "
        "replace the operator. Ask the operator before you add it to trust-anchors by hand.",
    ),
    Event.UNCHANGED: EventRule(
        "eb913ee38a7148d08fa962eb972c163a",
        Priority.INFO,
        "nothing to do: {subject} is valid until {not_after}",
        "A valid certificate is installed and no new one was asked for.",
    ),
    Event.FAILED: EventRule(
        "907e307bbddb4d8a8e9e970e948b62d6",
        Priority.ERROR,
        "{verdict}: {reason}",
        "The attempt did not bring a certificate. REMEDY says what to do. The previous certificate, if there is one, "
        "stays in use.",
    ),
}


def sentence(event: Event, words: dict[str, str]) -> str:
    """Return the sentence of ``event`` with ``words`` filled in."""
    return EVENTS[event].text.format_map(words)
