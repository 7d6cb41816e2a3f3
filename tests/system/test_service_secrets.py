"""A secret and a PIN, encrypted for systemd, serve an installed enrolld and are nowhere to be found afterwards."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from typing import Final

import pytest

from agent.events import Event
from tests.system.booted import ROOT
from tests.system.site import SECRET, Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a machine")

PIN: Final = "71940385"
WRONG: Final = "Mist1ped-one-time-secret"
MODULE: Final = "/usr/lib/softhsm/libsofthsm2.so"


def shapes(secret: str) -> list[bytes]:
    """Every way in which it could slip into a text."""
    octets = secret.encode()
    return [octets, octets.hex().encode(), octets.hex().upper().encode(), base64.b64encode(octets).rstrip(b"=")[:-1]]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A machine with a token and both credentials, as the README and the examples say. The tests go on with it."""
    with Site(installed=True) as machine:
        machine.start_ca()
        token = {"module": MODULE, "label": "enb", "pin": "credential:hsm-pin"}
        machine.configure({"key": {"algorithm": "ec-p256", "store": "hsm"}}, tokens={"hsm": token})
        (machine.root / "etc/enrolld/ike-secret").unlink()
        init = ("softhsm2-util", "--init-token", "--free", "--label", "enb", "--so-pin", "12345678", "--pin", PIN)
        machine.run("usermod", "--append", "--groups", "softhsm", "enrolld")
        # Not by runuser: what it logs has its whole command line in a field.
        machine.run("setpriv", "--reuid=enrolld", "--regid=enrolld", "--init-groups", *init)
        examples = ROOT / "systemd/examples"
        drop_in = (examples / "credentials.conf").read_text()
        drop_in += "LoadCredentialEncrypted=hsm-pin:/etc/credstore.encrypted/hsm-pin\n"
        machine.write("/etc/systemd/system/enrolld.service.d/credentials.conf", drop_in)
        softhsm = (examples / "token-softhsm.conf").read_text()
        machine.write("/etc/systemd/system/enrolld.service.d/softhsm.conf", softhsm)
        encrypt(machine, "ike-secret", WRONG)
        encrypt(machine, "hsm-pin", PIN)
        machine.systemctl("daemon-reload")
        yield machine


def encrypt(site: Site, name: str, secret: str) -> None:
    """Do what the README says, with the secret typed in."""
    command = ("systemd-creds", "encrypt", f"--name={name}", "-", f"/etc/credstore.encrypted/{name}")
    site.run(*command, input=f"{secret}\n")


def test_a_wrong_secret_is_refused_without_being_repeated(site: Site) -> None:
    site.start()
    (failed,) = site.hear(Event.FAILED)
    assert failed["VERDICT"] == "needs-secret"
    assert not site.serial


def test_the_right_one_enrolls_with_a_key_on_the_token(site: Site) -> None:
    encrypt(site, "ike-secret", SECRET)
    site.systemctl("restart", "enrolld")
    (installed,) = site.hear(Event.INSTALLED)
    assert installed["CERTIFICATE_SERIAL"] == site.serial
    assert list((site.root / "var/lib/enrolld").rglob("private-key.uri"))
    assert not list((site.root / "var/lib/enrolld").rglob("private-key.pem"))


def test_none_of_them_is_in_journal_state_processes_or_in_what_people_are_shown(site: Site) -> None:
    pid = site.shows("MainPID")
    seen = {
        # Everything, at every priority: what systemd and the CA said beside enrolld too.
        "journal": site.run("journalctl", "--output=export", "--all", "--no-pager").stdout,
        "process": site.run("cat", f"/proc/{pid}/cmdline", f"/proc/{pid}/environ").stdout,
        "unit": site.systemctl("show", "enrolld") + site.systemctl("status", "--full", "enrolld"),
        "enrollctl": site.run("enrollctl", "status", "ike").stdout + site.run("enrollctl", "status", "--json").stdout,
        "console": (site.place / "console").read_text(),
    }
    for folder in ("var/lib/enrolld", "etc/enrolld", "etc/credstore.encrypted", "etc/systemd/system/enrolld.service.d"):
        for path in (site.root / folder).rglob("*"):
            if path.is_file():
                seen[str(path)] = path.read_bytes().decode("latin-1")
    assert len(seen["journal"]) > 20_000
    assert any(name.endswith("state.json") for name in seen)
    assert any(name.endswith("hsm-pin") for name in seen)
    found = [
        (where, secret)
        for where, text in seen.items()
        for secret in (SECRET, WRONG, PIN)
        for shape in shapes(secret)
        # The unit file of the lab CA, which systemd may show, is the test's own.
        if shape in text.replace("enb-4711=" + SECRET, "").encode()
    ]
    assert found == []
