"""A worker may die after any step. The next one goes on, and nothing that was issued is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.contract import Action, Verdict
from agent.labca import LabCa, LabCaSettings, running
from agent.labca.records import TransactionState
from agent.store import atomic
from tests.unit.worker.desk import SECRET, Desk, Died, desk_at


class Power:
    """Cuts the power after, or just before, the n-th durable change."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self.before = False
        self.changes = 0
        for name in ("write_file", "write_directory", "switch_link", "make_directory", "remove_tree"):
            monkeypatch.setattr(atomic, name, self._watched(getattr(atomic, name)))

    def _watched(self, change: Callable[..., None]) -> Callable[..., None]:
        def changed(*arguments: object, **options: object) -> None:
            self.changes += 1
            last = self.changes == self.left
            if last and self.before:
                raise Died
            change(*arguments, **options)
            if last:
                raise Died

        return changed

    def fails_at(self, change: int | None, *, before: bool = False) -> None:
        self.left, self.before, self.changes = change, before, 0


@pytest.fixture
def power(monkeypatch: pytest.MonkeyPatch) -> Power:
    return Power(monkeypatch)


def survives(desk: Desk, power: Power, action: Action) -> int:
    """Let the worker die at every change in turn; return how often it died.

    What is in use is whole at every moment, and a certificate that was written is not asked for again.
    """
    deaths = 0
    while True:
        before = desk.store.current
        deaths += 1
        power.fails_at(deaths, before=bool(deaths % 2))
        try:
            outcome = desk.do(action, again=True)
        except Died:
            power.fails_at(None)
            current = desk.store.current
            assert current is None or current.certificate
            assert before is None or current is not None
            waiting = "verified" in desk.events and current == before
            finished = desk.do(action, again=True)
            assert finished.verdict is Verdict.ISSUED, finished.text
            assert not (waiting and "started" in desk.events), "what had arrived was asked for again"
        else:
            assert outcome.verdict is Verdict.ISSUED
            return deaths - 1


def test_an_enrollment_survives_the_death_of_the_worker_at_every_change(desk: Desk, power: Power) -> None:
    assert survives(desk, power, Action.ENROLL) > 10


def test_a_renewal_survives_the_death_of_the_worker_at_every_change(desk: Desk, power: Power) -> None:
    desk.do()
    assert survives(desk, power, Action.RENEW) > 10


@pytest.mark.parametrize("step", ["key-made", "started", "sent", "pending", "verified", "installed"])
def test_a_worker_that_dies_while_it_tells_a_step_is_followed_by_one_that_goes_on(slow_desk: Desk, step: str) -> None:
    def die(event: str) -> None:
        if event == step:
            raise Died

    slow_desk.on_event = die
    with pytest.raises(Died):
        slow_desk.do()
    slow_desk.on_event = lambda _: None
    slow_desk.late += 10
    assert slow_desk.do(again=step != "installed").verdict in {Verdict.ISSUED, Verdict.UNCHANGED}
    assert slow_desk.store.current is not None
    assert not slow_desk.store.transaction.path.exists()


def test_while_it_waits_the_same_transaction_goes_on_and_one_certificate_is_issued(slow_desk: Desk) -> None:
    def die() -> None:
        raise Died

    before = len(slow_desk.ca.record().certificates)
    slow_desk.on_sleep = die
    for _ in range(3):
        with pytest.raises(Died):
            slow_desk.do()
        slow_desk.late += 10
    slow_desk.on_sleep = lambda: None
    assert slow_desk.do().verdict is Verdict.ISSUED
    record = slow_desk.ca.record()
    assert len(record.certificates) == before + 1
    (transaction,) = [one for one in record.transactions if one.serial == record.certificates[-1].serial]
    assert transaction.state is TransactionState.CONFIRMED
    assert transaction.id.hex() == slow_desk.told[-1]["fields"]["CMP_TRANSACTION_ID"]


def test_a_certificate_that_ended_while_nobody_took_it_is_asked_for_anew_at_once(tmp_path: Path) -> None:
    def die(event: str) -> None:
        if event == "verified":
            raise Died

    settings = LabCaSettings(directory=tmp_path / "ca", secrets={"enb": SECRET.decode()}, durable=False)
    with running(LabCa(replace(settings, validity=timedelta(seconds=60)))) as ca:
        desk = desk_at(ca, tmp_path / "ca" / "root.pem", tmp_path / "state")
        desk.on_event = die
        with pytest.raises(Died):
            desk.do()
        ca.close()
    with running(LabCa(settings)) as ca:
        desk.configure(urls=(ca.url,))
        desk.on_event = lambda _: None
        desk.late += 61
        assert desk.do().verdict is Verdict.ISSUED
        assert "snapshot-lost" in desk.events
        assert "before it was taken into use" in desk.texts
        assert desk.sent == ["ir", "certConf"]
        ca.close()


def test_a_certificate_that_was_confirmed_is_installed_without_the_secret_or_the_ca(
    desk: Desk, power: Power, tmp_path: Path
) -> None:
    """The power failed between pkiConf and the switch; the secret is spent and gone."""
    desk.do()
    power.fails_at(None)
    desk.do(again=True)
    total = power.changes
    died_confirmed = False
    for change in range(total, 0, -1):
        power.fails_at(change)
        with pytest.raises(Died):
            desk.do(again=True)
        newest, current = desk.store.generations[-1], desk.store.current
        power.fails_at(None)
        if newest.confirmed and newest != current:
            died_confirmed = True
            desk.configure(urls=("http://127.0.0.1:9/",), trust_anchors=(tmp_path / "gone.pem",))
            assert desk.do(secret=None).verdict is Verdict.ISSUED
            break
        desk.do(again=True)
    assert died_confirmed
