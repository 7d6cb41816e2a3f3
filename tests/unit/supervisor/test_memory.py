"""A worker that may not have the memory it needs says so, and what to change."""

from __future__ import annotations

import time
from pathlib import Path

from agent.contract import Action, Job, Outcome, Verdict
from agent.settings import AuthoritySettings, BootstrapSettings, IdentitySettings, SharedSecretSettings
from agent.supervisor.children import Child
from agent.supervisor.secrets import Secrets

MEBIBYTE = 1 << 20


def outcome_within(address_space: int, state: Path) -> Outcome:
    bootstrap = BootstrapSettings(shared_secret=SharedSecretSettings(reference="enb", secret="prompt"))
    job = Job(
        action=Action.ENROLL,
        name="ike",
        identity=IdentitySettings(authority="ca", subject="CN=enb", bootstrap=bootstrap),
        authority=AuthoritySettings(urls=("http://127.0.0.1:9/",), trust_anchors=None),
        state_directory=state,
    )
    child = Child(job, Secrets(b"geheim"), lambda _: None, deadline=60, address_space=address_space)
    while not child.over:
        child.hurry(time.monotonic())
        time.sleep(0.05)
    outcome = child.outcome()
    child.close()
    return outcome


def test_too_little_memory_is_told_in_words_with_the_setting_to_change(tmp_path: Path) -> None:
    # Enough for the interpreter, too little for the first library; in between some of them abort on their own.
    outcome = outcome_within(20 * MEBIBYTE, tmp_path)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.text == "there was not enough memory for this job, which may address 20 MiB"
    assert outcome.remedy.startswith("Raise worker-memory, under daemon in the configuration")


def test_the_least_that_can_be_configured_is_enough(tmp_path: Path) -> None:
    outcome = outcome_within(256 * MEBIBYTE, tmp_path)
    assert outcome.verdict is Verdict.UNREACHABLE
