"""A software key that systemd sealed to the machine: the documented commands, and an enrollment with such a key."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from agent.labca import LabCa
from tests.hsm.documented import commands
from tests.station import ENVIRONMENT, Station

PRIVATE = 'mount -t tmpfs tmpfs /var/lib/systemd; cd "$1"; shift; exec "$@"'
"""Where the machine's key is the test's own."""


def test_a_key_that_systemd_sealed_is_used_where_it_hands_it_over(tmp_path: Path, lab: LabCa) -> None:
    ((make,), (seal,), (remove,)) = (commands(one) for one in ("openssl genpkey", "systemd-creds", "shred"))
    handed_over = tmp_path / "credentials" / "ike-key"
    handed_over.parent.mkdir()
    unseal = ("systemd-creds", "decrypt", "--name=ike-key", "ike-key.cred", str(handed_over))
    script = tmp_path / "script"
    script.write_text("set -e\n" + "\n".join(map(" ".join, (make, seal, remove, unseal))) + "\n")
    root = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    namespace = ["unshare", *root, "--mount", "--propagation", "private", "sh", "-c", PRIVATE, "sh", str(tmp_path)]
    done = subprocess.run([*namespace, "sh", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ike.key").exists()
    assert b"PRIVATE KEY" not in (tmp_path / "ike-key.cred").read_bytes()
    handed_over.chmod(0o400)  # as systemd has it

    (tmp_path / "site").mkdir()
    station = Station(tmp_path / "site")
    station.identity["key"] = {"existing": str(handed_over)}
    assert lab.settings.directory is not None
    roots = [str(lab.settings.directory / "root.pem")]
    station.configure(urls=[lab.url], trust_anchors=roots, mac={"iterations": 100})
    before = handed_over.read_bytes()
    for command in ("enroll", "renew"):
        done_too = station.run(command, env=ENVIRONMENT | {"CREDENTIALS_DIRECTORY": str(handed_over.parent)})
        assert done_too.code == 0, done_too.err
    assert station.current.key_reference == handed_over.as_uri()
    assert station.current.private_key is None
    assert handed_over.read_bytes() == before
