"""enrolld in the sandbox of its unit serves Debian's strongSwan beside it, a directory of another group, and a command.

The security gateway is outside of the machine. What a technician sees is asserted: journal, files, systemctl, and what
charon and the gateway say.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from agent.events import Event
from tests.system.booted import package
from tests.system.ike_lab import ENB_INNER, SEG_INNER, Side, enb_connection, gateway_beside
from tests.system.site import SECRET, Site
from tests.system.sites import Site as Gateway
from tests.system.sites import as_root

pytestmark = as_root

CA: Final = "http://127.0.0.1:8829/.well-known/cmp"
_PACKAGES: Final = (
    "libstrongswan", "libstrongswan-standard-plugins", "libstrongswan-extra-plugins", "libcharon-extra-plugins",
    "strongswan-libcharon", "charon-systemd", "strongswan-swanctl",
)  # fmt: skip
_STRONGSWAN: Final = """
charon-systemd {
  load = random nonce openssl hmac kdf pem pkcs1 pkcs8 x509 constraints pubkey kernel-libipsec kernel-netlink \
socket-default vici updown
  group = enrolld
  make_before_break = yes
  plugins { kernel-libipsec { load = yes } }
}
"""
_HOOK: Final = "#!/bin/sh\necho called >>/etc/ike/calls\ntest $(wc -l </etc/ike/calls) -gt 2\n"
"""Fails twice."""


class Booted(Site):
    """The eNodeB: a machine with enrolld from its package and strongSwan."""

    def prepare(self) -> None:
        """Install both, and do what docs/deployment.md says, with the drop-ins of the package."""
        self.install(package())
        for name in subprocess.run(["dpkg", "--listfiles", *_PACKAGES], check=True, capture_output=True, text=True,
                                   timeout=60).stdout.split():  # fmt: skip
            source, target = Path(name), self.root / name.lstrip("/")
            if source.is_dir() and not source.is_symlink():
                target.mkdir(parents=True, exist_ok=True)
            elif not name.startswith("/usr/share/doc/"):
                shutil.copy2(source, target, follow_symlinks=False)
        self.write("/etc/strongswan.conf", _STRONGSWAN)
        self.write("/etc/swanctl/conf.d/backhaul.conf", enb_connection("backhaul"))
        self.write("/usr/local/libexec/tell", _HOOK, 0o755)
        self.run("groupadd", "ipsec")
        self.run("install", "-d", "-m", "2770", "-g", "ipsec", "/etc/ike")
        examples = "/usr/share/doc/enrolld/examples"
        self.run("mkdir", "-p", "/etc/systemd/system/enrolld.service.d")
        for name in ("strongswan.conf", "directory.conf"):
            self.run("cp", f"{examples}/{name}", "/etc/systemd/system/enrolld.service.d/")
        self.run("cp", f"{examples}/enrolld-early.service", "/etc/systemd/system/")
        self.systemctl("daemon-reload")
        self.systemctl("enable", "--now", "--quiet", "strongswan")

    def trust(self, root: str, **identity: Any) -> None:
        """Configure the identity for the CA with this root."""
        self.configure(identity | {
            "alternative-names": ["dns:enb1.ran.example"],
            "deploy-check": "5s",
            "deploy": [
                {"strongswan": {"connections": ["backhaul"], "timeout": "30s"}},
                {"directory": {"path": "/etc/ike", "mode": "0640", "group": "ipsec"}},
                {"hook": {"command": ["/usr/local/libexec/tell"]}},
            ],
        })  # fmt: skip
        self.write("/etc/enrolld/operator-root.pem", (self.root / root).read_text())

    def reaches(self) -> bool:
        """Whether a packet goes through the tunnel and back."""
        ping = ("ping", "-q", "-c", "1", "-W", "2", "-I", ENB_INNER, SEG_INNER)
        return subprocess.run([*self.net, *ping], capture_output=True, check=False, timeout=20).returncode == 0

    def renewed(self) -> bool:
        """Renew; tell whether that was done, or enrolld was at work: it looks every 5 s what the consumers have."""
        done = self.run("enrollctl", "renew", "ike", check=False)
        if "enrolld is at work on it" in done.stderr:
            return False
        assert done.returncode == 0, done.stderr
        return True

    @property
    def net(self) -> tuple[str, ...]:
        """The command that enters its network, and nothing else of it."""
        return ("nsenter", f"--target={self._leader}", "--net")

    @property
    def said_by_early(self) -> str:
        """What the service for early packets has written into the journal."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "--unit=enrolld-early", "--output=cat").stdout

    @property
    def status(self) -> dict[str, Any]:
        """What ``enrollctl status`` says of the identity."""
        (seen,) = yaml.safe_load(self.run("enrollctl", "status", "--json").stdout)
        return dict(seen)


@pytest.fixture(scope="module")
def enb() -> Iterator[Booted]:
    with Booted() as machine:
        machine.prepare()
        machine.start_ca()
        yield machine


@pytest.fixture(scope="module")
def seg(enb: Booted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """The gateway, with a certificate of the same CA."""
    place = tmp_path_factory.mktemp("seg")
    with gateway_beside(place / "charon", enb._leader) as side:
        (place / "station").mkdir()
        identity = {
            "subject": "CN=seg1.core.example,O=Operator",
            "alternative-names": ["dns:seg1.core.example"],
            "deploy": [{"strongswan": {"vici": str(side.socket)}}],
        }
        gateway = Gateway(place / "station", identity=identity, side=side)
        gateway.write_secret(SECRET)
        gateway.configure(urls=[CA], trust_anchors=[str(enb.root / "srv/ca/root.pem")])
        done = gateway.run("enroll", prefix=enb.net)
        assert done.code == 0, done.err
        yield side


def test_the_sandboxed_daemon_brings_the_tunnel_up_gives_files_to_their_group_and_tries_a_command_again(
    enb: Booted, seg: Side
) -> None:
    enb.trust("srv/ca/root.pem")
    enb.systemctl("start", "enrolld")
    enb.until(lambda: len(enb.entries(Event.DEPLOYED)) == 3)
    assert enb.reaches()
    assert enb.serial in seg.serials()
    proofs = {entry["CONSUMER"].split()[0]: entry["MESSAGE"] for entry in enb.entries(Event.DEPLOYED)}
    assert "backhaul came up with it" in proofs["strongswan"]
    files = enb.run("stat", "-L", "-c", "%U:%G %a", "/etc/ike/certificate.pem", "/etc/ike/private-key.pem").stdout
    assert files == "enrolld:ipsec 640\n" * 2
    failed = enb.entries(Event.DEPLOY_FAILED)
    assert [entry["CONSUMER"].split()[0] for entry in failed] == ["hook", "hook"]
    assert "Try it by hand" in failed[0]["REMEDY"]
    assert (enb.root / "etc/ike/calls").read_text() == "called\n" * 3
    enb.until(lambda: enb.status["state"] == "valid")


def test_a_renewal_takes_the_tunnel_over_with_the_service_for_early_packets_beside_it(enb: Booted, seg: Side) -> None:
    enb.systemctl("start", "enrolld-early")
    enb.until(lambda: "watching for packets" in enb.said_by_early)
    before, old = seg.established(), enb.serial
    enb.until(enb.renewed)
    assert enb.serial != old
    assert enb.serial in seg.serials()
    enb.until(lambda: len(seg.established()) == 1)
    assert seg.established() != before
    assert enb.reaches()
    assert enb.run("swanctl", "--list-certs").stdout.replace(":", "").count(enb.serial) == 1
    assert enb.run("systemctl", "show", "-P", "NRestarts", "enrolld-early").stdout == "0\n"
    assert enb.systemctl("is-active", "enrolld-early") == "active\n"


def test_a_charon_that_was_killed_has_the_credential_the_tunnel_and_the_service_beside_it_again(
    enb: Booted, seg: Side
) -> None:
    del seg
    deployed = len(enb.entries(Event.DEPLOYED))
    enb.run("systemctl", "kill", "--signal=KILL", "strongswan")
    enb.until(lambda: len(enb.entries(Event.DEPLOYED)) > deployed)
    enb.until(enb.reaches)
    enb.until(lambda: enb.status["state"] == "valid")
    enb.until(lambda: enb.said_by_early.count("watching for packets") == 2)
    assert "charon cannot be spoken to" in enb.said_by_early


def test_a_gateway_that_does_not_trust_the_new_issuer_has_everything_go_back_and_the_journal_say_what_to_do(
    enb: Booted, seg: Side
) -> None:
    good, tunnel = enb.serial, seg.established()
    held = (enb.root / "etc/ike/.current/certificate.pem").read_bytes()
    enb.start_ca("--directory /srv/other-ca")
    enb.until((enb.root / "srv/other-ca/root.pem").exists)
    enb.trust("srv/other-ca/root.pem")
    enb.systemctl("reload", "enrolld")
    enb.run("enrollctl", "enroll", "--again", "ike", check=False)
    enb.until(lambda: enb.entries(Event.ROLLED_BACK))
    (entry,) = enb.entries(Event.ROLLED_BACK)
    assert "AUTHENTICATION_FAILED" in entry["MESSAGE"]
    assert "trusts the issuer of the new certificate" in entry["REMEDY"]
    explained = enb.run("journalctl", "-x", "--no-pager", f"MESSAGE_ID={entry['MESSAGE_ID']}").stdout
    assert "trusts the issuer of the new certificate" in " ".join(explained.split())
    assert enb.serial == good
    assert enb.status["state"] == "deploying"
    assert (enb.root / "etc/ike/.current/certificate.pem").read_bytes() == held
    assert seg.established() == tunnel
    assert enb.reaches()
