"""``enrollctl demo``: the main job against a CA of its own on loopback, seen to work in a minute."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from agent.cli import output
from agent.cli.jobs import run_job
from agent.cli.status import overview_table
from agent.config import load
from agent.contract import VERDICTS, Action
from agent.overview import look
from agent.store import atomic

if TYPE_CHECKING:
    from agent.settings import Settings

_REFERENCE: Final = "enb-4711"
_SECRET: Final = "demo-secret-of-enb-4711"  # noqa: S105 - a demo's
_UNDECIDED: Final = timedelta(seconds=3)

_CONFIG: Final = """\
# Written by `enrollctl demo`; the CA it names is gone when the demo is over.
state-directory: state
authorities:
  lab:
    urls: [{url}]
    trust-anchors: [lab-root.pem]
identities:
  ike:
    authority: lab
    subject: "CN=enb-4711.ran.operator.example,O=Operator"
    alternative-names: ["dns:enb-4711.ran.operator.example", "ip:192.0.2.7"]
    bootstrap:
      shared-secret: {{reference: {reference}, secret: "file:secret"}}
  management:
    authority: lab
    subject: "CN=enb-4711-om.ran.operator.example,O=Operator"
    key: {{algorithm: rsa-2048}}
    request: cr
    bootstrap:
      shared-secret: {{reference: {reference}, secret: "file:secret"}}
"""


@click.command("demo")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to leave the result; a new directory under /tmp by default.",
)
def command(directory: Path | None) -> int:
    """See an enrollment, a request that the CA lets wait, and a renewal.

    A lab CA runs on the loopback interface meanwhile; nothing leaves this machine, and nothing is left behind but one
    directory.
    """
    from agent.cmp.messages import BodyType  # noqa: PLC0415 - the CA is needed here only
    from agent.labca import LabCa, LabCaSettings, running  # noqa: PLC0415

    place = directory or Path(tempfile.mkdtemp(prefix="enrolld-demo-"))
    atomic.make_directory(place)
    ca = LabCa(
        LabCaSettings(
            directory=place / "lab-ca",
            secrets={_REFERENCE: _SECRET},
            validity=timedelta(days=90),
            delayed=frozenset({BodyType.CR}),
            poll_delay=_UNDECIDED,
        )
    )
    with running(ca):
        settings = _prepare(place, ca.url)
        output.note(f"a lab CA listens on {ca.url}")
        code = _play(settings)
    ca.close()
    output.say(f"everything is in {place}; remove it when you have looked")
    return code


def _prepare(place: Path, url: str) -> Settings:
    """Write the configuration, the secret and the root certificate, as an operator would hand them out."""
    root = (place / "lab-ca" / "root.pem").read_bytes()
    atomic.write_file(place / "lab-root.pem", root, 0o644)
    atomic.write_file(place / "secret", _SECRET.encode() + b"\n")
    atomic.write_file(place / "enrolld.yaml", _CONFIG.format(url=url, reference=_REFERENCE).encode(), 0o644)
    atomic.make_directory(place / "state")
    return load(place / "enrolld.yaml")


def _play(settings: Settings) -> int:
    acts = (
        ("a first certificate, with the operator's one-time secret", "ike", Action.ENROLL),
        ("another one; this time the CA takes a few seconds to decide", "management", Action.ENROLL),
        ("an update of key and certificate, signed with the first key", "ike", Action.RENEW),
    )
    for number, (title, name, action) in enumerate(acts, 1):
        output.note(f"{number}. {title}")
        outcome = run_job(settings, name, action, wait=60)
        code = VERDICTS[outcome.verdict].command
        if code:
            output.problem(f"{name}: {outcome.text}", outcome.remedy)
            return code
    seen = [look(settings.state_directory, name, settings.identities[name]) for name in settings.identities]
    output.say(overview_table(seen))
    return 0
