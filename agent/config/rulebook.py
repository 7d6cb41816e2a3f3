"""Rules across keys: what a rule is, and how a set of them is applied to settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from agent.config.findings import KeyPath, Notice
from agent.config.reading import UnreadValue
from agent.frozen import frozen
from agent.settings import AuthoritySettings, DeployTarget, IdentitySettings, Settings, TokenSettings

S = TypeVar("S")


@frozen
class Entry(Generic[S]):
    """One named section, and all there is around it."""

    settings: Settings
    name: str
    own: S
    directories: Mapping[Path, list[tuple[str, DeployTarget]]] = field(default_factory=dict)
    """For a consumer: the consumers that have each directory, with their identities. A thousand do not look for each
    other one by one."""


Authority: TypeAlias = Entry[AuthoritySettings]
Identity: TypeAlias = Entry[IdentitySettings]
Target: TypeAlias = Entry[DeployTarget]
Token: TypeAlias = Entry[TokenSettings]


@frozen
class Rule(Generic[S]):
    """``key`` is below the section (dots between levels); ``broken`` tells whether the rule is."""

    key: str
    broken: Callable[[Entry[S]], bool]
    text: str
    remedy: str | Callable[[Entry[S]], str]


@frozen(kw_only=True)
class RuleBook:
    """The rules of one weight, by the kind of section they are about."""

    whole: tuple[Rule[Settings], ...] = ()
    authority: tuple[Rule[AuthoritySettings], ...] = ()
    identity: tuple[Rule[IdentitySettings], ...] = ()
    target: tuple[Rule[DeployTarget], ...] = ()
    token: tuple[Rule[TokenSettings], ...] = ()


def apply(book: RuleBook, settings: Settings) -> Iterator[Notice]:
    """Yield a notice for every broken rule. A rule about a value that could not be read is passed over."""
    yield from _check(book.whole, Entry(settings, "", settings), ())
    for name, authority in _named(settings.authorities):
        yield from _check(book.authority, Entry(settings, name, authority), ("authorities", name))
    directories = _directories(settings) if book.target else {}
    for name, identity in _named(settings.identities):
        yield from _check(book.identity, Entry(settings, name, identity), ("identities", name))
        for index, target in enumerate(_targets(identity)):
            entry = Entry(settings, name, target, directories)
            yield from _check(book.target, entry, ("identities", name, "deploy", index))
    for name, token in _named(settings.tokens):
        yield from _check(book.token, Entry(settings, name, token), ("tokens", name))


def _check(rules: tuple[Rule[S], ...], entry: Entry[S], path: KeyPath) -> Iterator[Notice]:
    for rule in rules:
        try:
            if rule.broken(entry):
                remedy = rule.remedy if isinstance(rule.remedy, str) else rule.remedy(entry)
                yield Notice((*path, *filter(None, rule.key.split("."))), rule.text, remedy)
        except UnreadValue:
            continue


def _named(table: Mapping[str, S]) -> list[tuple[str, S]]:
    try:
        return list(table.items())
    except UnreadValue:
        return []


def _directories(settings: Settings) -> dict[Path, list[tuple[str, DeployTarget]]]:
    found: dict[Path, list[tuple[str, DeployTarget]]] = {}
    for name, identity in _named(settings.identities):
        for target in _targets(identity):
            with suppress(UnreadValue):
                if target.directory is not None:
                    found.setdefault(target.directory.path, []).append((name, target))
    return found


def _targets(identity: IdentitySettings) -> tuple[DeployTarget, ...]:
    try:
        return tuple(identity.deploy)
    except UnreadValue:
        return ()
