"""The table of checks, and how they are run: in the order they are written, each once for everything it is about.

A check says what it found and never raises what is the site's fault. One that rests on another is skipped when that
one failed, so that one cause makes one failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.errors import AgentError
from agent.frozen import frozen

if TYPE_CHECKING:
    from agent.settings import AuthoritySettings, IdentitySettings, Settings


class Status(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Scope(StrEnum):
    """What a check is about, one after another."""

    MACHINE = "machine"
    AUTHORITY = "authority"
    IDENTITY = "identity"
    TOKEN = "token"  # noqa: S105 - a kind of thing


@frozen
class Finding:
    """One line for people: what was found, and for a warning or failure what to do about it."""

    status: Status
    reason: str
    remedy: str = ""


def ok(reason: str) -> Finding:
    """Say that all is well."""
    return Finding(Status.OK, reason)


def warning(reason: str, remedy: str) -> Finding:
    """Say that it works, but not for ever or not as it should."""
    return Finding(Status.WARNING, reason, remedy)


def failed(reason: str, remedy: str) -> Finding:
    """Say that it does not work."""
    return Finding(Status.FAILED, reason, remedy)


def skipped(reason: str) -> Finding:
    """Say why it was not looked at."""
    return Finding(Status.SKIPPED, reason)


@frozen(kw_only=True)
class Result:
    """What one check found about one thing; this is what ``doctor --json`` lists."""

    check: str
    about: str = ""
    """Name of the authority, identity or token; empty: the machine."""
    status: Status
    reason: str
    remedy: str = ""


@dataclass(slots=True, kw_only=True)
class Site:
    """What is looked at. ``settings`` is None until the first check has read them."""

    config: Path
    only: str | None = None
    """The identity that is meant; None: all."""
    settings: Settings | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def identities(self) -> dict[str, IdentitySettings]:
        """The identities that are meant."""
        known = self.settings.identities if self.settings else {}
        return known if self.only is None else {name: one for name, one in known.items() if name == self.only}

    @property
    def authorities(self) -> dict[str, AuthoritySettings]:
        """The authorities of these identities, or all when no one is meant."""
        known = self.settings.authorities if self.settings else {}
        if self.only is None:
            return known
        meant = {one.authority for one in self.identities.values()}
        return {name: one for name, one in known.items() if name in meant}

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens that these identities use, or all when no one is meant."""
        known = tuple(self.settings.tokens) if self.settings else ()
        if self.only is None:
            return known
        meant = {one.key.store for one in self.identities.values()}
        return tuple(name for name in known if name in meant)

    def given(self) -> Settings:
        """Return the settings, for a check that rests on them."""
        assert self.settings is not None  # noqa: S101 - `configuration` comes first, and the others rest on it
        return self.settings


Examine = Callable[[Site, str], Finding]


@frozen
class Check:
    """One entry of the table."""

    name: str
    scope: Scope
    doc: str
    """What is looked at, for the manual."""
    needs: tuple[str, ...]
    examine: Examine


CHECKS: Final[dict[str, Check]] = {}
"""Name -> check, in the order they are run."""


def check(name: str, scope: Scope, *, needs: tuple[str, ...] = ("configuration",)) -> Callable[[Examine], Examine]:
    """Register a check. Its docstring says what it looks at; ``needs`` names earlier checks it rests on."""

    def register(examine: Examine) -> Examine:
        if name in CHECKS:
            raise ValueError(f"there are two checks named {name}")
        for need in needs:
            if need not in CHECKS:
                raise ValueError(f"{name} rests on {need}, which comes later or not at all")
        doc = (examine.__doc__ or "").strip().splitlines()[0]
        CHECKS[name] = Check(name, scope, doc, needs, examine)
        return examine

    return register


def run(site: Site) -> Iterator[Result]:
    """Run every check; yield each result as it comes."""
    failures: set[tuple[str, str]] = set()
    for one in CHECKS.values():
        for about in _subjects(one.scope, site):
            cause = next((need for need in one.needs if _stands(need, about, site, failures)), None)
            finding = skipped(f"rests on {cause}") if cause else _examined(one, site, about)
            if finding.status is Status.FAILED or cause:
                failures.add((one.name, about))
            yield Result(
                check=one.name, about=about, status=finding.status, reason=finding.reason, remedy=finding.remedy
            )


def _examined(one: Check, site: Site, about: str) -> Finding:
    try:
        return one.examine(site, about)
    except AgentError as error:
        return failed(str(error), error.remedy)
    except Exception as error:  # noqa: BLE001 - a defect in one check must not hide what the others find
        return failed(f"a defect of this check: {type(error).__name__}: {error}", "Report this line to us.")


def _subjects(scope: Scope, site: Site) -> tuple[str, ...]:
    match scope:
        case Scope.MACHINE:
            return ("",)
        case Scope.AUTHORITY:
            return tuple(site.authorities)
        case Scope.IDENTITY:
            return tuple(site.identities)
    return site.tokens


def _stands(need: str, about: str, site: Site, failures: set[tuple[str, str]]) -> bool:
    """Tell whether ``need`` failed for the machine, for this very thing, or for the authority of this identity."""
    identity = site.identities.get(about) if about else None
    return any((need, one) in failures for one in ("", about, identity.authority if identity else about))
