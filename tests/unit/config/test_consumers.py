"""Whether the daemon's user may reach its consumers, judged by modes and owners."""

from __future__ import annotations

import grp
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.consumers import User, check_consumers
from agent.settings import (
    AuthoritySettings,
    BootstrapSettings,
    DeployTarget,
    DirectoryTarget,
    HookTarget,
    IdentitySettings,
    Settings,
    StrongswanTarget,
)

STRANGER = User("enrolld", 4711, frozenset({4711}))
ROOT = User("root", 0, frozenset({0}))


def settings(*targets: DeployTarget) -> Settings:
    identity = IdentitySettings(authority="lab", subject="CN=enb", bootstrap=BootstrapSettings(), deploy=targets)
    return Settings(
        authorities={"lab": AuthoritySettings(urls=("http://lab.example/",), trust_anchors=())},
        identities={"ike": identity},
    )


def found(*targets: DeployTarget, user: User = STRANGER) -> list[str]:
    return [
        f"{one.key.removeprefix('identities.ike.deploy')}: {one.text}"
        for one in check_consumers(settings(*targets), user)
    ]


@pytest.fixture
def open_place() -> Iterator[Path]:
    """Give a directory that anybody may come to: those of pytest are its user's alone."""
    with tempfile.TemporaryDirectory(prefix="enrolld-consumers-", dir="/var/tmp") as name:
        (place := Path(name)).chmod(0o755)
        yield place


@given(st.integers(0, 0o777), st.sampled_from([4711, 1]), st.sampled_from([4711, 1]), st.integers(1, 7))
def test_modes_and_owners_are_read_as_the_kernel_reads_them(mode: int, owner: int, group: int, wanted: int) -> None:
    """The first class that fits decides, even where a later one would give more."""

    class Fake(type(Path())):  # type: ignore[misc]
        def stat(self, **_: object) -> os.stat_result:
            return os.stat_result((mode, 0, 0, 0, owner, group, 0, 0, 0, 0))

    granted = (mode >> 6 if owner == 4711 else mode >> 3 if group == 4711 else mode) & 7
    assert STRANGER._has(Fake("/x"), wanted) == (granted & wanted == wanted)
    assert ROOT._has(Fake("/x"), wanted)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    assert found(
        DeployTarget(strongswan=StrongswanTarget(vici=str(tmp_path / "vici"))),
        DeployTarget(directory=DirectoryTarget(path=tmp_path / "etc")),
        DeployTarget(hook=HookTarget(command=(str(tmp_path / "hook"),))),
        user=ROOT,
    ) == [
        f"[0].strongswan.vici: {tmp_path}/vici is not there",
        f"[1].directory.path: {tmp_path}/etc is not there",
        f"[2].hook.command: {tmp_path}/hook is not there",
    ]


def test_a_socket_is_for_its_group(open_place: Path) -> None:
    path = open_place / "vici"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    path.chmod(0o770)
    target = DeployTarget(strongswan=StrongswanTarget(vici=str(path)))
    assert found(target) == [f"[0].strongswan.vici: {path} is not for user enrolld"]
    assert found(target, user=User("enrolld", 4711, frozenset({os.getegid()}))) == []


def test_a_directory_above_that_is_closed_counts(open_place: Path) -> None:
    (inner := open_place / "inner").mkdir(mode=0o777)
    inner.chmod(0o777)
    target = DeployTarget(directory=DirectoryTarget(path=inner))
    assert found(target) == []
    open_place.chmod(0o700)
    assert found(target) == [f"[0].directory.path: {inner} is not for user enrolld"]


def test_a_group_of_which_the_user_is_no_member_is_named(open_place: Path) -> None:
    open_place.chmod(0o777)
    target = DeployTarget(directory=DirectoryTarget(path=open_place, group="daemon"))
    assert found(target) == ["[0].directory.group: user enrolld is no member of group daemon"]
    member = User("enrolld", 4711, frozenset({grp.getgrnam("daemon").gr_gid}))
    assert found(target, user=member) == []
    assert found(target, user=ROOT) == []


def test_a_command_must_be_executable(open_place: Path) -> None:
    (hook := open_place / "hook").write_text("#!/bin/sh\n")
    target = DeployTarget(hook=HookTarget(command=(str(hook),)))
    hook.chmod(0o644)
    assert found(target) == [f"[0].hook.command: {hook} is not for user enrolld"]
    hook.chmod(0o755)
    assert found(target) == []
