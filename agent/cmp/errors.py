"""What can go wrong in CMP, drawn as one tree. ``str(error)`` says what happened, ``error.remedy`` what to do next.

::

    CmpError
    ├── LocalError                 we cannot build or send this: our configuration, key or a defect
    └── RemoteError                what came back is not acceptable; nothing of it was trusted
        ├── MalformedMessage       not DER, too large, too deep, not a PKIMessage
        ├── ProtectionError        missing, of the wrong kind, or it does not verify
        │   └── WrongMac           the shared secrets of the two sides differ
        ├── UntrustedPeer          verified, but by somebody who may not speak for the CA
        ├── StandingUnknown        verified, but whether the signer was revoked must be looked up first
        ├── ProtocolViolation      well protected, but not what this state allows (nonce, transactionID, body ...)
        └── Rejected               a well protected "no": carries PKIStatus, PKIFailureInfo and the CA's words

A ``RemoteError`` may carry ``hint``: what the peer *claims* without proof (an unprotected error message, say). It is
shown to people, marked as unproven, and never changes state.
"""

from __future__ import annotations

from typing import Any, Final

DEFECT: Final = "This is a defect of enrolld; please report it with the output of the command."
"""The remedy for what no configuration, key or peer can bring about."""


class CmpError(Exception):
    """Base of all protocol errors."""

    def __init__(self, what: str, *, remedy: str) -> None:
        """Keep one sentence on what happened and one on what to do next."""
        super().__init__(what)
        self.remedy = remedy


class LocalError(CmpError):
    """We cannot build this message: configuration, key or a defect of ours."""


class RemoteError(CmpError):
    """What came back is not acceptable. ``hint`` is what the peer claims without proof, for people only."""

    def __init__(self, what: str, *, remedy: str, hint: str = "") -> None:
        """Keep the peer's unproven claim beside what happened and the remedy."""
        super().__init__(what, remedy=remedy)
        self.hint = hint
        self.claimed: frozenset[int] = frozenset()
        """PKIFailureInfo bits that the peer claims without proof."""


class MalformedMessage(RemoteError):
    """The octets are not a PKIMessage in DER, or exceed our caps (size, depth, elements)."""


class ProtectionError(RemoteError):
    """The protection is missing, of the wrong kind, uses a refused algorithm, or does not verify."""


class WrongMac(ProtectionError):
    """The MAC does not verify with our secret: nearly always a wrong secret or reference."""


class UntrustedPeer(RemoteError):
    """The signature verifies, but no path leads to an anchor, or the signer may not speak for the CA."""


class StandingUnknown(RemoteError):
    """Whether a certificate of the signer's path was revoked cannot be told from the CRLs at hand.

    Look up those of ``path`` (certificates, signer first, anchor last), hand them over, and receive the same octets
    again; see :meth:`agent.cmp.transaction.Transaction.use_lists`.
    """

    def __init__(self, what: str, *, path: tuple[Any, ...]) -> None:
        """Keep the path whose CRLs are wanted."""
        super().__init__(what, remedy="Its CRL is looked up.")
        self.path = path


class ProtocolViolation(RemoteError):
    """A well protected message that this state of the transaction does not allow."""


class Rejected(RemoteError):
    """The CA said no. ``status`` is the PKIStatus number, ``failures`` the names of the PKIFailureInfo bits."""

    def __init__(self, what: str, *, remedy: str, status: int, failures: tuple[str, ...], text: str = "") -> None:
        """Keep the CA's status, failure names and (escaped, bounded) words."""
        super().__init__(what, remedy=remedy)
        self.status = status
        self.failures = failures
        self.text = text


def defect(what: str) -> LocalError:
    """Return the error for what nobody but us can have done wrong."""
    return LocalError(what, remedy=DEFECT)
