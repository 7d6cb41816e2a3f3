"""What an answer turned out to mean: one frozen dataclass an event, given by :meth:`Transaction.receive`.

``notes`` of every event are remarks a person should read: a quirk that was used, a clock that is off, a name the CA
added. They never need an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.frozen import frozen

if TYPE_CHECKING:
    from agent.cmp.acceptance import Objection
    from agent.cmp.bodies import General, RevRep


@frozen(kw_only=True)
class Undecided:
    """The CA has not decided. ``check_after`` is its word in seconds, 0 or more, with no upper bound; None: no word.

    0 after the first "waiting": the first pollReq is sent without delay, its pollRep says how long to wait
    (RFC 9483 4.4). ``reason`` is in the CA's words, clean and bounded.
    """

    check_after: int | None
    reason: str
    notes: tuple[str, ...] = ()


@frozen(kw_only=True)
class Issued:
    """A certificate that passed every check. Make it durable, then go on: ``confirm`` tells whether certConf is due.

    ``certificate`` and ``chain`` (issuer first, without the anchor) are DER, ``anchors`` the roots to keep with it.
    """

    certificate: bytes
    chain: tuple[bytes, ...]
    anchors: tuple[bytes, ...]
    confirm: bool
    notes: tuple[str, ...] = ()


@frozen(kw_only=True)
class Unacceptable:
    """A certificate came and is refused; ``confirm`` tells whether the CA can still be told (certConf)."""

    objection: Objection
    certificate: bytes
    confirm: bool
    notes: tuple[str, ...] = ()


@frozen(kw_only=True)
class Declined:
    """A well protected no: PKIStatus, PKIFailureInfo bits and the CA's words (clean, bounded)."""

    status: int
    failures: frozenset[int]
    text: str
    notes: tuple[str, ...] = ()


@frozen(kw_only=True)
class Concluded:
    """The transaction is over: the certificate is confirmed, or our refusal was heard."""

    notes: tuple[str, ...] = ()


@frozen(kw_only=True)
class Challenged:
    """The CA wants to see that we can decrypt (popdecc). We can: what is sent next shows it."""

    notes: tuple[str, ...] = ()


@frozen(kw_only=True)
class Answered:
    """A revocation or a question was answered; ``body`` is rp or genp."""

    body: RevRep | General
    notes: tuple[str, ...] = ()


Event = Undecided | Issued | Unacceptable | Declined | Concluded | Challenged | Answered
