"""Every command in docs/operations.md is run, in its order, by a site that has the lab CA for its operator."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from agent.cli.main import COMMANDS
from agent.labca import LabCa, LabCaSettings, running
from tests.station import ENROLLCTL, ENVIRONMENT, REFERENCE, SECRET

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"
SHORT = timedelta(seconds=10)
FOR_ENROLLD = " -o enrolld "
"""There is no such user where the tests run."""


@dataclass(frozen=True)
class Block:
    """Some commands, what has to be so before, and how the last of them ends."""

    section: str
    commands: str
    before: str = ""
    code: int = 0


_PART = re.compile(
    r"""^\#\#\ (.+)$ | ^<!--\ (before|exit):\ (\S+)\ -->$ | ^```sh\n([\s\S]*?)^```$""", re.MULTILINE | re.VERBOSE
)


def blocks(text: str) -> Iterator[Block]:
    section, before, code = "", "", 0
    for found in _PART.finditer(text):
        if found[1]:
            section = found[1]
        elif found[2] == "before":
            before = found[3]
        elif found[2] == "exit":
            code = int(found[3])
        else:
            yield Block(section, found[4], before, code)
            before, code = "", 0


BLOCKS = tuple(blocks(DOCUMENT.read_text()))


@dataclass
class Site:
    """A directory that stands for the whole machine; systemctl and journalctl only note that they were called."""

    directory: Path
    urls: dict[str, str]
    secret: str = SECRET
    called: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.directory / "bin").mkdir()
        (self.directory / "state").mkdir(mode=0o700)
        self._script("enrollctl", f'exec {ENROLLCTL} --config {self.config} "$@"')
        self._script("sudo", 'exec "$@"')
        for name in ("systemctl", "journalctl"):
            self._script(name, f'echo "{name} $*" >>{self.directory}/called')
        self.put("one-time-secret", self.secret)
        self.put("new-secret", self.secret)

    @property
    def config(self) -> Path:
        return self.directory / "etc" / "enrolld.yaml"

    def put(self, name: str, text: str) -> None:
        path = self.directory / name
        path.write_text(f"{text}\n")
        path.chmod(0o600)

    def run(self, commands: str) -> tuple[int, str]:
        commands = commands.replace("/etc/enrolld/", f"{self.directory}/etc/").replace(FOR_ENROLLD, " ")
        for name, url in self.urls.items():
            commands = commands.replace(name, url)
        commands = commands.replace(
            "enrollctl turn-up ", f"enrollctl turn-up --state-directory {self.directory}/state "
        )
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", commands],
            cwd=self.directory, env=ENVIRONMENT | {"PATH": f"{self.directory}/bin:{ENVIRONMENT['PATH']}"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stdout

    def _script(self, name: str, text: str) -> None:
        path = self.directory / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Site, dict[str, LabCa]]]:
    """Give a site and the CAs it has to do with: the operator's, a new one, and one whose certificates are short."""
    lives = {"old": timedelta(days=90), "new": timedelta(days=90), "short": SHORT}
    cas = {}
    for name, life in lives.items():
        settings = LabCaSettings(
            directory=tmp_path / f"ca-{name}", secrets={REFERENCE: SECRET}, durable=False, validity=life
        )
        cas[name] = LabCa(settings)
    with running(cas["old"]), running(cas["new"]), running(cas["short"]):
        place = tmp_path / "site"
        place.mkdir()
        urls = {
            "http://ra1.operator.example/.well-known/cmp": cas["old"].url,
            "http://ra1.new-operator.example/.well-known/cmp": cas["new"].url,
        }
        yield Site(place, urls), cas
    for ca in cas.values():
        ca.close()


def prepare(what: str, site: Site, cas: dict[str, LabCa]) -> None:
    """Bring about what a section is about."""
    if what == "new-ca":
        shutil.copy(root_of(cas["new"]), site.directory / "new-operator-root.pem")
    elif what == "no-certificate":
        for path in (site.directory / "state" / "identities").iterdir():
            shutil.rmtree(path)
        site.put("etc/ike.secret", "mistyped")
    elif what == "expired":
        site.put("etc/ike.secret", SECRET)
        text = site.config.read_text()
        site.config.write_text(text.replace(cas["new"].url, cas["short"].url).replace("operator-root.pem", "short.pem"))
        shutil.copy(root_of(cas["short"]), site.config.parent / "short.pem")
        code, shown = site.run("enrollctl enroll ike --again")
        assert code == 0, shown
        time.sleep(SHORT.total_seconds())
        site.config.write_text(text)
    else:
        raise AssertionError(what)


def root_of(ca: LabCa) -> Path:
    assert ca.settings.directory is not None
    return ca.settings.directory / "root.pem"


def test_every_command_of_the_document_works_in_its_order(site: tuple[Site, dict[str, LabCa]]) -> None:
    place, cas = site
    for block in BLOCKS:
        if block.before:
            prepare(block.before, place, cas)
        code, shown = place.run(block.commands)
        assert code == block.code, f"{block.section}: exit code {code} of\n{block.commands}\n{shown}"
        assert "Traceback" not in shown
        assert SECRET not in shown
    called = (place.directory / "called").read_text()
    assert "systemctl enable --now enrolld" in called
    assert "systemctl restart enrolld" in called


def test_the_document_covers_what_can_befall_a_site() -> None:
    sections = {one.section for one in BLOCKS}
    assert sections == {
        "Turn-up", "Is all well?", "Renewal", "Reading the journal", "A new root of the operator", "Another CA",
        "A lost, wrong or locked secret", "An expired certificate", "A stolen base station", "Another token", "Upgrade",
        "Asking for help",
    }  # fmt: skip


def test_a_secret_is_put_where_the_service_may_read_it() -> None:
    """What root installs for himself alone, enrolld cannot read: it would go on waiting for a secret."""
    lines = [line for one in BLOCKS for line in one.commands.splitlines() if line.startswith("install ")]
    assert len(lines) == 3
    assert all(FOR_ENROLLD in line and line.endswith(".secret") for line in lines)


def test_the_document_names_no_command_that_is_not_there() -> None:
    text = "\n".join(one.commands for one in BLOCKS)
    used = set(re.findall(r"^enrollctl ([a-z-]+)", text, re.MULTILINE)) - {"--version"}
    assert used <= set(COMMANDS)
    assert {"turn-up", "doctor", "status", "renew", "retry", "rollback", "refresh", "revoke", "capture"} <= used
