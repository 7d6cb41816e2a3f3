"""What the handlers share: the parts of the CA, one request being served, and the answer to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from agent.frozen import frozen

if TYPE_CHECKING:
    from agent.cmp.bodies import Body
    from agent.cmp.messages import InfoTypeAndValue, Message
    from agent.cmp.protection import ProtectionRules
    from agent.labca.crl import RevocationList
    from agent.labca.database import Database
    from agent.labca.gate import Requester
    from agent.labca.misbehaviour import Faults
    from agent.labca.pki import Pki, RootUpdate
    from agent.labca.records import Transaction
    from agent.labca.settings import LabCaSettings


@dataclass(slots=True, kw_only=True)
class Office:
    """The parts of a CA. Used with the CA's lock held, inside a database transaction."""

    settings: LabCaSettings
    pki: Pki
    database: Database
    faults: Faults
    crl: RevocationList
    """That of the issuing CA."""
    root_crl: RevocationList
    rules: ProtectionRules
    root_update: RootUpdate | None = None
    """A prepared change of the root; None while there is none."""
    crl_url: str | None = None
    """What goes into certificates as CRL distribution point."""


@frozen(kw_only=True)
class Exchange:
    """One request whose sender is known. Handlers change ``transaction``; whoever called them saves it."""

    message: Message
    octets: bytes
    """The whole message as received."""
    requester: Requester
    transaction: Transaction
    now: datetime


@frozen(kw_only=True)
class Answer:
    """What a handler decided. ``recip_nonce`` None: the senderNonce of the message just received."""

    body: Body
    general_info: tuple[InfoTypeAndValue, ...] = ()
    recip_nonce: bytes | None = None
    chain: tuple[bytes, ...] = ()
    """Certificates above a new certificate, for extraCerts."""
