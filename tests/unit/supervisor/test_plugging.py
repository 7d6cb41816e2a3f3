"""A token that arrives wakes whoever waits for one, and nobody else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.store.generations import IdentityStore
from agent.store.state import IdentityState, LastError
from agent.supervisor.loop import Loop
from agent.supervisor.plugging import Plugging
from hsm.hotplug import Change, Monitor

ARRIVED = Change(arrived=True, path="/devices/1", what="Yubico YubiKey")
GONE = Change(arrived=False, path="/devices/1", what="Yubico YubiKey")


class Udev:
    """A monitor that says what a test has it say."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._changes: list[Change] = []

    def fileno(self) -> int:
        return self._reader

    def read(self) -> tuple[Change, ...]:
        os.read(self._reader, 64)
        changes, self._changes = tuple(self._changes), []
        return changes

    def say(self, *changes: Change) -> None:
        self._changes += changes
        os.write(self._writer, b"!")

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


@pytest.fixture
def udev() -> Iterator[Udev]:
    made = Udev()
    yield made
    made.close()


class Office:
    """A daemon's loop with three identities, of which one waits for its token."""

    def __init__(self, state: Path, udev: Udev | None) -> None:
        self.woken: list[str] = []
        self.told: list[str] = []
        for name, verdict in (("lacking", "needs-token"), ("failing", "unreachable"), ("good", None)):
            error = verdict and LastError(text="a", remedy="b", verdict=verdict, at=datetime.now(UTC))
            IdentityStore(state, name).state.save(IdentityState(last_error=error or None))
        keeper = SimpleNamespace(
            configuration=SimpleNamespace(common=SimpleNamespace(state_directory=state)),
            identities=dict.fromkeys(("lacking", "failing", "good")),
            wake=self.woken.append,
        )
        teller = SimpleNamespace(tell=lambda event, **words: self.told.append(f"{event}: {words['device']}"))
        self.loop = Loop(slice_=0.2)
        self.plugging = Plugging(
            self.loop, cast("Any", keeper), cast("Any", teller), monitor=lambda: cast("Monitor", udev) if udev else None
        )

    def turn_until(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.loop.turn()
        while time.monotonic() < end and not self.woken:
            self.loop.turn()


def test_an_arrival_wakes_only_who_waits_for_a_token_and_only_once(tmp_path: Path, udev: Udev) -> None:
    office = Office(tmp_path, udev)
    office.plugging.take(tokens=True)
    udev.say(ARRIVED)
    udev.say(ARRIVED)
    office.turn_until(60)
    assert office.woken == ["lacking"]
    assert office.told == ["token-arrived: Yubico YubiKey"] * 2
    office.loop.close()


def test_a_departure_is_told_and_wakes_nobody(tmp_path: Path, udev: Udev) -> None:
    office = Office(tmp_path, udev)
    office.plugging.take(tokens=True)
    udev.say(GONE)
    office.turn_until(1)
    assert (office.woken, office.told) == ([], ["token-gone: Yubico YubiKey"])
    office.loop.close()


@pytest.mark.parametrize("tokens", [True, False])
def test_without_udev_or_without_tokens_nothing_is_listened_to(tmp_path: Path, *, tokens: bool) -> None:
    office = Office(tmp_path, None)
    office.plugging.take(tokens=tokens)
    office.loop.turn()
    assert office.told == []
    office.loop.close()


def test_when_the_last_token_leaves_the_configuration_nobody_listens(tmp_path: Path, udev: Udev) -> None:
    office = Office(tmp_path, udev)
    office.plugging.take(tokens=True)
    office.plugging.take(tokens=False)
    udev.say(ARRIVED)
    office.turn_until(0.5)
    assert office.told == []
    office.loop.close()
