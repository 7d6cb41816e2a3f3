from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ConfigurationError, StateBusy, StateCorrupt, StateError
from agent.store import atomic
from agent.store.credential import CONFIRMED, Generation
from agent.store.generations import IDENTITY_NAME, IdentityStore
from tests.unit.store.samples import KEY, ROOT, credential, enrolled, left_overs


def numbers(generations: tuple[Generation, ...]) -> list[int]:
    return [generation.number for generation in generations]


def test_an_identity_that_was_never_enrolled_has_nothing(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path, "ike")
    assert store.current is None
    assert store.generations == ()
    assert os.listdir(tmp_path) == []


def test_a_new_generation_is_not_in_use_before_it_is_switched_to(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path, "ike")
    with store.lock():
        generation = store.add(credential())
        before = store.current
        store.switch(generation)
    assert (before, store.current) == (None, generation)
    assert os.readlink(tmp_path / "identities" / "ike" / "current") == "generations/000001"
    assert generation.certificate == b"certificate"


def test_directories_and_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    enrolled(tmp_path)
    modes = {path.lstat().st_mode & 0o777 for path in (tmp_path / "identities").rglob("*") if not path.is_symlink()}
    assert modes == {0o700, 0o600}


def test_a_roll_back_is_one_switch(tmp_path: Path) -> None:
    store, (first, second) = enrolled(tmp_path, 2)
    with store.lock():
        store.switch(first)
    assert store.current == first
    assert store.generations == (first, second)


def test_a_mark_stays_with_its_generation(tmp_path: Path) -> None:
    store, (first, second) = enrolled(tmp_path, 2)
    with store.lock():
        store.mark(second, CONFIRMED, "2026-03-01T00:00:00+00:00")
    assert [generation.confirmed for generation in IdentityStore(tmp_path, "ike").generations] == [False, True]
    second.check()
    assert first.marks == {}


def test_the_numbers_only_grow(tmp_path: Path) -> None:
    store, generations = enrolled(tmp_path, 3)
    with store.lock():
        store.prune(keep=1)
        assert store.add(credential()).number == 4
        store.switch(generations[2])
        store.prune(keep=1)
        assert numbers(store.generations) == [3, 4]
        assert store.add(credential()).number == 5


def test_after_the_last_number_of_six_digits_comes_one_of_seven(tmp_path: Path) -> None:
    store, (generation,) = enrolled(tmp_path)
    (generation.path).rename(generation.path.with_name("999999"))
    with store.lock():
        store.switch(store.generations[0])
        store.switch(store.add(credential()))
    assert store.current is not None
    assert store.current.path.name == "1000000"


def test_a_new_generation_never_comes_into_use_through_a_dangling_link(tmp_path: Path) -> None:
    store, (first, second) = enrolled(tmp_path, 2)
    atomic.remove_tree(second.path)
    with store.lock():
        third = store.add(credential())
        assert third.number == 3
        with pytest.raises(StateCorrupt, match="is missing"):
            _ = store.current
        store.switch(third)
    assert store.current == third
    assert numbers(store.generations) == [first.number, 3]


def damaged_link(store: IdentityStore) -> None:
    atomic.switch_link(store.directory / "current", "../../../etc")


def link_to_a_number_of_another_form(store: IdentityStore) -> None:
    atomic.switch_link(store.directory / "current", "generations/0000001")


def file_instead_of_link(store: IdentityStore) -> None:
    (store.directory / "current").unlink()
    (store.directory / "current").write_text("generations/000001")


@pytest.mark.parametrize("damage", [damaged_link, link_to_a_number_of_another_form, file_instead_of_link])
def test_a_link_that_is_not_ours_is_reported_and_set_right_by_a_roll_back(
    tmp_path: Path, damage: Callable[[IdentityStore], None]
) -> None:
    store, (first, second) = enrolled(tmp_path, 2)
    damage(store)
    with pytest.raises(StateCorrupt, match="should be a link") as caught:
        _ = store.current
    assert "enrollctl rollback ike" in caught.value.remedy
    with store.lock():
        assert store.add(credential()).number == 3
        store.switch(first)
    assert store.current == first
    assert second in store.generations


@pytest.mark.parametrize("name", ["certificate.pem", "chain.pem", "trust-anchors.pem", "credential.json"])
def test_a_file_of_no_octets_is_never_taken_for_a_credential(tmp_path: Path, name: str) -> None:
    store, (generation,) = enrolled(tmp_path)
    (generation.path / name).write_bytes(b"")
    with pytest.raises(StateCorrupt, match="is empty"):
        _ = store.current


def test_a_damaged_generation_is_not_switched_to(tmp_path: Path) -> None:
    store, (first, second) = enrolled(tmp_path, 2)
    (first.path / "chain.pem").write_bytes(b"")
    with store.lock(), pytest.raises(StateCorrupt):
        store.switch(first)
    assert store.current == second


def test_pruning_keeps_the_current_one_those_before_it_and_all_after_it(tmp_path: Path) -> None:
    store, generations = enrolled(tmp_path, 6)
    with store.lock():
        store.switch(generations[3])
        assert store.prunable(keep=2) == generations[:2]
        assert store.prune(keep=2) == generations[:2]
        assert store.prune(keep=2) == ()
    assert store.generations == generations[2:]
    assert store.current == generations[3]


def test_nothing_is_pruned_before_there_is_a_current_generation(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path, "ike")
    with store.lock():
        store.add(credential())
        store.add(credential())
        assert store.prune(keep=1) == ()
    assert numbers(store.generations) == [1, 2]


def test_nothing_is_pruned_while_the_current_generation_is_damaged(tmp_path: Path) -> None:
    store, generations = enrolled(tmp_path, 3)
    (generations[2].path / "certificate.pem").unlink()
    with store.lock(), pytest.raises(StateCorrupt):
        store.prune(keep=1)
    assert store.generations == generations


def test_pruning_everything_is_refused(tmp_path: Path) -> None:
    store, _ = enrolled(tmp_path)
    with store.lock(), pytest.raises(ValueError, match="always kept"):
        store.prune(keep=0)


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 9))
def test_pruning_never_names_the_current_generation_or_a_newer_one(count: int, in_use: int, keep: int) -> None:
    in_use = min(in_use, count)
    every = tuple(Generation(number, Path(f"/state/{number}")) for number in range(1, count + 1))

    class Listed(IdentityStore):
        generations = every
        current = every[in_use - 1]

    doomed = Listed(Path("/state"), "ike").prunable(keep)
    kept = [generation for generation in every if generation not in doomed]
    assert all(generation.number < in_use for generation in doomed)
    assert len([generation for generation in kept if generation.number <= in_use]) == min(keep, in_use)


def test_what_a_crash_left_is_removed_when_the_lock_is_taken_and_not_before(tmp_path: Path) -> None:
    store, (generation,) = enrolled(tmp_path)
    store.transaction.prepare()
    for place in (
        store.directory / "state.json",
        store.directory / "generations" / "000002",
        store.transaction.path / "snapshot.json",
        generation.path / "credential.json",
    ):
        left = atomic.temporary_name(place)
        left.mkdir()
        (left / "private-key.pem").write_bytes(b"half a k")
    assert store.current == generation
    assert len(left_overs(tmp_path)) == 4
    with store.lock():
        assert left_overs(tmp_path) == []
    assert store.generations == (generation,)


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    store, generations = enrolled(tmp_path)
    for name in ("lost+found", "000002.bak", "00000a", "0000007"):
        (store.directory / "generations" / name).mkdir()
    with store.lock():
        assert store.generations == generations
    assert len(os.listdir(store.directory / "generations")) == 5


def test_nothing_is_written_without_the_lock(tmp_path: Path) -> None:
    store, (generation,) = enrolled(tmp_path)
    for write in (
        lambda: store.add(credential()),
        lambda: store.switch(generation),
        lambda: store.mark(generation, CONFIRMED, value=True),
        store.prune,
    ):
        with pytest.raises(RuntimeError, match="only under its lock"):
            write()


def test_two_workers_never_hold_one_identity(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path, "ike")
    with store.lock():
        with pytest.raises(StateBusy, match=f"process {os.getpid()} is at work on identity ike"), store.lock():
            pass
        with IdentityStore(tmp_path, "other").lock():
            pass


def test_a_generation_of_another_identity_is_refused(tmp_path: Path) -> None:
    store, _ = enrolled(tmp_path)
    other = Generation(1, tmp_path / "identities" / "other" / "generations" / "000001")
    with store.lock(), pytest.raises(ValueError, match="no generation of ike"):
        store.switch(other)


WRITER = """
import sys
from pathlib import Path
from agent.store.generations import IdentityStore
from tests.unit.store.samples import ROOT, credential
store = IdentityStore(Path(sys.argv[1]), "ike")
for number in range(30):
    with store.lock():
        generation = store.add(credential(b"renewed %d" % number))
        store.mark(generation, "confirmed", True)
        store.switch(generation)
        store.prune()
"""


def test_a_reader_without_lock_never_sees_anything_half_done(tmp_path: Path) -> None:
    store, _ = enrolled(tmp_path)
    seen = set()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT) as writer:
        while writer.poll() is None:
            current = store.current
            assert current is not None
            seen.add(current.certificate)
    assert writer.returncode == 0
    assert len(seen) > 1
    assert numbers(store.generations) == [29, 30, 31]


def test_no_second_copy_of_a_private_key_is_made(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path, "ike")
    with store.lock():
        store.transaction.prepare()
        store.transaction.key_path.write_bytes(KEY)
        made = store.add(credential(key=store.transaction.key_path))
        assert made.private_key is not None
        assert made.private_key.samefile(store.transaction.key_path)
        store.transaction.clear()
    made.check()
    assert made.private_key.stat().st_nlink == 1


def test_directories_that_hold_a_credential_in_use_are_not_synced_by_every_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda one: synced.append(Path(f"/proc/self/fd/{one}").readlink()))
    store = IdentityStore(tmp_path, "ike")
    with store.lock():
        assert synced == [tmp_path, tmp_path / "identities", store.directory]
    with store.lock():
        assert len(synced) == 6, "whoever was here before may have been cut off"
        store.switch(store.add(credential()))
        synced.clear()
    with store.lock():
        assert synced == []


def test_a_reader_that_was_overtaken_reads_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, (first, second) = enrolled(tmp_path, 2)
    real = Generation.check

    def overtaken(generation: Generation) -> None:
        if generation == second:
            atomic.switch_link(store.directory / "current", "generations/000001")
            atomic.remove_tree(second.path)
        real(generation)

    monkeypatch.setattr(Generation, "check", overtaken)
    assert store.current == first


def test_a_state_directory_that_vanished_is_not_an_identity_that_was_never_enrolled(tmp_path: Path) -> None:
    """Else a disk that failed to mount would cost the one-time secret."""
    store = IdentityStore(tmp_path / "gone", "ike")
    for use in (lambda: store.current, lambda: store.generations, lambda: store.lock().__enter__()):
        with pytest.raises(StateError, match="ENOENT") as caught:
            use()
        assert "mount" in caught.value.remedy
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError, match="ENOTDIR"):
        _ = IdentityStore(tmp_path / "file", "ike").current


def test_a_file_in_the_place_of_an_identity_is_reported(tmp_path: Path) -> None:
    (tmp_path / "identities").mkdir()
    (tmp_path / "identities" / "ike").write_bytes(b"")
    with pytest.raises(StateError, match="ENOTDIR"):
        _ = IdentityStore(tmp_path, "ike").current
    with pytest.raises(StateError, match="EEXIST"), IdentityStore(tmp_path, "ike").lock():
        pass


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_state_directory_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    state_directory = tmp_path / "state directory"
    state_directory.mkdir()
    state_directory.chmod(mode)
    with pytest.raises(StateError, match=f"mode {mode:04o}") as caught:
        _ = IdentityStore(state_directory, "ike").current
    assert f"chmod go-w '{state_directory}'" in caught.value.remedy


@pytest.mark.parametrize("name", ["ike", "IKE-2", "enb.4711_a", "0", "a" * 64])
def test_names_of_identities(tmp_path: Path, name: str) -> None:
    with IdentityStore(tmp_path, name).lock():
        assert (tmp_path / "identities" / name).is_dir()


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-x", "a/b", "../x", "a\0", "ike\n", "ä", "٣", "a" * 65])
def test_a_name_that_plays_tricks_with_paths_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        IdentityStore(tmp_path, name)
    assert "letters" in caught.value.remedy


@given(st.text())
def test_a_name_that_is_accepted_is_one_part_of_a_path(name: str) -> None:
    if IDENTITY_NAME.fullmatch(name):
        path = Path("/state") / name
        assert path.parent == Path("/state")
        assert path.name == name
        assert not name.startswith(".")
