"""What stays the same through a transaction: what is wanted, who asks, who may answer, what is acceptable."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from agent.frozen import frozen

if TYPE_CHECKING:
    from agent.cmp.acceptance import Expectation
    from agent.cmp.peer import PeerRules
    from agent.cmp.request import Originator, Request


class Source(StrEnum):
    """Where trust anchors may come from when none is known (:mod:`agent.cmp.learning`)."""

    CA_PUBS = "ca-pubs"
    """caPubs of an answer that a MAC protects (RFC 9810 5.3.2)."""
    EXTRA_CERTS = "extra-certs"
    """The root among extraCerts of the first ip, which nothing proves (TS 33.310 9.5.4.3)."""


@frozen
class Learning:
    """``root_pins``, unless empty, are SHA-256 hashes of the SubjectPublicKeyInfo of the roots that may be learned."""

    source: Source
    root_pins: frozenset[bytes] = frozenset()


@frozen(kw_only=True)
class Terms:
    """The terms of one transaction. They come from the configuration as it is now, also when it is resumed.

    ``expectation`` is None where no certificate is asked for (rr, genm). With ``clock_trusted`` False, times given to
    the transaction are the earliest it can be. ``learning`` says where trust anchors may come from if there are none.
    """

    wanted: Request
    originator: Originator
    rules: PeerRules
    expectation: Expectation | None = None
    clock_trusted: bool = True
    learning: Learning | None = None
