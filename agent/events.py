"""Every event the agent reports, in one table: its MESSAGE_ID, priority, the sentence, and help for ``journalctl -x``.

The sentence is the same on a terminal, in the journal and on standard error. ``{words}`` in it are given by whoever
reports. Journal fields are upper case; the names of RFC 9810 and RFC 5280 are used wherever they fit. IDENTITY and
AUTHORITY go with every event about an identity. systemd/enrolld.catalog is made from this table by
``python -m agent.cli.catalog``.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

from agent.frozen import frozen

FIELDS: Final[dict[str, str]] = {
    "IDENTITY": "the identity, by its name in the configuration",
    "AUTHORITY": "the authority that is asked, by its name in the configuration",
    "CMP_TRANSACTION_ID": "transactionID in hexadecimal: what the CA's operator finds the request by",
    "CMP_MESSAGE": "the message, by the name of its body: ir, kur, certConf, pollReq ...",
    "CMP_STATUS": "what the CA said (PKIStatus): accepted, waiting, rejection ...",
    "CMP_FAIL_INFO": "why it said no (PKIFailureInfo), separated by commas",
    "CERTIFICATE_SERIAL": "serial number in hexadecimal",
    "CERTIFICATE_NOT_AFTER": "end of validity (ISO 8601, UTC)",
    "KEY": "a key on a token, as a pkcs11: URI (RFC 7512)",
    "CONSUMER": "who is to use the certificate, as strongswan /run/charon.vici",
    "VERDICT": "how a job ended: unreachable, rejected, needs-secret ...",
    "NEXT_ACTION": "what happens next",
    "NEXT_ACTION_AT": "when (ISO 8601, UTC)",
    "REMEDY": "what a person should do",
}
"""Every field of ours, and what it holds."""


class Priority(IntEnum):
    """Priorities of syslog (RFC 5424 6.2.1)."""

    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7


class Event(StrEnum):
    """What can be reported."""

    KEY_MADE = "key-made"
    KEY_DESTROYED = "key-destroyed"
    TOKEN_ARRIVED = "token-arrived"  # noqa: S105 - the name of an event
    TOKEN_GONE = "token-gone"  # noqa: S105 - the name of an event
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
    FOUND_REVOKED = "found-revoked"
    FOUND_ON_HOLD = "found-on-hold"
    HOLD_ENDED = "hold-ended"
    ISSUER_REVOKED = "issuer-revoked"
    STANDING_UNKNOWN = "standing-unknown"
    REFRESHED = "refreshed"
    ROOT_LEARNED = "root-learned"
    ROOT_TAKEN_ON_TRUST = "root-taken-on-trust"
    ROOT_ADDED = "root-added"
    ROOT_REFUSED = "root-refused"
    DEPLOYED = "deployed"
    DEPLOY_FAILED = "deploy-failed"
    ROLLED_BACK = "rolled-back"
    CONSUMER_SAID = "consumer-said"
    TEMPLATE = "template"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    READY = "ready"
    ENDING = "ending"
    UNUSABLE = "unusable"
    RELOADED = "reloaded"
    RELOAD_REFUSED = "reload-refused"
    PLANNED = "planned"
    WORKER_DIED = "worker-died"
    WORKER_HUNG = "worker-hung"
    WORKER_UNCLEAR = "worker-unclear"
    NEEDS_PERSON = "needs-person"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    CLOCK_DOUBTED = "clock-doubted"
    CLOCK_STEPPED = "clock-stepped"
    STATE_TROUBLE = "state-trouble"
    ORPHAN = "orphan"
    DEFECT = "defect"


@frozen
class EventRule:
    """How one event is reported. Texts for the catalogue hold ``@FIELD@``, which journalctl fills in.

    ``message_id`` never changes once published; ``subject`` is its title in the catalogue; ``text`` the one sentence in
    the journal; ``happened`` and ``to_do`` what a colleague would add; ``fields`` every entry has beside IDENTITY and
    AUTHORITY.
    """

    message_id: str
    priority: Priority
    subject: str
    text: str
    happened: str
    to_do: str
    fields: frozenset[str] = frozenset()

    @property
    def help(self) -> str:
        """What the catalogue says where there is no entry at hand: fields by their names."""
        return f"{self.happened} What to do: {self.to_do}".replace("@", "")


EVENTS: Final[dict[Event, EventRule]] = {
    Event.KEY_MADE: EventRule(
        "ea9dc247f4a949939992d8086ffe5c3f",
        Priority.INFO,
        "A new key for @IDENTITY@",
        "made a new key: {algorithm}, {place}",
        "A new private key is on disk or on the token. It is used for this request and, if that is interrupted, "
        "for the next attempt.",
        "Nothing.",
    ),
    Event.KEY_DESTROYED: EventRule(
        "80dade691ef549bf92059c5817f86de2",
        Priority.NOTICE,
        "An old key of @IDENTITY@ is destroyed",
        "destroyed an old key: {key}",
        "A key pair on a token that nothing uses any more is gone, with the certificate beside it: its successor has "
        "been in use for as long as retire-after of the token says, or it never got a certificate.",
        "Nothing.",
        frozenset({"KEY"}),
    ),
    Event.TOKEN_ARRIVED: EventRule(
        "a94f7160afa84f41ad9c3766308b3f51",
        Priority.NOTICE,
        "A device that may hold keys was plugged in",
        "plugged in: {device}",
        "A smart card reader, security token or TPM has appeared. Identities that wait for their token are tried at "
        "once.",
        "Nothing. If the token is still not found, run 'enrollctl token list'.",
    ),
    Event.TOKEN_GONE: EventRule(
        "7ff284dabfc84ebdbc6c2d4c5cc8a8e7",
        Priority.WARNING,
        "A device that may hold keys was pulled out",
        "pulled out: {device}",
        "A smart card reader, security token or TPM is gone. Nothing is lost, but keys on it cannot be used meanwhile, "
        "by the IKE daemon either.",
        "Plug it in again.",
    ),
    Event.STARTED: EventRule(
        "e5fd507fd51f4fedafd4f1b9a57d3ca0",
        Priority.NOTICE,
        "A certificate for @IDENTITY@ is being asked for",
        "asking {authority} for a certificate ({message}) for {subject}",
        "A request begins. Every message of it carries the transactionID @CMP_TRANSACTION_ID@.",
        "Nothing. If it leads nowhere, give the operator of @AUTHORITY@ the transactionID: he finds the request "
        "in his logs by it.",
        frozenset({"CMP_TRANSACTION_ID", "CMP_MESSAGE"}),
    ),
    Event.RESUMED: EventRule(
        "19e65ec8e0df4daea6d7e0380f03cb50",
        Priority.NOTICE,
        "A request for @IDENTITY@ goes on",
        "going on with the request of {started} ({state})",
        "A request was interrupted by a restart or a power cut, or the CA needed time. It goes on where it stood, "
        "as transaction @CMP_TRANSACTION_ID@; nothing was lost.",
        "Nothing.",
        frozenset({"CMP_TRANSACTION_ID"}),
    ),
    Event.SNAPSHOT_LOST: EventRule(
        "a1dba8c8fe7f413ea561f5a969580a03",
        Priority.WARNING,
        "An open request for @IDENTITY@ cannot go on",
        "the earlier request cannot go on, a new one is started: {reason}",
        "What was saved of an open request cannot be used. A new request is made, with the same key if it is "
        "there, so that the CA can recognise it.",
        "Nothing, if the new request succeeds. If the CA refuses it because the one-time secret was used, ask its "
        "operator for a new one.",
    ),
    Event.SENT: EventRule(
        "34fa190595e843fa9429df6d414b7c61",
        Priority.INFO,
        "@CMP_MESSAGE@ goes out for @IDENTITY@",
        "sending {message}",
        "A CMP message leaves. The open request was saved before, so it survives whatever happens now.",
        "Nothing.",
        frozenset({"CMP_TRANSACTION_ID", "CMP_MESSAGE"}),
    ),
    Event.PENDING: EventRule(
        "7ad164cad0ed45cbbf02fdb4ca59e364",
        Priority.NOTICE,
        "The CA has not decided about @IDENTITY@",
        "the CA has not decided yet{reason}; asking again in {wait}",
        "The CA needs time, often because a person there must approve. The request stays open, over restarts too, "
        "and is asked for again at @NEXT_ACTION_AT@.",
        "Nothing here. If it lasts longer than the operator of @AUTHORITY@ promised, ask him about transaction "
        "@CMP_TRANSACTION_ID@.",
        frozenset({"CMP_TRANSACTION_ID", "CMP_STATUS", "NEXT_ACTION", "NEXT_ACTION_AT"}),
    ),
    Event.BUSY: EventRule(
        "c1427e995fca4189b59c3c09045afc06",
        Priority.NOTICE,
        "The CA's server is busy",
        "the CA's server is busy; trying again in {wait}",
        "The server of @AUTHORITY@ answered 503. It is asked again when it said.",
        "Nothing, unless it goes on for hours: then tell the operator of @AUTHORITY@.",
        frozenset({"CMP_TRANSACTION_ID", "NEXT_ACTION", "NEXT_ACTION_AT"}),
    ),
    Event.VERIFIED: EventRule(
        "0c19fbfdc0e340398eba7c9b0291cb5f",
        Priority.INFO,
        "The certificate for @IDENTITY@ passed every check",
        "the certificate passed every check: serial {serial}, valid until {not_after}",
        "The certificate @CERTIFICATE_SERIAL@ came from the CA, belongs to our key, carries the names asked for "
        "and leads to a trust anchor of the operator. It is on disk; the CA is told next that it is accepted.",
        "Nothing.",
        frozenset({"CMP_TRANSACTION_ID", "CERTIFICATE_SERIAL", "CERTIFICATE_NOT_AFTER"}),
    ),
    Event.NOTE: EventRule(
        "2b0ba93041cd4159b7af78dbc326f377",
        Priority.WARNING,
        "Something about @IDENTITY@ is not as it should be",
        "note: {note}",
        "It does no harm by itself. A quirk named here weakens one check because the configuration says so.",
        "Read the line above; where there is something to do, REMEDY says it (journalctl -o verbose).",
    ),
    Event.UNACCEPTABLE: EventRule(
        "10d0e7bd21e345babe9368a1f0241b3b",
        Priority.ERROR,
        "The certificate issued for @IDENTITY@ is refused",
        "the certificate is refused: {objection}",
        "The CA issued a certificate that must not be used, and is told so. The previous certificate, if there is "
        "one, stays in use.",
        "@REMEDY@",
        frozenset({"CMP_TRANSACTION_ID", "REMEDY"}),
    ),
    Event.UNCONFIRMED: EventRule(
        "596af71fd2284da28d97630b8fecec65",
        Priority.WARNING,
        "The CA did not acknowledge the new certificate of @IDENTITY@",
        "the CA did not acknowledge the confirmation of certificate {serial}: {reason}",
        "The certificate passed every check and is used, but the CA may not count it as accepted.",
        "Ask the operator of @AUTHORITY@ whether the certificate with serial @CERTIFICATE_SERIAL@ is active. If "
        "it is not, run 'enrollctl enroll @IDENTITY@ --again'.",
        frozenset({"CMP_TRANSACTION_ID", "CERTIFICATE_SERIAL"}),
    ),
    Event.INSTALLED: EventRule(
        "edea9fb275534b4d9b92fa6eb508fd6d",
        Priority.NOTICE,
        "@IDENTITY@ has a new certificate",
        "installed: {subject}, serial {serial}, valid until {not_after}",
        "Key, certificate, chain and trust anchors were switched to the new generation in one step. Serial "
        "@CERTIFICATE_SERIAL@ is valid until @CERTIFICATE_NOT_AFTER@; its renewal is due at @NEXT_ACTION_AT@. "
        "Older generations are kept.",
        "Nothing. 'enrollctl rollback @IDENTITY@' goes back to the previous one, should the consumer not like the "
        "new one.",
        frozenset({"CERTIFICATE_SERIAL", "CERTIFICATE_NOT_AFTER", "NEXT_ACTION", "NEXT_ACTION_AT"}),
    ),
    Event.REVOKED: EventRule(
        "bd69abb55ffd4818afbb7c7558b23870",
        Priority.WARNING,
        "The certificate of @IDENTITY@ was revoked",
        "revoked: {subject}, serial {serial} ({reason})",
        "The CA revoked the certificate @CERTIFICATE_SERIAL@ because it was asked to. It stays on disk, but "
        "nobody will accept it for long.",
        "If the device stays in use, enroll it again: 'enrollctl enroll @IDENTITY@ --again', with the vendor's "
        "certificate or a new secret.",
        frozenset({"CERTIFICATE_SERIAL", "CERTIFICATE_NOT_AFTER"}),
    ),
    Event.FOUND_REVOKED: EventRule(
        "523f53451e79446f84b9e66418b104c0",
        Priority.ERROR,
        "The certificate of @IDENTITY@ was found revoked",
        "our certificate is revoked: {subject}, serial {serial}, since {since} ({reason})",
        "A CRL that the CA signed lists the certificate @CERTIFICATE_SERIAL@ in use. Peers that look will not accept "
        "it any more. Nobody here asked for that.",
        "@REMEDY@",
        frozenset({"CERTIFICATE_SERIAL", "CERTIFICATE_NOT_AFTER", "REMEDY"}),
    ),
    Event.FOUND_ON_HOLD: EventRule(
        "5dee5f8ad2a942b38bb3778568c82ed6",
        Priority.WARNING,
        "The certificate of @IDENTITY@ is on hold",
        "our certificate is on hold: {subject}, serial {serial}, since {since}",
        "A CRL that the CA signed says that the certificate @CERTIFICATE_SERIAL@ does not count for now "
        "(certificateHold). That can be taken back, so it stays installed and is looked up again.",
        "@REMEDY@",
        frozenset({"CERTIFICATE_SERIAL", "CERTIFICATE_NOT_AFTER", "REMEDY"}),
    ),
    Event.HOLD_ENDED: EventRule(
        "f5efc3c94fb7405d97f85e1614b9f953",
        Priority.NOTICE,
        "The certificate of @IDENTITY@ is no longer on hold",
        "our certificate is no longer on hold: {subject}, serial {serial}",
        "A newer CRL does not list the certificate @CERTIFICATE_SERIAL@ any more.",
        "Nothing.",
        frozenset({"CERTIFICATE_SERIAL", "CERTIFICATE_NOT_AFTER"}),
    ),
    Event.ISSUER_REVOKED: EventRule(
        "b471237f4c054b7eae0f59d531d3b418",
        Priority.ERROR,
        "A CA above the certificate of @IDENTITY@ was revoked",
        "a CA above our certificate does not count any more: {text}",
        "A CRL lists the certificate of a CA between ours and the root. Every certificate below it is worth nothing to "
        "peers that look.",
        "@REMEDY@",
        frozenset({"REMEDY"}),
    ),
    Event.STANDING_UNKNOWN: EventRule(
        "40328afbc6484cd8b13ea249ebd5a5f7",
        Priority.WARNING,
        "Whether the certificate of @IDENTITY@ was revoked is not known",
        "{text}",
        "No CRL could be had that says whether the certificate was revoked. It stays in use, and is looked up again at "
        "the next refresh.",
        "@REMEDY@",
        frozenset({"REMEDY"}),
    ),
    Event.REFRESHED: EventRule(
        "b38819bb6ca0443382f586e728c7801d",
        Priority.INFO,
        "@AUTHORITY@ was asked what changed",
        "asked {authority} what changed: CA certificates {certificates}, new roots {roots}",
        "The authority was asked for its CA certificates and for a successor of each root that is trusted.",
        "Nothing.",
    ),
    Event.ROOT_LEARNED: EventRule(
        "8764a3c957374fd8ae9f8dbe806140b2",
        Priority.NOTICE,
        "A root of @AUTHORITY@ was learned",
        "the root {subject} is trusted from now on: it came {how} (SHA-256 of its key {pin})",
        "No trust anchor was configured, so the operator's root was learned from the first answer, as trust-anchors "
        "says. It is kept with the certificate, and no other one is accepted this way again.",
        "Nothing.",
    ),
    Event.ROOT_TAKEN_ON_TRUST: EventRule(
        "41d294be5bb9488fb2ff90dd1072ccb2",
        Priority.WARNING,
        "A root of @AUTHORITY@ was taken on trust",
        "the root {subject} is trusted from now on although nothing proves that it is the operator's: compare the "
        "SHA-256 of its key, {pin}",
        "No trust anchor was configured, and enrollment-anchors says to take the root that comes along with the first "
        "answer. Whoever was on the way to the CA at that moment could have put in his own. No other root is "
        "accepted this way again.",
        "Compare the hash with the operator's; if it is another, take the device off the net and remove its state.",
    ),
    Event.ROOT_ADDED: EventRule(
        "57f6f73fb3ee47ddb5be0bd68afe8dc0",
        Priority.NOTICE,
        "A new root of @AUTHORITY@ is trusted",
        "a new root is trusted: {subject}, valid until {not_after}; {old} vouches for it",
        "The operator changes his root certificate. The new one was certified by the old one, which is trusted "
        "already; both are trusted from now on, so nothing breaks whichever is used.",
        "Nothing. Where trust-anchors are managed by other means too, add the new root there before the old one "
        "expires.",
    ),
    Event.ROOT_REFUSED: EventRule(
        "25b711b10be042e7a5964bde0459c1e4",
        Priority.ERROR,
        "A new root of @AUTHORITY@ is refused",
        "a new root is refused: {reason}",
        "The CA offered a new root certificate that no root trusted here vouches for. Somebody may be trying to "
        "replace the operator.",
        "Ask the operator of @AUTHORITY@ before you add it to trust-anchors by hand.",
        frozenset({"REMEDY"}),
    ),
    Event.DEPLOYED: EventRule(
        "2a949efab4a84836949917764eea73c4",
        Priority.NOTICE,
        "@CONSUMER@ uses the new certificate of @IDENTITY@",
        "in use: serial {serial} at {target}; {proof}",
        "The consumer confirmed that it uses this certificate and its key.",
        "Nothing.",
        frozenset({"CERTIFICATE_SERIAL", "CONSUMER"}),
    ),
    Event.DEPLOY_FAILED: EventRule(
        "2bb3e0f74e874741a085a6962786cfbc",
        Priority.ERROR,
        "@CONSUMER@ does not use the certificate of @IDENTITY@ yet",
        "not in use yet: serial {serial} at {target}: {reason}; trying again in {wait}",
        "The certificate is here, but a consumer did not confirm that it uses it. It goes on with what it had, and "
        "deployment is tried again by itself; 'enrollctl deploy @IDENTITY@' tries at once.",
        "@REMEDY@",
        frozenset({"CERTIFICATE_SERIAL", "CONSUMER", "REMEDY"}),
    ),
    Event.ROLLED_BACK: EventRule(
        "9577a1c0d9114250bc0c23e61c9d2eb6",
        Priority.ERROR,
        "@IDENTITY@ went back to its previous certificate, because @CONSUMER@ refused the new one",
        "rolled back to serial {serial}, because {target} refused the new certificate: {reason}; trying that one "
        "again in {wait}",
        "A consumer, or whoever it talks to, refused the new certificate, and on-failure says to go back. The previous "
        "credential is still valid, and every consumer has it again. The new one is kept and tried again by itself; "
        "'enrollctl deploy @IDENTITY@' tries at once.",
        "@REMEDY@",
        frozenset({"CERTIFICATE_SERIAL", "CONSUMER", "REMEDY"}),
    ),
    Event.CONSUMER_SAID: EventRule(
        "e581e7c9a19d43bb850d43ef9eda921f",
        Priority.INFO,
        "On the way to a consumer of @IDENTITY@",
        "{text}",
        "A remark while the certificate was brought to a consumer, or a line that a configured command wrote.",
        "Nothing, unless the line itself says so.",
    ),
    Event.TEMPLATE: EventRule(
        "b8ade3a7ea6d48938ebb2ed0b24d4d92",
        Priority.INFO,
        "What @AUTHORITY@ wants in a request",
        "the CA wants in a request: {facts}",
        "The CA was asked for its template (certReqTemplate). A request that it forbids is not sent.",
        "Nothing.",
    ),
    Event.UNCHANGED: EventRule(
        "eb913ee38a7148d08fa962eb972c163a",
        Priority.INFO,
        "@IDENTITY@ needs nothing",
        "nothing to do: {subject} is valid until {not_after}",
        "A valid certificate is installed and no new one was asked for.",
        "Nothing. To get another one all the same: 'enrollctl renew @IDENTITY@'.",
        frozenset({"CERTIFICATE_SERIAL", "CERTIFICATE_NOT_AFTER"}),
    ),
    Event.FAILED: EventRule(
        "907e307bbddb4d8a8e9e970e948b62d6",
        Priority.ERROR,
        "An attempt for @IDENTITY@ failed",
        "{verdict}: {reason}",
        "The attempt did not bring a certificate. The previous one, if there is one, stays in use, and an open "
        "request stays open.",
        "@REMEDY@",
        frozenset({"VERDICT", "REMEDY"}),
    ),
    # ---- the daemon itself
    Event.READY: EventRule(
        "1ca454443fe0431f8965e8fd8c75157f",
        Priority.NOTICE,
        "enrolld is running",
        "looking after {identities}",
        "The configuration was read and every identity of it is looked after from now on.",
        "Nothing. 'enrollctl status' shows how each of them does.",
    ),
    Event.ENDING: EventRule(
        "cd3f4272c7244f78b3c4dfa9493fdf52",
        Priority.NOTICE,
        "enrolld ends",
        "ending; open requests stay on disk",
        "enrolld was told to end. Whatever was under way has been finished or is on disk, and goes on with the "
        "next start. While it does not run, no certificate is renewed.",
        "Nothing, if it was meant. Else: 'systemctl start enrolld'.",
    ),
    Event.UNUSABLE: EventRule(
        "816e5b3a4e14407d8db998d0f0c95ec6",
        Priority.ERROR,
        "enrolld cannot start with this configuration",
        "the configuration cannot be used: {reason}",
        "enrolld did not start. The certificates on disk stay as they are, but none is renewed.",
        "@REMEDY@ 'enrollctl config check' names every mistake by file and line. systemd tries again by itself.",
        frozenset({"REMEDY"}),
    ),
    Event.RELOADED: EventRule(
        "5f60dd50bf7743bdbf583a6953f0578a",
        Priority.NOTICE,
        "The configuration was read anew",
        "the configuration was read anew: looking after {identities}",
        "enrolld was told to reload (SIGHUP), and the new configuration is in force. Jobs that were running go on.",
        "Nothing.",
    ),
    Event.RELOAD_REFUSED: EventRule(
        "57b26a30e4104866a385f474b2ee8423",
        Priority.ERROR,
        "The new configuration is refused",
        "the new configuration is refused, the old one stays in force: {reason}",
        "enrolld was told to reload, but the file cannot be used. It goes on with what it had read before; after "
        "a restart it would not start.",
        "@REMEDY@ 'enrollctl config check' names every mistake by file and line; then 'systemctl reload enrolld'.",
        frozenset({"REMEDY"}),
    ),
    Event.PLANNED: EventRule(
        "4d9c76d1541f4ec199dbb51479e8562e",
        Priority.INFO,
        "What is next for @IDENTITY@",
        "next: {action} in {wait}",
        "enrolld decided what to do next about this identity, and when: @NEXT_ACTION@ at @NEXT_ACTION_AT@.",
        "Nothing. To have it done now: 'enrollctl enroll @IDENTITY@' or 'enrollctl renew @IDENTITY@'.",
        frozenset({"NEXT_ACTION", "NEXT_ACTION_AT"}),
    ),
    Event.WORKER_DIED: EventRule(
        "6c60484175984f8cbc6e79a87230bfbc",
        Priority.ERROR,
        "A job for @IDENTITY@ crashed",
        "{reason}",
        "The process that worked on this identity died before it could say how it went. enrolld itself is not "
        "affected, nothing on disk was lost, and an open request goes on with the next attempt.",
        "@REMEDY@ A vendor's PKCS#11 module that crashes shows like this: its name is in the configuration under "
        "tokens. 'coredumpctl list' may know more.",
        frozenset({"VERDICT", "REMEDY"}),
    ),
    Event.WORKER_HUNG: EventRule(
        "b7c54617687f4cbc99717e533b151dfd",
        Priority.ERROR,
        "A job for @IDENTITY@ took too long",
        "{reason}",
        "The process that worked on this identity did not finish in time and was ended. Nothing on disk was lost, "
        "and an open request goes on with the next attempt.",
        "@REMEDY@ A token or a disk that does not answer shows like this.",
        frozenset({"VERDICT", "REMEDY"}),
    ),
    Event.WORKER_UNCLEAR: EventRule(
        "9906305c991c4af580dd5662ef5bf6d2",
        Priority.WARNING,
        "A job for @IDENTITY@ said something unexpected",
        "the worker said something unexpected: {said}",
        "A line on the worker's output is not of enrolld's making; a library may have printed it. It was left aside.",
        "Report it, if it repeats.",
    ),
    Event.NEEDS_PERSON: EventRule(
        "90d53c90c0164bdda8c9cc1a49944290",
        Priority.ERROR,
        "@IDENTITY@ needs a person",
        "{verdict}: {reason}",
        "enrolld cannot go on alone with this identity. It tries again from time to time, but only a person can "
        "change the result.",
        "@REMEDY@",
        frozenset({"VERDICT", "REMEDY"}),
    ),
    Event.EXPIRING: EventRule(
        "178a4364dde64d579b3b5db526fba45e",
        Priority.WARNING,
        "The certificate of @IDENTITY@ is about to expire",
        "the certificate expires in {left}, on {not_after}, and is not renewed yet",
        "Renewal should have happened by now. Attempts go on, more often as the end nears. At "
        "@CERTIFICATE_NOT_AFTER@ the consumer of the certificate loses its connection.",
        "'enrollctl status @IDENTITY@' shows why the last attempt failed and what to do. Tell the operator of "
        "@AUTHORITY@.",
        frozenset({"CERTIFICATE_SERIAL", "CERTIFICATE_NOT_AFTER"}),
    ),
    Event.EXPIRED: EventRule(
        "9adb40383f1046baa1b57dfef95dd813",
        Priority.CRITICAL,
        "The certificate of @IDENTITY@ has expired",
        "the certificate expired on {not_after}; {way_back}",
        "Nobody accepts the certificate @CERTIFICATE_SERIAL@ any more, and a CA does not renew an expired one. "
        "The device needs its vendor's certificate or a fresh secret to enroll again.",
        "@REMEDY@",
        frozenset({"CERTIFICATE_SERIAL", "CERTIFICATE_NOT_AFTER", "REMEDY"}),
    ),
    Event.CLOCK_DOUBTED: EventRule(
        "6c2d27c355c847f89f6dda6c303aefac",
        Priority.WARNING,
        "The clock cannot be right",
        "the clock shows {now}, which cannot be right{waiting}",
        "Boards without a battery for their clock start in the past. enrolld waits a while for a time server and "
        "then goes on with care: it stamps no deadline by this clock, and takes nothing for expired.",
        "See that a time server can be reached ('timedatectl'); where it is behind the tunnel that the "
        "certificate is for, nothing.",
    ),
    Event.CLOCK_STEPPED: EventRule(
        "2c24ed60ae5e45dc81a1886fb67f6fa6",
        Priority.NOTICE,
        "The clock was set",
        "the clock was set {how}; every deadline is looked at again",
        "The clock jumped, or the machine was suspended. What is due by the new time is done now.",
        "Nothing, if the time is right now ('timedatectl').",
    ),
    Event.STATE_TROUBLE: EventRule(
        "221cfee686294b84a4f89a777e6b2dcc",
        Priority.ERROR,
        "The state directory cannot be used",
        "{reason}",
        "What belongs to @IDENTITY@ cannot be read or written. No request is made that could not be kept. What is "
        "on disk stays as it is, and enrolld tries again.",
        "@REMEDY@",
        frozenset({"REMEDY"}),
    ),
    Event.ORPHAN: EventRule(
        "ea425d31e71e4c90902841efad885e77",
        Priority.WARNING,
        "Somebody else works on @IDENTITY@",
        "another process holds {holder}; waiting until it has finished",
        "A worker of an earlier enrolld, or an enrollctl by hand, works on this identity. Two at a time could "
        "spoil each other's request, so enrolld waits.",
        "Nothing. If it stays so: 'fuser -v' on the identity's lock file names the process.",
    ),
    Event.DEFECT: EventRule(
        "df916824cf364540874ee579d138b0c2",
        Priority.ERROR,
        "A defect of enrolld",
        "a defect of enrolld: {reason}",
        "Something went wrong in enrolld itself while it looked after @IDENTITY@. Every other identity is looked after "
        "as before, and this one again in an hour.",
        "Report it, with the lines around it: 'journalctl -u enrolld'.",
    ),
}


def sentence(event: Event, words: dict[str, str]) -> str:
    """Return the sentence of ``event`` with ``words`` filled in."""
    return EVENTS[event].text.format_map(words)
