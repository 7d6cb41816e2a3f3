"""A worker that may not have the memory it needs says so, and what to change."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

import pytest

from agent.contract import Action, Job, Outcome, Verdict
from agent.settings import AuthoritySettings, BootstrapSettings, IdentitySettings, SharedSecretSettings, TokenSettings
from agent.supervisor.children import COMMAND, Child
from agent.supervisor.secrets import Secrets

MEBIBYTE = 1 << 20
SAID = json.dumps({"outcome": {"verdict": "issued", "text": "installed"}})


def outcome_within(
    address_space: int | None, state: Path, *, script: str = "", tokens: dict[str, TokenSettings] | None = None
) -> Outcome:
    """Return how a worker ends that may use so much memory: a real one, or one that does what ``script`` says."""
    bootstrap = BootstrapSettings(shared_secret=SharedSecretSettings(reference="enb", secret="prompt"))
    job = Job(
        action=Action.ENROLL,
        name="ike",
        identity=IdentitySettings(authority="ca", subject="CN=enb", bootstrap=bootstrap),
        authority=AuthoritySettings(urls=("http://127.0.0.1:9/",), trust_anchors=None),
        state_directory=state,
        tokens=tokens or {},
    )
    command = (sys.executable, "-I", "-S", "-c", f"import os, sys\n{script}") if script else COMMAND
    child = Child(job, Secrets(b"geheim"), lambda _: None, deadline=60, address_space=address_space, command=command)
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


@pytest.mark.parametrize("mebibytes", [24, 26, 28, 30, 32, 34])
def test_however_a_worker_ends_for_want_of_memory_the_setting_is_named(tmp_path: Path, mebibytes: int) -> None:
    # Which library notices first, and whether it can still say so, changes with every octet.
    outcome = outcome_within(mebibytes * MEBIBYTE, tmp_path)
    assert outcome.verdict in {Verdict.FAILED, Verdict.CRASHED}, outcome
    assert "worker-memory" in outcome.remedy


DEATHS = {
    "a library gives up": "os.abort()",
    "the kernel ends it": "os.kill(os.getpid(), 9)",
    "Python cannot even report it": "sys.exit(1)",
}


@pytest.mark.parametrize("script", DEATHS.values(), ids=DEATHS)
def test_a_death_for_which_too_little_memory_may_be_the_reason_names_the_setting_and_what_it_is_now(
    tmp_path: Path, script: str
) -> None:
    outcome = outcome_within(256 * MEBIBYTE, tmp_path, script=script)
    assert outcome.verdict is Verdict.CRASHED
    told = (
        "raise worker-memory, under daemon in the configuration (it may address 256 MiB now); if that does not help, "
    )
    assert outcome.remedy.endswith(f"if it repeats, {told}report it.")
    token = TokenSettings(module=Path("/usr/lib/opensc.so"), label="enb", pin="prompt")
    outcome = outcome_within(256 * MEBIBYTE, tmp_path, script=script, tokens={"hsm": token})
    assert outcome.remedy.endswith(f"{told}suspect the module of the token hsm (/usr/lib/opensc.so).")
    assert "memory" not in outcome_within(None, tmp_path, script=script).remedy


@pytest.mark.parametrize(
    "script", [f"os.kill(os.getpid(), {int(signal.SIGBUS)})", "sys.exit(7)", f"print({SAID!r}); sys.exit(1)"]
)
def test_a_death_of_another_kind_is_not_put_down_to_memory(tmp_path: Path, script: str) -> None:
    outcome = outcome_within(256 * MEBIBYTE, tmp_path, script=script)
    assert outcome.verdict is Verdict.CRASHED
    assert "memory" not in outcome.remedy
