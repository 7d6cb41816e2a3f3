"""Whatever goes wrong ends in one clear message, its remedy as the last line, the right exit code, no traceback.

And the previous credential stays in place, byte for byte.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.labca import LabCa
from tests.ports import unused_port
from tests.station import ENROLLCTL, ENVIRONMENT, Finished, Station

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.fixture
def enrolled(station: Station, enrolled_state: Path) -> Iterator[Station]:
    """Give a station that has a credential."""
    shutil.copytree(enrolled_state, station.state, symlinks=True, dirs_exist_ok=True)
    before = station.credential()
    yield station
    assert station.credential() == before
    assert station.store.current is not None


@pytest.fixture(scope="module")
def enrolled_state(lab: LabCa, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the state directory of a station that has enrolled."""
    from tests.unit.cli.conftest import configured  # noqa: PLC0415 - the fixtures' file

    station = configured(Station(tmp_path_factory.mktemp("enrolled")), lab)
    done = station.run("enroll", "ike")
    assert done.code == 0, done.err
    return station.state


def refused(done: Finished, code: int, *phrases: str) -> None:
    """Demand one error with these words, a remedy, the exit code, and nothing on standard output."""
    assert done.code == code, done.err
    assert done.out == ""
    for phrase in phrases:
        assert phrase in done.problem


def again(station: Station, **options: Any) -> Finished:
    return station.run("enroll", "ike", "--again", **options)


FAULTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "html": (1, ("a web page answered",)),
    "oversize=5242880": (1, ("octets, more than the 1048576 octets we accept",)),
    "truncated": (1, ("not a well-formed CMP message",)),
    "long-length": (1, ("not a well-formed CMP message", "not in its shortest form")),
    "unprotected-error=badRequest": (1, ("not protected", "unproven")),
    "wrong-key": (1, ("certificate that is refused", "key")),
    "expired": (1, ("certificate that is refused", "expired")),
}


@pytest.mark.parametrize(("fault", "code", "phrases"), [(fault, *it) for fault, it in FAULTS.items()])
def test_an_answer_that_is_no_good(
    enrolled: Station, lab: LabCa, fault: str, code: int, phrases: tuple[str, ...]
) -> None:
    lab.misbehave(f"{fault}@ir")
    refused(again(enrolled), code, *phrases)


def test_a_wrong_secret(enrolled: Station) -> None:
    enrolled.write_secret("mistyped")
    done = again(enrolled)
    refused(done, 4)
    assert "secret" in done.remedy


def test_a_missing_secret(enrolled: Station) -> None:
    (enrolled.directory / "secret").unlink()
    done = again(enrolled)
    refused(done, 4, "the secret file", "No such file")
    assert done.remedy.startswith("Put the secret there")


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("--again",), "Start enrolld, which does it: 'systemctl start enrolld'; or write `prompt` in its place"),
        (("--start-over",), "Leave out --start-over where enrolld runs, which does the rest; or write `prompt` in"),
    ],
)
def test_a_credential_of_the_unit_where_the_command_does_it_alone(
    enrolled: Station, arguments: tuple[str, ...], remedy: str
) -> None:
    enrolled.identity["bootstrap"]["shared-secret"]["secret"] = "credential:ike-secret"
    enrolled.configure()
    done = enrolled.run("enroll", *arguments)
    assert done.code == 4
    assert (
        done.problem
        == "the secret is the systemd credential 'ike-secret', which systemd gives to the unit of enrolld alone"
    )
    assert done.remedy.startswith(remedy)


def test_a_secret_that_must_be_typed_where_nobody_is(enrolled: Station) -> None:
    enrolled.identity["bootstrap"] = {"shared-secret": {"reference": "enb-4711", "secret": "prompt"}}
    enrolled.configure()
    refused(again(enrolled), 4, "nobody can be asked here")


def test_an_unreachable_server(enrolled: Station) -> None:
    port = unused_port()
    enrolled.configure(urls=[f"http://127.0.0.1:{port}/pkix"])
    refused(again(enrolled), 1, f"127.0.0.1:{port}", "refused")


def test_an_unknown_key_in_the_configuration(enrolled: Station) -> None:
    enrolled.configure(trust_anker=["root.pem"])
    done = again(enrolled)
    refused(done, 2, "there is one mistake in the configuration")
    (mistake,) = [line for line in done.err.splitlines() if "trust-anker" in line]
    assert "enrolld.yaml:" in mistake
    assert "trust-anchors" in mistake


def test_a_missing_trust_anchor(enrolled: Station) -> None:
    enrolled.configure(trust_anchors=["gone.pem"])
    done = again(enrolled)
    refused(done, 2, "the configuration names files that cannot be used")
    assert f"there is no file {enrolled.directory / 'gone.pem'}" in done.err


def test_an_unknown_identity(enrolled: Station) -> None:
    done = enrolled.run("enroll", "ika")
    refused(done, 2, "there is no identity 'ika'")
    assert done.remedy == "The only one is ike."


def test_a_state_directory_that_is_not_there(enrolled: Station) -> None:
    enrolled.state.rename(enrolled.directory / "unmounted")
    try:
        done = again(enrolled)
        refused(done, 1, f"there is no state directory {enrolled.state}")
        assert f"install -d -m 700 {enrolled.state}" in done.remedy
        assert not enrolled.state.exists()
    finally:
        (enrolled.directory / "unmounted").rename(enrolled.state)


@pytest.mark.parametrize("place", ["identities", "identities/ike", "identities/ike/generations"])
def test_something_that_is_not_ours_in_the_place_of_a_directory(enrolled: Station, place: str) -> None:
    directory = enrolled.state / place
    kept = directory.with_name("kept")
    directory.rename(kept)
    directory.write_text("in the way")
    try:
        refused(again(enrolled), 1, str(directory))
    finally:
        directory.unlink()
        kept.rename(directory)


def may_mount() -> bool:
    """Try it: an ordinary user may where namespaces are open to him, root in a container perhaps not."""
    if shutil.which("unshare") is None:
        return False
    attempt = [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(attempt, check=False, capture_output=True, timeout=10).returncode == 0


def elsewhere(station: Station, mount: str, after: Path) -> Finished:
    """Enroll with the state on a file system of its own that ``mount`` prepares; keep in ``after`` what is left."""
    state, kept = shlex.quote(str(station.state)), shlex.quote(str(after))
    command = shlex.join([str(ENROLLCTL), "--config", str(station.config), "enroll", "ike", "--again"])
    script = f"""
cp -a {state} {kept}.before && mount -t tmpfs -o size=160k,mode=0700 none {state} && cp -a {kept}.before/. {state}
cd {state}
{mount}
{command}
code=$?
rm -f filler
cp -a {state} {kept} && exit $code
"""
    done = subprocess.run(
        [*NAMESPACE, "sh", "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60
    )
    return Finished(done.returncode, done.stdout, done.stderr)


DISKS = {
    "full": ("head -c 200000 /dev/zero >filler 2>/dev/null", "ENOSPC", "df -h"),
    "without room for the answer": ("head -c 90000 /dev/zero >filler", "ENOSPC", "df -h"),
    "read-only": ("mount -o remount,ro .", "EROFS", "Remount"),
}


LIMITS = {"no octet in any file": 0, "only small files": 3000}


@pytest.mark.parametrize("limit", LIMITS)
def test_files_that_may_not_grow(enrolled: Station, lab: LabCa, limit: str) -> None:
    """A full disk as everybody can have it."""
    issued = len(lab.record().certificates)
    refused(again(enrolled, prefix=("prlimit", f"--fsize={LIMITS[limit]}")), 1, "EFBIG")
    assert len(lab.record().certificates) == issued, "a certificate was issued and lost"


def test_disks_that_cannot_be_written(enrolled: Station, lab: LabCa, tmp_path: Path) -> None:
    issued = len(lab.record().certificates)
    for number, (mount, error, remedy) in enumerate(DISKS.values() if may_mount() else ()):
        left = tmp_path / f"left-{number}"
        done = elsewhere(enrolled, mount, left)
        refused(done, 1, error)
        assert remedy in done.remedy
        for name, octets in enrolled.credential().items():
            path = left / name
            assert (os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()) == octets
    assert len(lab.record().certificates) == issued, "a certificate was issued and lost"
