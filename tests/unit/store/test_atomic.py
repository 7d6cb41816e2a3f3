from __future__ import annotations

import os
import resource
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.errors import StateCorrupt, StateError
from agent.store import atomic
from tests.unit.store.samples import left_overs


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def limited(what: int, limit: int) -> Iterator[None]:
    """Let the kernel itself refuse: a limit of this process, which no privilege overrides."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic.write_file(path, b"old")
    atomic.write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_the_umask_does_not_change_the_mode(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        atomic.write_file(tmp_path / "private", b"")
        atomic.write_file(tmp_path / "shared", b"", 0o640)
    assert mode(tmp_path / "private") == 0o600
    assert mode(tmp_path / "shared") == 0o640


def test_owner_and_group_are_set_before_the_file_has_its_name(tmp_path: Path) -> None:
    atomic.write_file(tmp_path / "file", b"", 0o640, owner=os.getuid(), group=os.getgid())
    status = (tmp_path / "file").stat()
    assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"untouched")
    (tmp_path / "file").symlink_to("target")
    atomic.write_file(tmp_path / "file", b"new")
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"untouched"


def test_a_kernel_that_takes_little_at_a_time_is_given_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    atomic.write_file(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_a_kernel_that_takes_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda _descriptor, _data: 0)
    with pytest.raises(StateError, match="EIO"):
        atomic.write_file(tmp_path / "file", b"data")


def test_a_write_that_is_cut_short_by_a_real_limit_leaves_the_old_file(tmp_path: Path) -> None:
    """The kernel writes the first 4000 octets and refuses the next."""
    path = tmp_path / "file"
    atomic.write_file(path, b"old")
    with limited(resource.RLIMIT_FSIZE, 4000), pytest.raises(StateError, match="EFBIG") as caught:
        atomic.write_file(path, bytes(10_000))
    assert "file size limit" in caught.value.remedy
    assert path.read_bytes() == b"old"
    assert left_overs(tmp_path) == []


def test_a_directory_that_is_cut_short_by_a_real_limit_never_appears(tmp_path: Path) -> None:
    with limited(resource.RLIMIT_FSIZE, 4000), pytest.raises(StateError, match="EFBIG"):
        atomic.write_directory(tmp_path / "new", {"small": b"data", "large": bytes(10_000)})
    assert os.listdir(tmp_path) == []


def test_a_process_out_of_descriptors_is_told_so(tmp_path: Path) -> None:
    free = os.dup(0)
    os.close(free)
    with limited(resource.RLIMIT_NOFILE, free), pytest.raises(StateError, match="EMFILE") as caught:
        atomic.write_file(tmp_path / "file", b"data")
    assert "LimitNOFILE" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("gone/file", "ENOENT"),
        ("plain/file", "ENOTDIR"),
        ("directory", "EISDIR"),
        ("loop/file", "ELOOP"),
        ("n" * 300, "ENAMETOOLONG"),
    ],
)
@pytest.mark.parametrize(
    "change",
    [
        lambda path: atomic.write_file(path, b"data"),
        lambda path: atomic.switch_link(path, "target"),
    ],
    ids=["write_file", "switch_link"],
)
def test_a_place_that_is_none_is_named_with_a_remedy(
    tmp_path: Path, change: Callable[[Path], None], name: str, code: str
) -> None:
    (tmp_path / "plain").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StateError, match=code) as caught:
        change(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert caught.value.remedy
    assert left_overs(tmp_path) == []


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_file(tmp_path / "file", b"data")
    with pytest.raises(KeyboardInterrupt):
        atomic.write_directory(tmp_path / "new", {"file": b"data"})
    assert os.listdir(tmp_path) == []


def test_a_directory_appears_with_all_its_files(tmp_path: Path) -> None:
    atomic.write_directory(tmp_path / "new", {"a": b"1", "b": b"2"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == {"a": b"1", "b": b"2"}
    assert mode(tmp_path / "new") == 0o700
    assert mode(tmp_path / "new" / "a") == 0o600


def test_a_directory_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    atomic.write_directory(tmp_path / "new", {"a": b"old"})
    with pytest.raises(StateError, match="ENOTEMPTY"):
        atomic.write_directory(tmp_path / "new", {"a": b"new"})
    assert (tmp_path / "new" / "a").read_bytes() == b"old"
    assert left_overs(tmp_path) == []


def test_a_link_is_made_and_switched(tmp_path: Path) -> None:
    atomic.switch_link(tmp_path / "current", "generations/000001")
    atomic.switch_link(tmp_path / "current", "generations/000002")
    assert os.readlink(tmp_path / "current") == "generations/000002"
    assert os.listdir(tmp_path) == ["current"]


def test_a_directory_is_made_once(tmp_path: Path) -> None:
    atomic.make_directory(tmp_path / "new")
    assert mode(tmp_path / "new") == 0o700
    (tmp_path / "new").chmod(0o750)
    atomic.make_directory(tmp_path / "new")
    assert mode(tmp_path / "new") == 0o750


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_or_link_in_the_place_of_a_directory_is_reported(tmp_path: Path, kind: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("elsewhere")
    with pytest.raises(StateError, match="EEXIST") as caught:
        atomic.make_directory(tmp_path / kind)
    assert "not ours" in caught.value.remedy


def test_the_names_of_a_directory_are_synced_or_it_is_said_why_not(tmp_path: Path) -> None:
    atomic.fsync_directory(tmp_path)
    with pytest.raises(StateError, match=r"cannot sync .*ENOENT"):
        atomic.fsync_directory(tmp_path / "gone")


def test_a_file_is_read_to_its_end_whatever_size_it_says_it_has() -> None:
    path = Path("/proc/self/limits")
    assert path.stat().st_size == 0
    assert atomic.read_bounded(path).endswith(path.read_bytes()[-20:])


def test_reading_stops_at_the_cap(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert atomic.read_bounded(tmp_path / "file", 5) == b"12345"
    with pytest.raises(StateCorrupt, match="more than 4 octets"):
        atomic.read_bounded(tmp_path / "file", 4)


def test_reading_neither_follows_links_nor_waits_for_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"secret")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StateError, match="ELOOP"):
        atomic.read_bounded(tmp_path / "link")
    for name in ("pipe", "."):
        with pytest.raises(StateCorrupt, match="not a file"):
            atomic.read_bounded(tmp_path / name)


def test_a_missing_file_is_an_error_or_none(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="ENOENT"):
        atomic.read_bounded(tmp_path / "file")
    assert atomic.read_if_present(tmp_path / "file") is None
    assert atomic.read_if_present(tmp_path / "gone" / "file") is None
    (tmp_path / "file").write_bytes(b"data")
    assert atomic.read_if_present(tmp_path / "file") == b"data"


def test_a_tree_is_removed_and_what_its_links_point_to_is_not(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"")
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "file").write_bytes(b"")
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "kept")
    atomic.remove_tree(tmp_path / "tree")
    atomic.remove_tree(tmp_path / "tree")
    assert os.listdir(tmp_path) == ["kept"]
    assert os.listdir(tmp_path / "kept") == ["file"]


def test_a_sweep_removes_temporary_names_and_nothing_else(tmp_path: Path) -> None:
    names = {"file", ".hidden", "name.tmp"}
    for name in names:
        (tmp_path / name).write_bytes(b"")
    atomic.temporary_name(tmp_path / "file").write_bytes(b"")
    atomic.temporary_name(tmp_path / "000001").mkdir()
    atomic.temporary_name(tmp_path / "current").symlink_to("file")
    assert len(atomic.sweep(tmp_path)) == 3
    assert set(os.listdir(tmp_path)) == names
    assert atomic.sweep(tmp_path) == ()


def test_a_sweep_leaves_alone_what_somebody_is_writing(tmp_path: Path) -> None:
    with atomic.sweeping_held_off(tmp_path), atomic.sweeping_held_off(tmp_path):
        temporary = atomic.temporary_name(tmp_path / "state.json")
        temporary.write_bytes(b"")
        assert atomic.sweep(tmp_path) == ()
        assert temporary.exists()
    assert atomic.sweep(tmp_path) == (temporary.name,)


def test_a_directory_that_vanished_can_neither_be_swept_nor_held(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="ENOENT"):
        atomic.sweep(tmp_path / "gone")
    with pytest.raises(StateError, match="ENOENT"), atomic.sweeping_held_off(tmp_path / "gone"):
        pass


def test_temporary_names_cannot_be_guessed(tmp_path: Path) -> None:
    names = {atomic.temporary_name(tmp_path / "file").name for _ in range(100)}
    assert len(names) == 100
    assert all(atomic.is_temporary(name) for name in names)


@pytest.mark.parametrize("swapped", ["", "inner"])
def test_a_directory_that_becomes_a_link_while_it_is_removed_leads_nowhere(tmp_path: Path, swapped: str) -> None:
    precious, tree = tmp_path / "precious", tmp_path / "tree"
    precious.mkdir()
    (precious / "key").write_bytes(b"key")
    (tree / "inner").mkdir(parents=True)
    (tree / "inner/file").write_bytes(b"")
    swap = [True]

    def attack(event: str, arguments: tuple[object, ...]) -> None:
        """Swap it in the last moment: when the names in it are about to be read."""
        if event != "os.listdir" or not swap:
            return
        (doomed,) = tmp_path.glob(".tree.*")
        path = (
            str(arguments[0]) if isinstance(arguments[0], str | Path) else os.readlink(f"/proc/self/fd/{arguments[0]}")
        )
        if Path(path) == doomed / swapped:
            swap.clear()
            (doomed / swapped).rename(tmp_path / "aside")
            (doomed / swapped).symlink_to(precious)

    sys.addaudithook(attack)
    try:
        with pytest.raises(StateError, match="tree"):
            atomic.remove_tree(tree)
        assert not swap
    finally:
        swap.clear()
    assert (precious / "key").read_bytes() == b"key"
