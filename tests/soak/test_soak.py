from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

from tests.soak.document import ABOUT, DOCUMENT
from tests.soak.plan import Plan, Report
from tests.soak.soak import Soak


def test_for_a_minute_of_kills_and_faults_nothing_is_lost_and_nothing_grows(tmp_path: Path) -> None:
    # Other tests run beside this one: how many identities there are is measured first.
    plan = Plan(seconds=60)
    report = Soak(tmp_path, plan).run()
    assert report.complaints() == [], report
    assert report.faults["daemon killed"] == plan.daemon_kills
    assert report.faults["CA restarted"] == 1
    assert report.faults["worker killed"]


def test_a_machine_that_is_slow_or_busy_gets_fewer_identities_and_a_fast_one_no_more_than_asked() -> None:
    plan = Plan(seconds=60, identities=50, life=timedelta(seconds=20))
    needed = plan.pace
    assert plan.fitted(4 * needed).identities == 50
    assert plan.fitted(needed).identities == 35
    assert plan.fitted(needed / 1000).identities == 4


def test_what_a_soak_must_not_see_is_complained_of() -> None:
    report = Report(plan=Plan(seconds=60), rate=1.0, certificates=100)
    report.memory, report.descriptors = [9000] * 40, [8] * 40
    assert report.complaints() == []
    report.memory = list(range(9000, 9000 + 40 * 100, 100))
    report.descriptors = report.beside = list(range(40))
    report.unknown, report.unused, report.disagreeing, report.unnoticed = ["a"], ["b"], ["c"], ["d"]
    report.certificates = 60
    assert len(report.complaints()) == 8


def test_the_document_tells_what_is_done_and_a_run_in_which_nothing_was_wrong() -> None:
    text = DOCUMENT.read_text()
    assert text.startswith(ABOUT), "write it anew: make soak"
    assert "600 s: certificates confirmed" in text
    assert "unknown to the CA 0, unknown to the agent 0, disagreeing at the end 0" in text
    assert "unnoticed 0" in text


def test_the_soak_of_the_makefile_takes_ten_minutes_unless_told_otherwise() -> None:
    def seconds(*given: str) -> str:
        return subprocess.check_output(
            ["make", "--no-print-directory", "--dry-run", "soak", *given], cwd=DOCUMENT.parents[1], text=True
        ).split()[-1]

    assert seconds() == "600"
    assert seconds("TIME=60") == "60"
