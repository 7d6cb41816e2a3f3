"""Every error of the agent, drawn as one tree. Each says what happened and what to do next.

::

    AgentError                     what happened, and .remedy: what to do next
    ├── ConfigurationError         the file or the command line is wrong; carries every mistake found
    │   └── NoCertificate          what was asked for needs a certificate, and none is installed
    ├── StateError                 the state directory cannot be read, written or trusted
    │   ├── StateBusy              another worker holds this identity
    │   ├── StateCorrupt           a file there is not what we wrote
    │   └── StateNewer             a newer enrolld wrote it
    ├── StructureError             a document between our programs is not what it should be (agent.structure)
    ├── SecretError                the one-time secret is missing or unreadable
    │   └── PinError               so is the PIN of a token
    ├── MachineError               nothing can be read just now: no memory, no open file, a disk that fails
    ├── TransportError             no CMP message came back
    │   ├── Unreachable            no connection, or it broke before an answer
    │   ├── ServerBusy             503: the server says when to come again
    │   ├── NotCmp                 something answered, but not with CMP (HTML, empty ...)
    │   │   └── TooLarge           its answer is beyond our cap, and was not read
    │   └── NotFetched             a CRL could not be had from where its certificate says it is
    ├── ControlError               the daemon is there, and does not do what it was asked for
    │   └── NotPermitted           because of who asks
    └── DeployError                a consumer does not use the credential yet
        ├── ConsumerUnavailable    it cannot be asked: not running, not permitted
        ├── ConsumerUnproven       it has the credential, but nothing has shown that it works
        └── ConsumerRefused        it, or whoever it talks to, said no to this credential

The protocol has its own tree in ``agent.cmp.errors`` and the keys theirs in ``hsm.errors``; both know
nothing of this one. All three share ``str(error)`` (what) and ``error.remedy`` (what next).
"""

from __future__ import annotations


class AgentError(Exception):
    """Base of what the agent itself reports: ``str(error)`` is one sentence, ``remedy`` is the next step."""

    def __init__(self, what: str, *, remedy: str) -> None:
        """Keep one sentence on what happened and one on what to do next."""
        super().__init__(what)
        self.remedy = remedy


class ConfigurationError(AgentError):
    """The configuration or the command line is wrong; nothing was started."""

    def __init__(self, what: str, *, remedy: str, mistakes: tuple[str, ...] = ()) -> None:
        """Keep the summary, and in ``mistakes`` one line per mistake: ``file:line: key: text (remedy)``."""
        super().__init__(what, remedy=remedy)
        self.mistakes = mistakes


class NoCertificate(ConfigurationError):
    """What a person asked for needs a certificate, and none is installed. It says nothing about the next attempt."""


class ControlError(AgentError):
    """The daemon listens on its control socket, and does not do what it was asked for."""


class NotPermitted(ControlError):
    """Whoever asks the daemon may not."""


class StateError(AgentError):
    """The state directory cannot be read or written: full disk, permissions, vanished directory."""


class StateBusy(StateError):
    """Another worker holds the lock of this identity."""


class StateCorrupt(StateError):
    """A file of ours in the state directory is not what we wrote."""


class StateNewer(StateError):
    """A file of ours in the state directory was written by a newer version, whose number is ``version``.

    That is no damage: whoever reads it leaves it, and nothing is put in its place that cannot be had again.
    """

    def __init__(self, what: str, *, remedy: str, version: int) -> None:
        """Keep the number of the version, too."""
        super().__init__(what, remedy=remedy)
        self.version = version


class SecretError(AgentError):
    """The one-time secret is not there, empty or unreadable."""


class PinError(SecretError):
    """The PIN of a token is not there, empty or unreadable. A PIN that the token refuses is another matter."""


class MachineError(AgentError):
    """This machine cannot even look: it lacks memory or open files, or its disk fails. What is there may be right."""


class TransportError(AgentError):
    """No CMP message came back from any address of the authority."""


class Unreachable(TransportError):
    """No connection could be made, or it broke or timed out before an answer was complete.

    ``delivered`` is False when it is certain that no server received the request.
    """

    def __init__(self, what: str, *, remedy: str, delivered: bool = False) -> None:
        """Keep what failed, the remedy, and whether the request may have reached the server."""
        super().__init__(what, remedy=remedy)
        self.delivered = delivered


class ServerBusy(TransportError):
    """The server answered 503; ``retry_after`` is when to come again, in seconds, already within our bounds."""

    def __init__(self, what: str, *, remedy: str, retry_after: float) -> None:
        """Keep the bounded number of seconds to wait."""
        super().__init__(what, remedy=remedy)
        self.retry_after = retry_after


class NotCmp(TransportError):
    """Something answered, but not with a CMP message (RFC 9811 section 3)."""


class TooLarge(NotCmp):
    """An answer is larger than we accept; it was not read to its end."""


class NotFetched(TransportError):
    """A CRL could not be had from the address in a certificate."""


class DeployError(AgentError):
    """A consumer does not use the credential yet; deployment is tried again, and the credential itself is sound."""


class ConsumerUnavailable(DeployError):
    """The consumer cannot be reached or written to: it is not running, or this user may not."""


class ConsumerUnproven(DeployError):
    """The consumer holds the credential, but whoever would have to accept it did not answer."""


class ConsumerRefused(DeployError):
    """The consumer, or its peer, said no to this very credential: another one may work, this one will not."""
