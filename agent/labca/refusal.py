"""How the lab CA says no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.cmp.failures import PKIFailureInfo

if TYPE_CHECKING:
    from agent.labca.gate import Requester


class Refusal(Exception):
    """The request is refused with ``failure``; ``text`` goes into statusString.

    ``requester`` is who asked, as far as that is known: it decides how the answer can be protected.
    """

    def __init__(self, failure: PKIFailureInfo, text: str, requester: Requester | None = None) -> None:
        """Keep the failure bit, the words, and who asked."""
        super().__init__(text)
        self.failure = failure
        self.text = text
        self.requester = requester


FAILURES_BY_NAME: Final = {failure.label: failure for failure in PKIFailureInfo}
"""``badPOP`` -> the bit, by the RFC's spelling."""
