"""A program that is started without some of the standard streams does its work all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.labca import LabCa, LabCaSettings, running
from agent.overview import look
from tests.station import ENVIRONMENT
from tests.unit.supervisor.daemons import CONFIG, eventually


def without(streams: str, *command: str, **environment: str) -> subprocess.Popen[str]:
    """Start a program without ``streams``, as a shell closes them."""
    return subprocess.Popen(
        ["/bin/sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, "-m", *command],
        env=ENVIRONMENT | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("streams", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_the_daemon_does_its_work(tmp_path: Path, streams: str) -> None:
    ca = LabCa(LabCaSettings(directory=tmp_path / "ca", secrets={"enb": "geheim"}, durable=False))
    for name in ("state", "run"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "secret").write_text("geheim")
    (tmp_path / "secret").chmod(0o600)
    with running(ca):
        (tmp_path / "enrolld.yaml").write_text(CONFIG.format(url=ca.url))
        command = ("agent.supervisor.main", "--config", str(tmp_path / "enrolld.yaml"))
        with without(streams, *command, PATH=os.environ["PATH"]) as process:
            try:
                assert eventually(lambda: look(tmp_path / "state", "ike").usable)
            finally:
                process.terminate()
                process.communicate(timeout=60)
    assert process.returncode == 0
    ca.close()
