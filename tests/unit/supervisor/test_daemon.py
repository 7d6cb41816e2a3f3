"""``enrolld`` as a process, against the lab CA over HTTP."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from agent.labca import LabCa, LabCaSettings, running
from agent.overview import look

CONFIG = """\
state-directory: state
authorities:
  lab:
    urls: [{url}]
    trust-anchors: [ca/root.pem]
identities:
  ike:
    authority: lab
    subject: "CN=enb,O=Operator"
    bootstrap:
      shared-secret: {{reference: enb, secret: "file:secret"}}
"""


def eventually(holds: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_the_daemon_enrolls_renews_before_the_end_and_ends_when_told(tmp_path: Path) -> None:
    ca = LabCa(
        LabCaSettings(
            directory=tmp_path / "ca",
            secrets={"enb": "geheim"},
            validity=timedelta(seconds=24),
            polls=1,
            durable=False,
        )
    )
    with running(ca):
        (tmp_path / "state").mkdir(mode=0o700)
        (tmp_path / "secret").write_text("geheim\n")
        (tmp_path / "secret").chmod(0o600)
        (tmp_path / "enrolld.yaml").write_text(CONFIG.format(url=ca.url))
        command = [sys.executable, "-m", "agent.supervisor.main", "--config", str(tmp_path / "enrolld.yaml")]
        daemon = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert eventually(lambda: look(tmp_path / "state", "ike").generation == 2)
            assert len(ca.record().certificates) == 2
        finally:
            daemon.send_signal(signal.SIGTERM)
            _, told = daemon.communicate(timeout=20)
        ca.close()
    assert daemon.returncode == 0
    assert "open requests stay on disk" in told
    assert "geheim" not in told


def test_a_configuration_that_cannot_be_used_ends_it_with_a_remedy(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agent.supervisor.main", "--config", str(tmp_path / "none.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("enrolld: what to do: ")
    assert "Traceback" not in done.stderr
