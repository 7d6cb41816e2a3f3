"""What the lab CA remembers, as plain records: transactions, certificates, messages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from agent.frozen import frozen

if TYPE_CHECKING:
    from agent.cmp.messages import BodyType


class TransactionState(StrEnum):
    """Where a transaction is.

    ``open`` has not been answered yet, ``challenged`` must prove possession first; ``ended`` was given up by the end
    entity.
    """

    OPEN = "open"
    WAITING = "waiting"
    CHALLENGED = "challenged"
    ISSUED = "issued"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    REJECTED = "rejected"
    ANSWERED = "answered"
    ENDED = "ended"


class CertificateStatus(StrEnum):
    """What became of a certificate. ``refused`` by the end entity, or not confirmed in time."""

    ISSUED = "issued"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    REVOKED = "revoked"


UNDECIDED: Final = "undecided"
APPROVED: Final = "approved"


@dataclass(slots=True, kw_only=True)
class Transaction:
    """One transaction as it is kept. ``identity`` names who opened it: nobody else may go on with it."""

    id: bytes
    type: BodyType
    identity: str
    opened: float
    first_nonce: bytes
    """senderNonce of the request being considered: what the final answer repeats."""
    state: TransactionState = TransactionState.OPEN
    nonces: bytes = b""
    """Our senderNonces (16 octets each) from the last one the end entity is known to have, on."""
    signer: bytes = b""
    """Certificate that protected the first request; may be left out later (RFC 9483 3.3)."""
    cert_req_id: int = 0
    serial: str | None = None
    pending: bytes | None = None
    """The request being considered, or whose possession of the key is to be proven first."""
    pending_id: int = 0
    polls: int = 0
    ready_at: float = 0.0
    challenge: str | None = None
    """The number that was encrypted for the key, in hex, until it came back; then nothing. None: there was none."""
    decision: str = UNDECIDED
    """``approved``, or the name of the failure it is declined with."""
    confirm_by: float | None = None
    last_request: bytes = b""
    """SHA-256 of the last request answered: the same octets again get the same answer."""
    last_answer: bytes = b""


@frozen(kw_only=True)
class Certificate:
    """One issued certificate. ``owner`` is the identity that may renew and revoke it."""

    serial: int
    octets: bytes
    subject: str
    status: CertificateStatus
    owner: str
    key: bytes
    transaction_id: bytes
    issued: float
    revoked: float | None = None
    reason: int = 0


@frozen(kw_only=True)
class LoggedMessage:
    """One message that came or went; ``type`` is None for what could not be read."""

    time: datetime
    sent: bool
    type: BodyType | None
    octets: bytes
    transaction_id: bytes | None
