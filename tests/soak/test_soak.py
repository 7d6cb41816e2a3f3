from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.soak.soak import Plan, Soak


def test_for_a_minute_of_kills_and_faults_nothing_is_lost_and_nothing_grows(tmp_path: Path) -> None:
    # Other tests run beside this one: a certificate must live long enough to be renewed by a machine that is busy.
    plan = Plan(seconds=60, identities=10, life=timedelta(seconds=45))
    report = Soak(tmp_path, plan).run()
    assert report.unknown == []
    assert report.unused == []
    assert report.disagreeing == []
    assert report.certificates >= 2 * plan.identities
    assert report.faults["daemon killed"] == plan.daemon_kills
    assert report.faults["worker killed"]
    assert report.growth < 1024, report
    assert max(report.descriptors) - min(report.descriptors) <= 8 * plan.workers + 4, report
