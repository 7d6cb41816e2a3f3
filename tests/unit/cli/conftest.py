"""A lab CA for the commands, and a station that is configured for it.

Each file has a CA of its own: what the tests of another left waiting there would be counted here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.labca import LabCa, LabCaSettings, running
from tests.bare import Bare
from tests.station import REFERENCE, SECRET, Station


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCa]:
    """Give a CA that answers at once."""
    place = tmp_path_factory.mktemp("lab")
    ca = LabCa(LabCaSettings(directory=place, secrets={REFERENCE: SECRET}, durable=False))
    with running(ca):
        yield ca
    ca.close()


@pytest.fixture(scope="module")
def slow_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCa]:
    """Give a CA whose requests wait until a person approves them."""
    place = tmp_path_factory.mktemp("slow-lab")
    ca = LabCa(LabCaSettings(directory=place, secrets={REFERENCE: SECRET}, durable=False, manual_approval=True))
    with running(ca):
        yield ca
    ca.close()


@pytest.fixture
def station(lab: LabCa, tmp_path: Path) -> Iterator[Station]:
    """Give a station whose CA answers at once."""
    yield configured(Station(tmp_path), lab)
    lab.behave()


@pytest.fixture
def slow_station(slow_lab: LabCa, tmp_path: Path) -> Iterator[Station]:
    """Give a station whose CA waits for a person; it asks again every second."""
    slow_lab.approve()  # what other tests left waiting
    station = configured(Station(tmp_path), slow_lab)
    station.configure(polling={"minimum": "1s", "maximum": "1s"})
    yield station
    slow_lab.behave()


def configured(station: Station, ca: LabCa) -> Station:
    """Let ``station`` know ``ca``."""
    directory = ca.settings.directory
    assert directory is not None
    station.configure(urls=[ca.url], trust_anchors=[str(directory / "root.pem")])
    return station


@pytest.fixture
def bare(lab: LabCa, tmp_path: Path) -> Iterator[Bare]:
    (tmp_path / "state").mkdir(mode=0o700)
    yield Bare(tmp_path, lab.url)
    lab.behave()
