"""Sections of the configuration are values: immutable, equal by what they hold, shown as they are written."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from agent.settings import AuthoritySettings, HttpSettings, MacSettings, PollingSettings, Settings


def test_sections_are_equal_when_everything_they_hold_is() -> None:
    one = MacSettings(iterations=500)
    assert one == MacSettings(iterations=500)
    assert hash(one) == hash(MacSettings(iterations=500))
    assert one != replace(one, salt_length=17)


def test_sections_of_two_kinds_are_never_equal() -> None:
    others: list[object] = [PollingSettings(), "mac"]
    assert MacSettings() not in others


def test_a_section_is_shown_as_it_would_be_made() -> None:
    made = HttpSettings(connect_timeout=3.0, proxy="http://proxy.example:3128")
    assert eval(repr(made), {"HttpSettings": HttpSettings}) == made  # noqa: S307 - of our own making


def test_a_section_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        MacSettings().iterations = 1  # type: ignore[misc]


def test_sections_that_are_left_to_their_defaults_are_one_object_and_tables_are_not() -> None:
    one, other = (AuthoritySettings(urls=("http://ra.example/",), trust_anchors=None) for _ in range(2))
    assert one.mac is other.mac
    assert one.http is other.http
    first, second = (Settings(authorities={}, identities={}) for _ in range(2))
    assert first.tokens is not second.tokens
