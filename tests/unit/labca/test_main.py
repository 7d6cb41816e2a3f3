"""The foreground program, as a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import yaml

from agent.cmp import messages
from agent.cmp.messages import BodyType
from agent.config import load
from agent.errors import ConfigurationError
from agent.labca import LabCa, LabCaSettings
from agent.labca.main import run
from agent.labca.records import TransactionState
from agent.store.generations import IdentityStore
from tests.station import ENROLLCTL, ENVIRONMENT
from tests.unit.labca.entity import Entity, certificate_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.cmp.bodies import Body
    from agent.cmp.messages import Message

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
from pathlib import Path
from agent.labca import LabCaSettings
from agent.labca.main import run
run(LabCaSettings(directory=Path(sys.argv[1]), secrets={"enb-4711": "one-time"}), misbehaviour=sys.argv[2:])
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "lab"


@pytest.fixture
def program(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the program and wait until it has said everything it says at first."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(directory), "late=0.001"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()


def introduction(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if "Ctrl-C" in line:
            break
    return lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_what_it_made_serves_and_ends_cleanly(
    program: subprocess.Popen[str], directory: Path, number: signal.Signals
) -> None:
    lines = introduction(program)
    assert "misbehaving: late=0.001" in lines
    url = next(line.removeprefix("listening on ") for line in lines if line.startswith("listening on "))
    known = LabCa(LabCaSettings(directory=directory))
    entity = Entity(known, now=datetime.now(UTC))
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def ask(body: Body) -> Message:
        connection.request("POST", "/", entity.message(body), {"Content-Type": "application/pkixcmp"})
        answer = messages.parse(connection.getresponse().read())
        entity.heard = answer.header.sender_nonce
        return answer

    with contextlib.closing(connection):
        assert ask(entity.confirm(certificate_in(ask(entity.request())))).type is BodyType.PKICONF
    program.send_signal(number)
    assert program.stdout is not None
    assert program.stdout.read().splitlines() == [
        "ir from enb-4711: ip, misbehaving: late=0.001",
        "certConf from enb-4711: pkiconf, misbehaving: late=0.001",
        "the lab CA ends",
    ]
    assert program.wait(60) == 0
    assert known.record().transactions[0].state is TransactionState.CONFIRMED
    known.close()


def test_the_snippet_is_a_configuration_that_loads(program: subprocess.Popen[str], directory: Path) -> None:
    lines = introduction(program)
    snippet = "\n".join(lines[lines.index("authorities:") - 1 : -2])
    (directory / "enrolld.yaml").write_text(snippet, encoding="utf-8")
    settings = load(directory / "enrolld.yaml")
    assert settings.authorities["lab"].trust_anchors == (directory / "root.pem",)
    secret = settings.identities["lab-device"].bootstrap.shared_secret
    assert secret is not None
    assert secret.reference == "enb-4711"
    path = Path(secret.secret.removeprefix("file:"))
    assert path.read_text(encoding="utf-8") == "one-time\n"
    assert path.stat().st_mode & 0o777 == 0o600
    other = snippet.replace("# vendor-certificate", "vendor-certificate").replace("shared-secret", "# shared-secret")
    vendor = yaml.safe_load(other)["identities"]["lab-device"]["bootstrap"]["vendor-certificate"]
    assert {Path(vendor["certificate"]).name, Path(vendor["key"]).name} == {"device.pem", "device.key"}
    assert Path(vendor["key"]).stat().st_mode & 0o777 == 0o600


def test_an_enrollment_works_with_the_snippet_as_it_is_printed(
    program: subprocess.Popen[str], directory: Path, tmp_path: Path
) -> None:
    lines = introduction(program)
    config = tmp_path / "enrolld.yaml"
    config.write_text("\n".join(lines[lines.index("authorities:") - 1 : -2]), encoding="utf-8")
    done = subprocess.run(
        [ENROLLCTL, "--config", config, "enroll"], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert IdentityStore(directory / "device-state", "lab-device").current is not None


def test_a_mistake_is_named_before_anything_is_made(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="whoever reaches it"):
        run(LabCaSettings(directory=directory, bind="192.0.2.7"))
    assert not directory.exists()
    with pytest.raises(ConfigurationError, match="there is no 'nonsense'"):
        run(LabCaSettings(directory=directory), misbehaviour=["nonsense"])
    assert not directory.exists()
