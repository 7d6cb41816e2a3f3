from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from agent.errors import MachineError, SecretError
from agent.supervisor.secrets import MAXIMUM, Secrets, read_secret


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(b"top secret\n")
    path.chmod(0o600)
    return path


def refused(source: str, *, asked: str | None = None) -> SecretError:
    with pytest.raises(SecretError) as caught:
        read_secret(source, ask=None if asked is None else lambda _: asked)
    assert caught.value.remedy.endswith(".")
    assert "top secret" not in str(caught.value) + caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"top secret", b"top secret"), (b"a\r\n", b"a"), (b" kept \n", b" kept "), (b"\xff\x00\n", b"\xff\x00")],
)
def test_a_file_holds_the_secret_and_perhaps_a_line_end(secret_file: Path, content: bytes, secret: bytes) -> None:
    secret_file.write_bytes(content)
    assert read_secret(f"file:{secret_file}", ask=None) == secret


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n\r\n"])
def test_an_empty_file_is_no_secret(secret_file: Path, content: bytes) -> None:
    secret_file.write_bytes(content)
    assert "is empty" in str(refused(f"file:{secret_file}"))


def test_a_long_file_is_a_wrong_file(secret_file: Path) -> None:
    secret_file.write_bytes(b"x" * (MAXIMUM + 1))
    assert "longer than 4096 octets" in str(refused(f"file:{secret_file}"))
    secret_file.write_bytes(b"x" * MAXIMUM)
    assert len(read_secret(f"file:{secret_file}", ask=None)) == MAXIMUM


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644])
def test_a_file_that_everybody_may_read_or_write_is_refused(secret_file: Path, mode: int) -> None:
    secret_file.chmod(mode)
    error = refused(f"file:{secret_file}")
    assert "open to every user" in str(error)
    assert error.remedy.startswith(f"Run 'chmod 600 {secret_file}'")


def test_a_file_that_a_group_may_read_is_taken(secret_file: Path) -> None:
    secret_file.chmod(0o640)
    assert read_secret(f"file:{secret_file}", ask=None) == b"top secret"


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in str(refused(f"file:{tmp_path / 'gone'}"))
    assert "cannot be read: Is a directory" in str(refused(f"file:{tmp_path}"))


def test_for_one_that_may_not_be_read_the_remedy_is_permission(
    secret_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # tests may run as root, whom no mode stops
    error = refused(f"file:{secret_file}")
    assert "Permission denied" in str(error)
    assert error.remedy.startswith("Run the command with sudo; if enrolld itself says this")
    assert f"'chown {os.geteuid()} {secret_file}'" in error.remedy


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "is not a file" in str(refused(f"file:{tmp_path / 'pipe'}"))


def test_a_credential_of_systemd(secret_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secret_file.parent))
    assert read_secret("credential:secret", ask=None) == b"top secret"
    assert "cannot be read" in str(refused("credential:another"))


def test_a_credential_without_systemd_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "LoadCredential=ike-secret:" in refused("credential:ike-secret").remedy


def test_a_person_is_asked_where_there_is_one() -> None:
    assert read_secret("prompt", ask=lambda _: "geheim-ü") == "geheim-ü".encode()
    assert "nobody can be asked" in str(refused("prompt"))
    assert str(refused("prompt", asked="")) == "there is no secret: the answer is empty"


def test_what_is_secret_does_not_show_where_it_is_printed() -> None:
    assert "geheim" not in repr(Secrets(b"geheim", {"hsm": b"geheim"}))


def test_a_process_that_may_open_no_more_files_says_nothing_about_the_secret(secret_file: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(MachineError, match=r"cannot be read: Too many open files") as caught:
            read_secret(f"file:{secret_file}", ask=None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "LimitNOFILE=" in caught.value.remedy
    assert not isinstance(caught.value, SecretError)


@pytest.mark.parametrize("code", [errno.ENFILE, errno.ENOMEM, errno.EIO])
def test_a_machine_that_does_not_let_us_look_says_nothing_about_the_secret(
    secret_file: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(MachineError) as caught:
        read_secret(f"file:{secret_file}", ask=None)
    assert caught.value.remedy.endswith(".")
