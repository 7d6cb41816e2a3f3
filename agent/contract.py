"""What passes between the program that knows when and the program that knows how: job, progress, outcome.

A worker gets one :class:`Job` as a JSON document on standard input and writes JSON lines on standard output:
any number of :class:`Progress`, then one :class:`Outcome`. Its exit code repeats the outcome's verdict, so a
worker that can no longer write is still understood. Secrets and PINs never appear here: each comes by an inherited
descriptor whose number the job names. The documents are versioned; a worker refuses a version it does not know.
"""

from __future__ import annotations

import json
from dataclasses import field
from enum import StrEnum
from pathlib import Path

from agent import structure
from agent.frozen import frozen
from agent.settings import AuthoritySettings, IdentitySettings, RecordingSettings, TokenSettings

VERSION = 1
FORKING_READY = b"ready\n"
"""What the process that workers are forked from says once it has loaded everything."""


class Action(StrEnum):
    """What a worker is started for."""

    ENROLL = "enroll"
    RENEW = "renew"
    REVOKE = "revoke"
    REFRESH = "refresh"
    TEMPLATE = "template"
    """Ask the CA what it wants in a request; nothing is kept or written down."""
    PROBE = "probe"
    """Ask the CA something harmless: nothing is locked, kept or written down (``enrollctl doctor``)."""
    DEPLOY = "deploy"
    RETIRE = "retire"
    """Destroy keys on tokens whose time has come; the CA is not asked."""


class Verdict(StrEnum):
    """How a job ended. ``crashed`` and ``timed-out`` are given by the parent, never by the worker itself."""

    ISSUED = "issued"
    UNCHANGED = "unchanged"
    DONE = "done"
    WAITING = "waiting"
    DEPLOYING = "deploying"
    REJECTED = "rejected"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    MISCONFIGURED = "misconfigured"
    NEEDS_SECRET = "needs-secret"  # noqa: S105 - the name of a verdict
    NEEDS_TOKEN = "needs-token"  # noqa: S105 - the name of a verdict
    NEEDS_PIN = "needs-pin"
    BUSY = "busy"
    FAILED = "failed"
    CRASHED = "crashed"
    TIMED_OUT = "timed-out"


@frozen
class VerdictRule:
    """``worker``: exit code of the worker; ``command``: exit code of enrollctl; ``meaning``: in plain words."""

    worker: int | None
    command: int
    meaning: str


VERDICTS: dict[Verdict, VerdictRule] = {
    Verdict.ISSUED: VerdictRule(0, 0, "a new certificate is installed"),
    Verdict.UNCHANGED: VerdictRule(10, 0, "nothing to do: the installed certificate is valid and not due"),
    Verdict.DONE: VerdictRule(11, 0, "the CA did what was asked"),
    Verdict.FAILED: VerdictRule(1, 1, "this machine failed: disk, permissions or a defect"),
    Verdict.MISCONFIGURED: VerdictRule(2, 2, "the configuration is wrong"),
    Verdict.WAITING: VerdictRule(3, 3, "the CA has not decided yet; ask again later"),
    Verdict.NEEDS_SECRET: VerdictRule(4, 4, "a person must supply the one-time secret"),
    Verdict.NEEDS_TOKEN: VerdictRule(5, 4, "a person must plug in the token"),
    Verdict.NEEDS_PIN: VerdictRule(6, 4, "a person must supply the PIN"),
    Verdict.REJECTED: VerdictRule(7, 1, "the CA said no"),
    Verdict.REFUSED: VerdictRule(8, 1, "the answer was not acceptable, nothing of it was trusted"),
    Verdict.UNREACHABLE: VerdictRule(9, 1, "no address of the CA answered"),
    Verdict.DEPLOYING: VerdictRule(12, 1, "the certificate is installed, but a consumer does not use it yet"),
    Verdict.BUSY: VerdictRule(13, 1, "another process is at work on this identity"),
    Verdict.CRASHED: VerdictRule(None, 1, "the worker died"),
    Verdict.TIMED_OUT: VerdictRule(None, 1, "the worker took too long and was ended"),
}


@frozen(kw_only=True)
class Job:
    """One piece of work for one identity."""

    version: int = VERSION
    action: Action
    name: str
    identity: IdentitySettings
    authority: AuthoritySettings
    state_directory: Path
    secret_descriptor: int | None = None
    """Inherited descriptor from which the one-time secret is read to its end."""
    tokens: dict[str, TokenSettings] = field(default_factory=dict)
    """The PKCS#11 tokens that this job may need, by the names they have in the configuration."""
    pin_descriptors: dict[str, int] = field(default_factory=dict)
    """Inherited descriptors from which their PINs are read to the end, by the same names."""
    password_descriptors: dict[str, int] = field(default_factory=dict)
    """Inherited descriptors of passwords for consumers (PKCS#12), by where they come from in the configuration."""
    patience: float = 0.0
    """Seconds the worker may itself sit out while the CA is undecided or busy; past that it ends with ``waiting``."""
    again: bool = False
    """Enroll even though a valid certificate is installed; deploy even though the next attempt is not due."""
    reason: str = "unspecified"
    """Why a certificate is revoked, by the name of its CRLReason (RFC 5280 5.3.1)."""
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    """Which messages are kept for a support bundle."""
    abandon: bool = False
    """Give up an open request instead of going on with it."""
    known_time: str | None = None
    """A time that has passed for sure (ISO 8601), where the clock of this machine is in doubt; None: it is not."""


def vouching(job: Job) -> bytes:
    """Return what a one-time secret goes with: corrected settings make another one of the same secret."""
    parts = (structure.to_json(job.identity), structure.to_json(job.authority))
    return json.dumps(parts, sort_keys=True).encode("ascii")


@frozen(kw_only=True)
class Progress:
    """One step that happened, for whoever watches. ``fields`` use the journal's names (RFC 4210 terms)."""

    event: str
    text: str
    fields: dict[str, str] = field(default_factory=dict)


@frozen(kw_only=True)
class Outcome:
    """The end of a job."""

    verdict: Verdict
    text: str
    remedy: str = ""
    retry_after: float | None = None
    """Seconds to wait before the next job, where somebody told us (checkAfter, Retry-After)."""
    fields: dict[str, str] = field(default_factory=dict)
