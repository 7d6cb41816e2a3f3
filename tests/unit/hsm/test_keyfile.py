from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsm import keyfile
from hsm.errors import KeyExists, KeyNotFound, KeyPermissions, KeyStoreUnwritable, KeyUnusable

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in {".", ".."}
)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def written(path: Path, data: bytes = b"key", mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_a_reference_leads_back_to_its_file(parts: list[str]) -> None:
    path = Path("/", *parts)
    reference = keyfile.reference_of(path)
    assert reference.isascii()
    assert reference.isprintable()
    assert keyfile.path_of(reference) == path


@given(st.binary(min_size=1).filter(lambda name: not {b"/"[0], 0} & set(name) and name not in {b".", b".."}))
def test_a_file_name_that_is_no_text_has_a_reference_too(name: bytes) -> None:
    path = Path("/") / os.fsdecode(name)
    assert keyfile.path_of(keyfile.reference_of(path)) == path


def test_a_relative_path_is_taken_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert keyfile.path_of(keyfile.reference_of("key.pem")) == tmp_path / "key.pem"


@pytest.mark.parametrize("reference", ["file:/etc/key.pem", "file:///etc/key.pem", "FILE://localhost/etc/key.pem"])
def test_all_forms_of_rfc_8089_are_understood(reference: str) -> None:
    assert keyfile.path_of(reference) == Path("/etc/key.pem")


@pytest.mark.parametrize(
    "reference",
    [
        "", "/etc/key.pem", "file:key.pem", "file://other.example/etc/key.pem", "file:///etc/key.pem?x", "file:///a#b",
        "file:///etc/%00", "pkcs11:object=ike", "file://[/etc", "http://localhost/etc/key.pem", "file:",
    ],
)  # fmt: skip
def test_anything_else_names_no_key_file(reference: str) -> None:
    with pytest.raises(KeyNotFound, match="does not name a key file") as caught:
        keyfile.path_of(reference)
    assert "file:///etc" in caught.value.remedy


def test_a_new_file_is_for_its_owner_alone_whatever_the_umask_is(tmp_path: Path) -> None:
    for mask in (0o000, 0o777):
        before = os.umask(mask)
        try:
            keyfile.write_new(tmp_path / f"key-{mask}", b"key")
        finally:
            os.umask(before)
        assert (tmp_path / f"key-{mask}").stat().st_mode & 0o777 == 0o600
    assert len(names(tmp_path)) == 2


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "key.pem")
    with pytest.raises(KeyExists, match="already") as caught:
        keyfile.write_new(path, b"new")
    assert caught.value.remedy
    assert path.read_bytes() == b"key"
    assert names(tmp_path) == ["key.pem"]
    with pytest.raises(KeyExists):
        keyfile.demand_free(path)
    keyfile.demand_free(tmp_path / "other.pem")


def test_a_dangling_link_is_no_free_place(tmp_path: Path) -> None:
    (tmp_path / "key.pem").symlink_to(tmp_path / "elsewhere")
    for attempt in (keyfile.demand_free, lambda path: keyfile.write_new(path, b"key")):
        with pytest.raises(KeyExists):
            attempt(tmp_path / "key.pem")
    assert not (tmp_path / "elsewhere").exists()


def test_a_write_that_is_cut_short_by_a_real_limit_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with pytest.raises(KeyStoreUnwritable, match="EFBIG") as caught:
            keyfile.write_new(tmp_path / "key.pem", bytes(8000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "file size limit" in caught.value.remedy
    assert names(tmp_path) == []


@pytest.mark.parametrize("call", ["open", "write", "fchmod", "fsync", "link", "unlink"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EPERM, errno.EXFULL])
def test_an_error_at_any_step_leaves_no_key_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    real, failures = getattr(os, call), list[str]()

    def failing(*arguments: Any, **options: Any) -> Any:
        if failures:
            return real(*arguments, **options)
        failures.append(call)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(KeyStoreUnwritable, match=errno.errorcode[code]) as caught:
        keyfile.write_new(tmp_path / "key.pem", b"key")
    assert caught.value.remedy
    assert "{" not in caught.value.remedy
    assert names(tmp_path) == []


def test_a_directory_that_cannot_be_synced_keeps_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.fsync, list[int]()

    def second_fails(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", second_fails)
    with pytest.raises(KeyStoreUnwritable, match="EIO"):
        keyfile.write_new(tmp_path / "key.pem", b"key")
    assert names(tmp_path) == []


def test_a_kernel_that_takes_little_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:2]))
    keyfile.write_new(tmp_path / "key.pem", b"0123456789")
    assert (tmp_path / "key.pem").read_bytes() == b"0123456789"
    monkeypatch.setattr(os, "write", lambda _descriptor, _data: 0)
    with pytest.raises(KeyStoreUnwritable, match="EIO"):
        keyfile.write_new(tmp_path / "other.pem", b"key")


@pytest.mark.parametrize("mode", [0o640, 0o660, 0o604, 0o620, 0o610])
def test_a_key_of_ours_that_others_may_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "my key.pem", mode=mode)
    with pytest.raises(KeyPermissions, match=f"mode {mode:04o}") as caught:
        keyfile.read(path, ours=True)
    assert f"chmod 600 '{path}'" in caught.value.remedy
    assert keyfile.read(written(path), ours=True) == b"key"


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o440])
def test_a_key_made_elsewhere_may_be_read_by_a_group(tmp_path: Path, mode: int) -> None:
    assert keyfile.read(written(tmp_path / "key.pem", mode=mode), ours=False) == b"key"


@pytest.mark.parametrize("mode", [0o644, 0o606, 0o642, 0o601])
def test_a_key_made_elsewhere_that_everybody_may_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "key.pem", mode=mode)
    with pytest.raises(KeyPermissions, match="open to everybody") as caught:
        keyfile.read(path, ours=False)
    assert f"chmod o= {path}" in caught.value.remedy
    assert "replace the key" in caught.value.remedy


def test_a_link_leads_to_a_key_made_elsewhere_and_never_to_one_of_ours(tmp_path: Path) -> None:
    written(tmp_path / "key.pem")
    (tmp_path / "link.pem").symlink_to("key.pem")
    assert keyfile.read(tmp_path / "link.pem", ours=False) == b"key"
    with pytest.raises(KeyUnusable, match="symbolic link"):
        keyfile.read(tmp_path / "link.pem", ours=True)


@pytest.mark.parametrize("ours", [True, False])
def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path, ours: bool) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(KeyUnusable, match="is not a file"):
            keyfile.read(path, ours=ours)


def test_a_file_too_large_for_a_key_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path / "key.pem", bytes(keyfile.MAXIMUM_SIZE))
    assert len(keyfile.read(path, ours=True)) == keyfile.MAXIMUM_SIZE
    written(path, bytes(keyfile.MAXIMUM_SIZE + 1))
    with pytest.raises(KeyUnusable, match="holds 65537 octets"):
        keyfile.read(path, ours=True)


@pytest.mark.parametrize("name", ["gone.pem", "gone/key.pem", "plain/key.pem"])
def test_a_missing_key_is_not_found(tmp_path: Path, name: str) -> None:
    written(tmp_path / "plain")
    with pytest.raises(KeyNotFound, match="no key at"):
        keyfile.read(tmp_path / name, ours=False)


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.EACCES, KeyPermissions), (errno.EIO, KeyUnusable), (errno.EXFULL, KeyUnusable)]
)
def test_what_the_kernel_does_not_let_us_read_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception]
) -> None:
    def failing(*_arguments: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(kind, match=errno.errorcode[code]) as caught:
        keyfile.read(tmp_path / "key.pem", ours=False)
    assert vars(caught.value)["remedy"]


def test_a_key_is_removed_once_and_for_all(tmp_path: Path) -> None:
    path = written(tmp_path / "key.pem")
    keyfile.remove(path)
    keyfile.remove(path)
    keyfile.remove(tmp_path / "gone" / "key.pem")
    assert names(tmp_path) == []


def test_a_key_that_cannot_be_removed_is_reported(tmp_path: Path) -> None:
    (tmp_path / "key.pem").mkdir()
    with pytest.raises(KeyStoreUnwritable, match="cannot remove the private key") as caught:
        keyfile.remove(tmp_path / "key.pem")
    assert caught.value.remedy
