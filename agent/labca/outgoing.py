"""An answer before it becomes octets, and what the HTTP server is told to do with those."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from agent.cmp import messages
from agent.frozen import frozen

if TYPE_CHECKING:
    from agent.cmp.bodies import Body
    from agent.cmp.messages import Header
    from agent.cmp.protection import Protector

CMP_TYPE = "application/pkixcmp"


@frozen(kw_only=True)
class Outgoing:
    """A message to be sent. ``protector`` None: unprotected. Misbehaviour edits this."""

    header: Header
    body: Body
    protector: Protector | None
    extra_certs: tuple[bytes, ...] = ()

    def octets(self) -> bytes:
        """Protect and encode the message."""
        return messages.build(
            self.header,
            self.body,
            protect=self.protector.protect if self.protector else None,
            extra_certs=self.extra_certs,
        )


@frozen(kw_only=True)
class Reply:
    """What goes back over HTTP. ``dropped``: the connection is closed instead."""

    octets: bytes = b""
    status: int = 200
    content_type: str = CMP_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds to wait first."""
    copies: int = 1
    dropped: bool = False
    note: str = ""
    """One line for whoever watches the CA: what was asked and answered."""
