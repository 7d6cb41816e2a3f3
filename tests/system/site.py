"""A site in a booted machine: enrolld from its package, the lab CA as a service beside it, a secret as a credential."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

from agent.events import Event
from tests.system.booted import Machine

SECRET: Final = "Pl4nted-one-time-secret"
CURRENT: Final = "var/lib/enrolld/identities/ike/current"
_CA: Final = """\
[Unit]
Description=Lab CA of the tests
[Service]
ExecStart=enrollctl lab-ca --directory /srv/ca --secret enb-4711={secret} {options}
Restart=always
RestartSec=1s
[Install]
WantedBy=multi-user.target
"""
_DROP_IN: Final = """\
[Service]
LoadCredential=ike-secret:/etc/enrolld/ike-secret
"""
_APPROVE: Final = """\
from pathlib import Path
from agent.labca import LabCa, LabCaSettings
print(LabCa(LabCaSettings(directory=Path("/srv/ca"))).approve())
"""


class Site(Machine):
    """``ike`` is the identity."""

    def start_ca(self, options: str = "") -> None:
        """Start the CA, or start it again with other options, as ``--validity 2m``."""
        self.write("/etc/systemd/system/lab-ca.service", _CA.format(secret=SECRET, options=options))
        self.systemctl("daemon-reload")
        self.systemctl("enable", "--now", "--quiet", "lab-ca")
        self.systemctl("restart", "lab-ca")
        self.until((self.root / "srv/ca/root.pem").exists)
        self.until(lambda: "8829" in self.run("journalctl", "-u", "lab-ca", "-o", "cat", "--no-pager").stdout)

    def approve(self) -> None:
        """Be the person at the CA, who approves the one request that waits."""
        assert self.run("/usr/lib/enrolld/bin/python3", "-I", "-c", _APPROVE).stdout == "1\n"

    def configure(self, identity: dict[str, Any] | None = None, **more: Any) -> None:
        """Write configuration, root certificate and credential as a technician does.

        ``identity`` is added to the identity, ``more`` are further sections.
        """
        document = {
            "authorities": {
                "lab": {
                    "urls": ["http://127.0.0.1:8829/.well-known/cmp"],
                    "trust-anchors": ["operator-root.pem"],
                }
            },
            "identities": {
                "ike": {
                    "authority": "lab",
                    "subject": "CN=enb-4711,O=Operator",
                    "bootstrap": {"shared-secret": {"reference": "enb-4711", "secret": "credential:ike-secret"}},
                }
                | (identity or {})
            },
        } | more
        self.write("/etc/enrolld/enrolld.yaml", yaml.safe_dump(document))
        self.write("/etc/enrolld/operator-root.pem", (self.root / "srv/ca/root.pem").read_text())
        self.write("/etc/enrolld/ike-secret", f"{SECRET}\n", 0o600)
        self.write("/etc/systemd/system/enrolld.service.d/credentials.conf", _DROP_IN)
        self.systemctl("daemon-reload")

    def start(self) -> None:
        """Start enrolld, and return when it is ready."""
        self.systemctl("start", "enrolld")

    def enrolled(self, ca: str = "") -> None:
        """Let it have its first certificate, from a CA with the options ``ca``."""
        self.start_ca(ca)
        self.configure()
        self.start()
        self.hear(Event.INSTALLED)

    def said(self) -> list[dict[str, Any]]:
        """Return every entry of enrolld's unit but systemd's own about it."""
        return [entry for entry in self.entries(None, "_SYSTEMD_UNIT=enrolld.service") if "MESSAGE" in entry]

    @property
    def control(self) -> Path:
        """The control socket, as this machine sees it from outside."""
        return Path(f"/proc/{self._leader}/root/run/enrolld/io.enrolld.control")

    @property
    def serial(self) -> str:
        """Serial number of the certificate in use; empty without one."""
        # `current` leads to a path relative to its own folder, so it can be followed from outside.
        try:
            document = json.loads((self.root / CURRENT / "credential.json").read_text())
        except (FileNotFoundError, ValueError):
            return ""
        return str(document["description"]["serial"])

    @property
    def generations(self) -> list[str]:
        """The generations on disk."""
        return sorted(path.name for path in (self.root / CURRENT).parent.joinpath("generations").glob("0*"))
