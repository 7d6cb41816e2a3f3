"""Files for a consumer: with the names, mode and owner it wants, switched together, untouched when nothing changed."""

from __future__ import annotations

import os
import resource
import socket
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.deploy.directory import Directory
from agent.deploy.material import certificates_pem
from agent.errors import ConsumerRefused, ConsumerUnavailable
from agent.settings import DirectoryTarget, FileNames, Layout, Switching
from agent.store import atomic
from tests.unit.deploy.materials import change, hands, material

EACH_WAY = pytest.mark.parametrize("switching", Switching)


def target(path: Path, **settings: object) -> Directory:
    return Directory(DirectoryTarget(path=path, **settings), hands())  # type: ignore[arg-type]


def shown(path: Path) -> dict[str, bytes]:
    """What a consumer sees: every name that is not hidden, with its content."""
    return {
        str(one.relative_to(path)): one.read_bytes()
        for one in sorted(path.rglob("*"))
        if one.is_file() and not any(part.startswith(".") for part in one.relative_to(path).parts)
    }


def inodes(path: Path) -> dict[str, tuple[int, int]]:
    return {str(one): (one.lstat().st_ino, one.lstat().st_mtime_ns) for one in sorted(path.rglob("*"))}


@EACH_WAY
def test_a_consumer_finds_key_certificate_chain_and_roots(tmp_path: Path, switching: Switching) -> None:
    target(tmp_path, switching=switching).deploy(change())
    one = material()
    assert shown(tmp_path) == {
        "certificate.pem": certificates_pem(one.certificate),
        "chain.pem": certificates_pem(*one.chain),
        "full-chain.pem": certificates_pem(one.certificate, *one.chain),
        "private-key.pem": one.private_key,
        "trust-anchors.pem": certificates_pem(*one.trust_anchors),
    }


@EACH_WAY
def test_what_is_as_it_should_be_is_not_touched(tmp_path: Path, switching: Switching) -> None:
    directory = target(tmp_path, switching=switching)
    directory.deploy(change())
    before = inodes(tmp_path)
    assert directory.live(material())
    assert "as they should be" in directory.deploy(change())
    assert inodes(tmp_path) == before


@EACH_WAY
@pytest.mark.parametrize("harm", [
    lambda path: path.unlink(),
    lambda path: path.chmod(0o600),
    lambda path: path.write_bytes(b"other"),
], ids=["removed", "another mode", "another content"])  # fmt: skip
def test_a_file_that_somebody_changed_is_noticed_and_set_right(
    tmp_path: Path, switching: Switching, harm: Callable[[Path], None]
) -> None:
    directory = target(tmp_path, switching=switching)
    directory.deploy(change())
    wanted = shown(tmp_path)
    harm(tmp_path / "certificate.pem")
    assert not directory.live(material())
    directory.deploy(change())
    assert shown(tmp_path) == wanted


def test_files_that_were_there_before_are_replaced_by_links(tmp_path: Path) -> None:
    (tmp_path / "certificate.pem").write_text("made by hand")
    target(tmp_path).deploy(change())
    assert (tmp_path / "certificate.pem").is_symlink()
    assert shown(tmp_path)["certificate.pem"] == certificates_pem(material().certificate)


@EACH_WAY
@pytest.mark.parametrize("mode", ["0600", "0640", "0440"])
def test_files_have_the_mode_wanted_whatever_the_umask(tmp_path: Path, switching: Switching, mode: str) -> None:
    before = os.umask(0o077)
    try:
        target(tmp_path, mode=mode, switching=switching).deploy(change())
    finally:
        os.umask(before)
    for name in shown(tmp_path):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == int(mode, 8)


def test_whoever_may_read_the_files_may_enter_their_directory_and_nobody_else(tmp_path: Path) -> None:
    target(tmp_path, mode="0640", group=str(os.getgid())).deploy(change())
    home = tmp_path / (tmp_path / ".current").readlink()
    assert stat.S_IMODE(home.stat().st_mode) & 0o777 == 0o750
    assert home.stat().st_gid == os.getgid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@EACH_WAY
def test_owner_and_group_are_set_and_watched(tmp_path: Path, switching: Switching) -> None:
    directory = target(tmp_path, owner="nobody", group="daemon", switching=switching)
    directory.deploy(change())
    status = (tmp_path / "private-key.pem").stat()
    assert (status.st_uid, status.st_gid) == (65534, 1)
    os.chown(tmp_path / "private-key.pem", 0, 0)
    assert not directory.live(material())


def test_only_the_present_files_are_kept(tmp_path: Path) -> None:
    directory = target(tmp_path)
    (tmp_path / "README").write_text("not ours")
    (tmp_path / "..000001.deadbeef.0123456789abcdef.tmp").mkdir()
    for number in range(1, 5):
        directory.deploy(change(number, previous=number - 1 or None))
    hidden = [one.name for one in tmp_path.iterdir() if one.name.startswith(".")]
    assert sorted(hidden) == sorted([".current", str((tmp_path / ".current").readlink())])
    assert (tmp_path / "README").read_text() == "not ours"


@EACH_WAY
def test_a_file_that_only_the_old_credential_had_goes(tmp_path: Path, switching: Switching) -> None:
    directory = target(tmp_path, switching=switching)
    directory.deploy(change(1))
    bare = replace(change(2, previous=1), new=material(2, chain=0))
    directory.deploy(bare)
    assert "chain.pem" not in shown(tmp_path)
    assert not (tmp_path / "chain.pem").is_symlink()


@EACH_WAY
def test_swanctl_gets_one_certificate_a_file_in_its_own_folders(tmp_path: Path, switching: Switching) -> None:
    target(tmp_path, layout=Layout.SWANCTL, switching=switching).deploy(replace(change(), new=material(chain=2)))
    assert list(shown(tmp_path)) == [
        "private/ike.pem", "x509/ike.pem", "x509ca/ike-chain-2.pem", "x509ca/ike-chain.pem", "x509ca/ike-root.pem",
    ]  # fmt: skip
    for name, content in shown(tmp_path).items():
        if name.startswith("x509"):
            assert content.count(b"BEGIN CERTIFICATE") == 1


def test_a_bundle_is_key_certificate_and_chain_in_this_order(tmp_path: Path) -> None:
    target(tmp_path, layout=Layout.BUNDLE, names=FileNames(bundle="server.pem")).deploy(change())
    one = material()
    assert one.private_key is not None
    assert shown(tmp_path)["server.pem"] == one.private_key + certificates_pem(one.certificate, *one.chain)


def test_names_may_lead_into_folders(tmp_path: Path) -> None:
    names = FileNames(full_chain="certs/tls.crt", private_key="private/tls.key")
    target(tmp_path, names=names).deploy(change())
    assert {"certs/tls.crt", "private/tls.key"} <= shown(tmp_path).keys()


@EACH_WAY
def test_pkcs12_opens_with_the_password_and_is_not_written_again_while_it_fits(
    tmp_path: Path, switching: Switching
) -> None:
    directory = target(tmp_path, layout=Layout.PKCS12, password="credential:p12", switching=switching)
    directory.deploy(change())
    before = inodes(tmp_path)
    key, certificate, others = pkcs12.load_key_and_certificates((tmp_path / "credential.p12").read_bytes(), b"geheim")
    assert certificate is not None
    assert certificate.public_bytes(serialization.Encoding.DER) == material().certificate
    assert key is not None
    assert len(others) == 2
    directory.deploy(change())
    assert inodes(tmp_path) == before
    directory.deploy(change(2, previous=1))
    assert inodes(tmp_path) != before


def test_the_key_of_a_token_does_not_become_a_file(tmp_path: Path) -> None:
    target(tmp_path).deploy(replace(change(), new=material(token=True)))
    assert "private-key.pem" not in shown(tmp_path)
    with pytest.raises(ConsumerRefused, match="on a token"):
        target(tmp_path, layout=Layout.PKCS12, password="credential:p12").deploy(
            replace(change(), new=material(token=True))
        )


def test_a_directory_that_is_missing_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ConsumerUnavailable, match="no directory") as caught:
        target(tmp_path / "etc" / "ike").deploy(change())
    assert "install -d -m 2770" in caught.value.remedy


def test_a_group_that_is_unknown_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConsumerUnavailable, match="no group nonesuch"):
        target(tmp_path, group="nonesuch").deploy(change())


def test_a_disk_that_fails_in_the_middle_leaves_the_old_credential_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = target(tmp_path)
    directory.deploy(change(1))
    before = shown(tmp_path)
    write, room = atomic.write_file, [2]

    def full(path: Path, *rest: object, **more: object) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(28, "No space left on device", str(path))
        write(path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(atomic, "write_file", full)
    with pytest.raises(ConsumerUnavailable, match="No space left"):
        directory.deploy(change(2, previous=1))
    assert shown(tmp_path) == before
    monkeypatch.undo()
    directory.deploy(change(2, previous=1))
    assert directory.live(material(2))


def test_a_disk_with_room_for_the_key_and_not_for_the_certificate_leaves_the_old_files(tmp_path: Path) -> None:
    directory = target(tmp_path, switching=Switching.FILES)
    directory.deploy(change(1))
    before = shown(tmp_path)
    key, certificate = material(2).private_key, certificates_pem(material(2).certificate)
    assert key is not None
    assert len(key) < len(certificate)
    room, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(key), hard))
    try:
        with pytest.raises(ConsumerUnavailable, match="EFBIG"):
            directory.deploy(change(2, previous=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    assert shown(tmp_path) == before
    assert [one.name for one in tmp_path.iterdir() if one.name.endswith(".tmp")] == []


@pytest.mark.parametrize("failing", ["private-key.pem", "full-chain.pem", "certificate.pem"])
def test_a_rename_that_is_refused_in_the_middle_brings_the_old_files_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    directory = target(tmp_path, switching=Switching.FILES)
    directory.deploy(change(1))
    before = shown(tmp_path)
    replace_, refusals = os.replace, [1]

    def refuse(source: Path, place: Path) -> None:
        if place.name == failing and refusals.pop():
            refusals.append(0)
            raise OSError(1, "Operation not permitted", str(place))
        replace_(source, place)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ConsumerUnavailable, match="not permitted"):
        directory.deploy(change(2, previous=1))
    assert shown(tmp_path) == before


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


@EACH_WAY
@pytest.mark.parametrize(
    "plant",
    [
        os.mkfifo,
        _socket,
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40),
    ],
    ids=["a pipe", "a socket", "a circle", "a device", "a terabyte"],
)
def test_what_a_consumer_leaves_in_the_place_of_a_file_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switching: Switching, plant: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    directory = target(tmp_path, switching=switching)
    directory.deploy(change())
    wanted = shown(tmp_path)
    place = tmp_path / (".current" if switching is Switching.LINK else ".") / "certificate.pem"
    place.unlink()
    plant(place)
    assert not directory.live(material())
    directory.deploy(change())
    assert shown(tmp_path) == wanted


def test_a_bundle_of_pkcs12_that_grew_without_end_is_not_read(tmp_path: Path) -> None:
    directory = target(tmp_path, layout=Layout.PKCS12, password="file:x", switching=Switching.FILES)
    directory.deploy(change())
    os.truncate(tmp_path / "credential.p12", 1 << 40)
    assert not directory.live(material())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@EACH_WAY
def test_a_folder_that_a_consumer_made_a_link_is_refused_and_one_of_roots_is_followed(
    tmp_path: Path, switching: Switching
) -> None:
    own, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    own.mkdir()
    elsewhere.mkdir()
    (own / "certs").symlink_to(elsewhere)
    directory = target(own, names=FileNames(certificate="certs/tls.crt"), switching=switching)
    os.lchown(own / "certs", 12345, 12345)
    with pytest.raises(ConsumerUnavailable, match="certs is a link that user 12345 has put there"):
        directory.deploy(change())
    assert list(elsewhere.iterdir()) == []
    assert [one.name for one in own.iterdir()] == ["certs"]
    if switching is Switching.FILES:  # links into `.current` work below the directory only
        os.lchown(own / "certs", 0, 0)
        directory.deploy(change())
        assert [one.name for one in elsewhere.iterdir()] == ["tls.crt"]


def test_a_reader_through_the_link_never_sees_a_mixture(tmp_path: Path) -> None:
    directory = target(tmp_path)
    directory.deploy(change(1))
    wanted = {certificates_pem(material(one).certificate): material(one).private_key for one in (1, 2)}
    mixed: list[str] = []
    seen = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            home = os.open(tmp_path / ".current", os.O_RDONLY | os.O_DIRECTORY)
            try:
                certificate, key = (
                    Path(f"/proc/self/fd/{home}/{name}").read_bytes() for name in ("certificate.pem", "private-key.pem")
                )
            except FileNotFoundError:
                continue  # it was replaced and removed after it was opened: open again
            finally:
                os.close(home)
            seen.add(certificate)
            if wanted[certificate] != key:
                mixed.append("mixed")

    reader = threading.Thread(target=read)
    reader.start()
    for number in [2, 1] * 15:
        directory.deploy(change(number, previous=3 - number))
    stop.set()
    reader.join()
    assert not mixed
    assert len(seen) == 2


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(Switching), st.sampled_from([0, 1, 2])), max_size=6))
def test_whatever_came_before_the_last_deployment_is_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, Switching, int]]
) -> None:
    """Settings may change between two deployments, chains may grow and shrink: no file of before is left."""
    path = tmp_path_factory.mktemp("files")
    before = None
    for number, switching, chain in [*steps, (1, Switching.LINK, 1)]:
        new = material(number, chain=chain)
        target(path, switching=switching).deploy(replace(change(number), new=new, previous=before))
        assert shown(path)["private-key.pem"] == new.private_key
        assert ("chain.pem" in shown(path)) == bool(chain)
        assert x509.load_pem_x509_certificates(shown(path)["full-chain.pem"])[1:] == (
            x509.load_pem_x509_certificates(shown(path)["chain.pem"]) if chain else []
        )
        before = new
