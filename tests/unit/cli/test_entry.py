"""A command that is started without some of the standard streams does its job all the same."""

from __future__ import annotations

import pytest

from tests.station import Station
from tests.unit.test_streams import without


@pytest.mark.parametrize(("streams", "code", "said"), [
    ("<&-", 0, ""), ("2>&-", 0, ""), ("<&- 2>&-", 0, ""),
    (">&-", 1, "the result cannot be written: Bad file descriptor"),
])  # fmt: skip
def test_a_command_does_its_job(station: Station, streams: str, code: int, said: str) -> None:
    command = ("agent.cli.entry", "--config", str(station.config), "enroll", "--start-over")
    with without(streams, *command) as process:
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, said in errors, "defect" in errors) == (code, True, False), errors
    assert station.current.number == 1
