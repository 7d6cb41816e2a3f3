"""The power fails while a worker is at work, and what nobody asked the disk to keep is gone: the next worker goes on.

``test_crash`` kills workers, whose writes all stay. Here only what fsync was called for is sure to stay, so it is shown
that every step is durable before the effect outside that rests on it: a request, its confirmation.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.cmp.certificates import load, read
from agent.cmp.memory import recall
from agent.cmp.states import State
from agent.contract import Action, Verdict
from agent.labca import LabCa, LabCaSettings, running
from agent.labca.records import CertificateStatus
from agent.net.http import Answer, CmpClient
from agent.store.generations import Generation, IdentityStore
from hsm.software import SoftwareKeyStore
from tests.unit.store.disks import SURVIVALS, FailingDisk, PowerCut, copy
from tests.unit.store.samples import left_overs
from tests.unit.worker.desk import SECRET, desk_at

pytestmark = pytest.mark.usefixtures("_quick_fsync")


@pytest.fixture
def _quick_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model knows what is durable; the real disk need not work for it."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture(scope="module")
def patient_ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCa]:
    """Give a CA that has every request wait for one poll: what it answers to a poll can be asked for again."""
    place = tmp_path_factory.mktemp("ca")
    ca = LabCa(LabCaSettings(directory=place, secrets={"enb": SECRET.decode()}, durable=False, polls=1))
    with running(ca):
        yield ca
    ca.close()


class Device:
    """An identity with a job to do, which can be begun again and again from the same start."""

    disk: FailingDisk
    """That of the job that was begun last."""

    def __init__(self, ca: LabCa, place: Path, action: Action) -> None:
        directory = ca.settings.directory
        assert directory is not None
        self._action = action
        self._place = place
        self._ca = ca
        self._transactions: set[str] = set()
        self._desk = desk_at(ca, directory / "root.pem", place / "start")
        if action is Action.RENEW:
            assert self._desk.do().verdict is Verdict.ISSUED
        self._before = self._number

    @property
    def _number(self) -> int | None:
        current = self.store.current
        return None if current is None else current.number

    @property
    def store(self) -> IdentityStore:
        return self._desk.store

    @contextmanager
    def begin(self, failure: Callable[[int], BaseException | None] = lambda _: None) -> Iterator[FailingDisk]:
        """Do the job from the start until it is done or the power fails; the disk is gone with the block."""
        self.disk = FailingDisk(copy(self._place / "start", self._place / "disk"))
        self._use(self.disk.root)
        self._transactions.clear()
        with suppress(PowerCut), self.disk.failing(failure):
            self._do(self._action)
        yield self.disk
        self.disk.close()
        shutil.rmtree(self.disk.root)

    def boot(self, disk: FailingDisk, survival: str) -> None:
        """Start again with what a reboot finds."""
        found = self._place / "found"
        shutil.rmtree(found, ignore_errors=True)
        disk.restore(found, SURVIVALS[survival])
        self._use(found)

    def finish(self) -> None:
        """Do what is left of the job."""
        done = self._number != self._before and not self.store.transaction.path.exists()
        self._do(Action.ENROLL if done else self._action)

    def check(self) -> None:
        """Expect a whole credential in use, the only one that the CA was told about, and nothing left over."""
        current = self.store.current
        assert current is not None
        assert current.confirmed
        assert all(whole(self.store, one) for one in self.store.generations)
        accepted = [
            one.octets
            for one in self._ca.record().certificates
            if one.transaction_id.hex() in self._transactions and one.status is CertificateStatus.CONFIRMED
        ]
        assert accepted == [current.certificate]
        assert not self.store.transaction.path.exists()
        assert left_overs(self.store.state_directory) == []

    def _use(self, state_directory: Path) -> None:
        self._desk.job = replace(self._desk.job, state_directory=state_directory)

    def _do(self, action: Action) -> None:
        try:
            outcome = self._desk.do(action)
        finally:
            self._transactions |= {one["fields"].get("CMP_TRANSACTION_ID", "") for one in self._desk.told}
        assert outcome.verdict in {Verdict.ISSUED, Verdict.UNCHANGED}, outcome.text


def whole(store: IdentityStore, generation: Generation) -> bool:
    """Tell whether a generation has all its files and the key of its certificate."""
    generation.check()
    key = SoftwareKeyStore(store.state_directory).find(generation.key_reference)
    return key.public_key == read(load(generation.certificate)).spki


def failing_from(moment: int) -> Callable[[int], PowerCut | None]:
    """Let the power fail at the effect with this number; nothing comes after it."""
    return lambda number: PowerCut() if number >= moment else None


@pytest.fixture(params=[Action.ENROLL, Action.RENEW])
def device(patient_ca: LabCa, tmp_path: Path, request: pytest.FixtureRequest) -> Device:
    """Give a device that is about to get a certificate."""
    return Device(patient_ca, tmp_path, request.param)


@pytest.mark.parametrize("survival", [name for name in SURVIVALS if name != "everything"])
def test_when_the_power_fails_the_next_worker_brings_the_job_to_its_end(device: Device, survival: str) -> None:
    """The power fails just before each fsync, when most is at stake, and once the job is done."""
    with device.begin() as disk:
        moments = [*disk.syncs, disk.effects + 1]
    assert len(moments) > 15
    for moment in moments:
        with device.begin(failing_from(moment)) as disk:
            device.boot(disk, survival)
        device.finish()
        device.check()


def test_what_a_message_rests_on_is_durable_before_it_leaves(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message itself and the key, with which the next worker goes on; with certConf all of the credential."""
    states: list[State] = []
    exchange = CmpClient.exchange

    def watched(client: CmpClient, message: bytes) -> Answer:
        found = tmp_path / str(len(states))
        device.disk.restore(found, SURVIVALS["nothing"])
        store = IdentityStore(found, "ike")
        snapshot: Any = store.transaction.load_snapshot()
        memory = recall(snapshot["transaction"])
        assert memory.last_message == message
        key = SoftwareKeyStore(found).find(store.transaction.key_reference or "none")
        if memory.state is State.CONFIRMING:
            (generation,) = (one for one in store.generations if one.number == snapshot["generation"])
            assert whole(store, generation)
            assert generation.certificate == memory.certificate
            assert read(load(memory.certificate)).spki == key.public_key
        states.append(memory.state)
        return exchange(client, message)

    monkeypatch.setattr(CmpClient, "exchange", watched)
    with device.begin():
        pass
    assert states == [State.REQUESTED, State.POLLING, State.POLLING, State.CONFIRMING]


def test_what_is_reported_as_done_is_durable(device: Device) -> None:
    with device.begin() as disk:
        device.boot(disk, "nothing")
    device.check()
    assert device.store.state.load().last_success is not None
