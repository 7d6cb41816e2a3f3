"""kill -9 at every effect: the next worker goes on, nothing issued is lost, nothing is issued twice.

An effect is a system call that others can see (see ``mortal``). For every one of them a worker is killed just before
it; then another one does the same job to its end. What is left must be one valid credential in use, whole generations,
and a CA that knows of no certificate in force that we do not have.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent.cmp.certificates import load
from agent.cmp.messages import BodyType
from agent.cmp.states import State
from agent.contract import Action, Job, Verdict
from agent.labca import LabCa, LabCaSettings, running
from agent.labca.records import CertificateStatus
from agent.store.generations import Generation, IdentityStore
from tests import station
from tests.unit.worker import reliability
from tests.unit.worker.desk import SECRET, desk_at
from tests.unit.worker.mortal import EVERY, VISIBLE, End, Mortality, mortality
from tests.unit.worker.reliability import Tale, tale


@pytest.fixture(scope="module")
def undertaker() -> Iterator[Mortality]:
    """Give a process that forks workers."""
    with mortality() as found:
        yield found


def serve(place: Path, **settings: Any) -> LabCa:
    return LabCa(LabCaSettings(directory=place, secrets={"enb": SECRET.decode()}, durable=False, **settings))


@dataclass
class Device:
    """One identity with a state directory of its own."""

    undertaker: Mortality
    job: Job

    @property
    def store(self) -> IdentityStore:
        return IdentityStore(self.job.state_directory, self.job.name)

    @property
    def told(self) -> Path:
        return self.job.state_directory.with_suffix(".told")

    def told_lines(self) -> list[dict[str, Any]]:
        """What every worker of this device reported, in order."""
        return [json.loads(line)["progress"] for line in self.told.read_text().splitlines()]

    @property
    def transactions(self) -> set[str]:
        """The transactionID of every request this device made."""
        lines = [json.loads(line) for line in self.told.read_text().splitlines()]
        return {line["progress"]["fields"].get("CMP_TRANSACTION_ID", "") for line in lines} - {""}

    def live(self, action: Action = Action.ENROLL, effects: tuple[str, ...] = EVERY, *, dies_at: int = 0) -> End:
        """Do the job; die before number ``dies_at`` of ``effects``."""
        job = replace(self.job, action=action)
        return self.undertaker.do(job, SECRET, self.told, effects=effects, dies_at=dies_at)

    def finish(self, action: Action, before: Generation | None) -> None:
        """Do what is left of the job after a death."""
        after_work = self.store.current != before and not self.store.transaction.path.exists()
        end = self.live(Action.ENROLL if after_work else action)
        assert not end.died
        assert end.verdict == (Verdict.UNCHANGED if after_work else Verdict.ISSUED), end.text

    def check(self) -> dict[bytes, Generation]:
        """Expect that what is on disk is whole; return every certificate we have."""
        current = self.store.current
        assert current is not None
        assert not self.store.transaction.path.exists()
        assert not list(self.job.state_directory.rglob("*.tmp"))
        for generation in self.store.generations:
            generation.check()
            assert generation.private_key is not None
            key = load_pem_private_key(generation.private_key.read_bytes(), None)
            assert key.public_key() == load(generation.certificate).public_key()
        leaf = load(current.certificate)
        assert leaf.not_valid_before_utc <= datetime.now(UTC) < leaf.not_valid_after_utc
        leaf.verify_directly_issued_by(load(current.chain[0]))
        return {generation.certificate: generation for generation in self.store.generations}


class Graveyard:
    """Many devices at one CA, each of which died once, at another effect."""

    def __init__(self, ca: LabCa, place: Path, undertaker: Mortality) -> None:
        directory = ca.settings.directory
        assert directory is not None
        self._ca = ca
        self._place = place
        self._undertaker = undertaker
        self.first = desk_at(ca, directory / "root.pem", place / "template").job
        self.devices: list[tuple[Device, End]] = []
        self.tales: list[Tale] = []

    def device(self, name: str) -> Device:
        """Return a new device: one that has what the template has."""
        state = self._place / name
        shutil.copytree(self._place / "template", state, symlinks=True)
        return Device(self._undertaker, replace(self.first, state_directory=state))

    def enroll_template(self) -> None:
        assert Device(self._undertaker, self.first).live().verdict == Verdict.ISSUED

    def bury(self, action: Action, effects: tuple[str, ...]) -> int:
        """Let a device die at each of ``effects`` in turn and another worker finish; return how many there are."""
        for number in range(1, 1000):
            device = self.device(str(number))
            before = device.store.current
            end = device.live(action, effects, dies_at=number)
            self.devices.append((device, end))
            if not end.died:
                assert end.verdict == Verdict.ISSUED
                return number - 1
            now = device.store.current
            assert before is None or now is not None
            until_then = device.told_lines()
            device.finish(action, before)
            self.tales.append(tale(end, until_then, device.told_lines()[len(until_then) :]))
        raise AssertionError("it never ends")

    def check(self) -> dict[int, list[CertificateStatus]]:
        """Expect that the CA and every device agree; return what the CA thinks of each one's certificates."""
        record = self._ca.record()
        found = {}
        for device, end in self.devices:
            mine = [one for one in record.certificates if one.transaction_id.hex() in device.transactions]
            have = device.check()
            in_force = [one.octets for one in mine if one.status is CertificateStatus.CONFIRMED]
            current = device.store.current
            assert current is not None
            assert in_force == [current.certificate], f"died before effect {end.effects}"
            assert set(in_force) <= have.keys()
            found[end.effects] = [one.status for one in mine]
        return found


def die_everywhere(
    tmp_path: Path, undertaker: Mortality, action: Action, effects: tuple[str, ...], tales: list[Tale], **settings: Any
) -> dict[int, list[CertificateStatus]]:
    """Return, for a death at each effect, what the CA thinks at the end of the certificates it issued."""
    ca = serve(tmp_path / "ca", **settings)
    with running(ca):
        yard = Graveyard(ca, tmp_path, undertaker)
        if action is Action.RENEW:
            yard.enroll_template()
        assert yard.bury(action, effects) > 20
        found = yard.check()
        tales += yard.tales
    ca.close()
    return found


@pytest.mark.parametrize(("action", "effects"), [(Action.ENROLL, EVERY), (Action.RENEW, VISIBLE)])
def test_a_request_under_consideration_survives_kill_at_every_effect_with_one_certificate(
    tmp_path: Path, undertaker: Mortality, action: Action, effects: tuple[str, ...]
) -> None:
    """Whatever was lost, even the certificate itself on its way here: the same transaction brings it again."""
    tales: list[Tale] = []
    found = die_everywhere(tmp_path, undertaker, action, effects, tales, polls=1)
    assert set(map(tuple, found.values())) == {(CertificateStatus.CONFIRMED,)}
    shown = reliability.table(tales)
    assert shown in reliability.DOCUMENT.read_text(), "write it anew: python -m tests.unit.worker.reliability"


def test_a_request_that_is_answered_at_once_survives_kill_at_every_effect(
    tmp_path: Path, undertaker: Mortality
) -> None:
    """A lost answer to the request itself cannot come again: then the first certificate lapses unconfirmed."""
    found = die_everywhere(tmp_path, undertaker, Action.ENROLL, VISIBLE, [])
    once, twice = [CertificateStatus.CONFIRMED], [CertificateStatus.ISSUED, CertificateStatus.CONFIRMED]
    lost = [effect for effect, statuses in found.items() if statuses == twice]
    assert all(statuses in (once, twice) for statuses in found.values())
    assert lost == list(range(lost[0], lost[0] + len(lost))), "one window, from the answer to its snapshot"
    assert len(lost) <= 4


@pytest.mark.parametrize("action", [Action.ENROLL, Action.RENEW])
def test_a_confirmation_that_the_ca_refuses_is_acted_upon_after_a_kill_at_every_effect(
    tmp_path: Path, undertaker: Mortality, action: Action
) -> None:
    """What the CA said clearly before the death counts after it, words and all; nothing stays open."""
    ca = serve(tmp_path / "ca")
    with running(ca):
        yard = Graveyard(ca, tmp_path, undertaker)
        if action is Action.RENEW:
            yard.enroll_template()
        ca.misbehave("reject=badCertId@certConf")
        undisturbed = yard.device("undisturbed").live(action, VISIBLE)
        assert undisturbed.verdict == Verdict.REJECTED
        assert "badCertId" in undisturbed.text
        deaths = 0
        for number in range(1, 1000):
            device = yard.device(str(number))
            before = device.store.current
            if not device.live(action, VISIBLE, dies_at=number).died:
                break
            snapshot: Any = device.store.transaction.load_snapshot()
            if snapshot is None or snapshot["transaction"]["state"] != State.DISPUTED:
                continue
            deaths += 1
            end = device.live(action)
            assert (end.verdict, end.text) == (undisturbed.verdict, undisturbed.text)
            assert device.store.current == before
            assert not device.store.transaction.path.exists()
        assert deaths
    ca.close()


@pytest.mark.parametrize("fault", ["reject=badCertId@certConf", "truncated@certConf"])
def test_a_certificate_that_may_be_confirmed_comes_into_use_after_a_kill_at_every_effect(
    tmp_path: Path, undertaker: Mortality, fault: str
) -> None:
    """Its confirmation was lost once, and now gets an error: with nothing better it is used, death or not."""
    ca = serve(tmp_path / "ca")
    with running(ca):
        yard = Graveyard(ca, tmp_path, undertaker)
        ca.misbehave("drop-before@certConf*1")
        assert Device(undertaker, yard.first).live().verdict == Verdict.UNREACHABLE
        ca.misbehave(fault)
        for number in range(1, 1000):
            device = yard.device(str(number))
            if not device.live(effects=VISIBLE, dies_at=number).died:
                break
            after_work = not device.store.transaction.path.exists()
            end = device.live()
            assert end.verdict == (Verdict.UNCHANGED if after_work else Verdict.ISSUED), end.text
            device.check()
        assert number > 10
    ca.close()


def test_command_and_worker_that_are_killed_again_and_again_go_on_with_one_transaction(tmp_path: Path) -> None:
    ca = LabCa(
        LabCaSettings(
            directory=tmp_path / "ca", secrets={station.REFERENCE: station.SECRET}, durable=False, manual_approval=True
        )
    )
    with running(ca):
        device = station.Station(tmp_path)
        device.configure(
            urls=[ca.url], trust_anchors=[str(tmp_path / "ca" / "root.pem")], polling={"minimum": "1s", "maximum": "1s"}
        )
        for polls in (1, 2):
            with device.running("enroll", "ike") as process:
                station.until(partial(asked, ca, polls))
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate(timeout=20)
        assert ca.approve() == 1
        done = device.run("enroll", "ike")
        assert done.code == 0, done.err
    (transaction,) = ca.record().transactions
    (certificate,) = ca.record().certificates
    assert certificate.status is CertificateStatus.CONFIRMED
    assert certificate.octets == device.current.certificate
    assert device.current.description["transaction_id"] == transaction.id.hex()
    assert heard(ca).count(BodyType.IR) == 1
    ca.close()


def asked(ca: LabCa, polls: int) -> bool:
    return heard(ca).count(BodyType.POLLREQ) >= polls


def heard(ca: LabCa) -> list[BodyType | None]:
    """Return the types of the messages that the CA received."""
    return [one.type for one in ca.record().messages if not one.sent]
