from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.collected import is_test
from tests.security.claims import EVERY, Claim
from tests.security.document import DOCUMENT, document
from tests.station import until


@pytest.mark.parametrize("claim", EVERY, ids=lambda claim: claim.text[:60])
def test_every_claim_names_tests_that_are_collected(claim: Claim) -> None:
    assert claim.tests, "a claim that nothing shows is a promise"
    assert [one for one in claim.tests if not is_test(one)] == []


def test_the_document_is_that_of_the_claims() -> None:
    assert DOCUMENT.read_text() == document(), "write it anew: python -m tests.security"


def test_a_worker_leaves_no_core_file() -> None:
    with subprocess.Popen(
        [sys.executable, "-I", "-m", "agent.worker"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as worker:
        limits = Path(f"/proc/{worker.pid}/limits")
        until(lambda: "Max core file size 1 1 bytes" in " ".join(limits.read_text().split()))
        worker.send_signal(signal.SIGABRT)
        _, status = os.waitpid(worker.pid, 0)
        assert os.WTERMSIG(status) == signal.SIGABRT
        assert not os.WCOREDUMP(status)
        worker.returncode = -signal.SIGABRT
