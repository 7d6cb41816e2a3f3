from __future__ import annotations

import os

import pytest

from tests.system.booted import Machine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a machine")


def test_a_unit_has_nothing_in_it_of_its_namesake_in_another_machine() -> None:
    with Machine() as one, Machine() as other:
        for machine in (one, other):
            machine.write("/etc/systemd/system/namesake.service", "[Service]\nExecStart=sleep infinity\n")
            machine.systemctl("daemon-reload")
            machine.systemctl("start", "namesake")
        pid = other.shows("MainPID", "namesake")
        one.systemctl("kill", "--signal=KILL", "namesake")
        one.until(lambda: one.shows("ActiveState", "namesake") == "failed")
        assert one.shows("Result", "namesake") == "signal"
        assert (other.shows("MainPID", "namesake"), other.shows("ActiveState", "namesake")) == (pid, "active")
