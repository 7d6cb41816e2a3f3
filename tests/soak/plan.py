"""What a soak does, and what it saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from statistics import median
from typing import Final

_USED: Final = 0.61
"""The share of its life after which a certificate is renewed at the earliest (``agent.policy.renewal``)."""
AVAILABLE: Final = 0.7
"""The share of what a machine can do that renewals may need; the rest is for what is killed and done again."""
_FEWEST: Final = 4
TOLD_WITHIN: Final = 10.0
"""Seconds after its end within which a daemon, which may have just been killed, must have said that a certificate
has expired."""
_MEMORY: Final = 1024
"""KiB by which the median may move: a worker's answer that is being read, a list that grew by one step."""
_DESCRIPTORS: Final = 4
"""Descriptors by which the median may move of those that no worker explains."""
_AT_REST: Final = 12
"""Descriptors that a daemon has open while it does nothing, and while it reads its configuration."""
_A_WORKER: Final = 3
"""Descriptors for each worker, and for what they are forked from."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done for how long. Workers are killed all the time, the daemon in the first half only.

    Its last life is the one whose memory and descriptors are watched.
    """

    seconds: float
    identities: int = 50
    life: timedelta = timedelta(seconds=20)
    workers: int = 4
    daemon_kills: int = 2
    worker_kill_every: float = 5.0
    fault_share: float = 0.03
    """The share of exchanges that go wrong."""
    seed: int = 1

    @property
    def pace(self) -> float:
        """Renewals a second that come due."""
        return self.identities / (self.life.total_seconds() * _USED)

    def fitted(self, rate: float) -> Plan:
        """Return the plan with as many identities as a machine bears that gets ``rate`` certificates a second."""
        bearable = int(self.identities * AVAILABLE * rate / self.pace)
        return replace(self, identities=min(self.identities, max(bearable, _FEWEST)))


@dataclass(kw_only=True)
class Report:
    """What was seen."""

    plan: Plan
    rate: float
    """Certificates a second that the daemon gets on this machine while nothing fails."""
    certificates: int = 0
    """Confirmed at the CA."""
    lapsed: int = 0
    """Issued, never confirmed: their answer was lost or their worker killed. They are not in force."""
    unconfirmed: int = 0
    """In use at some time although the CA did not acknowledge the confirmation, which the agent has said."""
    unknown: list[str] = field(default_factory=list)
    """In use at some time, not known to the CA as confirmed, and not a word about that."""
    unused: list[str] = field(default_factory=list)
    """In force at the CA, and neither ever in use nor reported by the agent."""
    disagreeing: list[str] = field(default_factory=list)
    """Identities whose certificate in use is not the newest one in force at the CA."""
    gaps: int = 0
    """How often a certificate ended before there was a new one."""
    longest_gap: float = 0.0
    """Seconds the unluckiest identity was without a valid certificate, after it had its first."""
    unnoticed: list[str] = field(default_factory=list)
    """Identities whose certificate had ended for seconds without a word from the daemon."""
    faults: Counter[str] = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)
    """PSS of the daemon in KiB, in its last life, every half second."""
    descriptors: list[int] = field(default_factory=list)
    beside: list[int] = field(default_factory=list)
    """Those of them that the workers of that moment do not explain."""

    @property
    def growth(self) -> int:
        """How many KiB the daemon has more in the last quarter of its last life than in the quarter before half."""
        return _growth(self.memory)

    @property
    def descriptor_growth(self) -> int:
        """As :attr:`growth`, for the open descriptors beside those of workers."""
        return _growth(self.beside)

    @property
    def unexplained(self) -> int:
        """How many descriptors it had open in the end beyond what as many workers as there may be explain."""
        return max(max(self.descriptors[-4:], default=0) - _AT_REST - _A_WORKER * (self.plan.workers + 1), 0)

    def complaints(self) -> list[str]:
        """Return what must not be, in words; nothing when all is well."""
        wrong = {
            f"in use, but not confirmed at the CA: {self.unknown}": self.unknown,
            f"in force at the CA, but unknown to the agent: {self.unused}": self.unused,
            f"in use is not what is newest at the CA: {self.disagreeing}": self.disagreeing,
            f"expired without a word: {self.unnoticed}": self.unnoticed,
            f"memory grew by {self.growth} KiB": self.growth > _MEMORY,
            f"open descriptors grew by {self.descriptor_growth}": self.descriptor_growth > _DESCRIPTORS,
            f"{self.unexplained} open descriptors are more than its workers explain": self.unexplained,
            "hardly anything was renewed": self.certificates < 2 * self.plan.identities,
        }
        return [words for words, is_so in wrong.items() if is_so]

    def __str__(self) -> str:
        """Say it in lines for people."""
        plan = self.plan
        memory, descriptors = self.memory or [0], self.descriptors or [0]
        faults = ", ".join(f"{name} {times}" for name, times in sorted(self.faults.items()))
        return (
            f"this machine gets {self.rate:.1f} certificates a second; {plan.identities} identities with certificates "
            f"of {plan.life.total_seconds():.0f} s come to {plan.pace:.1f} renewals a second\n"
            f"{plan.seconds:.0f} s: certificates confirmed {self.certificates}, lapsed {self.lapsed}, "
            f"used unconfirmed {self.unconfirmed}\n"
            f"unknown to the CA {len(self.unknown)}, unknown to the agent {len(self.unused)}, "
            f"disagreeing at the end {len(self.disagreeing)}\n"
            f"gaps without a valid certificate {self.gaps}, the longest {self.longest_gap:.1f} s, "
            f"unnoticed {len(self.unnoticed)}\n"
            f"faults: {faults}\n"
            f"daemon: memory {min(memory)} to {max(memory)} KiB (growth of the median {self.growth} KiB), "
            f"descriptors {min(descriptors)} to {max(descriptors)} (unexplained {self.unexplained})"
        )


def _growth(samples: Sequence[int]) -> int:
    if not samples:
        return 0
    quarter = max(len(samples) // 4, 1)
    return int(median(samples[-quarter:]) - median(samples[quarter : 2 * quarter]))
