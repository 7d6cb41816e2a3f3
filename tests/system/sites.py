"""Both ends of the tunnel as their technicians see them: a station each, enrolled at the lab CA, deployed to charon."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.labca import LabCa
from agent.store.deployment import DeploymentFile, DeploymentRecord
from tests.station import ENVIRONMENT, REFERENCE, Finished, Station
from tests.system.ike_lab import Side

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces are made by root only")


@dataclass
class Site(Station):
    """One end: its station, and the IKE daemon it serves."""

    side: Side | None = None
    environment: dict[str, str] = field(default_factory=dict)
    """What its commands get besides."""

    @property
    def charon(self) -> Side:
        assert self.side is not None
        return self.side

    @property
    def serial(self) -> str:
        return str(self.current.description["serial"])

    @property
    def record(self) -> DeploymentRecord:
        return DeploymentFile(self.store.directory).load()

    def status(self) -> dict[str, Any]:
        done = self.run("status", "--json")
        assert done.code == 0, done.err
        (seen,) = json.loads(done.out)
        return dict(seen)

    def run(self, *arguments: str, prefix: tuple[str, ...] = (), **options: Any) -> Finished:
        return super().run(*arguments, prefix=prefix, **({"env": ENVIRONMENT | self.environment} | options))

    def good(self, *arguments: str) -> Finished:
        """Run a command that has to succeed."""
        done = self.run(*arguments)
        assert done.code == 0, f"{done.out}\n{done.err}\n{self.side.log[-3000:] if self.side else ''}"
        return done


def site(directory: Path, ca: LabCa, name: str, side: Side | None, deploy: list[dict[str, Any]]) -> Site:
    """Make a station for ``name`` that proves itself by the one-time secret."""
    directory.mkdir()
    identity = {
        "subject": f"CN={name},O=Operator",
        "alternative-names": [f"dns:{name}"],
        "deploy": deploy,
    }
    made = Site(directory, identity=identity, side=side)
    know(made, ca)
    return made


def know(site: Site, ca: LabCa) -> None:
    """Let a station ask ``ca`` from now on."""
    assert ca.settings.directory is not None
    site.configure(urls=[ca.url], trust_anchors=[str(ca.settings.directory / "root.pem")])


def by_vendor(site: Site, ca: LabCa) -> None:
    """Let a station prove itself by the certificate that its vendor gave it."""
    device = ca.make_device("serial 4711")
    (site.directory / "vendor.pem").write_bytes(device.pem)
    (site.directory / "vendor.key").write_bytes(device.key.pem())
    (site.directory / "vendor.key").chmod(0o600)
    site.identity["bootstrap"] = {"vendor-certificate": {"certificate": "vendor.pem", "key": "vendor.key"}}
    site.configure()


SECRETS = {REFERENCE: "Corr3ct-h0rse-battery"}
