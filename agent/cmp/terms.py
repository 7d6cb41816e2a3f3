"""What stays the same through a transaction: what is wanted, who asks, who may answer, what is acceptable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.cmp.acceptance import Expectation
    from agent.cmp.peer import PeerRules
    from agent.cmp.request import Originator, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms of one transaction. They come from the configuration as it is now, also when it is resumed.

    ``expectation`` is None where no certificate is asked for (rr, genm). With ``clock_trusted`` False, times given to
    the transaction are the earliest it can be. With ``learn_anchors``, caPubs may bring trust anchors, if a MAC proves
    who sent them.
    """

    wanted: Request
    originator: Originator
    rules: PeerRules
    expectation: Expectation | None = None
    clock_trusted: bool = True
    learn_anchors: bool = False
