"""A site in a booted machine: enrolld from its package, the lab CA as a service beside it, a secret as a credential."""

from __future__ import annotations

import json
from typing import Any, Final

import yaml

from tests.system.booted import Machine

SECRET: Final = "Pl4nted-one-time-secret"
CURRENT: Final = "var/lib/enrolld/identities/ike/current"
_CA: Final = """\
[Unit]
Description=Lab CA of the tests
[Service]
ExecStart=enrollctl lab-ca --directory /srv/ca --secret enb-4711={secret} {options}
Restart=always
[Install]
WantedBy=multi-user.target
"""
_DROP_IN: Final = """\
[Service]
LoadCredential=ike-secret:/etc/enrolld/ike-secret
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

    def configure(self, identity: dict[str, Any] | None = None, authority: dict[str, Any] | None = None) -> None:
        """Write configuration, root certificate and credential as a technician does."""
        document = {
            "authorities": {
                "lab": {
                    "urls": ["http://127.0.0.1:8829/.well-known/cmp"],
                    "trust-anchors": ["operator-root.pem"],
                }
                | (authority or {})
            },
            "identities": {
                "ike": {
                    "authority": "lab",
                    "subject": "CN=enb-4711,O=Operator",
                    "bootstrap": {"shared-secret": {"reference": "enb-4711", "secret": "credential:ike-secret"}},
                }
                | (identity or {})
            },
        }
        self.write("/etc/enrolld/enrolld.yaml", yaml.safe_dump(document))
        self.write("/etc/enrolld/operator-root.pem", (self.root / "srv/ca/root.pem").read_text())
        self.write("/etc/enrolld/ike-secret", f"{SECRET}\n", 0o600)
        self.write("/etc/systemd/system/enrolld.service.d/credentials.conf", _DROP_IN)
        self.systemctl("daemon-reload")

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
