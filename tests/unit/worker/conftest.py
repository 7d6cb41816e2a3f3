"""One lab CA for the tests of a file; each test has an identity of its own, and a CA that behaves again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.labca import LabCa, LabCaSettings, running
from tests.unit.worker.desk import SECRET, Desk, desk_at


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCa]:
    """Give a CA that answers at once."""
    place = tmp_path_factory.mktemp("lab")
    ca = LabCa(LabCaSettings(directory=place, secrets={"enb": SECRET.decode()}, durable=False))
    with running(ca):
        yield ca
    ca.close()


@pytest.fixture(scope="module")
def slow_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCa]:
    """Give a CA that lets every request wait for two polls."""
    place = tmp_path_factory.mktemp("slow-lab")
    ca = LabCa(LabCaSettings(directory=place, secrets={"enb": SECRET.decode()}, durable=False, polls=2, check_after=7))
    with running(ca):
        yield ca
    ca.close()


@pytest.fixture
def desk(lab: LabCa, tmp_path: Path) -> Iterator[Desk]:
    """Give an identity that is not enrolled yet."""
    directory = lab.settings.directory
    assert directory is not None
    yield desk_at(lab, directory / "root.pem", tmp_path / "state")
    lab.behave()


@pytest.fixture
def slow_desk(slow_lab: LabCa, tmp_path: Path) -> Iterator[Desk]:
    """Give an identity whose CA is slow."""
    directory = slow_lab.settings.directory
    assert directory is not None
    yield desk_at(slow_lab, directory / "root.pem", tmp_path / "state")
    slow_lab.behave()
