"""The order on disk as a whole, cut off, failing and killed at every effect it has on the file system."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.errors import StateError
from agent.store import atomic
from agent.store.credential import CONFIRMED
from agent.store.generations import Credential, Generation, IdentityStore
from agent.store.state import IdentityState
from hsm.algorithms import KeyAlgorithm
from hsm.errors import KeyStoreError
from hsm.software import SoftwareKeyStore
from tests.unit.store.disks import SURVIVALS, FailingDisk, PowerCut, copy
from tests.unit.store.samples import ROOT, left_overs

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def enroll(state_directory: Path, done: list[str]) -> None:
    """Do what a worker does, in the order on disk, and note in ``done`` what was reported as done."""
    store, keys = IdentityStore(state_directory, "ike"), SoftwareKeyStore(state_directory)
    with store.lock():
        transaction = store.transaction
        transaction.clear()
        transaction.prepare()
        key = keys.generate(KeyAlgorithm.ED25519, transaction.key_path)
        done.append("key")
        transaction.save_snapshot({"public_key": key.public_key.hex(), "sent": 1})
        done.append("snapshot")
        transaction.save_snapshot({"public_key": key.public_key.hex(), "sent": 2})
        done.append("second snapshot")
        generation = store.add(Credential(certificate=b"for " + key.public_key, private_key=transaction.key_path))
        done.append("generation")
        store.mark(generation, CONFIRMED, value=True)
        done.append("confirmed")
        store.switch(generation)
        done.append("switched")
        store.state.save(IdentityState(last_success=NOW))
        store.prune(keep=1)
        done.append("pruned")
        done.append("clearing")
        transaction.clear()
        done.append("cleared")


def key_fits(keys: SoftwareKeyStore, generation: Generation) -> bool:
    generation.check()
    return generation.certificate == b"for " + keys.find(generation.key_reference).public_key


def check(state_directory: Path, done: list[str]) -> None:
    """Open what a reboot found: nothing reported as done is lost, nothing half done is seen."""
    store, keys = IdentityStore(state_directory, "ike"), SoftwareKeyStore(state_directory)
    with store.lock():
        assert left_overs(state_directory) == []
    current = store.current
    assert current is not None
    assert current.number in ({2} if "switched" in done else {1, 2})
    assert all(key_fits(keys, generation) for generation in store.generations)
    numbers = [generation.number for generation in store.generations]
    assert numbers in ([1], [1, 2], [2])
    assert "generation" not in done or numbers[-1] == 2
    assert "confirmed" not in done or store.generations[-1].confirmed
    assert "pruned" not in done or numbers == [2]
    assert store.state.load().damage == ""
    assert "pruned" not in done or store.state.load().last_success == NOW

    snapshot, reference = store.transaction.load_snapshot(), store.transaction.key_reference
    if snapshot is not None:
        assert reference is not None
        assert keys.find(reference).public_key.hex() == snapshot["public_key"]
    if "key" in done and "clearing" not in done:
        assert reference == keys.find(str(reference)).reference
    if "snapshot" in done and "clearing" not in done:
        assert snapshot is not None
        assert "second snapshot" not in done or snapshot["sent"] == 2
    if "cleared" in done:
        assert (snapshot, reference) == (None, None)


def goes_on(state_directory: Path) -> bool:
    """Enroll once more on what was found, to the end."""
    done: list[str] = []
    enroll(state_directory, done)
    return done[-1] == "cleared"


@pytest.fixture(scope="module")
def first_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with one credential in use."""
    state_directory = tmp_path_factory.mktemp("first")
    enroll(state_directory, [])
    return state_directory


@pytest.fixture(scope="module")
def effects(first_state: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many effects on the file system one enrollment has."""
    disk = FailingDisk(copy(first_state, tmp_path_factory.mktemp("count") / "state"))
    with disk.failing(lambda _number: None):
        enroll(disk.root, [])
    disk.close()
    return disk.effects


@pytest.fixture
def _quick_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model knows what is durable; the real disk need not work for it."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


def cut(disk: FailingDisk, at: int) -> list[str]:
    """Enroll until the power goes at effect number ``at``."""
    done: list[str] = []
    with pytest.raises(PowerCut), disk.failing(lambda number: PowerCut() if number >= at else None):
        enroll(disk.root, done)
    return done


def reported_error(state_directory: Path, done: list[str]) -> StateError | KeyStoreError | None:
    try:
        enroll(state_directory, done)
    except (StateError, KeyStoreError) as error:
        return error
    return None


@pytest.mark.usefixtures("_quick_fsync")
@pytest.mark.parametrize("survival", SURVIVALS)
def test_a_power_cut_at_any_instant_loses_nothing_that_was_reported_done(
    first_state: Path, effects: int, survival: str, tmp_path: Path
) -> None:
    for at in range(1, effects + 1):
        disk = FailingDisk(copy(first_state, tmp_path / "state"))
        done = cut(disk, at)
        found = tmp_path / "found"
        disk.restore(found, SURVIVALS[survival])
        disk.close()
        check(found, done)
        if at % 7 == 0:  # it takes as long as the rest together
            assert goes_on(found)
        shutil.rmtree(disk.root)
        shutil.rmtree(found)


@pytest.mark.usefixtures("_quick_fsync")
@pytest.mark.parametrize(("code", "lasting"), [(errno.ENOSPC, False), (errno.EIO, True)], ids=["once", "from then on"])
def test_an_error_of_the_disk_at_any_instant_is_reported_and_leaves_old_or_new(
    first_state: Path, effects: int, code: int, lasting: bool, tmp_path: Path
) -> None:
    for at in range(1, effects + 1):
        disk = FailingDisk(copy(first_state, tmp_path / "state"))
        done: list[str] = []

        def failure(number: int, at: int = at) -> OSError | None:
            return OSError(code, os.strerror(code)) if number == at or (lasting and number > at) else None

        with disk.failing(failure):
            error = reported_error(disk.root, done)
        assert (error is None) == (done[-1:] == ["cleared"])
        assert error is None or (errno.errorcode[code] in str(error) and error.remedy)
        disk.close()
        check(disk.root, done)
        shutil.rmtree(disk.root)


LEFT_OVER = Path("identities/ike/.current.0123456789abcdef.tmp")


def swept(state_directory: Path) -> Path:
    with IdentityStore(state_directory, "ike").lock():
        return state_directory / LEFT_OVER


def destroyed(state_directory: Path) -> Path:
    generation = IdentityStore(state_directory, "ike").generations[0]
    SoftwareKeyStore(state_directory).destroy(generation.key_reference)
    return generation.path / "private-key.pem"


def removed(state_directory: Path) -> Path:
    atomic.remove_tree(state_directory / "identities" / "ike" / "generations")
    return state_directory / "identities" / "ike" / "generations"


@pytest.mark.usefixtures("_quick_fsync")
@pytest.mark.parametrize("removal", [swept, destroyed, removed])
def test_what_was_reported_removed_does_not_come_back(
    first_state: Path, tmp_path: Path, removal: Callable[[Path], Path]
) -> None:
    """Least of all a private key, under whatever name."""
    state_directory = copy(first_state, tmp_path / "state")
    (state_directory / LEFT_OVER).symlink_to("generations/000009")
    disk = FailingDisk(state_directory)
    with disk.failing(lambda _number: None):
        gone = removal(state_directory)
    found = tmp_path / "found"
    disk.restore(found, SURVIVALS["nothing"])
    disk.close()
    assert (found / "identities").is_dir()
    assert not os.path.lexists(found / gone.relative_to(state_directory))
    assert {path.relative_to(found) for path in left_overs(found)} <= {LEFT_OVER}


@pytest.mark.usefixtures("_quick_fsync")
def test_a_model_that_forgets_everything_finds_a_missing_fsync(first_state: Path, tmp_path: Path) -> None:
    """The test of the test: without the fsync of directories the same check must fail."""
    state_directory, done = copy(first_state, tmp_path / "state"), list[str]()
    disk = FailingDisk(state_directory)
    with disk.failing(lambda _number: None), pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent.store.atomic._fsync_directory", lambda _path: None)
        enroll(state_directory, done)
    found = tmp_path / "found"
    disk.restore(found, SURVIVALS["nothing"])
    disk.close()
    with pytest.raises(AssertionError):
        check(found, done)


def test_a_killed_worker_leaves_old_or_new_and_frees_the_lock(first_state: Path, effects: int, tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from tests.unit.store.disks import FailingDisk
from tests.unit.store.test_power_cut import enroll
disk, at = FailingDisk(Path(sys.argv[1])), int(sys.argv[2])
with disk.failing(lambda number: os.kill(os.getpid(), signal.SIGKILL) if number == at else None):
    enroll(disk.root, [])
"""
    for at in range(4, effects, effects // 4):
        state_directory = copy(first_state, tmp_path / f"state-{at}")
        command = [sys.executable, "-c", code, str(state_directory), str(at)]
        worker = subprocess.run(command, cwd=ROOT, check=False, timeout=60)
        assert worker.returncode == -signal.SIGKILL
        check(state_directory, [])
        assert goes_on(state_directory)
