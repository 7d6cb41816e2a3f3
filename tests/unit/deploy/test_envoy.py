"""The example for Envoy fits the example for enrolld, and the directory changes in the way that Envoy watches for."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from agent import config
from agent.deploy.directory import Directory
from agent.deploy.material import certificates_pem
from agent.settings import DirectoryTarget
from tests.unit.deploy.materials import change, hands, material

EXAMPLES: Final = Path(__file__).parents[3] / "config/examples"
_MOVED_TO: Final = 0x80
_HEADER: Final = struct.Struct("iIII")


@pytest.fixture
def target() -> DirectoryTarget:
    """What enrolld is told in the example."""
    (one,) = config.load(EXAMPLES / "vnf.yaml").identities["sbi"].deploy
    assert one.directory is not None
    return one.directory


def secrets() -> dict[str, dict[str, Any]]:
    """Envoy's secrets by their names."""
    document = yaml.safe_load((EXAMPLES / "envoy/sds.yaml").read_text())
    found = {one.pop("name"): one for one in document["resources"]}
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    assert {one.pop("@type") for one in found.values()} == {kind}
    return found


def test_envoy_reads_the_files_that_enrolld_writes_and_watches_their_directory(target: DirectoryTarget) -> None:
    path = str(target.path)
    assert secrets() == {
        "sbi": {
            "tls_certificate": {
                "certificate_chain": {"filename": f"{path}/{target.names.full_chain}"},
                "private_key": {"filename": f"{path}/{target.names.private_key}"},
                "watched_directory": {"path": path},
            }
        },
        "operator": {
            "validation_context": {
                "trusted_ca": {"filename": f"{path}/{target.names.trust_anchors}"},
                "watched_directory": {"path": path},
            }
        },
    }


def test_the_listener_takes_its_secrets_by_these_names() -> None:
    bootstrap = yaml.safe_load((EXAMPLES / "envoy/envoy.yaml").read_text())
    (listener,) = bootstrap["static_resources"]["listeners"]
    (chain,) = listener["filter_chains"]
    context = chain["transport_socket"]["typed_config"]["common_tls_context"]
    taken = [*context["tls_certificate_sds_secret_configs"], context["validation_context_sds_secret_config"]]
    assert {one["name"] for one in taken} == secrets().keys()
    assert all(one["sds_config"]["path_config_source"]["path"].endswith("/sds.yaml") for one in taken)
    clusters = {one["name"] for one in bootstrap["static_resources"]["clusters"]}
    assert {one["typed_config"]["cluster"] for one in chain["filters"]} == clusters


@contextmanager
def watched(path: Path) -> Iterator[list[str]]:
    """Give the names that were moved into a directory during the block, in their order, after it."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert descriptor >= 0
    moved: list[str] = []
    try:
        assert libc.inotify_add_watch(descriptor, os.fsencode(path), _MOVED_TO) >= 0
        yield moved
        octets = os.read(descriptor, 65_536)
        while octets:
            *_, length = _HEADER.unpack_from(octets)
            moved.append(octets[_HEADER.size : _HEADER.size + length].rstrip(b"\0").decode())
            octets = octets[_HEADER.size + length :]
    finally:
        os.close(descriptor)


def test_a_move_in_the_directory_tells_envoy_of_every_switch_and_of_nothing_else(
    target: DirectoryTarget, tmp_path: Path
) -> None:
    """Envoy reads again at each move into the directory; after that of ``.current`` only what is hidden is tidied."""
    one = Directory(replace(target, path=tmp_path, group=None), hands())
    one.deploy(change(1))
    with watched(tmp_path) as moved:
        one.deploy(change(2, previous=1))
    assert all(name.startswith("..") for name in moved[moved.index(".current") + 1 :])
    new = material(2)
    assert target.names.full_chain is not None
    assert (tmp_path / target.names.full_chain).read_bytes() == certificates_pem(new.certificate, *new.chain)
    with pytest.raises(BlockingIOError), watched(tmp_path):  # nothing is moved without cause
        one.deploy(change(2, previous=1))
