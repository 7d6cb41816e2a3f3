"""What we print for Prometheus is what its own tool accepts, and what the alerts in config/monitoring/ ask for."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from agent.metrics import METRICS, text
from agent.overview import Consumer, Overview
from tests.station import Station

FOLDER = Path(__file__).parents[3] / "config" / "monitoring"
RULES = FOLDER / "enrolld.rules.yml"


def promtool(*arguments: str | Path, given: str | None = None) -> str:
    done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_alerts_come_when_they_should_and_not_before() -> None:
    assert "SUCCESS" in promtool("test", "rules", FOLDER / "enrolld.test.yml")
    assert "SUCCESS" in promtool("check", "rules", RULES)


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    tests = yaml.safe_load((FOLDER / "enrolld.test.yml").read_text())["tests"]
    fired = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one["exp_alerts"]}
    assert {rule["alert"] for rule in rules} == fired
    assert all(rule["annotations"]["description"] and rule["labels"]["severity"] for rule in rules)


def test_the_alerts_ask_for_figures_that_we_print() -> None:
    asked = set(re.findall(r"\benrolld_[a-z_]+", RULES.read_text()))
    assert asked <= {metric.name for metric in METRICS}


def test_the_figures_are_what_prometheus_reads(station: Station) -> None:
    assert station.run("enroll").code == 0
    done = station.run("status", "--prometheus")
    assert done.code == 0
    assert promtool("check", "metrics", given=done.out) == ""
    assert 'enrolld_ready{identity="ike"} 1' in done.out
    assert 'enrolld_state{identity="ike",state="valid"} 1' in done.out


def test_what_is_not_known_is_left_out_and_odd_names_are_escaped() -> None:
    shown = text([
        Overview(name='a"b\\c', state="unenrolled"),
        Overview(name="om", state="deploying", usable=True, consumers=(Consumer(target="x", error="no"),)),
    ])  # fmt: skip
    assert "not_after_timestamp_seconds{" not in shown
    assert r'enrolld_ready{identity="a\"b\\c"} 0' in shown
    assert 'enrolld_consumers_lacking{identity="om"} 1' in shown
    assert promtool("check", "metrics", given=shown) == ""
