"""enrolld keeps consumers supplied by itself: nobody runs a command here."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.labca import LabCa, LabCaSettings, running
from tests.station import ENROLLCTL, ENVIRONMENT, until
from tests.system.ike_lab import ike_lab
from tests.system.sites import SECRETS, Site, as_root, site

pytestmark = as_root


@contextmanager
def daemon(one: Site) -> Iterator[subprocess.Popen[bytes]]:
    log = (one.directory / "enrolld.log").open("wb")
    with log, subprocess.Popen(
        [ENROLLCTL.with_name("enrolld"), "--config", one.config],
        env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def test_the_daemon_enrolls_deploys_and_gives_a_charon_that_was_restarted_its_credential_back(tmp_path: Path) -> None:
    ca = LabCa(LabCaSettings(directory=tmp_path / "ca", secrets=SECRETS, durable=False))
    with running(ca), ike_lab(tmp_path / "ike") as lab:
        hook = tmp_path / "hook"
        hook.write_text(f"#!/bin/sh\necho called >>{tmp_path}/calls\ntest $(wc -l <{tmp_path}/calls) -gt 2\n")
        hook.chmod(0o755)
        seg = site(tmp_path / "seg", ca, "seg1.core.example", lab.seg, [{"strongswan": {"vici": str(lab.seg.socket)}}])
        enb = site(tmp_path / "enb", ca, "enb1.ran.example", lab.enb, [
            {"strongswan": {"vici": str(lab.enb.socket), "connections": ["gw"]}},
            {"hook": {"command": [str(hook)]}},
        ])  # fmt: skip
        for one in (seg, enb):
            one.identity["deploy-check"] = "5s"
            one.configure()
        with daemon(seg):
            until(seg.charon.keys, seconds=60)
        with daemon(enb):
            until(lab.enb.established, seconds=60)
            # A hook that fails twice is tried again by itself.
            until(lambda: (tmp_path / "calls").exists() and (tmp_path / "calls").read_text().count("called") == 3,
                  seconds=90)  # fmt: skip
            until(lambda: enb.status()["state"] == "valid", seconds=60)
            lab.enb.kill()
            until(lambda: enb.status()["state"] == "deploying", seconds=60)
            assert "charon cannot be spoken to" in enb.status()["last-error"]
            lab.enb.start()
            until(lab.enb.established, seconds=60)
            assert lab.reaches()
            until(lambda: enb.status()["state"] == "valid", seconds=60)
    ca.close()
