"""What a target is: a consumer that takes a credential and says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from agent.frozen import frozen
from agent.settings import DirectoryTarget, HookTarget, StrongswanTarget

if TYPE_CHECKING:
    from agent.deploy.material import Material
    from agent.settings import DeployTarget

SecretReader = Callable[[str], bytes]
"""Give what a source (``credential:NAME``, ``file:PATH``) holds; raise :class:`agent.errors.SecretError`."""

RENEWED: Final = "renewed"
RESTORED: Final = "restored"
ROLLED_BACK: Final = "rolled-back"


@frozen(kw_only=True)
class Change:
    """What is to be brought to a consumer."""

    new: Material
    previous: Material | None = None
    """What this consumer has confirmed last; it is what the consumer gets back when it refuses ``new``."""
    retired: tuple[Material, ...] = ()
    """Every other generation of the identity: what the consumer must not go on using."""
    reason: str = RENEWED
    """:data:`RENEWED`, :data:`RESTORED` (the consumer had lost it) or :data:`ROLLED_BACK`."""


class Target(Protocol):
    """One consumer."""

    def deploy(self, change: Change) -> str:
        """Make the consumer use ``change.new``; return in words what it confirmed.

        When this raises, the consumer uses what it used before, as far as that can be.

        Raises:
            DeployError: the consumer did not confirm.
        """

    def live(self, material: Material) -> bool:
        """Tell whether the consumer still has ``material``; it is not touched.

        Raises:
            DeployError: the consumer cannot be asked.
        """


@frozen(kw_only=True)
class Hands:
    """What a target works with: the identity's name, ``say`` for remarks on the way, and where secrets come from."""

    identity: str
    say: Callable[[str], None]
    read_secret: SecretReader
    read_pin: SecretReader
    """Give the PIN of the token that a key reference (``pkcs11:`` URI) leads to."""


def open_target(settings: DeployTarget, hands: Hands) -> Target:
    """Return the target that ``settings`` describe; nothing is touched yet."""
    match settings.chosen:
        case StrongswanTarget() as chosen:
            from agent.deploy.strongswan import Strongswan  # noqa: PLC0415 - what a job does not need is not loaded

            return Strongswan(chosen, hands)
        case DirectoryTarget() as chosen:
            from agent.deploy.directory import Directory  # noqa: PLC0415 - as above

            return Directory(chosen, hands)
        case HookTarget() as chosen:
            from agent.deploy.hook import Hook  # noqa: PLC0415 - as above

            return Hook(chosen, hands)
